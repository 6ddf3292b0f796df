//! `settle`: change, entry, and what becomes of the lease, in one write that names the grant and
//! the turn that it rests on.

use std::sync::Arc;

use mongodb::bson::Bson;
use orderlock_core::StoreError;
use orderlock_core::store::{
    Accepted, Acquire, Acquired, Durable, Loss, MarkFate, Receipt, Release, Settle, Settled, Then,
};

use crate::acquire::{self, TRIES, as_read, busy};
use crate::document::OrderDocument;
use crate::error::Failure;
use crate::next::Next;
use crate::release;
use crate::settle_plan::{self, Plan};
use crate::store::Inner;

pub(crate) async fn settle(inner: &Arc<Inner>, request: &Settle) -> Result<Settled, StoreError> {
    let Some(id) = inner.ids.id(&request.claim.target()) else {
        return Ok(Settled::Lost(Loss::NotHeld));
    };
    let mut known = inner.held.get(request.fence, &id);
    for _ in 0..TRIES {
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
        match why_not(request, &order) {
            None => {
                if let Some(settled) = write(inner, request, &order, &id).await? {
                    return Ok(settled);
                }
            }
            // What this node remembers may be old: only the order itself says no.
            Some(_) if inner.held.get(request.fence, &id).is_some() => {
                inner.held.forget(request.fence);
            }
            Some(loss) => return written_or_lost(inner, request, &order, loss).await,
        }
        inner.held.forget(request.fence);
    }
    Err(busy())
}

/// Why a settle cannot be written on an order as it is.
fn why_not(request: &Settle, order: &OrderDocument) -> Option<Loss> {
    let lease = order.lease().map(|granted| &granted.lease);
    let holds =
        lease.is_some_and(|lease| lease.fence == request.fence && lease.steps == request.step);
    if !holds {
        Some(Loss::NotHeld)
    } else if order.version != request.version {
        Some(Loss::VersionMoved)
    } else {
        None
    }
}

/// Writes the settle, if the order is still as it was read. None if it is not.
async fn write(
    inner: &Arc<Inner>,
    request: &Settle,
    order: &OrderDocument,
    id: &Bson,
) -> Result<Option<Settled>, StoreError> {
    let plan = match settle_plan::settle(inner, request, order) {
        Ok(plan) => plan,
        Err(Failure::Impossible(reason)) => {
            return give_up(inner, request, reason.to_string()).await.map(Some);
        }
        Err(failure) => return Err(failure.not_applied()),
    };
    let receipt = plan.record.receipt();
    let Plan {
        mut update, after, ..
    } = plan;
    let filter = as_read(order, request.fence);
    let written = match &request.then {
        Then::Unlock => {
            let done = inner.calls.touch(filter, update.into_fields()).await;
            done.map(|done| done.then_some((None, None)))
        }
        Then::Keep => {
            let done = inner.calls.change(filter, update.into_fields()).await;
            done.map(|done| done.map(|order| (Some(order), None)))
        }
        Then::HandOver(next) => {
            let next = Next::decide(inner, next, (order, &after)).await?;
            next.add_to(inner, &mut update, &after);
            let write = inner.calls.change(filter, update.into_fields());
            let (done, session) = futures_util::join!(write, next.look(inner));
            done.map(|done| done.map(|order| (Some(order), Some((next, session)))))
        }
    };
    let written = match written {
        Ok(written) => written,
        Err(failure) => match failure.constraint() {
            Some(reason) => return give_up(inner, request, reason.into()).await.map(Some),
            None => return Err(failure.of_a_write()),
        },
    };
    let Some((changed, next)) = written else {
        return Ok(None);
    };
    inner.relay.wants(inner, id);
    let next = match (changed, next) {
        (Some(order), None) => {
            inner.held.keep(request.fence, order);
            None
        }
        (changed, next) => {
            inner.held.forget(request.fence);
            inner.hint(&request.claim.target());
            match (changed, next) {
                // The settle itself is good, whatever becomes of the one that was asked with it.
                (Some(order), Some((next, session))) => {
                    let asked = next.request;
                    match next.answer(inner, order, session).await {
                        Ok(acquired) => Some(acquired),
                        Err(_) => ask_again(inner, asked).await.ok(),
                    }
                }
                _ => None,
            }
        }
    };
    Ok(Some(accepted(receipt, next)))
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
    inner: &Arc<Inner>,
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
    let next = match &request.then {
        Then::Unlock | Then::Keep => None,
        Then::HandOver(next) => Some(ask_again(inner, next).await?),
    };
    Ok(accepted(record.receipt(), next))
}

async fn ask_again(inner: &Arc<Inner>, next: &Acquire) -> Result<Acquired, StoreError> {
    acquire::acquire(inner, next).await
}

/// What can never be applied ends the lease all the same: its holder has nothing left to say.
async fn give_up(
    inner: &Arc<Inner>,
    request: &Settle,
    reason: String,
) -> Result<Settled, StoreError> {
    let release = Release {
        target: request.claim.target(),
        fence: request.fence,
        mark: MarkFate::Keep,
        next: None,
    };
    release::release(inner, &release).await?;
    Ok(Settled::Impossible(reason))
}
