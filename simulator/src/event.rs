//! What took effect in the store during a run, in its order, for a model to be held against.

use orderlock_core::store::{
    Acquire, Acquired, BreakLease, Join, Leave, Loss, Release, Released, Renew, Resolve, Settle,
    Settled, Undo,
};
use orderlock_core::{LeaseView, SessionId, Target, Version};

/// One verb, as the store was asked, and its word.
#[derive(Clone, Debug)]
pub enum Event {
    /// An order was made.
    Created(Target),
    /// A node has joined.
    Joined(Join),
    /// A session was renewed, or has ended.
    Renewed(Renew, bool),
    /// A session was ended by its node.
    Left(Leave),
    /// These sessions had lapsed, and were ended.
    Swept(Vec<SessionId>),
    /// An order was asked for.
    Acquired(Acquire, Word),
    /// An operation was to end, or to make a checkpoint; with what became of the next request.
    Settled(Settle, SettleWord, Option<Word>),
    /// A lease was to be given up, and was held or not; with what became of the next request.
    Released(Release, bool, Option<Word>),
    /// A grant was to be taken back, and was held or not; with what became of the next request.
    Undone(Undo, bool, Option<Word>),
    /// An operator broke a lease, if it was held.
    Broken(BreakLease, bool),
    /// An operator decided about a mark, if it was open.
    Resolved(Resolve, bool),
    /// Every lease was voided.
    VoidedAll,
    /// Every session was ended, and every lease voided.
    Restarted,
    /// What is written from here on waits for a flush.
    Saved,
    /// What was written since then is thrown away.
    WentBack,
    /// These leases and marks stand now, and no others.
    Stand(Vec<LeaseView>),
}

/// What came of an `acquire`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Word {
    /// Granted.
    Granted {
        /// The order's version.
        version: Version,
        /// Whether an earlier run of the key has made a checkpoint.
        progress: bool,
    },
    /// The key is settled.
    Settled,
    /// The key stands for another request.
    Reused,
    /// The key is settled, and its answer is past the retention.
    Expired,
    /// The same key holds the order under another fence.
    InProgress,
    /// Another key holds it.
    Held,
    /// A mark is open that this request may not resume.
    Marked,
    /// The order is not at the expected version.
    VersionMismatch,
    /// There is no such order.
    NotFound,
    /// The asking session has ended.
    SessionEnded,
}

/// What came of a `settle`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SettleWord {
    /// It took effect, now or when it came first.
    Accepted,
    /// The grant is gone.
    Lost(Loss),
    /// The store can never take it, and the lease is released.
    Impossible,
}

impl Event {
    pub(super) fn settled(request: Settle, settled: &Settled) -> Self {
        let (word, next) = match settled {
            Settled::Accepted(accepted) => (SettleWord::Accepted, accepted.next.as_ref()),
            Settled::Lost(loss) => (SettleWord::Lost(*loss), None),
            Settled::Impossible(_) => (SettleWord::Impossible, None),
        };
        Self::Settled(request, word, next.map(Word::of))
    }

    pub(super) fn released(request: Release, released: &Released) -> Self {
        let next = released.next.as_ref().map(Word::of);
        Self::Released(request, released.held, next)
    }

    pub(super) fn undone(request: Undo, released: &Released) -> Self {
        let next = released.next.as_ref().map(Word::of);
        Self::Undone(request, released.held, next)
    }
}

impl Word {
    pub(super) fn of(acquired: &Acquired) -> Self {
        match acquired {
            Acquired::Granted(grant) => Self::Granted {
                version: grant.version,
                progress: grant.progress.is_some(),
            },
            Acquired::Settled(_) => Self::Settled,
            Acquired::Reused => Self::Reused,
            Acquired::Expired => Self::Expired,
            Acquired::InProgress(_) => Self::InProgress,
            Acquired::Held(_) => Self::Held,
            Acquired::Marked(_) => Self::Marked,
            Acquired::VersionMismatch { .. } => Self::VersionMismatch,
            Acquired::NotFound => Self::NotFound,
            Acquired::SessionEnded => Self::SessionEnded,
        }
    }
}
