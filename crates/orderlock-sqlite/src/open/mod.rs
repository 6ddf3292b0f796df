//! Opening the file: the owner's lock, the right library, the pragmas, the layout.

pub(crate) mod files;
pub(crate) mod migrate;
pub(crate) mod owner;
pub(crate) mod secure;

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use orderlock_core::Timestamp;
use rusqlite::config::DbConfig;
use rusqlite::{Connection, ErrorCode, OpenFlags};

use crate::SqliteOptions;
use crate::file::wal;
use crate::open::files::{Files, beside};
use crate::open::owner::{OwnerLock, own_file};
use crate::open::secure::{Unsecured, secure};

/// SQLite before this version could damage a file when two connections wrote to its log at the
/// same moment.
const LIBRARY_MIN: i32 = 3_051_003;

/// How long a foreign process, a backup for example, may keep the file busy.
pub(crate) const BUSY: Duration = Duration::from_secs(5);

/// How long it may keep a stop waiting.
const LEAVING: Duration = Duration::from_secs(1);

/// Why a file could not be opened. Nothing was changed in it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// Another process, or another store in this one, has the file open.
    #[error(
        "{path} is in use by {}; a file has one owner: stop that one first, or give this one \
         another file",
        owner(*.pid)
    )]
    Owned {
        /// The database.
        path: PathBuf,
        /// The owner's process, if it has written its number down already.
        pid: Option<u32>,
    },
    /// The folder or the file cannot be used.
    #[error("{path} cannot be opened; check that its folder exists and that it may be written")]
    Io {
        /// Which file or folder.
        path: PathBuf,
        /// What the operating system says.
        #[source]
        error: io::Error,
    },
    /// The file is missing or empty, and its log is there, with what was written last.
    #[error(
        "{path} is missing or empty, but its log is there ({path}-wal) with what was written last: \
         put the file back beside it, or remove the log if neither is needed"
    )]
    LogAlone {
        /// The database.
        path: PathBuf,
    },
    /// The file goes by several names, of which each would have a log and an owner of its own.
    #[error(
        "{path} goes by another name too (a hard link), under which a second process could write \
         it: remove that name, or put a copy there"
    )]
    Linked {
        /// The database.
        path: PathBuf,
    },
    /// The file may not be written.
    #[error("the file may be read but not written; give this process the right to write it")]
    ReadOnly,
    /// The file was written by a later version of this program.
    #[error(
        "the file has layout {found}, and this program knows layouts up to {known}: a newer \
         program has written it; use that one"
    )]
    Newer {
        /// The file's layout.
        found: i64,
        /// The newest layout that this program knows.
        known: i64,
    },
    /// The file is an SQLite database of something else.
    #[error("the file is a database of another program; give the store a file of its own")]
    Foreign,
    /// The file is no SQLite database.
    #[error("the file is not an SQLite database; give the store a file of its own")]
    NotADatabase(#[source] rusqlite::Error),
    /// The file is damaged.
    #[error("the file is damaged; restore it from a backup")]
    Corrupt(#[source] rusqlite::Error),
    /// What the log beside the file shows could not be brought to the disk.
    #[error(
        "the log beside {path} could not be brought to the disk; check the disk, or restore the \
         file from a backup"
    )]
    Log {
        /// The database.
        path: PathBuf,
        /// What stood in the way.
        #[source]
        error: io::Error,
    },
    /// The layout could not be brought up to date.
    #[error("the file's layout could not be brought up to date")]
    Migration(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The SQLite library is too old to be trusted with a write-ahead log.
    #[error("SQLite {0} is too old: the store needs 3.51.3 or later")]
    Library(&'static str),
    /// The thread that writes could not be started.
    #[error("the writing thread could not be started")]
    Thread(#[source] io::Error),
    /// SQLite failed otherwise.
    #[error("SQLite could not open the file")]
    Sqlite(#[source] rusqlite::Error),
}

fn owner(pid: Option<u32>) -> String {
    pid.map_or_else(
        || "another process".to_owned(),
        |pid| format!("process {pid}"),
    )
}

impl From<rusqlite::Error> for OpenError {
    fn from(error: rusqlite::Error) -> Self {
        match error.sqlite_error_code() {
            Some(ErrorCode::NotADatabase) => Self::NotADatabase(error),
            Some(ErrorCode::DatabaseCorrupt) => Self::Corrupt(error),
            Some(ErrorCode::ReadOnly) => Self::ReadOnly,
            _ => Self::Sqlite(error),
        }
    }
}

/// A file that this process owns.
#[derive(Debug)]
pub(crate) struct Opened {
    pub(crate) path: PathBuf,
    pub(crate) files: Files,
    pub(crate) lock: OwnerLock,
    pub(crate) owner: i64,
    /// Whether the file was copied or left without its log while it was in use.
    #[cfg_attr(
        not(test),
        allow(dead_code, reason = "it is told in the log for people")
    )]
    pub(crate) log_is_missing: bool,
    /// The time that was seen last.
    pub(crate) seen: Timestamp,
    pub(crate) writer: Connection,
    pub(crate) readers: Vec<Connection>,
}

pub(crate) fn open(path: &Path, options: &SqliteOptions) -> Result<Opened, OpenError> {
    if rusqlite::version_number() < LIBRARY_MIN {
        return Err(OpenError::Library(rusqlite::version()));
    }
    let path = resolve(path)?;
    let failed = |error| OpenError::Io {
        path: path.clone(),
        error,
    };
    let lock = OwnerLock::take(&path)?;
    // SQLite takes a log beside no file for nobody's, and removes it.
    if bytes(&path) == 0 && bytes(&beside(&path, "-wal")) > 0 {
        return Err(OpenError::LogAlone { path });
    }
    if has_two_names(&path) {
        return Err(OpenError::Linked { path });
    }
    // Whoever may read the file has the installation's secret.
    if !path.exists() {
        own_file(&path).map_err(failed)?;
    }
    warn_of_readers(&path);
    let log_was_there = beside(&path, "-wal").exists();
    let mut writer = connect(&path)?;
    if writer.is_readonly("main")? {
        return Err(OpenError::ReadOnly);
    }
    migrate::inspect(&writer)?;
    configure(&writer)?;
    secure(&writer, &beside(&path, "-wal")).map_err(|unsecured| match unsecured {
        Unsecured::Sql(error) => error.into(),
        Unsecured::Io(error) => OpenError::Log {
            path: path.clone(),
            error,
        },
    })?;
    migrate::migrate(&mut writer, &*options.runtime)?;
    let before = migrate::read_store(&writer)?;
    let log_is_missing = before.in_use && !log_was_there;
    if log_is_missing {
        warn_of_a_missing_log(&writer, &path)?;
    }
    let new_epoch = options.new_epoch.then(|| options.runtime.random());
    let owner = migrate::take_ownership(&writer, new_epoch)?;
    // So that the file alone says what it is, and the log is as short as it can be. It is enough to
    // have tried: the log is secured, whoever reads it.
    if let Err(error) = wal::fold(&writer, Duration::ZERO) {
        tracing::warn!(%error, "the log could not be copied into the file");
    }
    let readers = (0..options.readers.max(2))
        .map(|_| reading(&path))
        .collect::<Result<_, _>>()?;
    Ok(Opened {
        files: Files::of(&path).map_err(failed)?,
        lock,
        owner,
        log_is_missing,
        seen: before.seen,
        writer,
        readers,
        path,
    })
}

/// The connection that writes, again: after an I/O error, what the old one kept in memory is not
/// to be trusted. It creates nothing: a file that has gone is an error.
pub(crate) fn reopen(path: &Path, files: &Files) -> Result<Connection, Unsecured> {
    files.check()?;
    let connection = connect(path)?;
    configure(&connection)?;
    secure(&connection, &beside(path, "-wal"))?;
    Ok(connection)
}

/// Closes the connection that writes, and leaves the file whole: true if it is, and the log is gone.
/// Nobody else in this process has the file open.
pub(crate) fn close(connection: Connection, owner: i64, seen: Timestamp) -> rusqlite::Result<bool> {
    let ended = migrate::end_use(&connection, owner, seen)?;
    let whole = ended && wal::fold(&connection, LEAVING)?;
    // The log is empty, and goes with the last connection.
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, !whole)?;
    connection.close().map_err(|(_, error)| error)?;
    Ok(whole)
}

/// How long a file is; one that is not there is empty.
fn bytes(path: &Path) -> u64 {
    path.metadata().map_or(0, |file| file.len())
}

#[cfg(unix)]
fn has_two_names(path: &Path) -> bool {
    use std::os::unix::fs::MetadataExt as _;
    path.metadata().is_ok_and(|file| file.nlink() > 1)
}

#[cfg(not(unix))]
fn has_two_names(_: &Path) -> bool {
    false
}

/// The file of an earlier build, or of a copy, may be open to everybody. It is not closed to them
/// here: a group may have been given the right to read it.
#[cfg(unix)]
fn warn_of_readers(path: &Path) {
    use std::os::unix::fs::PermissionsExt as _;
    let mode = path.metadata().map_or(0, |file| file.permissions().mode());
    if mode & 0o007 != 0 {
        tracing::warn!(
            path = %path.display(), mode = format!("{:o}", mode & 0o777),
            "every user of this machine may read the orders and the installation's secret; \
             take that right away (chmod 600)"
        );
    }
}

#[cfg(not(unix))]
fn warn_of_readers(_: &Path) {}

/// A copy that was made while a process had the file open, without the log beside it; or a file
/// whose log was removed. Copies that SQLite makes (`.backup`, `VACUUM INTO`) look the same and are
/// whole: nobody can tell but who made it.
fn warn_of_a_missing_log(connection: &Connection, path: &Path) -> Result<(), OpenError> {
    let newest = migrate::newest_entry(connection)?.map(|at| at.to_string());
    tracing::warn!(
        path = %path.display(), newest_entry = newest.as_deref().unwrap_or("none"),
        "this file was copied or left while a process had it open, and its log (-wal) is not \
         beside it; unless SQLite itself made the copy (.backup, VACUUM INTO), whatever came after \
         the newest entry is missing: check that before you go on"
    );
    Ok(())
}

fn connect(path: &Path) -> rusqlite::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    connection.busy_timeout(BUSY)?;
    connection.set_prepared_statement_cache_capacity(64);
    Ok(connection)
}

/// Makes it the one connection that writes and checkpoints.
fn configure(connection: &Connection) -> rusqlite::Result<()> {
    let mode: String =
        connection.pragma_update_and_check(None, "journal_mode", "WAL", |row| row.get(0))?;
    if mode != "wal" {
        // Without it a commit would block every reader, and this store is not made for that.
        let cannot = rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_CANTOPEN);
        let why = "the file system cannot keep a write-ahead log".to_owned();
        return Err(rusqlite::Error::SqliteFailure(cannot, Some(why)));
    }
    // A commit is written and not flushed: the writer has the log flushed beside it, and answers
    // after that. Checkpoints flush by themselves, the log first. The other two matter on macOS
    // alone, where a plain flush stops at the drive's cache.
    connection.pragma_update(None, "synchronous", "NORMAL")?;
    connection.pragma_update(None, "fullfsync", true)?;
    connection.pragma_update(None, "checkpoint_fullfsync", true)?;
    // What a row refers to was written before it in the same transaction or stands for ever: neither
    // orders nor entries are removed. To have each insert look for it cost a twentieth of a settle;
    // the tests look through the whole file instead.
    connection.pragma_update(None, "foreign_keys", false)?;
    connection.pragma_update(None, "temp_store", "MEMORY")?;
    // In KiB, as SQLite has it: what a full batch touches stays in memory until its commit.
    connection.pragma_update(None, "cache_size", -32 * 1024)?;
    // The writer decides when to checkpoint: never between a commit and its answers.
    connection.pragma_update_and_check(None, "wal_autocheckpoint", 0, |_| Ok(()))?;
    // Once everything in it is copied and the log begins anew, what is longer is given back.
    let most = wal::BYTES_MAX;
    connection.pragma_update_and_check(None, "journal_size_limit", most, |_| Ok(()))?;
    // Nor when it is closed: the file is whole only when the writer says so.
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)?;
    wal::watch(connection);
    Ok(())
}

fn reading(path: &Path) -> rusqlite::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    connection.busy_timeout(BUSY)?;
    connection.set_prepared_statement_cache_capacity(64);
    connection.pragma_update(None, "query_only", true)?;
    connection.pragma_update(None, "temp_store", "MEMORY")?;
    // From here on every file that it reads is open: no read fails because there are too many.
    connection.query_row("SELECT one FROM store", [], |_| Ok(()))?;
    Ok(connection)
}

/// One name for each file, so that two ways to it meet at the same lock.
fn resolve(path: &Path) -> Result<PathBuf, OpenError> {
    let failed = |error| OpenError::Io {
        path: path.to_owned(),
        error,
    };
    if path.exists() {
        return path.canonicalize().map_err(failed);
    }
    let Some(name) = path.file_name() else {
        return Err(failed(io::ErrorKind::InvalidFilename.into()));
    };
    let folder = match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    Ok(folder.canonicalize().map_err(failed)?.join(name))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn log_is_missing(path: &Path) -> bool {
        open(path, &SqliteOptions::default())
            .unwrap()
            .log_is_missing
    }

    /// A copy of the file alone, made while it was open, says so; SQLite's own copies cannot say
    /// that they are whole.
    #[test]
    fn a_copy_without_its_log_is_told_of() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("orders.db");
        let copy = |name: &str| folder.path().join(name);
        let opened = open(&path, &SqliteOptions::default()).unwrap();
        assert!(!opened.log_is_missing, "it is new");
        fs::copy(&path, copy("alone.db")).unwrap();
        fs::copy(&path, copy("both.db")).unwrap();
        fs::copy(beside(&path, "-wal"), copy("both.db-wal")).unwrap();
        assert!(log_is_missing(&copy("alone.db")));
        assert!(!log_is_missing(&copy("both.db")), "as after a power cut");
        drop(opened.readers);
        assert!(close(opened.writer, opened.owner, opened.seen).unwrap());
        drop(opened.lock);
        fs::copy(&path, copy("closed.db")).unwrap();
        assert!(!log_is_missing(&copy("closed.db")));
        assert!(!log_is_missing(&path));
    }
}
