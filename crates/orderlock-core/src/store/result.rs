//! What a store answers: one enum, struct or page for each verb.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;

use super::{Entry, StoreError};
use crate::{
    Document, Fence, Fingerprint, LeaseView, Mark, OwnedIndex, Secret, Target, Times, Timestamp,
    Version,
};

/// Where a page ended. Opaque: only the store that made it can read it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cursor(pub Arc<str>);

/// One page, a snapshot of committed state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page<T> {
    /// What is on it.
    pub items: Vec<T>,
    /// Where the next page begins, if there may be one.
    pub next: Option<Cursor>,
}

/// What a store is, as it was last seen: for readiness and the conformance suite. Asking costs no
/// I/O; the store looks again while it serves, at the latest with each renewal and sweep.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoreInfo {
    /// The kind of store: `"sqlite"`.
    pub name: &'static str,
    /// Where it is, without credentials.
    pub location: String,
    /// What an answered settle survives now, in words.
    pub durability: String,
    /// What keeps the store from its promises now, and what to do about it, in words for an
    /// operator; none if nothing is known to.
    pub trouble: Option<String>,
    /// The largest document that it takes, in bytes.
    pub document_bytes_max: usize,
}

/// A node has joined.
#[derive(Clone, Debug)]
pub struct Joined {
    /// The installation's secret: the first node's, not necessarily this one's.
    pub secret: Secret,
}

/// Whether a session goes on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Renewed {
    /// It lasts its full length again.
    Extended {
        /// Which of the known grants an operator has broken. Each is named as long as it is known, so
        /// that an answer that is lost loses nothing.
        voided: Vec<Fence>,
    },
    /// It has ended, or never was: the node must join again under another name for its session.
    Ended,
}

/// A session has ended, and its leases with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Left {
    /// How many leases it held.
    pub voided: usize,
}

/// Lapsed sessions have been ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Swept {
    /// How many leases were voided.
    pub voided: usize,
    /// Whether the limit was reached before the work was done.
    pub more: bool,
}

/// An order as others see it: committed state, and who holds it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OrderView {
    /// Which order.
    pub target: Target,
    /// Its version.
    pub version: Version,
    /// Its content.
    pub document: Document,
    /// What lists can filter it by.
    pub index: OwnedIndex,
    /// When it was made and last changed.
    pub times: Times,
    /// Who holds it, or which mark is open.
    pub lease: Option<LeaseView>,
}

/// What became of a `create`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Created {
    /// The order is there, durably.
    Inserted(Receipt),
    /// This key made it before: the stored answer.
    Settled(Box<Entry>),
    /// This key was used with another request.
    Reused,
    /// This key made it, and the answer is past its retention.
    Expired,
    /// The order was made under another key.
    Exists,
}

/// What a settle has written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Receipt {
    /// The entry's number in the order.
    pub number: u64,
    /// When the answer's retention ends.
    pub expires: Timestamp,
}

/// The lease, and the order as of the grant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grant {
    /// The grant's name.
    pub fence: Fence,
    /// The order's version.
    pub version: Version,
    /// The order's content.
    pub document: Document,
    /// What lists can filter it by.
    pub index: OwnedIndex,
    /// When it was made and last changed.
    pub times: Times,
    /// The store's clock at the grant.
    pub now: Timestamp,
    /// Which run of the key this is, counted in marks and checkpoints; otherwise 1.
    pub attempt: u32,
    /// The last checkpoint of an earlier run of this key.
    pub progress: Option<Box<Entry>>,
}

/// What became of an `acquire`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Acquired {
    /// The order is held under the fence that was given.
    Granted(Box<Grant>),
    /// The key is settled: its final entry, with the stored answer.
    Settled(Box<Entry>),
    /// The key was used with another fingerprint.
    Reused,
    /// The key is settled, and its answer is past the retention.
    Expired,
    /// The same key holds the order under another fence.
    InProgress(LeaseView),
    /// Another key holds the order.
    Held(LeaseView),
    /// An external operation has begun, nobody attends to it, and this request may not resume it.
    Marked(Box<Mark>),
    /// The order is not at the expected version.
    VersionMismatch {
        /// Where it is.
        current: Version,
    },
    /// There is no such order.
    NotFound,
    /// The node's session has ended: it must join again.
    SessionEnded,
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

/// What became of a `release`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Released {
    /// Whether the fence held the order.
    pub held: bool,
    /// The full result of the next request's `acquire`, if the fence held the order and one was
    /// given.
    pub next: Option<Acquired>,
}

/// What became of a `break_lease`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Broken {
    /// The grant is void; its holder will be told.
    Broken(LeaseView),
    /// There is no such grant, or it has ended.
    NotFound,
}

/// What became of a `resolve`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Resolved {
    /// The mark has ended, durably.
    Resolved(Receipt),
    /// There is no open mark of that key; or somebody attends to it.
    NotMarked,
    /// The order is not at the version that the decision was made on.
    VersionMismatch {
        /// Where it is.
        current: Version,
    },
}

/// What became of a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Known {
    /// Its final entry, with the stored answer.
    Settled(Box<Entry>),
    /// It holds the order.
    Running(LeaseView),
    /// It has begun outside, and nobody attends to it.
    Marked(Box<Mark>),
    /// It is settled, and its answer is past the retention. Its fingerprint is still known.
    Expired(Fingerprint),
    /// Never used, failed, or forgotten.
    Unknown,
}

/// A piece of the journal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Entries {
    /// The entries after the cursor, in one order for every reader.
    Some {
        /// The entries.
        entries: Vec<Entry>,
        /// Where the reader stands after them.
        next: Cursor,
    },
    /// The store was restored since the cursor was made: begin again.
    NewEpoch,
}

/// What was ended by an `expire`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Expired {
    /// How many answers.
    pub answers: usize,
    /// How many tombstones.
    pub tombstones: usize,
    /// Whether a share of the limit was used up before the work was done.
    pub more: bool,
    /// For how long the oldest of what is left has been due: how far behind the work is.
    pub behind: Duration,
}
