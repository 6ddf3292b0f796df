//! The settle, of the group of orders. What is asked: what it changes, the entry it writes, and which
//! part of its operation it is. What is answered: whether it was accepted, and when it is durable.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;

use super::{Acquire, Acquired, Claim, Receipt, StoreError};
use crate::{
    Answer, Document, Fence, LeaseEvent, OperationName, OutcomeKind, OwnedIndex, Timestamp, Version,
};

/// What a settle changes.
#[derive(Clone, Debug)]
pub struct Change {
    /// The order as it was locked: a store may write only the difference.
    pub before: Document,
    /// The order as it is to be.
    pub after: Document,
    /// What lists can filter it by.
    pub index: OwnedIndex,
    /// When it changed, by the store's clock as told with the grant.
    pub at: Timestamp,
}

/// How long an answer is kept, both counted from the settle by the store's clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retention {
    /// How long a retry gets the stored answer.
    pub answer: Duration,
    /// How long the key is known to have been used.
    pub tombstone: Duration,
}

impl Retention {
    /// That of an act which leaves no answer, and so has none to retain.
    pub const NONE: Self = Self {
        answer: Duration::ZERO,
        tombstone: Duration::ZERO,
    };
}

/// What an entry says whatever its outcome is, as the lifecycle decides it.
#[derive(Clone, Debug)]
pub struct NewEntry {
    /// Which operation.
    pub operation: OperationName,
    /// Which run of the key.
    pub attempt: u32,
    /// When, by the store's clock as told with the grant.
    pub at: Timestamp,
    /// How long the answer is kept, and for how long the key is known to have been used.
    pub retention: Retention,
}

/// See [`OrderStore::settle`](super::OrderStore::settle).
#[derive(Clone, Debug)]
pub struct Settle {
    /// Whose operation on which order.
    pub claim: Claim,
    /// The grant that settles.
    pub fence: Fence,
    /// Which settle of this grant it is, from 0.
    pub step: u32,
    /// The version that the grant (or the last checkpoint) left.
    pub version: Version,
    /// The entry.
    pub entry: NewEntry,
    /// What is written, and so what becomes of lease, mark and key.
    pub part: Part,
}

/// Which part of an operation a settle is. It alone decides whether lease and mark outlive it.
#[derive(Clone, Debug)]
pub enum Part {
    /// The order changes and the operation goes on: lease and mark stay, and the key has no answer.
    Checkpoint(Change),
    /// The operation ends: its key has the answer for good, and lease and mark end.
    Final {
        /// How it ends.
        end: Final,
        /// Asked in the same step, with all of acquire's checks.
        next: Option<Box<Acquire>>,
    },
}

/// The end of an operation.
#[derive(Clone, Debug)]
pub struct Final {
    /// How it ended, with what it changes.
    pub outcome: FinalOutcome,
    /// The answer that the client gets now, and every retry of the key within the retention.
    pub answer: Answer,
}

/// How an operation can end. Only an end that moves the version can carry a change, and it has to.
#[derive(Clone, Debug)]
pub enum FinalOutcome {
    /// The order changed.
    Applied(Change),
    /// The order changed, and something went wrong.
    AppliedWithError(Change),
    /// Nothing changed: the operation was refused.
    Refused,
    /// Nothing changed: the order already was as asked.
    Unchanged,
}

impl FinalOutcome {
    /// The word for it, as its entry has it.
    #[must_use]
    pub fn kind(&self) -> OutcomeKind {
        match self {
            Self::Applied(_) => OutcomeKind::Applied,
            Self::AppliedWithError(_) => OutcomeKind::AppliedWithError,
            Self::Refused => OutcomeKind::Refused,
            Self::Unchanged => OutcomeKind::Unchanged,
        }
    }

    /// What it changes.
    #[must_use]
    pub fn change(&self) -> Option<&Change> {
        match self {
            Self::Applied(change) | Self::AppliedWithError(change) => Some(change),
            Self::Refused | Self::Unchanged => None,
        }
    }
}

impl Settle {
    /// The word for the outcome, as the entry has it.
    #[must_use]
    pub fn outcome(&self) -> OutcomeKind {
        match &self.part {
            Part::Checkpoint(_) => OutcomeKind::Checkpoint,
            Part::Final { end, .. } => end.outcome.kind(),
        }
    }

    /// What it changes.
    #[must_use]
    pub fn change(&self) -> Option<&Change> {
        match &self.part {
            Part::Checkpoint(change) => Some(change),
            Part::Final { end, .. } => end.outcome.change(),
        }
    }

    /// The answer that it stores.
    #[must_use]
    pub fn answer(&self) -> Option<&Answer> {
        match &self.part {
            Part::Checkpoint(_) => None,
            Part::Final { end, .. } => Some(&end.answer),
        }
    }

    /// Who is to have the order next, if that is asked in the same step.
    #[must_use]
    pub fn next(&self) -> Option<&Acquire> {
        match &self.part {
            Part::Checkpoint(_) => None,
            Part::Final { next, .. } => next.as_deref(),
        }
    }

    /// Whether the operation ends with it, and with the operation its lease.
    #[must_use]
    pub fn is_final(&self) -> bool {
        matches!(self.part, Part::Final { .. })
    }

    /// What it does to the order's lock: the event that [`LeaseState::next`] is asked about.
    ///
    /// [`LeaseState::next`]: crate::LeaseState::next
    #[must_use]
    pub fn event(&self) -> LeaseEvent {
        match &self.part {
            Part::Checkpoint(_) => LeaseEvent::Checkpointed(self.fence),
            Part::Final { .. } => LeaseEvent::Settled(self.fence),
        }
    }
}

/// What became of a `settle`.
#[derive(Debug)]
pub enum Settled {
    /// It will take effect unless `durable` says otherwise.
    Accepted(Accepted),
    /// The grant is gone: nothing was applied.
    Lost(Loss),
    /// The store can never take it (too large, refused by a constraint): nothing was applied, and
    /// the lease is released.
    Impossible(String),
}

/// A settle that was accepted.
///
/// It is the one answer of a store that may come before what it rests on is durable. A store that
/// accepts early shows the accepted state to the next request that it hands over to, and to nobody
/// else: every other answer, also that of a `release` that hands over, rests on durable state. The
/// settles of one order become durable in their order: none before the one that it was built on,
/// and none at all if that one is lost.
#[derive(Debug)]
pub struct Accepted {
    /// What was written.
    pub receipt: Receipt,
    /// When it survives power loss. Until then nobody but a pure successor may see it. If this
    /// fails, the settle may be there or not, and a `lookup` of its key may tell.
    pub durable: Durable,
    /// On a hand-over, the full result of the next request's `acquire`.
    pub next: Option<Acquired>,
}

/// Why a holder has lost its lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Loss {
    /// The fence does not hold the order.
    NotHeld,
    /// The order is at another version.
    VersionMoved,
    /// The key has a final entry that is not this settle's.
    KeySettled,
}

/// How an accepted settle ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It survives power loss.
    Durable,
    /// It was thrown away: nothing was applied, and no copy of the settle will be.
    Lost(Loss),
}

/// Resolves when an accepted settle is durable, or is lost after all.
#[must_use = "an answer may leave only after this has resolved"]
pub struct Durable(Option<BoxFuture<'static, Result<Fate, StoreError>>>);

impl Durable {
    /// A settle that is durable already: for stores that accept nothing early.
    pub fn already() -> Self {
        Self(None)
    }

    /// A settle that becomes durable later.
    pub fn later(fate: impl Future<Output = Result<Fate, StoreError>> + Send + 'static) -> Self {
        Self(Some(fate.boxed()))
    }

    /// Whether it is durable without waiting.
    #[must_use]
    pub fn is_already(&self) -> bool {
        self.0.is_none()
    }
}

impl Future for Durable {
    type Output = Result<Fate, StoreError>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        match &mut self.0 {
            None => Poll::Ready(Ok(Fate::Durable)),
            Some(fate) => fate.poll_unpin(context),
        }
    }
}

impl fmt::Debug for Durable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.is_already() {
            "Durable(already)"
        } else {
            "Durable(later)"
        })
    }
}
