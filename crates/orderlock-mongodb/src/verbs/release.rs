//! `release` and `undo`: the lease ends without an entry, and the next request may be granted by the
//! same write. A release keeps the mark of its grant or clears it; an undo puts back what stood before
//! the grant.

use std::sync::Arc;

use mongodb::bson::Bson;
use orderlock_core::store::{Acquire, MarkFate, Release, Released, Undo};
use orderlock_core::{Fence, Mark, StoreError, Target};

use crate::database::retry::{RetryBudget, busy};
use crate::document::order::OrderDocument;
use crate::error::Failure;
use crate::shared::Inner;
use crate::verbs::give_up::{keep_beside, leaving, let_go, mark_before};
use crate::verbs::hand_over::NextHolder;

const NOT_HELD: Released = Released {
    held: false,
    next: None,
};

/// A grant that is given up.
struct GivenUp<'a> {
    target: &'a Target,
    fence: Fence,
    /// What becomes of the mark; none if it becomes what it was before the grant.
    mark: Option<MarkFate>,
    next: Option<&'a Acquire>,
}

impl GivenUp<'_> {
    /// The mark that stands once the grant is given up.
    fn mark_after(&self, order: &OrderDocument) -> Option<Mark> {
        match self.mark {
            Some(MarkFate::Keep) => order.mark.clone(),
            Some(MarkFate::Clear) => None,
            None => mark_before(order, self.fence),
        }
    }
}

pub(crate) async fn release(inner: &Inner, request: &Release) -> Result<Released, StoreError> {
    let given_up = GivenUp {
        target: &request.target,
        fence: request.fence,
        mark: Some(request.mark),
        next: request.next.as_deref(),
    };
    end(inner, &given_up).await
}

pub(crate) async fn undo(inner: &Inner, request: &Undo) -> Result<Released, StoreError> {
    let given_up = GivenUp {
        target: &request.target,
        fence: request.fence,
        mark: None,
        next: request.next.as_deref(),
    };
    end(inner, &given_up).await
}

async fn end(inner: &Inner, given_up: &GivenUp<'_>) -> Result<Released, StoreError> {
    if let (None, Some(mark)) = (given_up.next, given_up.mark) {
        let held = let_go(inner, given_up.target, given_up.fence, mark).await?;
        return Ok(Released { held, next: None });
    }
    let Some(id) = inner.ids.id(given_up.target) else {
        return Ok(NOT_HELD);
    };
    let released = look_and_let_go(inner, given_up, &id).await?;
    inner.grants.forget(given_up.fence);
    if released.held {
        inner.hint(given_up.target);
    }
    Ok(released)
}

/// Looks at the order, and lets it go as it then is.
async fn look_and_let_go(
    inner: &Inner,
    given_up: &GivenUp<'_>,
    id: &Bson,
) -> Result<Released, StoreError> {
    let mut known = inner.grants.get(given_up.fence, id);
    let mut retry = RetryBudget::new(&inner.calls);
    while retry.next().await {
        let order = match known.take() {
            Some(order) => order,
            None => match inner.calls.order(id).await.map_err(Failure::not_applied)? {
                Some(order) => Arc::new(order),
                None => return Ok(NOT_HELD),
            },
        };
        if !order.is_held_by(given_up.fence) {
            return Ok(NOT_HELD);
        }
        let mark = given_up.mark_after(&order);
        let after = OrderDocument::clone(&order).let_go(mark.clone());
        let next = match given_up.next {
            Some(next) => NextHolder::decide(inner, next, (&order, &after)).await,
            None => None,
        };
        let mut update = leaving(&order, mark.as_ref());
        if let Some(next) = &next {
            next.add_to(&mut update);
        }
        let write = inner.calls.change(order.unchanged(), update.into_fields());
        let look = async {
            match &next {
                Some(next) => next.look(inner).await,
                None => Ok(None),
            }
        };
        let (written, session) = futures_util::join!(write, look);
        let Some(changed) = written.map_err(Failure::of_a_write)? else {
            continue;
        };
        keep_beside(&inner.calls, &order, given_up.fence, mark.as_ref()).await;
        let next = match next {
            Some(next) => next.answer(inner, changed, session).await,
            None => None,
        };
        return Ok(Released { held: true, next });
    }
    Err(busy())
}
