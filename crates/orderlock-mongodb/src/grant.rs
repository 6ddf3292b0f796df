//! What is done under a new lease before its holder is told: a change that somebody else made is
//! written down, the key is looked up where the document does not list it, the bounds are looked at.

use std::sync::Arc;

use mongodb::bson::doc;
use orderlock_core::store::{About, Acquire, Acquired, Grant, Verdict};
use orderlock_core::{
    Fence, Fingerprint, KeyId, OperationName, OutcomeKind, Principal, StoreError, Timestamp,
};

use crate::acquire::{as_read, told, verdict, word};
use crate::calls::Update;
use crate::document::OrderDocument;
use crate::entry::Record;
use crate::error::Failure;
use crate::facts::{Known, Word};
use crate::lease::locked_by;
use crate::relay;
use crate::settle_plan::Plan;
use crate::store::Inner;

/// The name of a change that a service made which does not know Orderlock.
const CHANGED_ELSEWHERE: &str = "changed-elsewhere";

/// Ends an `acquire` that has taken the order. None if the order was lost again at once.
pub(crate) async fn finish(
    inner: &Arc<Inner>,
    request: &Acquire,
    mut order: OrderDocument,
) -> Result<Option<Acquired>, StoreError> {
    if order.changed_elsewhere() {
        let Some(noted) = note_change(inner, &order, inner.clock.now()).await? else {
            return Ok(None);
        };
        order = noted;
        if request.expected.is_some() {
            let current = order.version;
            undo(inner, request, &order).await?;
            return Ok(Some(Acquired::VersionMismatch { current }));
        }
    }
    if let Some(full) = still_full(inner, &order).await? {
        undo(inner, request, &order).await?;
        return Err(full);
    }
    let now = inner.clock.now();
    // Nobody else can settle the key while this grant holds the order.
    let word = word(inner, &order, request.claim.key_id, now).await?;
    if order.keys.known(request.claim.key_id, now) == Known::AskTheJournal {
        let before = order.mark.clone().filter(|_| request.mark.is_none());
        let free = order.clone().let_go(before);
        match verdict(request, &free, word.as_ref(), true, now) {
            Verdict::Grant { attempt } => {
                let Some(counted) = count_attempt(inner, &order, attempt).await? else {
                    return Ok(None);
                };
                order = counted;
            }
            other => {
                undo(inner, request, &order).await?;
                return told(inner, &free, other, word).await.map(Some);
            }
        }
    }
    again(inner, &order, word).await.map(Some)
}

/// The grant that holds the order, as it is told; at once, or asked for again. What is known of its
/// key was looked up under it.
pub(crate) async fn again(
    inner: &Arc<Inner>,
    order: &OrderDocument,
    word: Option<Word>,
) -> Result<Acquired, StoreError> {
    let Some(held) = order.lease() else {
        return Ok(Acquired::NotFound);
    };
    let lease = &held.lease;
    let progress = match word.as_ref().and_then(|word| Some((word, word.progress?))) {
        // What this very run has done is no news to it.
        Some((word, attempt)) if attempt < lease.attempt => {
            let record = record(inner, order, word.number).await?;
            Some(Box::new(record.shown(inner.clock.now())))
        }
        Some(_) | None => None,
    };
    let grant = Grant {
        fence: lease.fence,
        version: order.version,
        document: order.document().map_err(Failure::not_applied)?,
        index: order.index(),
        times: order.times(),
        now: lease.since,
        attempt: lease.attempt,
        progress,
    };
    inner.held.keep(lease.fence, order.clone());
    Ok(Acquired::Granted(Box::new(grant)))
}

/// An entry of an order: in its document, or, once the relay has moved it, in the journal.
pub(crate) async fn record(
    inner: &Arc<Inner>,
    order: &OrderDocument,
    number: u64,
) -> Result<Record, StoreError> {
    if let Some(record) = order.pending(number).map_err(Failure::not_applied)? {
        return Ok(record);
    }
    let found = inner.calls.entry(&order.id, &order.target, number).await;
    let found = found.map_err(Failure::not_applied)?;
    found.ok_or_else(|| {
        Failure::unreadable("an entry that the order names is nowhere").not_applied()
    })
}

/// Gives a grant up that its requester has not been told of.
pub(crate) async fn undo(
    inner: &Arc<Inner>,
    request: &Acquire,
    order: &OrderDocument,
) -> Result<(), StoreError> {
    let mut update = Update::default();
    update.unlock();
    // A first run's mark has come with the grant; a later run's was there before.
    let first = order.mark.as_ref().is_some_and(|mark| mark.attempt == 1);
    if request.mark.is_some() && first {
        update.unset("orderlock.mark");
    }
    let filter = doc! {"_id": &order.id, "locked": locked_by(request.fence)};
    let undone = inner.calls.touch(filter, update.into_fields()).await;
    inner.held.forget(request.fence);
    inner.hint(&order.target);
    // Left standing, the grant is one that its node does not know: the session's renewals void it.
    undone.map(drop).map_err(Failure::of_a_write)
}

/// Voids a grant, if it still holds the order; its mark stays. Says whether it did.
pub(crate) async fn void(
    inner: &Arc<Inner>,
    order: &OrderDocument,
    fence: Fence,
) -> Result<bool, StoreError> {
    let mut update = Update::default();
    update.unlock();
    let filter = doc! {"_id": &order.id, "locked": locked_by(fence)};
    let voided = inner.calls.touch(filter, update.into_fields()).await;
    let voided = voided.map_err(Failure::of_a_write)?;
    if voided {
        inner.held.forget(fence);
        inner.hint(&order.target);
    }
    Ok(voided)
}

/// Writes down that somebody else has changed the order's own fields: the version moves, and the
/// journal has an entry for it. None if the order has gone on.
pub(crate) async fn note_change(
    inner: &Arc<Inner>,
    order: &OrderDocument,
    now: Timestamp,
) -> Result<Option<OrderDocument>, StoreError> {
    let name = |_| Failure::unreadable("a name of the store's own").not_applied();
    let about = About {
        key_id: KeyId([0; 32]),
        fingerprint: Fingerprint([0; 32]),
        operation: OperationName::parse(CHANGED_ELSEWHERE).map_err(name)?,
        attempt: 1,
    };
    let actor = Principal::parse("elsewhere").map_err(name)?;
    let act = (OutcomeKind::Applied, actor, None);
    let record = Record::of_act(&order.target, about, act, now);
    let mut plan = Plan::new(order, record);
    plan.note_change().map_err(Failure::not_applied)?;
    let filter = match order.lease() {
        Some(held) => as_read(order, held.lease.fence),
        None => doc! {
            "_id": &order.id,
            "locked": &order.locked_value,
            "orderlock.turn": order.turn,
        },
    };
    let noted = inner.calls.change(filter, plan.update.into_fields()).await;
    let noted = noted.map_err(Failure::of_a_write)?;
    inner.relay.wants(inner, &order.id);
    Ok(noted)
}

/// Corrects which run a grant is, once the journal has told of earlier ones.
async fn count_attempt(
    inner: &Arc<Inner>,
    order: &OrderDocument,
    attempt: u32,
) -> Result<Option<OrderDocument>, StoreError> {
    let Some(held) = order.lease() else {
        return Ok(None);
    };
    if held.lease.attempt >= attempt {
        return Ok(Some(order.clone()));
    }
    let mut update = Update::default();
    let attempt = i64::from(attempt);
    update.set.insert("orderlock.lease.attempt", attempt);
    if order.mark.is_some() {
        update.set.insert("orderlock.mark.attempt", attempt);
    }
    let filter = as_read(order, held.lease.fence);
    let counted = inner.calls.change(filter, update.into_fields()).await;
    counted.map_err(Failure::of_a_write)
}

/// Why the order takes no further operation: too much in it waits for the relay, although the relay
/// was asked to move it.
async fn still_full(
    inner: &Arc<Inner>,
    order: &OrderDocument,
) -> Result<Option<StoreError>, StoreError> {
    if !inner.is_full(order) {
        return Ok(None);
    }
    if let Err(error) = relay::move_now(inner, std::slice::from_ref(&order.id)).await {
        tracing::warn!(%error, "entries wait in their order: the journal takes none");
    }
    let found = inner.calls.order(&order.id).await;
    let found = found.map_err(Failure::not_applied)?;
    let full = found.is_some_and(|order| inner.is_full(&order));
    Ok(full.then(|| {
        let why = format!(
            "{} entries of the order {} wait for the journal, and no more fit into its document; \
             see why the journal's collection takes none",
            order.entries.len(),
            order.target
        );
        StoreError::NotApplied(why.into())
    }))
}
