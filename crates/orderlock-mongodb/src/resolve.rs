//! `resolve`: ends a mark that nobody attends to, by a decision and with a reason.

use std::sync::Arc;

use orderlock_core::store::{About, Decision, Resolve, Resolved};
use orderlock_core::{LeaseState, Mark, OutcomeKind, StoreError};

use crate::acquire::{TRIES, busy};
use crate::document::OrderDocument;
use crate::entry::Record;
use crate::error::Failure;
use crate::grant;
use crate::operator::still;
use crate::settle_plan::Plan;
use crate::store::Inner;

pub(crate) async fn resolve(inner: &Arc<Inner>, request: &Resolve) -> Result<Resolved, StoreError> {
    let Some(id) = inner.ids.id(&request.target) else {
        return Ok(Resolved::NotMarked);
    };
    for _ in 0..TRIES {
        let found = inner.calls.order(&id).await.map_err(Failure::not_applied)?;
        let Some(order) = found else {
            return Ok(Resolved::NotMarked);
        };
        if let Some(granted) = order.lease() {
            let lease = &granted.lease;
            let looked = inner.sessions.look(inner, lease.session).await;
            if looked.map_err(Failure::not_applied)?.is_some() {
                return Ok(Resolved::NotMarked);
            }
            grant::void(inner, &order, lease.fence).await?;
            continue;
        }
        let LeaseState::Unattended(mark) = order.state() else {
            return Ok(Resolved::NotMarked);
        };
        if mark.key_id != request.key_id {
            return Ok(Resolved::NotMarked);
        }
        if order.changed_elsewhere() {
            grant::note_change(inner, &order, inner.clock.now()).await?;
            continue;
        }
        if let Decision::Settle { version, .. } = &request.decision
            && *version != order.version
        {
            let current = order.version;
            return Ok(Resolved::VersionMismatch { current });
        }
        if let Some(resolved) = write(inner, request, &order, &mark).await? {
            return Ok(resolved);
        }
    }
    Err(busy())
}

/// Writes the decision, if the order is still as it was read. None if it is not.
async fn write(
    inner: &Arc<Inner>,
    request: &Resolve,
    order: &OrderDocument,
    mark: &Mark,
) -> Result<Option<Resolved>, StoreError> {
    let plan = plan(inner, request, order, mark).map_err(Failure::not_applied)?;
    let receipt = plan.record.receipt();
    let update = plan.update.into_fields();
    let written = inner.calls.touch(still(order), update).await;
    if !written.map_err(Failure::of_a_write)? {
        return Ok(None);
    }
    inner.relay.wants(inner, &order.id);
    inner.hint(&order.target);
    Ok(Some(Resolved::Resolved(receipt)))
}

fn plan(
    inner: &Inner,
    request: &Resolve,
    order: &OrderDocument,
    mark: &Mark,
) -> Result<Plan, Failure> {
    let now = inner.clock.now();
    let about = About::from(mark);
    let outcome = match &request.decision {
        Decision::RunAgain { .. } => OutcomeKind::MarkCleared,
        Decision::Settle { outcome, .. } => *outcome,
    };
    let act = (outcome, request.actor.clone(), Some(request.reason.clone()));
    let mut record = Record::of_act(&order.target, about, act, now);
    let mut changed = None;
    if let Decision::Settle {
        change,
        answer,
        retention,
        ..
    } = &request.decision
    {
        record.entry.answer = Some(answer.clone());
        record = Record::new(record.entry, *retention, now);
        changed = change.as_ref();
    }
    let mut plan = Plan::new(order, record);
    if let Some(change) = changed {
        inner.fits_document(&change.after)?;
        plan.change(change, inner.whole_orders)?;
    }
    plan.unmark();
    plan.write_entry(now)?;
    Ok(plan)
}
