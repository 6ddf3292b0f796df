//! Checkpoints: how long the write-ahead log is, and when it is copied into the file.

use std::cell::Cell;
use std::ffi::c_int;
use std::time::{Duration, Instant};

use rusqlite::Connection;
use rusqlite::hooks::Wal;

use crate::file::readers::Gate;

const PAGE: i64 = 4_096;
/// Pages in the log from which on an idle moment is used for a checkpoint: 4 MiB.
const IDLE: i64 = 1_024;
/// Pages in the log from which on it is not waited for an idle moment: 64 MiB.
const MAX: i64 = 16 * 1_024;
/// What is longer is given back, once the log begins anew.
pub(crate) const BYTES_MAX: i64 = MAX * PAGE;
/// When what could not be copied is tried again, if nothing was written meanwhile.
const AGAIN: Duration = Duration::from_secs(1);

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

/// Copies all of the log into the file, flushes that, and leaves the log empty. False if somebody
/// who reads stands in the way for longer than this: then the file alone is not whole.
pub(crate) fn fold(connection: &Connection, patience: Duration) -> rusqlite::Result<bool> {
    connection.busy_timeout(patience)?;
    let checkpoint = "PRAGMA wal_checkpoint(TRUNCATE)";
    let busy = connection.query_row(checkpoint, [], |row| row.get::<_, bool>(0));
    connection.busy_timeout(crate::open::BUSY)?;
    Ok(!busy?)
}

/// What the writing thread knows of its log. It may be wrong for a while, when a log that began
/// anew has outgrown the old one within one commit; then the checkpoint comes somewhat late.
#[derive(Debug)]
pub(crate) struct LogLength {
    idle: i64,
    max: i64,
    /// Pages in the log, when it was looked at last.
    pages: i64,
    /// How many of them are copied.
    copied: i64,
    /// How long it was when copying was tried last, and when that was.
    tried: Option<(i64, Instant)>,
    /// From how many pages on it is said that it cannot be copied: each time twice as many.
    warn_at: i64,
}

impl LogLength {
    pub(crate) fn new() -> Self {
        Self::bounded(IDLE, MAX)
    }

    fn bounded(idle: i64, max: i64) -> Self {
        Self {
            idle,
            max,
            pages: 0,
            copied: 0,
            tried: None,
            warn_at: 2 * max,
        }
    }

    pub(crate) fn bytes(&self) -> i64 {
        self.pages * PAGE
    }

    /// Copies the log into the file if it is long, off the way of commits where that can be.
    /// Returns whether anything was copied. The log is neither cut nor removed: a flush that
    /// overwrites costs half of one that grows the file.
    ///
    /// A reader keeps back what was written since it began. Ours are short, but there may always be
    /// one: when the log has become too long, they are held off for a moment. Whoever else reads the
    /// file cannot be, and is told of in the log for people.
    pub(crate) fn keep_short(
        &mut self,
        connection: &Connection,
        readers: &Gate,
        (idle, now): (bool, Instant),
    ) -> bool {
        let pages = PAGES.get();
        if pages < self.pages {
            // Everything was copied, and the log has begun anew.
            *self = Self::bounded(self.idle, self.max);
        }
        self.pages = pages;
        let too_long = pages - self.copied >= self.max;
        if !(too_long || idle && pages - self.copied >= self.idle) || !self.may_try(now) {
            return false;
        }
        self.tried = Some((pages, now));
        let copied = match too_long {
            true => readers.while_shut(|| copy(connection)),
            false => copy(connection),
        };
        match copied {
            Ok(copied) => {
                let some = copied > self.copied;
                self.copied = copied;
                self.warn_if_stuck();
                some
            }
            // The log keeps everything, and the next batch tries again.
            Err(error) => {
                tracing::warn!(%error, "a checkpoint failed");
                false
            }
        }
    }

    /// Whether it is not just what was tried in vain.
    fn may_try(&self, now: Instant) -> bool {
        self.tried.is_none_or(|(pages, at)| {
            self.pages - pages >= self.idle || now.saturating_duration_since(at) >= AGAIN
        })
    }

    fn warn_if_stuck(&mut self) {
        if self.copied < self.pages && self.pages >= self.warn_at {
            self.warn_at *= 2;
            tracing::warn!(
                mebibytes = self.bytes() / (1024 * 1024),
                "the log grows, because another program reads the file without an end (a backup, \
                 or an open shell); end it, and the log will be shortened"
            );
        }
    }
}

/// Copies what nobody's reading keeps back; returns how many pages are copied.
fn copy(connection: &Connection) -> rusqlite::Result<i64> {
    let mut checkpoint = connection.prepare_cached("PRAGMA wal_checkpoint(PASSIVE)")?;
    checkpoint.query_row([], |row| row.get(2))
}

#[cfg(test)]
mod tests {
    use super::*;

    const IDLE: i64 = 16;
    const MAX: i64 = 64;
    const BYTES_MAX: i64 = MAX * PAGE;

    struct Logged {
        connection: Connection,
        readers: Gate,
        log: LogLength,
        now: Instant,
        folder: tempfile::TempDir,
    }

    impl Logged {
        fn new() -> Self {
            let folder = tempfile::tempdir().unwrap();
            let connection = Connection::open(folder.path().join("some.db")).unwrap();
            let set = "PRAGMA journal_mode = WAL; PRAGMA wal_autocheckpoint = 0;
                CREATE TABLE t (c)";
            connection.execute_batch(set).unwrap();
            connection
                .pragma_update_and_check(None, "journal_size_limit", BYTES_MAX, |_| Ok(()))
                .unwrap();
            watch(&connection);
            Self {
                connection,
                readers: Gate::default(),
                log: LogLength::bounded(IDLE, MAX),
                now: Instant::now(),
                folder,
            }
        }

        fn write(&self, pages: i64) {
            let row = "INSERT INTO t VALUES (zeroblob(?1 * 4096))";
            self.connection.execute(row, [pages]).unwrap();
        }

        fn keep_short(&mut self, idle: bool) -> bool {
            let when = (idle, self.now);
            self.log.keep_short(&self.connection, &self.readers, when)
        }

        fn length(&self) -> i64 {
            let log = self.folder.path().join("some.db-wal");
            i64::try_from(log.metadata().unwrap().len()).unwrap()
        }

        /// A program that reads the file until its transaction is ended.
        fn foreign_reader(&self) -> Connection {
            let reader = Connection::open(self.folder.path().join("some.db")).unwrap();
            let read = "BEGIN; SELECT count(*) FROM t";
            reader.execute_batch(read).unwrap();
            reader
        }
    }

    #[test]
    fn a_long_log_is_copied_in_an_idle_moment_and_begins_anew() {
        let mut logged = Logged::new();
        for _ in 0..3 {
            logged.write(1);
            assert!(!logged.keep_short(true), "it is short");
            logged.write(IDLE);
            assert!(!logged.keep_short(false), "nobody is idle");
            assert!(logged.keep_short(true));
            assert!(!logged.keep_short(true), "it is copied");
        }
        logged.write(1);
        assert!(!logged.keep_short(false));
        logged.write(MAX);
        assert!(logged.keep_short(false), "it cannot wait");
    }

    #[test]
    fn a_log_that_a_reader_has_kept_long_is_shortened_when_the_reader_has_gone() {
        let mut logged = Logged::new();
        let reader = logged.foreign_reader();
        for _ in 0..3 {
            logged.write(MAX);
            logged.keep_short(false);
            assert!(!logged.keep_short(false), "it was tried just now");
        }
        assert!(logged.log.warn_at > 2 * MAX, "somebody is told");
        assert!(logged.length() > 3 * BYTES_MAX);
        reader.execute_batch("COMMIT").unwrap();
        // Nothing is written, and a little time has passed.
        logged.now += AGAIN;
        assert!(logged.keep_short(true));
        logged.write(1);
        assert!(logged.length() <= BYTES_MAX, "{}", logged.length());
        assert!(!logged.keep_short(true), "and it is short again");
    }
}
