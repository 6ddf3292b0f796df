//! The file's layout, and its way from each version to the next.

use orderlock_core::{Runtime, Timestamp};
use rusqlite::{Connection, OptionalExtension as _, params};
use rusqlite_migration::{M, Migrations};

use crate::file::time;
use crate::open::OpenError;

/// "Olck", in SQLite's field for whose file it is.
const APPLICATION_ID: i64 = 0x4f6c_636b;

const STEPS: &[M<'_>] = &[
    M::up(include_str!("../../migrations/0001_orders_and_journal.sql")),
    M::up(include_str!("../../migrations/0002_newest_entries.sql")),
    M::up(include_str!("../../migrations/0003_answers_apart.sql")),
];

/// Refuses a file that is another program's or a newer one's, before anything is written to it.
pub(crate) fn inspect(connection: &Connection) -> Result<(), OpenError> {
    let id: i64 = connection.pragma_query_value(None, "application_id", |row| row.get(0))?;
    let found: i64 = connection.pragma_query_value(None, "user_version", |row| row.get(0))?;
    let known = i64::try_from(STEPS.len()).unwrap_or(i64::MAX);
    if id != APPLICATION_ID && (id != 0 || found != 0 || has_tables(connection)?) {
        return Err(OpenError::Foreign);
    }
    if found > known {
        return Err(OpenError::Newer { found, known });
    }
    Ok(())
}

/// Brings the file to this program's layout. A new file gets its own epoch.
///
/// Every step is one transaction, so that a file is never left between two versions.
pub(crate) fn migrate(connection: &mut Connection, runtime: &dyn Runtime) -> Result<(), OpenError> {
    connection.pragma_update(None, "application_id", APPLICATION_ID)?;
    Migrations::from_slice(STEPS)
        .to_latest(connection)
        .map_err(|error| match error {
            rusqlite_migration::Error::RusqliteError { err, .. } => err.into(),
            other => OpenError::Migration(Box::new(other)),
        })?;
    connection.execute(
        "INSERT INTO store (one, epoch, owner) VALUES (1, ?1, 0) ON CONFLICT DO NOTHING",
        [runtime.random().to_be_bytes()],
    )?;
    // A file without any entry has seen no time yet.
    connection.execute(
        "UPDATE store SET seen = ?1 WHERE seen = 0",
        [time::to_sql(runtime.wall())],
    )?;
    Ok(())
}

/// What the file says of itself.
#[derive(Clone, Copy, Debug)]
pub(crate) struct StoreRow {
    /// The time that was seen last.
    pub(crate) seen: Timestamp,
    /// Whether a process had it open and has not closed it.
    pub(crate) in_use: bool,
}

pub(crate) fn read_store(connection: &Connection) -> rusqlite::Result<StoreRow> {
    connection.query_row("SELECT seen, in_use FROM store", [], |row| {
        Ok(StoreRow {
            seen: time::from_sql(row.get(0)?),
            in_use: row.get(1)?,
        })
    })
}

/// When the newest entry was written.
pub(crate) fn newest_entry(connection: &Connection) -> rusqlite::Result<Option<Timestamp>> {
    let newest = "SELECT at FROM entries ORDER BY position DESC LIMIT 1";
    let at = connection.query_row(newest, [], |row| row.get(0));
    Ok(at.optional()?.map(time::from_sql))
}

/// Raises the owner's number, and so takes the file from whoever had it; the file is in use from
/// here on. Returns the new number.
pub(crate) fn take_ownership(
    connection: &Connection,
    new_epoch: Option<u128>,
) -> Result<i64, OpenError> {
    let number = connection.query_row(
        "UPDATE store SET owner = owner + 1, in_use = 1, epoch = coalesce(?1, epoch)
         RETURNING owner",
        params![new_epoch.map(u128::to_be_bytes)],
        |row| row.get(0),
    )?;
    Ok(number)
}

/// Says in the file that nobody has it open, and what time was seen last. False if it is another
/// process's by now.
pub(crate) fn end_use(
    connection: &Connection,
    owner: i64,
    seen: Timestamp,
) -> rusqlite::Result<bool> {
    let end = "UPDATE store SET in_use = 0, seen = ?2 WHERE owner = ?1";
    Ok(connection.execute(end, params![owner, time::to_sql(seen)])? == 1)
}

/// Keeps the time that was seen last: a small real write.
pub(crate) fn keep_time(connection: &Connection, seen: Timestamp) -> rusqlite::Result<()> {
    connection
        .prepare_cached("UPDATE store SET seen = ?1")?
        .execute([time::to_sql(seen)])
        .map(drop)
}

fn has_tables(connection: &Connection) -> rusqlite::Result<bool> {
    connection
        .query_row("SELECT 1 FROM sqlite_schema LIMIT 1", [], |_| Ok(()))
        .optional()
        .map(|found| found.is_some())
}

/// Makes a file as an earlier version of this program has made it.
#[cfg(test)]
pub(crate) fn make_layout(connection: &mut Connection, version: usize) {
    let id = connection.pragma_update(None, "application_id", APPLICATION_ID);
    id.expect("a new file takes a number");
    let made = Migrations::from_slice(&STEPS[..version]).to_latest(connection);
    made.expect("a new file takes a layout");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_step_is_valid() {
        Migrations::from_slice(STEPS).validate().unwrap();
    }
}
