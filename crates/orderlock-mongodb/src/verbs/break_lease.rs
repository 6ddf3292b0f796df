//! `break_lease`: an operator's act on one grant, or on one lock of a service that does not know
//! Orderlock.

use orderlock_core::store::{About, BreakLease, Broken};
use orderlock_core::{
    Fingerprint, KeyId, LeaseView, OperationName, OutcomeKind, StoreError, Target,
};

use crate::database::retry::{RetryBudget, busy};
use crate::document::entry::StoredEntry;
use crate::document::order::{Locked, OrderDocument, foreign_id, order_of};
use crate::document::plan::StepPlan;
use crate::error::Failure;
use crate::relay::adopt::{adopt, write_back};
use crate::shared::Inner;

/// The operation of a lock whose holder does not know Orderlock.
const FOREIGN_LOCK: &str = "foreign-lock";

pub(crate) async fn break_lease(inner: &Inner, request: &BreakLease) -> Result<Broken, StoreError> {
    let named = order_of(&request.lease).map(|order| Target {
        tenant: request.tenant.clone(),
        order,
    });
    let Some(id) = named.and_then(|target| inner.ids.id(&target)) else {
        return Ok(Broken::NotFound);
    };
    let mut retry = RetryBudget::new(&inner.calls);
    while retry.next().await {
        let found = inner.calls.order(&id).await.map_err(Failure::not_applied)?;
        let Some(order) = found else {
            return Ok(Broken::NotFound);
        };
        let Some((view, about)) = meant(&order, request)? else {
            return Ok(Broken::NotFound);
        };
        if order.revision.is_none() && write_back(&inner.calls, inner.clock.now(), &order).await? {
            continue;
        }
        if write(inner, request, &order, about).await? {
            return Ok(Broken::Broken(view));
        }
    }
    Err(busy())
}

/// What is shown of the lease, and what its entry is about, if it is the one that is meant.
fn meant(
    order: &OrderDocument,
    request: &BreakLease,
) -> Result<Option<(LeaseView, About)>, StoreError> {
    let about = match (&order.locked, order.lease()) {
        (_, Some(granted)) if order.lease_id() == Some(request.lease.clone()) => {
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
    inner: &Inner,
    request: &BreakLease,
    order: &OrderDocument,
    about: About,
) -> Result<bool, StoreError> {
    let times = inner.clock.times();
    let (actor, reason) = (request.actor.clone(), Some(request.reason.clone()));
    let act = (OutcomeKind::LeaseBroken, actor, reason);
    let record = StoredEntry::of_act(&order.target, about, act, times.latest);
    let mut plan = StepPlan::new(order, record);
    adopt(inner.clock.now(), &mut plan.update, order);
    plan.update.unlock();
    plan.write_entry(times.earliest)
        .map_err(Failure::not_applied)?;
    let update = plan.update.into_fields();
    let written = inner.calls.touch(order.unchanged(), update).await;
    let written = written.map_err(Failure::of_a_write)?;
    if written {
        inner.relay.wants(&order.id, plan.record);
        inner.hint(&order.target);
        if let Some(granted) = order.lease() {
            inner.grants.forget(granted.lease.fence);
            inner.sessions.note_broken(&granted.lease).await;
        }
    }
    Ok(written)
}
