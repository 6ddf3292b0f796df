//! Marks: written and ended in the file and in memory together.

use orderlock_core::{Mark, Recovery, Target};
use rusqlite::params;

use crate::file::error::Fault;
use crate::file::time;
use crate::state::context::WriteContext;

/// Writes the mark of an order, in place of the one that it resumes.
pub(crate) fn write_mark(
    context: &mut WriteContext<'_>,
    (target, order): (&Target, i64),
    mark: &Mark,
) -> Result<(), Fault> {
    let (times, within) = match mark.recovery {
        Recovery::Reconcile => (None, None),
        Recovery::Resume { times, within } => (Some(times), Some(time::span_to_sql(within))),
    };
    let mut insert = context.connection.prepare_cached(
        "INSERT OR REPLACE INTO marks (order_row, principal, key_id, fingerprint, operation,
             attempt, times, within, since)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
    )?;
    insert.execute(params![
        order,
        mark.caller.principal.as_str(),
        mark.key_id.0,
        mark.fingerprint.0,
        mark.operation.as_str(),
        mark.attempt,
        times,
        within,
        time::to_sql(mark.since),
    ])?;
    context.keep_mark(target, Some(mark.clone()));
    Ok(())
}

/// Ends the mark of an order.
pub(crate) fn clear_mark(
    context: &mut WriteContext<'_>,
    (target, order): (&Target, i64),
) -> Result<(), Fault> {
    context
        .connection
        .prepare_cached("DELETE FROM marks WHERE order_row = ?1")?
        .execute([order])?;
    context.keep_mark(target, None);
    Ok(())
}
