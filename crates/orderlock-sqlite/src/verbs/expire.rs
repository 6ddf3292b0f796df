//! `expire`: the end of answers. Tombstones take no room of their own, and end by the clock.

use std::time::Duration;

use orderlock_core::store::{Expire, Expired};
use rusqlite::{Connection, params};

use crate::file::error::Fault;
use crate::file::rows::signed;
use crate::file::time;
use crate::state::context::WriteContext;

/// The most answers in one transaction, whatever is asked for: others wait behind it.
const BATCH_MAX: usize = 1_024;

pub(crate) const DUE: &str =
    "SELECT position FROM answers WHERE expires <= ?1 ORDER BY expires LIMIT ?2";

pub(crate) fn expire(context: &mut WriteContext<'_>, request: &Expire) -> Result<Expired, Fault> {
    let limit = request.limit.clamp(1, BATCH_MAX);
    let now = time::to_sql(context.now.retention.earliest);
    let answers = end_answers(context.connection, now, limit)?;
    Ok(Expired {
        answers,
        tombstones: 0,
        more: answers == limit,
        behind: behind(context.connection, now)?,
    })
}

fn end_answers(connection: &Connection, now: i64, limit: usize) -> rusqlite::Result<usize> {
    let end = format!("DELETE FROM answers WHERE position IN ({DUE})");
    let mut end = connection.prepare_cached(&end)?;
    end.execute(params![now, signed(limit as u64)])
}

/// For how long the oldest answer that is left has been due.
fn behind(connection: &Connection, now: i64) -> rusqlite::Result<Duration> {
    let oldest: Option<i64> = connection
        .prepare_cached("SELECT min(expires) FROM answers")?
        .query_row([], |row| row.get(0))?;
    let late = oldest.map_or(0, |oldest| now.saturating_sub(oldest));
    Ok(Duration::from_nanos(u64::try_from(late).unwrap_or(0)))
}
