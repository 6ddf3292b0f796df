//! The time by which answers and keys are forgotten: the database's, as far as it is believed. What
//! was seen of it last is kept in the database, for a store that is opened when the clock is wrong.

use orderlock_core::{StoreError, Timestamp};
use tokio_postgres::types::Type;

use crate::pool::connection::Connection;
use crate::sql::clock::ObservedClock;
use crate::sql::error::{Failure, TransactionError};
use crate::sql::rows::Columns;
use crate::sql::statement::{Commit, Sql};

/// What was seen last, and the time.
pub(crate) static SEEN: Sql = Sql {
    text: "SELECT seen, coalesce($1, clock_timestamp()) FROM store",
    types: &[&[Type::TIMESTAMPTZ]],
};

/// Keeps what is believed, unless somebody has lately. It tells that it did.
pub(crate) static KEEP: Sql = Sql {
    text: "UPDATE store SET seen = $1
        WHERE seen IS NULL OR abs(extract(epoch FROM seen - $1)) >= 1200 RETURNING true",
    types: &[&[Type::TIMESTAMPTZ]],
};

/// Begins to follow the clock of a database that was just opened.
pub(crate) async fn begin(connection: &Connection, clock: &ObservedClock) -> Result<(), Failure> {
    let rows = connection.query(&SEEN, &[&clock.parameter()]).await?;
    let row = rows.first();
    let row = row.ok_or_else(|| Failure::unreadable("the store has no row of its own"))?;
    let mut columns = Columns::of(row);
    let (seen, now): (Option<Timestamp>, Timestamp) = (columns.next()?, columns.next()?);
    clock.begin(seen.unwrap_or(now), now);
    if seen.is_none() {
        keep(connection, now)
            .await
            .map_err(TransactionError::into_failure)?;
    }
    Ok(())
}

/// Takes note of the time before something is forgotten: tells the one that is believed, and keeps
/// it from time to time.
pub(crate) async fn look(
    connection: &Connection,
    clock: &ObservedClock,
) -> Result<Timestamp, StoreError> {
    let rows = connection.query(&SEEN, &[&clock.parameter()]).await?;
    let row = rows.first();
    let row = row.ok_or_else(|| Failure::unreadable("the store has no row of its own"))?;
    let mut columns = Columns::of(row);
    columns.skip(1);
    let now = columns.next()?;
    clock.observe(now);
    let times = clock.times(now);
    if times.earliest == times.latest {
        keep(connection, now).await?;
    }
    Ok(times.earliest)
}

async fn keep(connection: &Connection, now: Timestamp) -> Result<(), TransactionError> {
    connection
        .transaction(Commit::Unflushed, [(&KEEP, &[&now])])
        .await
        .map(|[_]| ())
}
