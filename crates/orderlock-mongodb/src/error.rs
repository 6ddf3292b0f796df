//! The one mapping from the driver's errors to the seam's: above all, whether it may have happened.

use std::sync::Arc;
use std::time::Duration;

use mongodb::bson::Bson;
use mongodb::error::{Error, ErrorKind, WriteFailure};
use orderlock_core::StoreError;

/// Codes with which a server says that it has not even begun: what was sent cannot be done, or it is
/// not the one to ask. Every other code leaves open whether the write took effect.
const REFUSED: [i32; 26] = [
    2, 9, 13, 14, 15, 18, 20, 22, 28, 40, 48, 52, 54, 55, 56, 57, 59, 61, 73, 115, 121, 10334,
    11000, 11001, 17419, 17420,
];

/// The same, but of a server that is not the primary: only where the driver has not sent the write
/// before, which it marks by a label.
const NOT_PRIMARY: [i32; 3] = [10107, 13435, 10058];

/// Codes of a document that the server never takes: a unique index, a validator, its size, its depth,
/// names of its members.
const CONSTRAINTS: [i32; 12] = [
    15, 22, 52, 55, 56, 57, 121, 10334, 11000, 11001, 17419, 17420,
];

/// Why a command did not come to a result. The words leave out what the server says in detail of a
/// write, because that may quote orders.
#[derive(Clone, Debug, thiserror::Error)]
pub(crate) enum Failure {
    /// The driver or the server says no.
    #[error("MongoDB: {}", words(.0))]
    Driver(Arc<Error>),
    /// There was no answer in time.
    #[error("MongoDB did not answer within {0:?}")]
    TimedOut(Duration),
    /// A document holds what no version of this program has written.
    #[error("a document cannot be read: {0}")]
    Unreadable(Arc<str>),
    /// The work itself says no; the server is well.
    #[error("{0}")]
    Impossible(Arc<str>),
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Driver(error.into())
    }
}

impl Failure {
    pub(crate) fn unreadable(what: impl Into<Arc<str>>) -> Self {
        Self::Unreadable(what.into())
    }

    /// The same failure, with the name of the document that it is about.
    pub(crate) fn in_document(self, what: &str, id: Option<&Bson>) -> Self {
        match (self, id) {
            (Self::Unreadable(why), Some(id)) => {
                Self::Unreadable(format!("{why}, in {what} with the `_id` {id}").into())
            }
            (other, _) => other,
        }
    }

    pub(crate) fn impossible(why: impl Into<Arc<str>>) -> Self {
        Self::Impossible(why.into())
    }

    /// The error of something that was only read, or certainly did not happen.
    pub(crate) fn not_applied(self) -> StoreError {
        match &self {
            Self::Unreadable(_) => StoreError::Corrupt(Box::new(self)),
            Self::Driver(error) if code(error) == Some(14031) => StoreError::Full(Box::new(self)),
            _ => StoreError::NotApplied(Box::new(self)),
        }
    }

    /// The same, of work that the store can never do: asking again does not help.
    pub(crate) fn refused(self) -> StoreError {
        match self {
            Self::Impossible(why) => {
                tracing::warn!(%why, "MongoDB cannot keep such an order");
                StoreError::Unsupported("MongoDB cannot keep such an order; the log says why")
            }
            other => other.not_applied(),
        }
    }

    /// The error of a write.
    pub(crate) fn of_a_write(self) -> StoreError {
        if self.may_have_happened() {
            StoreError::OutcomeUnknown(Box::new(self))
        } else {
            self.not_applied()
        }
    }

    /// Whether a write that failed so may have taken effect.
    pub(crate) fn may_have_happened(&self) -> bool {
        match self {
            Self::TimedOut(_) => true,
            Self::Unreadable(_) | Self::Impossible(_) => false,
            Self::Driver(error) => may_have_happened(error),
        }
    }

    /// Whether the server refuses the way in which it was asked: not a replica set, reads of what a
    /// majority has not enabled, options that it does not know.
    pub(crate) fn refuses_the_question(&self) -> bool {
        matches!(self, Self::Driver(error) if matches!(code(error), Some(72 | 115 | 123 | 148)))
    }

    /// Whether the server says that the shard's key is another than what orders are addressed by.
    pub(crate) fn misses_the_shard_key(&self) -> bool {
        matches!(self, Self::Driver(error) if code(error) == Some(61))
    }

    /// Whether a unique index stands in the way.
    pub(crate) fn is_duplicate(&self) -> bool {
        matches!(self, Self::Driver(error) if matches!(code(error), Some(11000 | 11001)))
    }

    /// Whether the server never takes such a document, with the words for it.
    pub(crate) fn constraint(&self) -> Option<&'static str> {
        let Self::Driver(error) = self else {
            return None;
        };
        let code = code(error).filter(|code| CONSTRAINTS.contains(code))?;
        Some(match code {
            11000 | 11001 => "a unique index of the collection refuses the order",
            121 => "the collection's validator refuses the order",
            15 | 22 => "the order is nested deeper than the server takes",
            52 | 55..=57 => "the server takes no member of such a name",
            _ => "the order's document is over MongoDB's size limit",
        })
    }
}

fn may_have_happened(error: &Error) -> bool {
    if error.contains_label("NoWritesPerformed") {
        return false;
    }
    match &*error.kind {
        ErrorKind::ServerSelection { .. }
        | ErrorKind::Authentication { .. }
        | ErrorKind::InvalidArgument { .. }
        | ErrorKind::DnsResolve { .. }
        | ErrorKind::InvalidTlsConfig { .. }
        | ErrorKind::ConnectionPoolCleared { .. } => false,
        _ => match code(error) {
            Some(code) if NOT_PRIMARY.contains(&code) => {
                error.contains_label("RetryableWriteError")
            }
            Some(code) => !REFUSED.contains(&code),
            None => true,
        },
    }
}

/// The server's code for the error, if the server has spoken.
fn code(error: &Error) -> Option<i32> {
    match &*error.kind {
        ErrorKind::Command(error) => Some(error.code),
        ErrorKind::Write(WriteFailure::WriteError(error)) => Some(error.code),
        ErrorKind::InsertMany(error) => {
            let errors = error.write_errors.as_ref()?;
            errors.first().map(|error| error.code)
        }
        _ => None,
    }
}

/// What may be told of an error: its kind and the server's code, and no values.
fn words(error: &Error) -> String {
    match (&*error.kind, code(error)) {
        (ErrorKind::Command(error), _) => {
            format!(
                "the server refuses with {} ({})",
                error.code_name, error.code
            )
        }
        (ErrorKind::Write(WriteFailure::WriteConcernError(error)), _) => {
            format!(
                "the write was not confirmed: {} ({})",
                error.code_name, error.code
            )
        }
        (_, Some(code)) => format!("the server refuses the write ({code})"),
        (ErrorKind::Io(error), _) => format!("the connection was lost: {error}"),
        (ErrorKind::ServerSelection { .. }, _) => {
            "no server that takes writes was found in time".to_owned()
        }
        (ErrorKind::Authentication { .. }, _) => "the server does not let this user in".to_owned(),
        (ErrorKind::ConnectionPoolCleared { .. }, _) => "the connections were given up".to_owned(),
        _ => "the command failed".to_owned(),
    }
}
