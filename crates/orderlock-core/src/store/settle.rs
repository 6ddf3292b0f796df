//! What is asked of a settle: what it changes, the entry it writes, and which part of its
//! operation it is.

use std::time::Duration;

use super::{Acquire, Claim};
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
