//! `settle`: change, entry, and what becomes of the lease, in one write that names the grant and
//! the revision that it rests on.

use std::sync::Arc;

use mongodb::bson::Bson;
use orderlock_core::store::{
    Accepted, Acquired, Durable, Entry, Loss, MarkFate, Part, Receipt, Settle, SettleFacts,
    SettleVerdict, Settled, decide_settle,
};
use orderlock_core::{LeaseState, StoreError};

use crate::database::marks;
use crate::database::retry::{RetryBudget, busy};
use crate::document::entry::StoredEntry;
use crate::document::order::OrderDocument;
use crate::document::plan::StepPlan;
use crate::error::Failure;
use crate::shared::Inner;
use crate::verbs::acquire::acquire;
use crate::verbs::give_up::let_go;
use crate::verbs::hand_over::NextHolder;

pub(crate) async fn settle(inner: &Inner, request: &Settle) -> Result<Settled, StoreError> {
    let Some(id) = inner.ids.id(&request.claim.target()) else {
        return Ok(Settled::Lost(Loss::NotHeld));
    };
    let mut known = inner.grants.get(request.fence, &id);
    let mut retry = RetryBudget::new(&inner.calls);
    while retry.next().await {
        let remembered = known.is_some();
        let order = match known.take() {
            Some(order) => order,
            None => {
                let found = inner.calls.order(&id).await.map_err(Failure::not_applied)?;
                match found {
                    Some(order) => Arc::new(order),
                    None => return Ok(Settled::Lost(Loss::NotHeld)),
                }
            }
        };
        let tried = match verdict(inner, request, &order) {
            SettleVerdict::Apply(after) => write(inner, request, (&order, after), &id).await?,
            SettleVerdict::Repeat(receipt) => SettleAttempt::Settled(accepted(receipt, None)),
            SettleVerdict::Lost(loss) => SettleAttempt::Lost(loss),
        };
        match tried {
            SettleAttempt::Settled(settled) => return Ok(settled),
            SettleAttempt::GoneOn => {}
            // What this node remembers may be old: only the order itself says no.
            SettleAttempt::Lost(_) | SettleAttempt::Impossible(_) if remembered => {}
            SettleAttempt::Lost(loss) => {
                return written_or_lost(inner, request, &order, loss).await;
            }
            SettleAttempt::Impossible(reason) => return give_up(inner, request, reason).await,
        }
        inner.grants.forget(request.fence);
    }
    Err(busy())
}

/// What one try comes to.
enum SettleAttempt {
    Settled(Settled),
    /// The order is no longer as it was read.
    GoneOn,
    Lost(Loss),
    /// The store can never take it.
    Impossible(String),
}

/// What a settle comes to on an order as it is. That it was written before is looked for only where the
/// grant is gone.
fn verdict(inner: &Inner, request: &Settle, order: &OrderDocument) -> SettleVerdict {
    let (key_id, forgets_by) = (request.claim.key_id, inner.clock.forgets_by());
    let facts = SettleFacts {
        version: Some(order.version),
        lease: &order.state(),
        written: None,
        key_settled: order.keys.is_settled(key_id, forgets_by),
    };
    decide_settle(request, facts)
}

/// Plans a settle, on the order as its grant (or its last checkpoint) left it.
fn plan(inner: &Inner, request: &Settle, order: &OrderDocument) -> Result<StepPlan, Failure> {
    if let Some(change) = request.change() {
        inner.fits(&change.after)?;
    }
    let times = inner.clock.times();
    let entry = Entry::of_settle(request);
    let record = StoredEntry::new(entry, request.entry.retention, times.latest);
    let mut plan = StepPlan::new(order, record);
    if let Some(change) = request.change() {
        plan.change(change, inner.whole_orders)?;
    }
    plan.write_entry(times.earliest)?;
    match request.part {
        Part::Checkpoint(_) => plan.keep(),
        Part::Final { .. } => plan.unlock(),
    }
    Ok(plan)
}

/// Writes the settle, if the order is still as it was read.
async fn write(
    inner: &Inner,
    request: &Settle,
    (order, leaves): (&OrderDocument, LeaseState),
    id: &Bson,
) -> Result<SettleAttempt, StoreError> {
    let plan = match plan(inner, request, order) {
        Ok(plan) => plan,
        Err(Failure::Impossible(reason)) => {
            return Ok(SettleAttempt::Impossible(reason.to_string()));
        }
        Err(failure) => return Err(failure.not_applied()),
    };
    let StepPlan {
        mut update,
        after,
        record,
    } = plan;
    debug_assert_eq!(after.state(), leaves, "the plan leaves the lock as decided");
    let next = match request.next() {
        Some(next) => NextHolder::decide(inner, next, (order, &after)).await,
        None => None,
    };
    if let Some(next) = &next {
        next.add_to(&mut update);
    }
    let filter = order.unchanged();
    let (written, session) = match (request.is_final(), &next) {
        (false, _) => (
            inner.calls.change(filter, update.into_fields()).await,
            Ok(None),
        ),
        (_, Some(next)) => {
            let write = inner.calls.change(filter, update.into_fields());
            futures_util::join!(write, next.look(inner))
        }
        (_, None) => {
            let done = inner.calls.touch(filter, update.into_fields()).await;
            (done.map(|done| done.then_some(after)), Ok(None))
        }
    };
    let changed = match written {
        Ok(Some(changed)) => changed,
        Ok(None) => return Ok(SettleAttempt::GoneOn),
        Err(failure) => {
            return match failure.constraint() {
                Some(reason) => give_up(inner, request, reason.into())
                    .await
                    .map(SettleAttempt::Settled),
                None => Err(failure.of_a_write()),
            };
        }
    };
    let receipt = record.receipt();
    inner.relay.wants(id, record);
    if order.mark.is_some() && request.is_final() {
        marks::ended(&inner.calls, id, request.fence);
    }
    let next = go_on(inner, request, changed, next.map(|next| (next, session))).await;
    Ok(SettleAttempt::Settled(accepted(receipt, next)))
}

/// What is done once the settle is written. It is good, whatever becomes of the one that was asked with
/// it.
async fn go_on(
    inner: &Inner,
    request: &Settle,
    changed: OrderDocument,
    next: Option<(NextHolder<'_>, Result<Option<i64>, Failure>)>,
) -> Option<Acquired> {
    if !request.is_final() {
        inner.grants.keep(request.fence, changed);
        return None;
    }
    inner.grants.forget(request.fence);
    inner.hint(&request.claim.target());
    let (next, session) = next?;
    next.answer(inner, changed, session).await
}

fn accepted(receipt: Receipt, next: Option<Acquired>) -> Settled {
    Settled::Accepted(Accepted {
        receipt,
        durable: Durable::already(),
        next,
    })
}

/// The grant is gone: either because this very settle was written before, or for good.
async fn written_or_lost(
    inner: &Inner,
    request: &Settle,
    order: &OrderDocument,
    loss: Loss,
) -> Result<Settled, StoreError> {
    let (fence, step) = (request.fence, request.step);
    let pending = order.pending_all().map_err(Failure::not_applied)?;
    let mut written = pending.into_iter().find(|record| record.is_of(fence, step));
    if written.is_none() {
        let key_id = request.claim.key_id;
        let asked = inner
            .calls
            .written(&order.id, &order.target, key_id, (fence, step));
        written = asked.await.map_err(Failure::not_applied)?;
    }
    let Some(record) = written else {
        return Ok(Settled::Lost(loss));
    };
    let next = match request.next() {
        None => None,
        // The settle is good, whatever becomes of the one that was asked with it.
        Some(next) => acquire(inner, next).await.ok(),
    };
    Ok(accepted(record.receipt(), next))
}

/// What can never be applied ends the lease all the same: its holder has nothing left to say.
async fn give_up(inner: &Inner, request: &Settle, reason: String) -> Result<Settled, StoreError> {
    let target = request.claim.target();
    let_go(inner, &target, request.fence, MarkFate::Keep).await?;
    Ok(Settled::Impossible(reason))
}
