//! What an `acquire` and a `settle` come to, given the facts: one total function for each. A store
//! that writes by conditions of its own, such as SQL, asks here why its write did nothing.

use super::{Acquire, Acquired, Loss, Receipt, Settle};
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
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It is not granted, and this is the whole answer.
    Answer(Acquired),
    /// The key is settled: the answer is its final entry, which the store has.
    Replay,
    /// It was granted before, under this very fence: the answer is the order as it is held.
    Repeat,
    /// It is granted: this is to be written.
    Grant(Box<Granted>),
}

/// What a grant writes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Granted {
    /// The lease.
    pub lease: Lease,
    /// The mark, for an external operation.
    pub mark: Option<Mark>,
}

impl From<Granted> for LeaseEvent {
    fn from(granted: Granted) -> Self {
        Self::Granted(granted.lease, granted.mark)
    }
}

/// The lock as the grant leaves it.
impl From<Granted> for LeaseState {
    fn from(granted: Granted) -> Self {
        match granted.mark {
            None => Self::Held(granted.lease),
            Some(mark) => Self::Begun(granted.lease, mark),
        }
    }
}

/// Decides an `acquire`. A settled key wins over everything else, so that a retry gets its answer
/// even while somebody holds the order; the expected version is compared last, at the grant.
#[must_use]
pub fn decide(request: &Acquire, facts: Facts<'_>) -> Verdict {
    let Some(version) = facts.version else {
        return Verdict::Answer(Acquired::NotFound);
    };
    let asked = request.claim.fingerprint;
    let checkpointed = match facts.key {
        KeyFacts::Final { fingerprint, .. } | KeyFacts::Progress { fingerprint, .. }
            if fingerprint != asked =>
        {
            return Verdict::Answer(Acquired::Reused);
        }
        KeyFacts::Final { retained: true, .. } => return Verdict::Replay,
        KeyFacts::Final {
            retained: false, ..
        } => return Verdict::Answer(Acquired::Expired),
        KeyFacts::Progress { attempt, .. } => attempt,
        KeyFacts::New => 0,
    };
    if !facts.session_alive {
        return Verdict::Answer(Acquired::SessionEnded);
    }
    if let Some(lease) = facts.lease.lease() {
        return while_held(request, lease);
    }
    let marked = match facts.lease.mark() {
        Some(mark) if mark.key_id == request.claim.key_id && mark.fingerprint != asked => {
            return Verdict::Answer(Acquired::Reused);
        }
        Some(mark) if !may_resume(request, mark, facts.now) => {
            return Verdict::Answer(Acquired::Marked(Box::new(mark.clone())));
        }
        Some(mark) => mark.attempt,
        None => 0,
    };
    if request.expected.is_some_and(|expected| expected != version) {
        return Verdict::Answer(Acquired::VersionMismatch { current: version });
    }
    let attempt = checkpointed.max(marked).saturating_add(1);
    Verdict::Grant(Box::new(grant(request, facts.lease, attempt, facts.now)))
}

/// What is asked of an order that this lease holds.
fn while_held(request: &Acquire, lease: &Lease) -> Verdict {
    let view = || lease.view(&request.claim.target());
    Verdict::Answer(match lease.key_id == request.claim.key_id {
        true if lease.fence == request.fence => return Verdict::Repeat,
        true if lease.fingerprint != request.claim.fingerprint => Acquired::Reused,
        true => Acquired::InProgress(view()),
        false => Acquired::Held(view()),
    })
}

fn may_resume(request: &Acquire, mark: &Mark, now: Timestamp) -> bool {
    mark.key_id == request.claim.key_id && request.mark.is_some() && mark.may_resume(now)
}

/// What a grant to this request writes, for a store that grants what it has found to be free without
/// asking [`decide`]. A resumed mark keeps the time at which its first run began.
#[must_use]
pub fn grant(request: &Acquire, before: &LeaseState, attempt: u32, now: Timestamp) -> Granted {
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
    Granted { lease, mark }
}

/// What a `settle` comes to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SettleVerdict {
    /// Apply it; the lock is then like this.
    Apply(LeaseState),
    /// It was applied before: give the same answer.
    Repeat(Receipt),
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
    /// What the journal says of the entry of this very fence and step, if it has one.
    pub written: Option<Receipt>,
    /// Whether the key has a final entry.
    pub key_settled: bool,
}

/// Decides a `settle`: fence, key and version must all still be as the grant left them.
#[must_use]
pub fn decide_settle(request: &Settle, facts: SettleFacts<'_>) -> SettleVerdict {
    if let Some(receipt) = facts.written {
        return SettleVerdict::Repeat(receipt);
    }
    let step = facts.lease.lease().map(|lease| lease.steps);
    match facts.lease.next(request.event()) {
        Ok(_) if step != Some(request.step) => SettleVerdict::Lost(Loss::NotHeld),
        Ok(_) if facts.key_settled => SettleVerdict::Lost(Loss::KeySettled),
        Ok(_) if facts.version != Some(request.version) => SettleVerdict::Lost(Loss::VersionMoved),
        Ok(after) => SettleVerdict::Apply(after),
        Err(_) => SettleVerdict::Lost(Loss::NotHeld),
    }
}
