//! `acquire`: whether a request gets the lease, decided from the order, its key and its lease, as
//! memory or one snapshot of the file has them.
//!
//! The same function decides where it was asked, for a grant that needs no write, and on the
//! writer, for one with a mark and for hand-overs.

use orderlock_core::store::{Acquire, Acquired, Entry, Facts, Grant, KeyFacts, Verdict, decide};
use orderlock_core::{KeyId, LeaseState, Timestamp};

use crate::clock::Now;
use crate::file::error::Fault;
use crate::file::keys::{KeyRow, Run};
use crate::file::rows::{Latest, OrderRow};
use crate::state::context::WriteContext;
use crate::state::leases::{Held, Session};
use crate::state::view::Seen;
use crate::verbs::marks::write_mark;

/// What is to be done about a request for a lease.
#[derive(Debug)]
pub(crate) enum Decided {
    /// Only to answer.
    Answer(Acquired),
    /// To install the lease and then to answer.
    Grant(Held, Box<Grant>),
}

/// Which run of this key asks, while the order is so held.
pub(crate) fn run_of(key_id: KeyId, held: Option<&Held>) -> Run {
    match held.map(Held::lease) {
        Some(lease) if lease.key_id == key_id => Run::Held(lease.attempt),
        _ => Run::Next,
    }
}

/// The lock of an order: its live lease, or else what the file says.
pub(crate) fn lock_state(order: &OrderRow, held: Option<&Held>) -> LeaseState {
    match (held, &order.mark) {
        (Some(held), _) => held.state().clone(),
        (None, Some(mark)) => LeaseState::Unattended(mark.clone()),
        (None, None) => LeaseState::Free,
    }
}

/// Decides, from facts that the caller holds still.
pub(crate) fn decide_acquire(
    request: &Acquire,
    latest: Option<&Latest>,
    key: Option<KeyRow>,
    held: Option<&Held>,
    session: Option<&Session>,
    now: Now,
) -> Result<Decided, Fault> {
    let Some(latest) = latest else {
        return Ok(Decided::Answer(Acquired::NotFound));
    };
    let order = &latest.whole.order;
    let known = key.as_ref().map_or(KeyFacts::New, |key| key.facts);
    let now = now.wall;
    let state = lock_state(order, held);
    let facts = Facts {
        version: Some(order.version),
        key: known,
        lease: &state,
        session_alive: session.is_some(),
        now,
    };
    Ok(match decide(request, facts) {
        Verdict::Answer(answer) => Decided::Answer(answer),
        Verdict::Replay => {
            let key = key.ok_or_else(|| Fault::refused("a settled key has no entry"))?;
            Decided::Answer(Acquired::Settled(key.entry))
        }
        Verdict::Repeat => {
            let lease = state.lease();
            let run = lease.map_or((1, now), |lease| (lease.attempt, lease.since));
            let progress = key.and_then(|key| key.progress);
            let grant = describe_grant(request, latest, progress, run);
            Decided::Answer(Acquired::Granted(grant))
        }
        Verdict::Grant(granted) => {
            let renewals = session.map_or(0, |session| session.renewals);
            let run = (granted.lease.attempt, granted.lease.since);
            let held = Held::new((*granted).into(), latest.whole.list_place(), renewals)
                .ok_or_else(|| Fault::refused("a grant left no lease"))?;
            let progress = key.and_then(|key| key.progress);
            let grant = describe_grant(request, latest, progress, run);
            Decided::Grant(held, grant)
        }
    })
}

fn describe_grant(
    request: &Acquire,
    latest: &Latest,
    progress: Option<Box<Entry>>,
    (attempt, since): (u32, Timestamp),
) -> Box<Grant> {
    let whole = &latest.whole;
    Box::new(Grant {
        fence: request.fence,
        progress,
        version: whole.order.version,
        document: whole.document.clone(),
        index: whole.index.clone(),
        times: whole.times,
        now: since,
        attempt,
    })
}

/// An `acquire` on the writer: what it grants takes effect with the batch, and its mark with it.
pub(crate) fn acquire(
    context: &mut WriteContext<'_>,
    request: &Acquire,
) -> Result<Acquired, Fault> {
    let target = request.claim.target();
    let session = context.session(request.session);
    let Seen { held, latest, .. } = context.order(&target)?;
    let latest = latest.as_deref();
    let key_id = request.claim.key_id;
    let key = match latest {
        Some(latest) => context.key(latest, (key_id, run_of(key_id, held.as_ref())))?,
        None => None,
    };
    let (held, session) = (held.as_ref(), session.as_ref());
    match decide_acquire(request, latest, key, held, session, context.now)? {
        Decided::Answer(answer) => Ok(answer),
        Decided::Grant(held, grant) => {
            if let Some(mark) = held.state().mark() {
                write_mark(context, (&target, held.place.row), mark)?;
            }
            context.stage(&target, Some(held));
            Ok(Acquired::Granted(grant))
        }
    }
}

/// What is asked for the next in line by the one that lets go. A fault of the next one's own does
/// not undo what its predecessor did: the next one then asks for itself, and is told.
pub(crate) fn hand_over<T>(asked: Result<T, Fault>) -> Result<Option<T>, Fault> {
    match asked {
        Ok(answer) => Ok(Some(answer)),
        Err(fault) if fault.is_its_own() => {
            tracing::warn!(?fault, "an order was let go without its next in line");
            Ok(None)
        }
        Err(fault) => Err(fault),
    }
}
