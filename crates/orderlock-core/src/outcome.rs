//! What a handler returns, and what is told to the client for it.

use bytes::Bytes;

use crate::problem::Problem;
use crate::{Document, OperationName, Target, Times, Version};

/// What a handler returns. The lifecycle applies it; the handler never saves and never unlocks.
#[must_use = "an outcome takes effect only when the handler returns it"]
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Outcome<T> {
    /// The order changed: update and unlock in one write.
    Applied(T),
    /// The order changed, and something went wrong: update and unlock in one write; the problem's
    /// status stays.
    AppliedWithError(T, Problem),
    /// A handled error, and nothing changed: unlock. The answer is stored unless the operation
    /// opts out.
    Refused(Problem),
    /// The order already is as asked: a stored success that moves no version.
    Unchanged,
}

impl<T, P: Into<Problem>> From<Result<T, P>> for Outcome<T> {
    fn from(result: Result<T, P>) -> Self {
        match result {
            Ok(order) => Self::Applied(order),
            Err(refusal) => Self::Refused(refusal.into()),
        }
    }
}

/// What a journal entry says of its settle.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum OutcomeKind {
    /// The order was created.
    Created,
    /// The order changed.
    Applied,
    /// The order changed, and something went wrong.
    AppliedWithError,
    /// Nothing changed: the operation was refused.
    Refused,
    /// Nothing changed: the order already was as asked.
    Unchanged,
    /// The order changed, and the operation goes on: never an answer.
    Checkpoint,
    /// An operator broke the lease. Nothing changed.
    LeaseBroken,
    /// An operator cleared a mark, so that the operation may run again. Nothing changed.
    MarkCleared,
}

impl OutcomeKind {
    /// Every kind, for tables and tests.
    pub const ALL: [Self; 8] = [
        Self::Created,
        Self::Applied,
        Self::AppliedWithError,
        Self::Refused,
        Self::Unchanged,
        Self::Checkpoint,
        Self::LeaseBroken,
        Self::MarkCleared,
    ];

    /// The word for it in answers and in stores.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Created => "created",
            Self::Applied => "applied",
            Self::AppliedWithError => "appliedWithError",
            Self::Refused => "refused",
            Self::Unchanged => "unchanged",
            Self::Checkpoint => "checkpoint",
            Self::LeaseBroken => "leaseBroken",
            Self::MarkCleared => "markCleared",
        }
    }

    /// The kind that a word stands for.
    #[must_use]
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == word)
    }

    /// Whether such a settle ends its key: at most one final entry exists for each.
    #[must_use]
    pub fn is_final(self) -> bool {
        match self {
            Self::Created
            | Self::Applied
            | Self::AppliedWithError
            | Self::Refused
            | Self::Unchanged => true,
            Self::Checkpoint | Self::LeaseBroken | Self::MarkCleared => false,
        }
    }

    /// Whether such an entry, which is not final, binds its key all the same: to what was asked, and
    /// to the count of its runs.
    #[must_use]
    pub fn binds(self) -> bool {
        match self {
            Self::Checkpoint | Self::MarkCleared => true,
            Self::Created
            | Self::Applied
            | Self::AppliedWithError
            | Self::Refused
            | Self::Unchanged
            | Self::LeaseBroken => false,
        }
    }

    /// Whether such a settle moves the version.
    #[must_use]
    pub fn moves_version(self) -> bool {
        match self {
            Self::Created | Self::Applied | Self::AppliedWithError | Self::Checkpoint => true,
            Self::Refused | Self::Unchanged | Self::LeaseBroken | Self::MarkCleared => false,
        }
    }
}

/// An answer as it is stored and replayed, byte for byte. Its fields are the allow-list of what a
/// replay returns: never a date, never a cookie.
#[derive(Clone, PartialEq, Eq)]
pub struct Answer {
    /// The HTTP status.
    pub status: u16,
    /// The media type of the body.
    pub content_type: String,
    /// Where the created order is.
    pub location: Option<String>,
    /// The version that the answer shows.
    pub version: Option<Version>,
    /// The body.
    pub body: Bytes,
}

impl std::fmt::Debug for Answer {
    /// Shows no body: it is the user's data and stays out of logs.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Answer")
            .field("status", &self.status)
            .field("content_type", &self.content_type)
            .field("location", &self.location)
            .field("version", &self.version)
            .field("bytes", &self.body.len())
            .finish()
    }
}

/// An operation that is about to settle, as far as its answer depends on it.
#[derive(Clone, Copy, Debug)]
pub struct SettledView<'a> {
    /// Which order.
    pub target: &'a Target,
    /// Which operation.
    pub operation: &'a OperationName,
    /// What kind of outcome.
    pub outcome: OutcomeKind,
    /// The problem of a refusal or a partial success.
    pub problem: Option<&'a Problem>,
    /// The order as the settle leaves it.
    pub document: &'a Document,
    /// Its version after the settle.
    pub version: Version,
    /// Its times after the settle.
    pub times: Times,
}

/// Renders answers. It is called between the handler and the settle, because the answer is
/// written by the same write as the change; a panic in it is caught like one of the handler.
pub trait Answers: std::fmt::Debug + Send + Sync + 'static {
    /// The answer that the client gets now and on every retry.
    fn answer(&self, settled: SettledView<'_>) -> Answer;

    /// The media type and body of a problem that is answered but not stored, with the order where
    /// it helps.
    fn problem(&self, problem: &Problem, order: Option<SettledView<'_>>) -> Answer;
}

/// Several lifecycles may share one.
impl<A: Answers + ?Sized> Answers for std::sync::Arc<A> {
    fn answer(&self, settled: SettledView<'_>) -> Answer {
        (**self).answer(settled)
    }

    fn problem(&self, problem: &Problem, order: Option<SettledView<'_>>) -> Answer {
        (**self).problem(problem, order)
    }
}
