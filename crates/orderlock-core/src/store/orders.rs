//! The group of orders, but for the settle: what makes an order, locks it, lets it go, ends a mark and
//! forgets keys. A verb's request and its result stand side by side.

use std::time::Duration;

use super::{Entry, Final, NewEntry, Retention};
use crate::{
    Answer, Caller, Document, Fence, Fingerprint, IdempotencyKey, KeyId, LeaseId, LeaseView, Mark,
    OperationName, OrderId, OwnedIndex, Principal, Recovery, Secret, SessionId, Target, Tenant,
    Times, Timestamp, Version,
};

/// Who wants which order, under which key, for what.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claim {
    /// Who asks.
    pub caller: Caller,
    /// For which order.
    pub order: OrderId,
    /// Under which key.
    pub key: IdempotencyKey,
    /// The keyed hash of caller, order and key: what the store looks keys up by.
    pub key_id: KeyId,
    /// The hash of operation, target and body.
    pub fingerprint: Fingerprint,
}

impl Claim {
    /// The claim of this caller on this order under this key: the secret makes the key's id.
    #[must_use]
    pub fn new(
        secret: &Secret,
        caller: &Caller,
        order: &OrderId,
        key: &IdempotencyKey,
        fingerprint: Fingerprint,
    ) -> Self {
        Self {
            key_id: secret.key_id(caller, order, key),
            caller: caller.clone(),
            order: order.clone(),
            key: key.clone(),
            fingerprint,
        }
    }

    /// The claim on the order that this caller creates under this key, by the id that is derived from
    /// both. Whatever id is chosen, this is the key: it creates one order.
    #[must_use]
    pub fn that_creates(
        secret: &Secret,
        caller: &Caller,
        key: &IdempotencyKey,
        fingerprint: Fingerprint,
    ) -> Self {
        let order = secret.order_id(caller, key);
        Self::new(secret, caller, &order, key, fingerprint)
    }

    /// The address of the order.
    #[must_use]
    pub fn target(&self) -> Target {
        self.caller.target(&self.order)
    }
}

/// See [`OrderStore::create`](super::OrderStore::create).
#[derive(Clone, Debug)]
pub struct Create {
    /// Who creates which order under which key. The key id is that of the derived id.
    pub claim: Claim,
    /// The id that is derived from caller and key: the order's own, unless another was chosen.
    pub derived: OrderId,
    /// The order.
    pub document: Document,
    /// What lists can filter it by.
    pub index: OwnedIndex,
    /// Its first entry, whose outcome is [`Created`](crate::OutcomeKind::Created).
    pub entry: NewEntry,
    /// The stored answer.
    pub answer: Answer,
    /// The order's times, both the same.
    pub times: Times,
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

/// See [`OrderStore::acquire`](super::OrderStore::acquire).
#[derive(Clone, Debug)]
pub struct Acquire {
    /// Who wants which order.
    pub claim: Claim,
    /// The session that the lease is to live in.
    pub session: SessionId,
    /// The name of the grant, drawn by the node: a repeated acquire is the same grant.
    pub fence: Fence,
    /// For which operation.
    pub operation: OperationName,
    /// The version that the client expects, compared at the grant.
    pub expected: Option<Version>,
    /// Writes a mark with the grant and makes both durable, for an external operation.
    pub mark: Option<Recovery>,
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

/// See [`OrderStore::release`](super::OrderStore::release).
#[derive(Clone, Debug)]
pub struct Release {
    /// Which order.
    pub target: Target,
    /// Which grant.
    pub fence: Fence,
    /// What becomes of the mark.
    pub mark: MarkFate,
    /// Asked in the same step, if the lease was held by this fence.
    pub next: Option<Box<Acquire>>,
}

/// What becomes of the mark when a lease is given up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MarkFate {
    /// It stays, if there is one.
    Keep,
    /// It goes: the handler declared that nothing happened outside.
    Clear,
}

/// See [`OrderStore::undo`](super::OrderStore::undo).
#[derive(Clone, Debug)]
pub struct Undo {
    /// Which order.
    pub target: Target,
    /// Which grant.
    pub fence: Fence,
    /// Asked in the same step, if the order was held by this fence.
    pub next: Option<Box<Acquire>>,
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

/// See [`OrderStore::break_lease`](super::OrderStore::break_lease).
#[derive(Clone, Debug)]
pub struct BreakLease {
    /// Whose orders.
    pub tenant: Tenant,
    /// Which grant.
    pub lease: LeaseId,
    /// Who breaks it.
    pub actor: Principal,
    /// Why.
    pub reason: String,
}

/// What became of a `break_lease`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Broken {
    /// The grant is void; its holder will be told.
    Broken(LeaseView),
    /// There is no such grant, or it has ended.
    NotFound,
}

/// See [`OrderStore::resolve`](super::OrderStore::resolve).
#[derive(Clone, Debug)]
pub struct Resolve {
    /// Which order.
    pub target: Target,
    /// Whose mark: the decision is made about one key, not about whatever mark stands by then.
    pub key_id: KeyId,
    /// Which run has left the mark: a later run of the same key leaves one that nobody has decided about.
    pub attempt: u32,
    /// Since when the mark stands, as its views say. Runs are counted from one again once their key is
    /// forgotten, or a run is known to have had no effect.
    pub since: Timestamp,
    /// How it ends.
    pub decision: Decision,
    /// Who decides.
    pub actor: Principal,
    /// Why.
    pub reason: String,
}

impl Resolve {
    /// Whether this is the mark that was decided about.
    #[must_use]
    pub fn is_about(&self, mark: &Mark) -> bool {
        mark.key_id == self.key_id && mark.attempt == self.attempt && mark.since == self.since
    }
}

/// How a mark ends.
#[derive(Clone, Debug)]
pub enum Decision {
    /// The mark is cleared: the same key, asking the same, or any other key may run.
    RunAgain {
        /// How long the key stays bound to what was asked under it: the tombstone counts.
        retention: Retention,
    },
    /// The operation is settled in the name of its key: its retry gets this answer.
    Settle {
        /// The version that the decision was made on.
        version: Version,
        /// How it ends.
        end: Final,
        /// How long its answer is kept.
        retention: Retention,
    },
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

/// See [`OrderStore::expire`](super::OrderStore::expire).
#[derive(Clone, Copy, Debug)]
pub struct Expire {
    /// The most answers, and the most tombstones, to end in this call.
    pub limit: usize,
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
