//! What is done under a new lease before its holder is told: a change that somebody else made is
//! written down, the key is looked up where the document does not list it, the bounds are looked at.

use std::sync::Arc;

use mongodb::bson::doc;
use orderlock_core::store::{About, Acquire, Acquired, Entry, Grant, Verdict};
use orderlock_core::{
    Fence, Fingerprint, KeyId, OperationName, OutcomeKind, Principal, StoreError, Timestamp,
};

use crate::database::calls::Update;
use crate::database::marks;
use crate::document::entry::Record;
use crate::document::keys::{Known, Word};
use crate::document::lease::locked_by;
use crate::document::order::OrderDocument;
use crate::document::plan::Plan;
use crate::error::Failure;
use crate::relay;
use crate::store::Inner;
use crate::verbs::acquire::{as_read, told, verdict, word};
use crate::verbs::break_lease::still;
use crate::verbs::release;

/// The name of a change that a service made which does not know Orderlock.
const CHANGED_ELSEWHERE: &str = "changed-elsewhere";

/// How an `acquire` ends that has taken the order.
enum Finished {
    Told(Acquired),
    /// The order was lost again at once: it is to be asked for anew.
    Lost,
    /// It takes no further operation, and was let go.
    Full(StoreError),
}

/// Ends an `acquire` that has taken the order. None if the order was lost again at once. An error
/// leaves the grant standing, and says so.
pub(crate) async fn finish(
    inner: &Arc<Inner>,
    request: &Acquire,
    order: OrderDocument,
) -> Result<Option<Acquired>, StoreError> {
    match finish_under(inner, request, order).await {
        Ok(Finished::Told(acquired)) => Ok(Some(acquired)),
        Ok(Finished::Lost) => Ok(None),
        Ok(Finished::Full(full)) => Err(full),
        Err(error) => Err(in_doubt(error)),
    }
}

/// An error behind a grant that is written: whoever asked must ask again, or take it back.
pub(crate) fn in_doubt(error: StoreError) -> StoreError {
    match error {
        StoreError::OutcomeUnknown(_) => error,
        other => StoreError::OutcomeUnknown(Box::new(other)),
    }
}

async fn finish_under(
    inner: &Arc<Inner>,
    request: &Acquire,
    mut order: OrderDocument,
) -> Result<Finished, StoreError> {
    if order.changed_elsewhere() {
        let Some(noted) = note_change(inner, &order, inner.clock.now()).await? else {
            return Ok(Finished::Lost);
        };
        order = noted;
        if request.expected.is_some() {
            let current = order.version;
            undo(inner, &order).await?;
            return Ok(Finished::Told(Acquired::VersionMismatch { current }));
        }
    }
    if let Some(full) = still_full(inner, &order).await? {
        undo(inner, &order).await?;
        return Ok(Finished::Full(full));
    }
    // Nobody else can settle the key while this grant holds the order.
    let key_id = request.claim.key_id;
    let word = word(inner, &order, key_id).await?;
    if order.keys.known(key_id, inner.forgets_by()) == Known::AskTheJournal {
        let before = order.mark.clone().filter(|_| request.mark.is_none());
        let free = order.clone().let_go(before);
        let now = inner.clock.now();
        match verdict(request, &free, word.as_ref(), true, now) {
            Verdict::Grant { attempt } => {
                let Some(counted) = count_attempt(inner, &order, attempt).await? else {
                    return Ok(Finished::Lost);
                };
                order = counted;
            }
            other => {
                undo(inner, &order).await?;
                let told = told(inner, &free, key_id, other, word).await?;
                return Ok(Finished::Told(told));
            }
        }
    }
    again(inner, &order, word).await.map(Finished::Told)
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
    if let Some(mark) = &order.mark {
        marks::keep(inner, &order.id, lease.fence, mark).await?;
    }
    let progress = match word.filter(|word| word.progress.is_some()) {
        Some(word) => progress(inner, order, lease.key_id, &word).await?,
        None => None,
    };
    let grant = Grant {
        fence: lease.fence,
        version: order.version,
        document: order.document().map_err(Failure::not_applied)?,
        index: order.index(),
        times: order.times(),
        now: lease.since,
        attempt: lease.attempt,
        // What this very run has done is no news to it.
        progress: progress.filter(|entry| entry.attempt < lease.attempt),
    };
    inner.held.keep(lease.fence, order.clone());
    Ok(Acquired::Granted(Box::new(grant)))
}

/// The last checkpoint of a key that has no final entry.
async fn progress(
    inner: &Inner,
    order: &OrderDocument,
    key_id: KeyId,
    word: &Word,
) -> Result<Option<Box<Entry>>, StoreError> {
    let last = if word.cleared {
        // A decision was the last that was said of the key: a checkpoint may stand before it.
        let pending = order.pending_all().map_err(Failure::not_applied)?;
        let checkpoint = |record: &Record| {
            record.entry.key_id == key_id && record.entry.outcome == OutcomeKind::Checkpoint
        };
        match pending.into_iter().rfind(checkpoint) {
            Some(record) => Some(record),
            None => {
                let (id, target) = (&order.id, &order.target);
                let found = inner.calls.last_checkpoint(id, target, key_id).await;
                found.map_err(Failure::not_applied)?
            }
        }
    } else {
        Some(record(inner, order, key_id, word.number).await?)
    };
    let known = last.filter(|record| inner.forgets_by() < record.forgotten);
    Ok(known.map(|record| Box::new(record.shown(inner.clock.now()))))
}

/// The last entry of a key, which has this number as far as the order's document says: in the
/// document or, once the relay has moved it, in the journal. Another key's entry is none of it: a
/// number may have been given twice, if somebody has replaced the order.
pub(crate) async fn record(
    inner: &Inner,
    order: &OrderDocument,
    key_id: KeyId,
    number: u64,
) -> Result<Record, StoreError> {
    let of_key = |record: &Record| record.entry.key_id == key_id;
    let pending = order.pending(number).map_err(Failure::not_applied)?;
    if let Some(record) = pending.filter(of_key) {
        return Ok(record);
    }
    let (id, target) = (&order.id, &order.target);
    let found = inner.calls.entry(id, target, number).await;
    if let Some(record) = found.map_err(Failure::not_applied)?.filter(of_key) {
        return Ok(record);
    }
    let found = inner.calls.last_of_key(id, target, key_id).await;
    found.map_err(Failure::not_applied)?.ok_or_else(|| {
        let failure = Failure::unreadable("an entry that the order names is nowhere");
        failure.in_document("the order", Some(id)).not_applied()
    })
}

/// Gives a grant up that its requester has not been told of: what stood before it stands again.
pub(crate) async fn undo(inner: &Arc<Inner>, order: &OrderDocument) -> Result<(), StoreError> {
    let Some(held) = order.lease() else {
        return Ok(());
    };
    let fence = held.lease.fence;
    // Left standing, the grant is one that its node does not know: the session's renewals void it.
    release::take_back(inner, &order.target, fence)
        .await
        .map(drop)
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

/// Writes down that somebody else has changed the order: the version moves, and the journal has an
/// entry for it. None if the order has gone on.
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
        None => still(order),
    };
    let noted = inner.calls.change(filter, plan.update.into_fields()).await;
    let noted = noted.map_err(Failure::of_a_write)?;
    if noted.is_some() {
        inner.relay.wants(inner, &order.id, plan.record);
    }
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
