//! `break_lease`: an operator's act on one grant, or on one lock of a service that does not know
//! Orderlock.

use std::sync::Arc;

use mongodb::bson::{Bson, Document as Fields, doc};
use orderlock_core::store::{About, BreakLease, Broken};
use orderlock_core::{
    Fence, Fingerprint, KeyId, LeaseView, OperationName, OrderId, OutcomeKind, StoreError, Target,
};

use crate::acquire::{TRIES, adopt, busy};
use crate::document::{Locked, OrderDocument, foreign_id};
use crate::entry::Record;
use crate::error::Failure;
use crate::lease::locked_by;
use crate::settle_plan::Plan;
use crate::store::Inner;

/// The operation of a lock whose holder does not know Orderlock.
const FOREIGN_LOCK: &str = "foreign-lock";

pub(crate) async fn break_lease(
    inner: &Arc<Inner>,
    request: &BreakLease,
) -> Result<Broken, StoreError> {
    for _ in 0..TRIES {
        let Some(order) = find(inner, request).await? else {
            return Ok(Broken::NotFound);
        };
        let Some((view, about)) = meant(&order, request)? else {
            return Ok(Broken::NotFound);
        };
        if write(inner, request, &order, about).await? {
            return Ok(Broken::Broken(view));
        }
    }
    Err(busy())
}

/// The order that a lease's id names, whether it is still held so or not.
async fn find(inner: &Inner, request: &BreakLease) -> Result<Option<OrderDocument>, StoreError> {
    let id = &*request.lease.0;
    let filter = if let Some(fence) = request.lease.grant().map(|(fence, _)| fence.0) {
        // The index holds only texts, and is used only by who says that it is one.
        let text = doc! {"locked": {"$type": "string"}};
        doc! {"$and": [{"locked": locked_by(Fence(fence))}, text]}
    } else if let Some(target) = foreign_target(request, id) {
        match inner.ids.id(&target) {
            Some(id) => doc! {"_id": id},
            None => return Ok(None),
        }
    } else {
        return Ok(None);
    };
    let found = inner
        .calls
        .bounded(inner.calls.orders.find_one(filter))
        .await;
    let order = found.and_then(|found| found.map(OrderDocument::read).transpose());
    let order = order.map_err(Failure::not_applied)?;
    Ok(order.filter(|order| order.target.tenant == request.tenant))
}

fn foreign_target(request: &BreakLease, id: &str) -> Option<Target> {
    let (_, order) = id.strip_prefix("old_")?.split_once('_')?;
    Some(Target {
        tenant: request.tenant.clone(),
        order: OrderId::parse(order).ok()?,
    })
}

/// What is shown of the lease, and what its entry is about, if it is the one that is meant.
fn meant(
    order: &OrderDocument,
    request: &BreakLease,
) -> Result<Option<(LeaseView, About)>, StoreError> {
    let about = match (&order.locked, order.lease()) {
        (_, Some(granted))
            if request
                .lease
                .grant()
                .is_some_and(|(fence, _)| fence == granted.lease.fence) =>
        {
            About::from(&granted.lease)
        }
        (Locked::Foreign(value), _) if request.lease == foreign_id(&order.target, value) => About {
            key_id: KeyId([0; 32]),
            fingerprint: Fingerprint([0; 32]),
            operation: OperationName::parse(FOREIGN_LOCK)
                .map_err(|error| Failure::unreadable(error.to_string()).not_applied())?,
            attempt: 1,
        },
        _ => return Ok(None),
    };
    Ok(order.lease_view().map(|view| (view, about)))
}

/// Frees the order and writes the entry, if the order is still as it was read.
async fn write(
    inner: &Arc<Inner>,
    request: &BreakLease,
    order: &OrderDocument,
    about: About,
) -> Result<bool, StoreError> {
    let now = inner.clock.now();
    let (actor, reason) = (request.actor.clone(), Some(request.reason.clone()));
    let act = (OutcomeKind::LeaseBroken, actor, reason);
    let record = Record::of_act(&order.target, about, act, now);
    let mut plan = Plan::new(order, record);
    adopt(&mut plan.update, order);
    plan.update.unlock();
    plan.write_entry(now).map_err(Failure::not_applied)?;
    let update = plan.update.into_fields();
    let written = inner.calls.touch(still(order), update).await;
    let written = written.map_err(Failure::of_a_write)?;
    if written {
        if let Some(granted) = order.lease() {
            inner.held.forget(granted.lease.fence);
        }
        inner.relay.wants(inner, &order.id);
        inner.hint(&order.target);
    }
    Ok(written)
}

/// A filter for an order that is still as it was read, whoever holds it.
pub(crate) fn still(order: &OrderDocument) -> Fields {
    let locked: &Bson = &order.locked_value;
    doc! {"_id": &order.id, "locked": locked, "orderlock.turn": order.turn}
}
