//! What an `acquire` and a `settle` come to, given the facts: one total function for each, used by
//! every store that can put the facts side by side.

use super::{Acquire, Loss, Settle};
use crate::{Fingerprint, Lease, LeaseEvent, LeaseState, Mark, Resumed, Timestamp, Version};

/// What the journal says of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyFacts {
    /// It has no entry.
    New,
    /// It has a final entry.
    Final {
        /// What was asked.
        fingerprint: Fingerprint,
        /// Whether its answer is within the retention.
        retained: bool,
    },
    /// It has no final entry, but checkpoints, or a mark of it was cleared to run again: the key
    /// stays bound to what was asked, and its runs are counted on.
    Progress {
        /// What was asked.
        fingerprint: Fingerprint,
        /// The run that made the last checkpoint or left the mark.
        attempt: u32,
    },
}

/// What a store knows when it is asked for an order.
#[derive(Clone, Copy, Debug)]
pub struct Facts<'a> {
    /// The order's version; none if there is no such order.
    pub version: Option<Version>,
    /// What the journal says of the key.
    pub key: KeyFacts,
    /// The order's lock. A lease whose session is not alive has been voided before.
    pub lease: &'a LeaseState,
    /// Whether the asking session is alive.
    pub session_alive: bool,
    /// The store's clock.
    pub now: Timestamp,
}

/// What an `acquire` comes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Grant it, as this run of the key.
    Grant {
        /// Which run.
        attempt: u32,
    },
    /// It is granted already, under this very fence.
    Repeat,
    /// The key is settled: return its final entry.
    Settled,
    /// The key stands for another request.
    Reused,
    /// The key is settled, and its answer is past the retention.
    Expired,
    /// The key holds the order under another fence.
    InProgress,
    /// Another key holds the order.
    Held,
    /// A mark is open that this request may not resume.
    Marked,
    /// The order is at another version than the client expects.
    VersionMismatch {
        /// Where it is.
        current: Version,
    },
    /// There is no such order.
    NotFound,
    /// The asking session has ended.
    SessionEnded,
}

/// Decides an `acquire`. A settled key wins over everything else, so that a retry gets its answer
/// even while somebody holds the order; the expected version is compared last, at the grant.
#[must_use]
pub fn decide(request: &Acquire, facts: Facts<'_>) -> Verdict {
    let Some(version) = facts.version else {
        return Verdict::NotFound;
    };
    let asked = request.claim.fingerprint;
    let checkpointed = match facts.key {
        KeyFacts::Final { fingerprint, .. } | KeyFacts::Progress { fingerprint, .. }
            if fingerprint != asked =>
        {
            return Verdict::Reused;
        }
        KeyFacts::Final { retained: true, .. } => return Verdict::Settled,
        KeyFacts::Final {
            retained: false, ..
        } => return Verdict::Expired,
        KeyFacts::Progress { attempt, .. } => attempt,
        KeyFacts::New => 0,
    };
    if !facts.session_alive {
        return Verdict::SessionEnded;
    }
    if let Some(lease) = facts.lease.lease() {
        let same_key = lease.key_id == request.claim.key_id;
        return match same_key {
            true if lease.fence == request.fence => Verdict::Repeat,
            true if lease.fingerprint != asked => Verdict::Reused,
            true => Verdict::InProgress,
            false => Verdict::Held,
        };
    }
    let marked = match facts.lease.mark() {
        Some(mark) if mark.key_id != request.claim.key_id => return Verdict::Marked,
        Some(mark) if mark.fingerprint != asked => return Verdict::Reused,
        Some(mark) if request.mark.is_none() || !mark.may_resume(facts.now) => {
            return Verdict::Marked;
        }
        Some(mark) => mark.attempt,
        None => 0,
    };
    if request.expected.is_some_and(|expected| expected != version) {
        return Verdict::VersionMismatch { current: version };
    }
    Verdict::Grant {
        attempt: checkpointed.max(marked).saturating_add(1),
    }
}

/// What a grant to this request is: the event that [`LeaseState::next`] is asked about. A resumed
/// mark keeps the time at which its first run began.
#[must_use]
pub fn grant(request: &Acquire, before: &LeaseState, attempt: u32, now: Timestamp) -> LeaseEvent {
    let claim = &request.claim;
    let lease = Lease {
        fence: request.fence,
        session: request.session,
        caller: claim.caller.clone(),
        key_id: claim.key_id,
        fingerprint: claim.fingerprint,
        operation: request.operation.clone(),
        attempt,
        since: now,
        steps: 0,
        resumed: before.mark().map(|open| Resumed {
            attempt: open.attempt,
            recovery: open.recovery,
        }),
    };
    let mark = request.mark.map(|recovery| Mark {
        caller: claim.caller.clone(),
        key_id: claim.key_id,
        fingerprint: claim.fingerprint,
        operation: request.operation.clone(),
        attempt,
        recovery,
        since: before.mark().map_or(now, |open| open.since),
    });
    LeaseEvent::Granted(lease, mark)
}

/// What a `settle` comes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SettleVerdict {
    /// Apply it.
    Apply,
    /// It was applied before: give the same answer.
    Repeat,
    /// The grant is gone: apply nothing.
    Lost(Loss),
}

/// What a store knows when an operation settles.
#[derive(Clone, Copy, Debug)]
pub struct SettleFacts<'a> {
    /// The order's version; none if there is no such order.
    pub version: Option<Version>,
    /// The order's lock. A lease whose session is not alive has been voided before.
    pub lease: &'a LeaseState,
    /// Whether the journal has an entry of this very fence and step.
    pub written: bool,
    /// Whether the key has a final entry.
    pub key_settled: bool,
}

/// Decides a `settle`: fence, key and version must all still be as the grant left them.
#[must_use]
pub fn decide_settle(request: &Settle, facts: SettleFacts<'_>) -> SettleVerdict {
    if facts.written {
        return SettleVerdict::Repeat;
    }
    let holds = facts
        .lease
        .lease()
        .is_some_and(|lease| lease.fence == request.fence && lease.steps == request.step);
    if !holds {
        SettleVerdict::Lost(Loss::NotHeld)
    } else if facts.key_settled {
        SettleVerdict::Lost(Loss::KeySettled)
    } else if facts.version != Some(request.version) {
        SettleVerdict::Lost(Loss::VersionMoved)
    } else {
        SettleVerdict::Apply
    }
}
