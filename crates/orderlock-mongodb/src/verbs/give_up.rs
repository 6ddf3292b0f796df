//! A grant that is given up without an entry: what becomes of its mark, in the order and beside it, and
//! the writes by which nobody else is granted the order.

use std::sync::Arc;

use mongodb::bson::doc;
use orderlock_core::store::MarkFate;
use orderlock_core::{Fence, LeaseEvent, Mark, StoreError, Target};

use crate::database::calls::Calls;
use crate::database::marks;
use crate::database::retry::{RetryBudget, busy};
use crate::document::lease::{locked_by, mark_to_fields};
use crate::document::order::OrderDocument;
use crate::document::update::Update;
use crate::error::Failure;
use crate::shared::Inner;

/// The mark that stands once a grant is undone: what it was before the grant.
pub(crate) fn mark_before(order: &OrderDocument, fence: Fence) -> Option<Mark> {
    let undone = order.state().next(LeaseEvent::Undone(fence));
    undone.ok().and_then(|state| state.mark().cloned())
}

/// What lets an order go, as it was read, and leaves this mark in it.
pub(crate) fn leaving(order: &OrderDocument, mark: Option<&Mark>) -> Update {
    let mut update = Update::default();
    update.unlock();
    match mark {
        Some(mark) if order.mark.as_ref() == Some(mark) => {}
        Some(mark) => update.put("orderlock.mark", mark_to_fields(mark)),
        None if order.mark.is_some() => update.unset("orderlock.mark"),
        None => {}
    }
    update
}

/// What is kept beside an order follows, once its grant is given up. A mark that does not is one too
/// many, or an earlier run's with the number of a later one.
pub(crate) async fn keep_beside(
    calls: &Arc<Calls>,
    order: &OrderDocument,
    fence: Fence,
    mark: Option<&Mark>,
) {
    match mark {
        None if order.mark.is_some() => marks::ended(calls, &order.id, fence),
        Some(mark) if order.mark.as_ref() != Some(mark) => {
            if let Err(error) = marks::keep(calls, &order.id, fence, mark).await {
                tracing::debug!(%error, "a mark was not written beside its order");
            }
        }
        _ => {}
    }
}

/// Lets an order go with one write, which rests on nothing but the fence. Says whether the grant held
/// it.
pub(crate) async fn let_go(
    inner: &Inner,
    target: &Target,
    fence: Fence,
    mark: MarkFate,
) -> Result<bool, StoreError> {
    let Some(id) = inner.ids.id(target) else {
        return Ok(false);
    };
    let clears = mark == MarkFate::Clear;
    let mut update = Update::default();
    update.unlock();
    if clears {
        update.unset("orderlock.mark");
    }
    let filter = doc! {"_id": &id, "locked": locked_by(fence)};
    let held = inner.calls.touch(filter, update.into_fields()).await;
    let held = held.map_err(Failure::of_a_write)?;
    inner.grants.forget(fence);
    if held {
        if clears {
            marks::ended(&inner.calls, &id, fence);
        }
        inner.hint(target);
    }
    Ok(held)
}

/// Undoes a grant that its requester has not been answered: what stood before it stands again. Left
/// standing, it is one that its node does not know, and the session's renewals void it.
pub(crate) async fn undo(inner: &Inner, granted: &OrderDocument) -> Result<(), StoreError> {
    let Some(held) = granted.lease() else {
        return Ok(());
    };
    let fence = held.lease.fence;
    let mut retry = RetryBudget::new(&inner.calls);
    while retry.next().await {
        let found = inner.calls.order(&granted.id).await;
        let found = found.map_err(Failure::not_applied)?;
        let Some(order) = found.filter(|order| order.is_held_by(fence)) else {
            inner.grants.forget(fence);
            return Ok(());
        };
        let mark = mark_before(&order, fence);
        let update = leaving(&order, mark.as_ref()).into_fields();
        let written = inner.calls.touch(order.unchanged(), update).await;
        if written.map_err(Failure::of_a_write)? {
            keep_beside(&inner.calls, &order, fence, mark.as_ref()).await;
            inner.grants.forget(fence);
            inner.hint(&order.target);
            return Ok(());
        }
    }
    Err(busy())
}
