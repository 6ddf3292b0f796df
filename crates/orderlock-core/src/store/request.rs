//! What is asked of a store: one struct for each verb.

use std::time::Duration;

use super::{Cursor, Entry, Final, NewEntry, Retention};
use crate::{
    Answer, Caller, Document, Fence, Fingerprint, IdempotencyKey, KeyId, LeaseId, Mark,
    OperationName, OrderId, OutcomeKind, OwnedIndex, Principal, Recovery, Secret, SessionId,
    Target, Times, Timestamp, Version,
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
    /// The address of the order.
    #[must_use]
    pub fn target(&self) -> Target {
        self.caller.target(&self.order)
    }
}

/// See [`OrderStore::join`](super::OrderStore::join).
#[derive(Clone, Debug)]
pub struct Join {
    /// The node's lasting name. Joining ends every other session of the same name.
    pub node: String,
    /// The new session.
    pub session: SessionId,
    /// How long the session lasts after each renewal.
    pub length: Duration,
    /// The installation's secret, if this is the first node ever.
    pub secret: Secret,
}

/// See [`OrderStore::renew`](super::OrderStore::renew).
#[derive(Clone, Debug)]
pub struct Renew {
    /// Which session.
    pub session: SessionId,
    /// Every grant that the node holds or may hold. Any other lease of the session that is older
    /// than the last renewal is void: its acquire was lost on the way.
    pub known: Vec<Fence>,
}

/// See [`OrderStore::leave`](super::OrderStore::leave).
#[derive(Clone, Copy, Debug)]
pub struct Leave {
    /// Which session.
    pub session: SessionId,
}

/// See [`OrderStore::sweep`](super::OrderStore::sweep).
#[derive(Clone, Copy, Debug)]
pub struct Sweep {
    /// The most leases to void in this call.
    pub limit: usize,
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
    /// Its first entry, whose outcome is [`Created`](OutcomeKind::Created).
    pub entry: NewEntry,
    /// The stored answer.
    pub answer: Answer,
    /// The order's times, both the same.
    pub times: Times,
}

/// See [`OrderStore::read`](super::OrderStore::read).
#[derive(Clone, Debug)]
pub struct Read {
    /// Which order.
    pub target: Target,
}

/// Equality only; not a query language.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    /// The order's status.
    pub status: Option<String>,
    /// Whose order it is.
    pub customer: Option<String>,
    /// Whether somebody holds it. A mark alone does not count.
    pub locked: Option<bool>,
}

/// See [`OrderStore::list`](super::OrderStore::list).
#[derive(Clone, Debug)]
pub struct List {
    /// Whose orders.
    pub tenant: crate::Tenant,
    /// Which of them.
    pub filter: Filter,
    /// The most orders on the page.
    pub limit: usize,
    /// Where the last page ended.
    pub cursor: Option<Cursor>,
}

/// See [`OrderStore::history`](super::OrderStore::history).
#[derive(Clone, Debug)]
pub struct History {
    /// Which order.
    pub target: Target,
    /// The most entries on the page.
    pub limit: usize,
    /// Where the last page ended.
    pub cursor: Option<Cursor>,
}

/// See [`OrderStore::mark_end`](super::OrderStore::mark_end).
#[derive(Clone, Debug)]
pub struct MarkEnd {
    /// Which order.
    pub target: Target,
    /// The first 64 bits of the id of the mark's key: so much of it stands in the mark's own id.
    pub key: u64,
    /// Which run has left the mark.
    pub attempt: u32,
}

impl MarkEnd {
    /// Whether this entry tells that an operator has ended such a mark. A holder's entry names its
    /// grant; an operator's does not.
    #[must_use]
    pub fn is_told_by(&self, entry: &Entry) -> bool {
        let ends = entry.outcome.is_final() || entry.outcome == OutcomeKind::MarkCleared;
        let of_the_run = entry.attempt == self.attempt && entry.key_id.first_bits() == self.key;
        ends && entry.fence.is_none() && of_the_run
    }
}

/// See [`OrderStore::lookup`](super::OrderStore::lookup).
#[derive(Clone, Debug)]
pub struct Lookup {
    /// Which order.
    pub target: Target,
    /// Which key.
    pub key_id: KeyId,
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

/// What becomes of the mark when a lease is given up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MarkFate {
    /// It stays, if there is one.
    Keep,
    /// It goes: the handler declared that nothing happened outside.
    Clear,
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

/// See [`OrderStore::leases`](super::OrderStore::leases).
#[derive(Clone, Debug)]
pub struct Leases {
    /// Whose orders.
    pub tenant: crate::Tenant,
    /// The most leases on the page.
    pub limit: usize,
    /// Where the last page ended.
    pub cursor: Option<Cursor>,
}

/// See [`OrderStore::break_lease`](super::OrderStore::break_lease).
#[derive(Clone, Debug)]
pub struct BreakLease {
    /// Whose orders.
    pub tenant: crate::Tenant,
    /// Which grant.
    pub lease: LeaseId,
    /// Who breaks it.
    pub actor: Principal,
    /// Why.
    pub reason: String,
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

/// See [`OrderStore::entries_since`](super::OrderStore::entries_since).
#[derive(Clone, Debug)]
pub struct EntriesSince {
    /// Whose orders.
    pub tenant: crate::Tenant,
    /// Where the reader stands; none to begin with the oldest entry.
    pub cursor: Option<Cursor>,
    /// The most entries in the answer.
    pub limit: usize,
}

/// See [`OrderStore::expire`](super::OrderStore::expire).
#[derive(Clone, Copy, Debug)]
pub struct Expire {
    /// The most answers, and the most tombstones, to end in this call.
    pub limit: usize,
}
