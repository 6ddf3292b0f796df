//! `acquire`: in the common case one write that takes a free order. Whatever stands in its way is
//! looked at, decided by the core, and written on the condition that nothing has moved.

use std::time::Instant;

use mongodb::bson::{Bson, doc};
use orderlock_core::store::{Acquire, Acquired, Verdict, grant, kept_for_another};
use orderlock_core::{LeaseState, SessionId, StoreError};

use crate::database::retry::{RetryBudget, busy};
use crate::document::fields::{hash_hex, long};
use crate::document::update::Update;
use crate::error::Failure;
use crate::relay::adopt::adopt;
use crate::shared::Inner;
use crate::verbs::answers::answer;
use crate::verbs::changed_elsewhere::note_change;
use crate::verbs::decide::{take, verdict};
use crate::verbs::fairness;
use crate::verbs::give_up::undo;
use crate::verbs::grant::{finish, in_doubt};
use crate::verbs::leases::void_one;

pub(crate) async fn acquire(inner: &Inner, request: &Acquire) -> Result<Acquired, StoreError> {
    let acquired = ask(inner, request).await;
    let target = request.claim.target();
    inner.tried.told(target, request.fence, &acquired);
    acquired
}

async fn ask(inner: &Inner, request: &Acquire) -> Result<Acquired, StoreError> {
    let Some(id) = inner.ids.id(&request.claim.target()) else {
        return Ok(Acquired::NotFound);
    };
    let begun = inner.clock.instant();
    if let Some(acquired) = take_if_free(inner, request, &id).await? {
        return Ok(acquired);
    }
    let mut retry = RetryBudget::new(&inner.calls);
    while retry.next().await {
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
    inner: &Inner,
    request: &Acquire,
    id: &Bson,
) -> Result<Option<Acquired>, StoreError> {
    let Some(renewals) = inner.sessions.renewals(request.session) else {
        return Ok(None);
    };
    let granted = grant(request, &LeaseState::Free, 1, inner.clock.now());
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
        Some(version) => filter.insert("orderlock.version", long(version.0)),
        None => filter.insert("orderlock.version", doc! {"$gte": 1_i64}),
    };
    let mut update = Update::default();
    take(&mut update, granted, renewals);
    let write = inner.calls.change(filter, update.into_fields());
    let look = inner.sessions.look(request.session);
    let (written, session) = futures_util::join!(write, look);
    let Some(order) = written.map_err(Failure::of_a_write)? else {
        return Ok(None);
    };
    match session {
        Ok(Some(_)) => finish(inner, request, order).await,
        Ok(None) => {
            undo(inner, &order).await.map_err(in_doubt)?;
            Ok(None)
        }
        // The grant stands, and nobody knows whether it is good: it is asked again, or undone.
        Err(failure) => Err(StoreError::OutcomeUnknown(Box::new(failure))),
    }
}

/// Looks at the order, decides, and carries the decision out if the order is still so. None if it
/// is not.
async fn look_and_take(
    inner: &Inner,
    request: &Acquire,
    id: &Bson,
    begun: Instant,
) -> Result<Option<Acquired>, StoreError> {
    let found = inner.calls.order(id).await.map_err(Failure::not_applied)?;
    let Some(order) = found else {
        return Ok(Some(Acquired::NotFound));
    };
    if inner.relay.take_up(&order).await? {
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
            void_one(inner, &order, holder.fence).await?;
            return Ok(None);
        }
    }
    let now = inner.clock.now();
    let key_id = request.claim.key_id;
    let word = inner
        .calls
        .key(&order, key_id, inner.clock.forgets_by())
        .await?;
    let verdict = verdict(request, &order, word.as_ref(), session.is_some(), now);
    let granted = match verdict {
        Verdict::Grant(granted) => *granted,
        verdict => {
            let answer = answer(inner, &order, key_id, verdict, word).await?;
            if matches!(answer, Acquired::Held(_)) {
                fairness::note(inner, request, &order, begun).await;
            }
            return Ok(Some(answer));
        }
    };
    if order.waits.kept_for_another(request.session, now) {
        fairness::note(inner, request, &order, begun).await;
        return Ok(Some(Acquired::Held(kept_for_another(order.target, now))));
    }
    if order.changed_elsewhere() {
        note_change(inner, &order, now).await?;
        return Ok(None);
    }
    let mut update = Update::default();
    take(&mut update, granted, session.unwrap_or(0));
    adopt(inner.clock.now(), &mut update, &order);
    order.waits.remove_from(&mut update, request.session, now);
    let written = inner
        .calls
        .change(order.unchanged(), update.into_fields())
        .await;
    match written.map_err(Failure::of_a_write)? {
        Some(order) => finish(inner, request, order).await,
        None => Ok(None),
    }
}

async fn look(inner: &Inner, session: SessionId) -> Result<Option<i64>, StoreError> {
    let looked = inner.sessions.look(session).await;
    looked.map_err(Failure::not_applied)
}
