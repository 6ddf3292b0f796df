//! The epoch of the journal: when it ends, and how the next one begins.
//!
//! The position of an entry is made of its transaction's number. A database that was restored into
//! another server counts its transactions anew, from a lower number most likely: its next entries
//! would stand before the old ones, where no reader looks any more. So a new epoch begins, with
//! another base above all positions, and readers begin again.

use crate::pool::connection::Connection;
use crate::sql::error::{Failure, TransactionError};
use crate::sql::rows::Columns;
use crate::sql::statement::{Commit, Sql};

/// The highest transaction's number in the journal, found in one step for each tenant: all steps go one
/// way along the index, which is the only one in which it gives the highest position first.
macro_rules! newest {
    () => {
        "(WITH RECURSIVE newest AS (
            (SELECT tenant, position FROM entries ORDER BY tenant DESC, position DESC LIMIT 1)
            UNION ALL
            SELECT next.* FROM newest CROSS JOIN LATERAL (
                SELECT tenant, position FROM entries e WHERE e.tenant < newest.tenant
                ORDER BY tenant DESC, position DESC LIMIT 1
            ) next
        ) SELECT max(position) >> 20 AS number FROM newest) newest"
    };
}

/// Whether the journal has a transaction's number that this server has not given yet. Null as long
/// as the journal is empty.
pub(crate) static RESTORED: Sql = Sql {
    text: concat!(
        "SELECT newest.number >= s.base + pg_snapshot_xmax(pg_current_snapshot())::text::bigint
        FROM store s CROSS JOIN ",
        newest!()
    ),
    types: &[],
};

/// Waits until nobody writes an entry any more, and keeps others from it: a settle that has read
/// the old base could else write behind a reader of the new epoch.
pub(crate) static STOP: Sql = Sql {
    text: "LOCK TABLE entries IN SHARE MODE",
    types: &[],
};

/// Of many who find the database restored, one begins the epoch.
pub(crate) static BEGIN: Sql = Sql {
    text: concat!(
        "UPDATE store s SET epoch = gen_random_uuid(), base = newest.number + 1
        FROM ",
        newest!(),
        "
        WHERE newest.number >= s.base + pg_snapshot_xmax(pg_current_snapshot())::text::bigint
        RETURNING true"
    ),
    types: &[],
};

/// Begins a new epoch if the database was restored since its journal was written.
pub(crate) async fn begin_if_restored(connection: &Connection) -> Result<(), Failure> {
    let rows = connection.query(&RESTORED, &[]).await?;
    let row = rows.first();
    let row = row.ok_or_else(|| Failure::unreadable("the store has no row of its own"))?;
    if Columns::of(row).next::<Option<bool>>()? == Some(true) {
        begin(connection)
            .await
            .map_err(TransactionError::into_failure)?;
    }
    Ok(())
}

/// Begins a new epoch, unless somebody else just has.
pub(crate) async fn begin(connection: &Connection) -> Result<(), TransactionError> {
    let [_, begun] = connection
        .transaction(Commit::Flushed, [(&STOP, &[]), (&BEGIN, &[])])
        .await?;
    if !begun.is_empty() {
        tracing::warn!("the database was restored: a new epoch of its journal begins");
    }
    Ok(())
}
