//! What can go wrong between the lifecycle and a store: first of all, whether it may have
//! happened.

use std::fmt;

/// The error below, kept for the log; it is never shown to a client.
pub type Cause = Box<dyn std::error::Error + Send + Sync>;

/// A verb did not end with a result. 'Held' and 'lost' are results, not errors.
#[derive(Debug)]
#[non_exhaustive]
pub enum StoreError {
    /// It did not happen, and it will not: no copy of the request is still on its way. It may be
    /// asked again.
    NotApplied(Cause),
    /// It may have happened. Repeating the verb with the same fence and step tells.
    OutcomeUnknown(Cause),
    /// It did not happen: there is no room.
    Full(Cause),
    /// It did not happen: the store takes no writes.
    ReadOnly(Cause),
    /// It did not happen: the store's data are damaged.
    Corrupt(Cause),
    /// It did not happen: this store cannot do that.
    Unsupported(&'static str),
    /// It did not happen: the cursor is not one of this store's.
    InvalidCursor,
}

impl StoreError {
    /// Whether the verb may have taken effect all the same.
    #[must_use]
    pub fn may_have_happened(&self) -> bool {
        matches!(self, Self::OutcomeUnknown(_))
    }

    /// Whether the same request may succeed when it is asked again at once.
    pub(crate) fn may_pass(&self) -> bool {
        matches!(self, Self::NotApplied(_) | Self::OutcomeUnknown(_))
    }
}

impl fmt::Display for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NotApplied(_) => "the store did not do it",
            Self::OutcomeUnknown(_) => "the store may have done it",
            Self::Full(_) => "the store is full",
            Self::ReadOnly(_) => "the store takes no writes",
            Self::Corrupt(_) => "the store's data are damaged",
            Self::Unsupported(what) => return write!(f, "the store cannot do this: {what}"),
            Self::InvalidCursor => "the cursor is not one of this store's",
        })
    }
}

impl std::error::Error for StoreError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::NotApplied(cause)
            | Self::OutcomeUnknown(cause)
            | Self::Full(cause)
            | Self::ReadOnly(cause)
            | Self::Corrupt(cause) => Some(&**cause),
            Self::Unsupported(_) | Self::InvalidCursor => None,
        }
    }
}
