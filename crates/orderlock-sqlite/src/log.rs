//! How long the log is, and when it is copied into the file.

use std::cell::Cell;
use std::ffi::c_int;

use rusqlite::Connection;
use rusqlite::hooks::Wal;

/// Pages in the log from which on an idle moment is used for a checkpoint: 4 MiB.
const IDLE: i64 = 1_024;
/// Pages in the log from which on it is not waited for an idle moment: 64 MiB.
const MAX: i64 = 16 * 1_024;

thread_local! {
    /// How many pages the log had after this thread's last commit. SQLite tells that for nothing,
    /// where asking it costs as much as a small statement; but it tells a plain function, which has
    /// no other place to keep it.
    static PAGES: Cell<i64> = const { Cell::new(0) };
}

/// Has SQLite say after each commit how long the log is, to the thread that commits.
pub(crate) fn watch(connection: &Connection) {
    connection.wal_hook(Some(note));
}

fn note(_: &Wal, pages: c_int) -> rusqlite::Result<()> {
    PAGES.set(i64::from(pages));
    Ok(())
}

/// What the writing thread knows of its log. It may be wrong for a while, when a log that began
/// anew has outgrown the old one within one commit; then the checkpoint comes somewhat late.
#[derive(Debug, Default)]
pub(crate) struct LogLength {
    /// Pages in the log, when it was looked at last.
    pages: i64,
    /// How many of them are copied.
    copied: i64,
}

impl LogLength {
    /// Copies the log into the file if it is long, off the way of commits where that can be.
    /// Returns whether anything was copied. The log is neither cut nor removed: a flush that
    /// overwrites costs half of one that grows the file.
    pub(crate) fn keep_short(&mut self, connection: &Connection, idle: bool) -> bool {
        let pages = PAGES.get();
        if pages < self.pages {
            // Everything was copied, and the log has begun anew.
            self.copied = 0;
        }
        self.pages = pages;
        if pages - self.copied < if idle { IDLE } else { MAX } {
            return false;
        }
        let copied = connection
            .prepare_cached("PRAGMA wal_checkpoint(PASSIVE)")
            .and_then(|mut statement| statement.query_row([], |row| row.get(2)));
        match copied {
            Ok(copied) => {
                self.copied = copied;
                true
            }
            // The log keeps everything, and the next batch tries again.
            Err(error) => {
                tracing::warn!(%error, "a checkpoint failed");
                false
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_log_is_copied_in_an_idle_moment_and_begins_anew() {
        let folder = tempfile::tempdir().unwrap();
        let connection = Connection::open(folder.path().join("some.db")).unwrap();
        let set = "PRAGMA journal_mode = WAL; PRAGMA wal_autocheckpoint = 0; CREATE TABLE t (c)";
        connection.execute_batch(set).unwrap();
        watch(&connection);
        let write = |pages: i64| {
            let row = "INSERT INTO t VALUES (zeroblob(?1 * 4096))";
            connection.execute(row, [pages]).unwrap();
        };
        let mut log = LogLength::default();
        for _ in 0..3 {
            write(1);
            assert!(!log.keep_short(&connection, true), "it is short");
            write(IDLE);
            assert!(!log.keep_short(&connection, false), "nobody is idle");
            assert!(log.keep_short(&connection, true));
            assert!(!log.keep_short(&connection, true), "it is copied");
        }
        write(1);
        assert!(!log.keep_short(&connection, false));
        write(MAX);
        assert!(log.keep_short(&connection, false), "it cannot wait");
    }
}
