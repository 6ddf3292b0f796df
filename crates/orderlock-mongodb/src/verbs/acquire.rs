//! `acquire`: in the common case one write that takes a free order. Whatever stands in its way is
//! looked at, decided by the core, and written on the condition that nothing has moved.

use std::sync::Arc;
use std::time::Instant;

use mongodb::bson::{Bson, Document as Fields, doc};
use orderlock_core::store::{
    Acquire, Acquired, Facts, Verdict, decide, grant as granted_event, kept_for_another,
};
use orderlock_core::{
    Caller, Fence, Fingerprint, KeyId, Lease, LeaseEvent, LeaseState, Mark, SessionId, StoreError,
    Timestamp,
};

use crate::database::calls::Update;
use crate::database::retry::Pace;
use crate::document::fields::hash_hex;
use crate::document::keys::{Known, Word};
use crate::document::lease::{Granted, locked_by, mark_to_fields};
use crate::document::order::{Locked, OrderDocument};
use crate::document::waits;
use crate::error::Failure;
use crate::relay::adopt::{adopt, take_up};
use crate::store::Inner;
use crate::verbs::grant;

pub(crate) fn busy() -> StoreError {
    StoreError::NotApplied("the order changes faster than it can be looked at; ask again".into())
}

pub(crate) async fn acquire(inner: &Arc<Inner>, request: &Acquire) -> Result<Acquired, StoreError> {
    let told = ask(inner, request).await;
    let target = request.claim.target();
    inner.tried.told(target, request.fence, &told);
    told
}

async fn ask(inner: &Arc<Inner>, request: &Acquire) -> Result<Acquired, StoreError> {
    let Some(id) = inner.ids.id(&request.claim.target()) else {
        return Ok(Acquired::NotFound);
    };
    let begun = inner.clock.instant();
    if let Some(acquired) = take_if_free(inner, request, &id).await? {
        return Ok(acquired);
    }
    let mut pace = Pace::new(inner);
    while pace.next().await {
        if let Some(acquired) = look_and_take(inner, request, &id, begun).await? {
            return Ok(acquired);
        }
    }
    Err(busy())
}

/// Takes the order with one write, if it is free, known to Orderlock, nobody waits for it, and the
/// key is new to it. The session is looked up beside; one that has ended undoes the grant.
///
/// A mark is written only where the document says all of the key: it would stand for a key that may be
/// settled, if the node died before it had asked the journal.
async fn take_if_free(
    inner: &Arc<Inner>,
    request: &Acquire,
    id: &Bson,
) -> Result<Option<Acquired>, StoreError> {
    let Some(renewals) = inner.sessions.renewals(request.session) else {
        return Ok(None);
    };
    let (granted, mark) = lease_of(request, &LeaseState::Free, 1, (renewals, inner.clock.now()));
    let key = hash_hex(request.claim.key_id.0);
    let mut filter = doc! {
        "_id": id,
        "locked": null,
        "orderlock.mark": null,
        "orderlock.waits": null,
        "orderlock.creation.key": {"$ne": &key},
        format!("orderlock.keys.{key}"): null,
    };
    if request.mark.is_some() {
        filter.insert("orderlock.spilled", Bson::Null);
    }
    match request.expected {
        Some(version) => filter.insert(
            "orderlock.version",
            crate::document::fields::long(version.0),
        ),
        None => filter.insert("orderlock.version", doc! {"$gte": 1_i64}),
    };
    let mut update = Update::default();
    take(&mut update, &granted, mark.as_ref());
    let write = inner.calls.change(filter, update.into_fields());
    let look = inner.sessions.look(inner, request.session);
    let (written, session) = futures_util::join!(write, look);
    let Some(order) = written.map_err(Failure::of_a_write)? else {
        return Ok(None);
    };
    match session {
        Ok(Some(_)) => grant::finish(inner, request, order).await,
        Ok(None) => {
            grant::undo(inner, &order).await.map_err(grant::in_doubt)?;
            Ok(None)
        }
        // The grant stands, and nobody knows whether it is good: it is asked again, or undone.
        Err(failure) => Err(StoreError::OutcomeUnknown(Box::new(failure))),
    }
}

/// Looks at the order, decides, and carries the decision out if the order is still so. None if it
/// is not.
async fn look_and_take(
    inner: &Arc<Inner>,
    request: &Acquire,
    id: &Bson,
    begun: Instant,
) -> Result<Option<Acquired>, StoreError> {
    let found = inner.calls.order(id).await.map_err(Failure::not_applied)?;
    let Some(order) = found else {
        return Ok(Some(Acquired::NotFound));
    };
    if take_up(inner, &order).await? {
        return Ok(None);
    }
    let session = look(inner, request.session).await?;
    if let Some(held) = order.lease() {
        let holder = &held.lease;
        let ended = if holder.session == request.session {
            session.is_none()
        } else {
            look(inner, holder.session).await?.is_none()
        };
        if ended {
            grant::void(inner, &order, holder.fence).await?;
            return Ok(None);
        }
    }
    let now = inner.clock.now();
    let key_id = request.claim.key_id;
    let word = word(inner, &order, key_id).await?;
    let verdict = verdict(request, &order, word.as_ref(), session.is_some(), now);
    let Verdict::Grant { attempt } = verdict else {
        let told = told(inner, &order, key_id, verdict, word).await?;
        if matches!(told, Acquired::Held(_)) {
            waits::note(inner, request, &order, begun).await;
        }
        return Ok(Some(told));
    };
    if order.waits.kept_for_another(request.session, now) {
        waits::note(inner, request, &order, begun).await;
        return Ok(Some(Acquired::Held(kept_for_another(order.target, now))));
    }
    if order.changed_elsewhere() {
        grant::note_change(inner, &order, now).await?;
        return Ok(None);
    }
    let before = order.state();
    let times = (session.unwrap_or(0), now);
    let (granted, mark) = lease_of(request, &before, attempt, times);
    let mut update = Update::default();
    take(&mut update, &granted, mark.as_ref());
    adopt(inner, &mut update, &order);
    order.waits.remove_from(&mut update, request.session, now);
    let filter = doc! {"_id": id, "locked": null, "orderlock.turn": order.turn};
    let written = inner.calls.change(filter, update.into_fields()).await;
    match written.map_err(Failure::of_a_write)? {
        Some(order) => grant::finish(inner, request, order).await,
        None => Ok(None),
    }
}

async fn look(inner: &Arc<Inner>, session: SessionId) -> Result<Option<i64>, StoreError> {
    let looked = inner.sessions.look(inner, session).await;
    looked.map_err(Failure::not_applied)
}

/// What the document and, if need be, the journal say of a key.
pub(crate) async fn word(
    inner: &Inner,
    order: &OrderDocument,
    key_id: KeyId,
) -> Result<Option<Word>, StoreError> {
    let now = inner.forgets_by();
    match order.keys.known(key_id, now) {
        Known::Word(word) => Ok(Some(word)),
        Known::New => Ok(None),
        Known::AskTheJournal => {
            let (id, target) = (&order.id, &order.target);
            let last = inner.calls.last_of_key(id, target, key_id).await;
            let last = last.map_err(Failure::not_applied)?;
            let word = last.as_ref().and_then(Word::of);
            Ok(word.filter(|word| word.is_known(now)))
        }
    }
}

pub(crate) fn verdict(
    request: &Acquire,
    order: &OrderDocument,
    word: Option<&Word>,
    session_alive: bool,
    now: Timestamp,
) -> Verdict {
    let state = match &order.locked {
        Locked::Foreign(_) => LeaseState::Held(stand_in(request)),
        Locked::Free | Locked::Ours => order.state(),
    };
    let facts = Facts {
        version: Some(order.version),
        key: Word::facts(word, now),
        lease: &state,
        session_alive,
        now,
    };
    decide(request, facts)
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

/// The answer to a request that is not granted.
pub(crate) async fn told(
    inner: &Arc<Inner>,
    order: &OrderDocument,
    key_id: KeyId,
    verdict: Verdict,
    word: Option<Word>,
) -> Result<Acquired, StoreError> {
    let holder = |told: fn(orderlock_core::LeaseView) -> Acquired| {
        order.lease_view().map_or(Acquired::NotFound, told)
    };
    Ok(match verdict {
        Verdict::Grant { .. } => return Err(busy()),
        Verdict::Repeat => return grant::again(inner, order, word).await,
        Verdict::Settled => {
            let number = word.map_or(0, |word| word.number);
            let record = grant::record(inner, order, key_id, number).await?;
            Acquired::Settled(Box::new(record.shown(inner.clock.now())))
        }
        Verdict::Reused => Acquired::Reused,
        Verdict::Expired => Acquired::Expired,
        Verdict::InProgress => holder(Acquired::InProgress),
        Verdict::Held => holder(Acquired::Held),
        Verdict::Marked => match &order.mark {
            Some(mark) => Acquired::Marked(Box::new(mark.clone())),
            None => Acquired::NotFound,
        },
        Verdict::VersionMismatch { current } => Acquired::VersionMismatch { current },
        Verdict::NotFound => Acquired::NotFound,
        Verdict::SessionEnded => Acquired::SessionEnded,
    })
}

/// The lease and the mark that a grant writes.
pub(crate) fn lease_of(
    request: &Acquire,
    before: &LeaseState,
    attempt: u32,
    (renewals, now): (i64, Timestamp),
) -> (Granted, Option<Mark>) {
    match granted_event(request, before, attempt, now) {
        LeaseEvent::Granted(lease, mark) => (Granted { lease, renewals }, mark),
        _ => unreachable!("a grant is a grant"),
    }
}

/// The part of an update that takes an order.
pub(crate) fn take(update: &mut Update, granted: &Granted, mark: Option<&Mark>) {
    let locked = locked_by(granted.lease.fence);
    update.put("locked", locked);
    update.put("orderlock.lease", granted.to_fields());
    if let Some(mark) = mark {
        update.put("orderlock.mark", mark_to_fields(mark));
    }
}

/// A filter for an order that is still as it was read under this grant.
pub(crate) fn as_read(order: &OrderDocument, fence: Fence) -> Fields {
    doc! {"_id": &order.id, "locked": locked_by(fence), "orderlock.turn": order.turn}
}
