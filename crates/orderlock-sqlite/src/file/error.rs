//! The one mapping from SQLite's errors to the seam's.

use std::fmt;
use std::sync::Arc;

use orderlock_core::StoreError;
use rusqlite::ErrorCode;

/// Why a piece of work did not come to a result.
#[derive(Debug)]
pub(crate) enum Fault {
    /// SQLite failed.
    Sql(rusqlite::Error),
    /// The work itself says no; the file is well.
    Refused(StoreError),
}

impl From<rusqlite::Error> for Fault {
    fn from(error: rusqlite::Error) -> Self {
        Self::Sql(error)
    }
}

impl Fault {
    /// Whether it lies in what was asked for, and neither in the disk nor in the connection:
    /// others in the same transaction are well.
    pub(crate) fn is_its_own(&self) -> bool {
        match self {
            Self::Refused(_) => true,
            Self::Sql(error) => error.sqlite_error_code().is_none(),
        }
    }

    /// Nothing was applied, for a reason that a person can read.
    pub(crate) fn refused(reason: impl Into<String>) -> Self {
        Self::Refused(StoreError::NotApplied(reason.into().into()))
    }

    /// A row holds what no version of this program has written.
    pub(crate) fn damaged(what: &'static str) -> Self {
        Self::Refused(StoreError::Corrupt(what.into()))
    }
}

impl From<Fault> for StoreError {
    fn from(fault: Fault) -> Self {
        match fault {
            Fault::Sql(error) => SqlError::from(error).not_applied(),
            Fault::Refused(error) => error,
        }
    }
}

/// An error that every job of a batch is told.
#[derive(Clone, Debug)]
pub(crate) struct SqlError(Arc<rusqlite::Error>);

impl From<rusqlite::Error> for SqlError {
    fn from(error: rusqlite::Error) -> Self {
        Self(error.into())
    }
}

impl fmt::Display for SqlError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl std::error::Error for SqlError {}

impl SqlError {
    /// The error of something that certainly did not happen.
    pub(crate) fn not_applied(self) -> StoreError {
        use rusqlite::Error as E;
        let unreadable = matches!(
            &*self.0,
            E::FromSqlConversionFailure(..)
                | E::InvalidColumnType(..)
                | E::IntegralValueOutOfRange(..)
        );
        let cause = Box::new(self.clone());
        match self.code() {
            _ if unreadable => StoreError::Corrupt(cause),
            Some(ErrorCode::DiskFull) => StoreError::Full(cause),
            Some(ErrorCode::ReadOnly) => StoreError::ReadOnly(cause),
            Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => {
                StoreError::Corrupt(cause)
            }
            _ => StoreError::NotApplied(cause),
        }
    }

    /// The error of a commit that failed. SQLite says of a full disk, a busy file and a file
    /// without the right to write that the commit did not happen; of anything else, an I/O error
    /// above all, nobody knows what has reached the disk.
    pub(crate) fn at_commit(self) -> StoreError {
        if self.nothing_reached_the_disk() {
            self.not_applied()
        } else {
            StoreError::OutcomeUnknown(Box::new(self))
        }
    }

    pub(crate) fn nothing_reached_the_disk(&self) -> bool {
        matches!(
            self.code(),
            Some(
                ErrorCode::DiskFull
                    | ErrorCode::DatabaseBusy
                    | ErrorCode::DatabaseLocked
                    | ErrorCode::ReadOnly
                    | ErrorCode::ConstraintViolation
            )
        )
    }

    pub(crate) fn sqlite(&self) -> &rusqlite::Error {
        &self.0
    }

    fn code(&self) -> Option<ErrorCode> {
        self.0.sqlite_error_code()
    }
}

/// Whether SQLite refuses these very values, so that asking again can never help.
pub(crate) fn refuses_the_values(error: &rusqlite::Error) -> bool {
    matches!(
        error.sqlite_error_code(),
        Some(ErrorCode::ConstraintViolation | ErrorCode::TooBig)
    )
}

/// Whether the connection is better thrown away: what it keeps in memory may differ from what is
/// on the disk.
pub(crate) fn spoils_the_connection(error: &rusqlite::Error) -> bool {
    matches!(
        error.sqlite_error_code(),
        Some(
            ErrorCode::SystemIoFailure
                | ErrorCode::DatabaseCorrupt
                | ErrorCode::NotADatabase
                | ErrorCode::CannotOpen
                | ErrorCode::OutOfMemory
                | ErrorCode::InternalMalfunction
        )
    )
}
