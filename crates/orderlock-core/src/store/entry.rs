//! Entries of the journal, and what they are made of before a store has placed them.

use super::{Claim, Create, NewEntry, Settle};
use crate::{
    Answer, Document, Fence, Fingerprint, KeyId, Lease, Mark, OperationName, OutcomeKind,
    Principal, Target, Timestamp, Version,
};

/// Where an entry stands in the journal of the whole store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Position(pub u64);

/// One line of an order's history, and with it, for the retention, the stored answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Which order.
    pub target: Target,
    /// Its place in the order's history: 1, 2, 3, without gap.
    pub number: u64,
    /// Its place in the whole journal.
    pub position: Position,
    /// The order's version after it.
    pub version: Version,
    /// Which operation.
    pub operation: OperationName,
    /// How it ended.
    pub outcome: OutcomeKind,
    /// Who did it.
    pub actor: Principal,
    /// Why, where a person decided.
    pub reason: Option<String>,
    /// When.
    pub at: Timestamp,
    /// Which run of the key.
    pub attempt: u32,
    /// The key's hash.
    pub key_id: KeyId,
    /// What was asked.
    pub fingerprint: Fingerprint,
    /// The grant that settled, if one did.
    pub fence: Option<Fence>,
    /// Which settle of that grant.
    pub step: u32,
    /// The order after the change, if there was one.
    pub change: Option<Document>,
    /// The stored answer, while it is retained.
    pub answer: Option<Answer>,
    /// When the answer's retention ends, by the store's clock.
    pub expires: Option<Timestamp>,
}

/// Whose lease or mark an act is about that no grant made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct About {
    /// The key's hash.
    pub key_id: KeyId,
    /// What was asked under it.
    pub fingerprint: Fingerprint,
    /// Which operation.
    pub operation: OperationName,
    /// Which run of the key.
    pub attempt: u32,
}

impl From<&Lease> for About {
    fn from(lease: &Lease) -> Self {
        Self {
            key_id: lease.key_id,
            fingerprint: lease.fingerprint,
            operation: lease.operation.clone(),
            attempt: lease.attempt,
        }
    }
}

impl From<&Mark> for About {
    fn from(mark: &Mark) -> Self {
        Self {
            key_id: mark.key_id,
            fingerprint: mark.fingerprint,
            operation: mark.operation.clone(),
            attempt: mark.attempt,
        }
    }
}

impl Entry {
    /// The entry that a creation makes, for a store that keeps entries whole. The store has still to
    /// say where it stands, and until when its answer is retained.
    #[must_use]
    pub fn of_create(request: &Create) -> Self {
        Self {
            answer: Some(request.answer.clone()),
            change: Some(request.document.clone()),
            ..Self::of_claim(&request.claim, &request.entry, OutcomeKind::Created)
        }
    }

    /// The entry that a settle makes, for a store that keeps entries whole. The store has still to
    /// say where it stands, and until when its answer is retained.
    #[must_use]
    pub fn of_settle(request: &Settle) -> Self {
        Self {
            fence: Some(request.fence),
            step: request.step,
            answer: request.answer().cloned(),
            change: request.change().map(|change| change.after.clone()),
            ..Self::of_claim(&request.claim, &request.entry, request.outcome())
        }
    }

    /// What the entry of a claim's own operation says of it, placed by nobody yet.
    #[must_use]
    pub fn of_claim(claim: &Claim, entry: &NewEntry, outcome: OutcomeKind) -> Self {
        let about = About {
            key_id: claim.key_id,
            fingerprint: claim.fingerprint,
            operation: entry.operation.clone(),
            attempt: entry.attempt,
        };
        let actor = claim.caller.principal.clone();
        Self::of_act(&claim.target(), about, outcome, actor, None, entry.at)
    }

    /// The entry of an act that no grant made, placed by nobody yet. It carries no fence: no holder
    /// takes it for its own.
    #[must_use]
    pub fn of_act(
        target: &Target,
        about: About,
        outcome: OutcomeKind,
        actor: Principal,
        reason: Option<String>,
        at: Timestamp,
    ) -> Self {
        Self {
            target: target.clone(),
            number: 0,
            position: Position(0),
            version: Version(0),
            operation: about.operation,
            outcome,
            actor,
            reason,
            at,
            attempt: about.attempt,
            key_id: about.key_id,
            fingerprint: about.fingerprint,
            fence: None,
            step: 0,
            change: None,
            answer: None,
            expires: None,
        }
    }
}
