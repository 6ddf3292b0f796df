//! The database file: its rows, its indices, its log, and the connections that read it.

pub(crate) mod error;
pub(crate) mod journal;
pub(crate) mod key_index;
pub(crate) mod keys;
pub(crate) mod readers;
pub(crate) mod rows;
pub(crate) mod time;
pub(crate) mod wal;

use rusqlite::Connection;

/// Runs a statement without parameters and without rows.
pub(crate) fn run(connection: &Connection, statement: &str) -> rusqlite::Result<()> {
    connection.prepare_cached(statement)?.execute([]).map(drop)
}
