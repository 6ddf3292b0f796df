//! `resolve`: ends a mark that nobody attends to, by a decision and with a reason.

use orderlock_core::store::{About, Decision, Resolve, Resolved};
use orderlock_core::{LeaseState, Mark, OutcomeKind, StoreError};

use crate::database::marks;
use crate::database::retry::{RetryBudget, busy};
use crate::document::entry::StoredEntry;
use crate::document::order::OrderDocument;
use crate::document::plan::StepPlan;
use crate::document::update::Update;
use crate::error::Failure;
use crate::shared::Inner;
use crate::verbs::changed_elsewhere::note_change;
use crate::verbs::leases::void_one;

pub(crate) async fn resolve(inner: &Inner, request: &Resolve) -> Result<Resolved, StoreError> {
    let Some(id) = inner.ids.id(&request.target) else {
        return Ok(Resolved::NotMarked);
    };
    let mut retry = RetryBudget::new(&inner.calls);
    while retry.next().await {
        let found = inner.calls.order(&id).await.map_err(Failure::not_applied)?;
        let Some(order) = found else {
            return Ok(Resolved::NotMarked);
        };
        if inner.relay.take_up(&order).await? {
            continue;
        }
        if let Some(granted) = order.lease() {
            let lease = &granted.lease;
            let looked = inner.sessions.look(lease.session).await;
            if looked.map_err(Failure::not_applied)?.is_some() {
                return Ok(Resolved::NotMarked);
            }
            void_one(inner, &order, lease.fence).await?;
            continue;
        }
        let LeaseState::Unattended(mark) = order.state() else {
            return Ok(Resolved::NotMarked);
        };
        if !request.is_about(&mark) {
            return Ok(Resolved::NotMarked);
        }
        if is_settled(inner, &order, &mark).await? {
            // Its run has ended: what is left is a mark that no decision is about.
            let mut update = Update::default();
            update.unset("orderlock.mark");
            let ended = inner
                .calls
                .touch(order.unchanged(), update.into_fields())
                .await;
            ended.map_err(Failure::of_a_write)?;
            continue;
        }
        if order.changed_elsewhere() {
            note_change(inner, &order, inner.clock.now()).await?;
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

/// Whether the key of a mark has a final entry. Earlier builds could leave a mark of such a key, if
/// their node died at the right moment.
async fn is_settled(inner: &Inner, order: &OrderDocument, mark: &Mark) -> Result<bool, StoreError> {
    let now = inner.clock.forgets_by();
    let word = inner.calls.key(order, mark.key_id, now).await?;
    Ok(word.is_some_and(|word| word.progress.is_none()))
}

/// Writes the decision, if the order is still as it was read. None if it is not.
async fn write(
    inner: &Inner,
    request: &Resolve,
    order: &OrderDocument,
    mark: &Mark,
) -> Result<Option<Resolved>, StoreError> {
    let plan = plan(inner, request, order, mark).map_err(Failure::refused)?;
    let receipt = plan.record.receipt();
    let update = plan.update.into_fields();
    let written = inner.calls.touch(order.unchanged(), update).await;
    if !written.map_err(Failure::of_a_write)? {
        return Ok(None);
    }
    inner.relay.wants(&order.id, plan.record);
    marks::decided(&inner.calls, &order.id, mark);
    inner.hint(&order.target);
    Ok(Some(Resolved::Resolved(receipt)))
}

fn plan(
    inner: &Inner,
    request: &Resolve,
    order: &OrderDocument,
    mark: &Mark,
) -> Result<StepPlan, Failure> {
    let times = inner.clock.times();
    let about = About::from(mark);
    let (outcome, retention) = match &request.decision {
        Decision::RunAgain { retention } => (OutcomeKind::MarkCleared, *retention),
        Decision::Settle { end, retention, .. } => (end.outcome.kind(), *retention),
    };
    let act = (outcome, request.actor.clone(), Some(request.reason.clone()));
    let mut record = StoredEntry::of_act(&order.target, about, act, times.latest);
    let mut changed = None;
    if let Decision::Settle { end, .. } = &request.decision {
        record.entry.answer = Some(end.answer.clone());
        changed = end.outcome.change();
    }
    let record = StoredEntry::new(record.entry, retention, times.latest);
    let mut plan = StepPlan::new(order, record);
    if let Some(change) = changed {
        inner.fits(&change.after)?;
        plan.change(change, inner.whole_orders)?;
    }
    plan.unmark();
    plan.write_entry(times.earliest)?;
    Ok(plan)
}
