//! Opening the file: the owner's lock, the right library, the pragmas, the layout.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::{Connection, ErrorCode, OpenFlags};

use crate::owner::OwnerLock;
use crate::{SqliteOptions, log, migrate};

/// SQLite before this version could damage a file when two connections wrote to its log at the
/// same moment.
const LIBRARY_MIN: i32 = 3_051_003;

/// How long a foreign process, a backup for example, may keep the file busy.
const BUSY: Duration = Duration::from_secs(5);

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
    pub(crate) lock: OwnerLock,
    pub(crate) owner: i64,
    pub(crate) writer: Connection,
    pub(crate) readers: Vec<Connection>,
}

pub(crate) fn open(path: &Path, options: &SqliteOptions) -> Result<Opened, OpenError> {
    if rusqlite::version_number() < LIBRARY_MIN {
        return Err(OpenError::Library(rusqlite::version()));
    }
    let path = resolve(path)?;
    let lock = OwnerLock::take(&path)?;
    let mut writer = connect(&path, OpenFlags::SQLITE_OPEN_CREATE)?;
    if writer.is_readonly("main")? {
        return Err(OpenError::ReadOnly);
    }
    migrate::inspect(&writer)?;
    configure(&writer)?;
    empty_the_log(&writer)?;
    if migrate::migrate(&mut writer, &*options.runtime)? {
        // The log is as long as all that was written anew.
        writer.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))?;
    }
    let new_epoch = options.new_epoch.then(|| options.runtime.random());
    let owner = migrate::take_ownership(&writer, new_epoch)?;
    let readers = (0..options.readers)
        .map(|_| reading(&path))
        .collect::<Result<_, _>>()?;
    Ok(Opened {
        path,
        lock,
        owner,
        writer,
        readers,
    })
}

/// The connection that writes, again: after an I/O error, what the old one kept in memory is not
/// to be trusted. It creates nothing: a file that has gone is an error.
pub(crate) fn reopen(path: &Path) -> rusqlite::Result<Connection> {
    let connection = connect(path, OpenFlags::empty())?;
    configure(&connection)?;
    empty_the_log(&connection)?;
    Ok(connection)
}

/// Copies the log into the file and flushes that. What a process that died, or a flush that
/// failed, has left in the log is shown by it and may not be on the disk; after this it is.
fn empty_the_log(connection: &Connection) -> rusqlite::Result<()> {
    let busy: i64 = connection.query_row("PRAGMA wal_checkpoint(RESTART)", [], |row| row.get(0))?;
    if busy == 0 {
        return Ok(());
    }
    let busy = rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_BUSY);
    let why = "another connection reads the log, and it could not be copied".to_owned();
    Err(rusqlite::Error::SqliteFailure(busy, Some(why)))
}

fn connect(path: &Path, create: OpenFlags) -> rusqlite::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX | create;
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
    log::watch(connection);
    Ok(())
}

fn reading(path: &Path) -> rusqlite::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    connection.busy_timeout(BUSY)?;
    connection.set_prepared_statement_cache_capacity(64);
    connection.pragma_update(None, "query_only", true)?;
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
