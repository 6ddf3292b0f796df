//! What an `acquire` comes to on an order as it is, which the core decides, and the lease that is written
//! then.

use orderlock_core::store::{Acquire, Acquired, Facts, Granted, Verdict, decide};
use orderlock_core::{Caller, Fence, Fingerprint, KeyId, Lease, LeaseState, SessionId, Timestamp};

use crate::document::keys::KeyEntry;
use crate::document::lease::{GrantedLease, locked_by, mark_to_fields};
use crate::document::order::{Locked, OrderDocument};
use crate::document::update::Update;

pub(crate) fn verdict(
    request: &Acquire,
    order: &OrderDocument,
    word: Option<&KeyEntry>,
    session_alive: bool,
    now: Timestamp,
) -> Verdict {
    let state = match &order.locked {
        Locked::Foreign(_) => LeaseState::Held(stand_in(request)),
        Locked::Free | Locked::Ours => order.state(),
    };
    let facts = Facts {
        version: Some(order.version),
        key: KeyEntry::facts(word, now),
        lease: &state,
        session_alive,
        now,
    };
    match (decide(request, facts), &order.locked) {
        (Verdict::Answer(Acquired::Held(_)), Locked::Foreign(_)) => Verdict::Answer(
            order
                .lease_view()
                .map_or(Acquired::NotFound, Acquired::Held),
        ),
        (verdict, _) => verdict,
    }
}

/// A lease in the place of a lock that a service took which does not know Orderlock: nobody's key.
fn stand_in(request: &Acquire) -> Lease {
    Lease {
        fence: Fence(!request.fence.0),
        session: SessionId(0),
        caller: Caller::single(),
        key_id: KeyId(request.claim.key_id.0.map(|byte| !byte)),
        fingerprint: Fingerprint([0; 32]),
        operation: request.operation.clone(),
        attempt: 1,
        since: Timestamp::UNIX_EPOCH,
        steps: 0,
        resumed: None,
    }
}

/// The part of an update that takes an order, in a session that was renewed so often.
pub(crate) fn take(update: &mut Update, granted: Granted, renewals: i64) {
    let Granted { lease, mark } = granted;
    update.put("locked", locked_by(lease.fence));
    let lease = GrantedLease { lease, renewals };
    update.put("orderlock.lease", lease.to_fields());
    if let Some(mark) = &mark {
        update.put("orderlock.mark", mark_to_fields(mark));
    }
}
