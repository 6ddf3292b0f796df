//! `release` and `undo`: the lease ends without an entry, and the next request may be granted by the
//! same write. A release keeps the mark of its grant or clears it; an undo puts back what stood before
//! the grant.

use std::sync::Arc;

use mongodb::bson::{Bson, doc};
use orderlock_core::store::{Acquire, MarkFate, Release, Released, Undo};
use orderlock_core::{Fence, LeaseEvent, Mark, StoreError, Target};

use crate::database::calls::Update;
use crate::database::marks;
use crate::database::retry::Pace;
use crate::document::lease::{locked_by, mark_to_fields};
use crate::document::order::OrderDocument;
use crate::error::Failure;
use crate::store::Inner;
use crate::verbs::acquire::{self, as_read};
use crate::verbs::hand_over::Next;

const NOT_HELD: Released = Released {
    held: false,
    next: None,
};

/// A grant that is given up.
struct GivenUp<'a> {
    target: &'a Target,
    fence: Fence,
    fate: Fate,
    next: Option<&'a Acquire>,
}

/// What becomes of the mark.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Fate {
    Keep,
    Clear,
    /// It becomes what it was before the grant.
    Back,
}

pub(crate) async fn release(inner: &Arc<Inner>, request: &Release) -> Result<Released, StoreError> {
    let given_up = GivenUp {
        target: &request.target,
        fence: request.fence,
        fate: match request.mark {
            MarkFate::Keep => Fate::Keep,
            MarkFate::Clear => Fate::Clear,
        },
        next: request.next.as_deref(),
    };
    end(inner, &given_up).await
}

pub(crate) async fn undo(inner: &Arc<Inner>, request: &Undo) -> Result<Released, StoreError> {
    let given_up = GivenUp {
        target: &request.target,
        fence: request.fence,
        fate: Fate::Back,
        next: request.next.as_deref(),
    };
    end(inner, &given_up).await
}

/// Takes a grant back of which nobody has been told.
pub(crate) async fn take_back(
    inner: &Arc<Inner>,
    target: &Target,
    fence: Fence,
) -> Result<(), StoreError> {
    let given_up = GivenUp {
        target,
        fence,
        fate: Fate::Back,
        next: None,
    };
    Box::pin(end(inner, &given_up)).await.map(drop)
}

async fn end(inner: &Arc<Inner>, given_up: &GivenUp<'_>) -> Result<Released, StoreError> {
    let Some(id) = inner.ids.id(given_up.target) else {
        return Ok(NOT_HELD);
    };
    let released = match (given_up.next, given_up.fate) {
        (None, Fate::Keep | Fate::Clear) => let_go(inner, given_up, &id).await?,
        _ => look_and_let_go(inner, given_up, &id).await?,
    };
    inner.held.forget(given_up.fence);
    if released.held {
        inner.hint(given_up.target);
    }
    Ok(released)
}

/// One write: it rests on nothing but the fence.
async fn let_go(
    inner: &Arc<Inner>,
    given_up: &GivenUp<'_>,
    id: &Bson,
) -> Result<Released, StoreError> {
    let mut update = Update::default();
    update.unlock();
    if given_up.fate == Fate::Clear {
        update.unset("orderlock.mark");
    }
    let filter = doc! {"_id": id, "locked": locked_by(given_up.fence)};
    let held = inner.calls.touch(filter, update.into_fields()).await;
    let held = held.map_err(Failure::of_a_write)?;
    if held && given_up.fate == Fate::Clear {
        marks::ended(inner, id, given_up.fence);
    }
    Ok(Released { held, next: None })
}

/// Looks at the order, and lets it go as it then is.
async fn look_and_let_go(
    inner: &Arc<Inner>,
    given_up: &GivenUp<'_>,
    id: &Bson,
) -> Result<Released, StoreError> {
    let mut known = inner.held.get(given_up.fence, id);
    let mut pace = Pace::new(inner);
    while pace.next().await {
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
        let mark = mark_after(given_up, &order);
        let after = OrderDocument::clone(&order).let_go(mark.clone());
        let next = match given_up.next {
            Some(next) => Next::decide(inner, next, (&order, &after)).await,
            None => None,
        };
        let mut update = Update::default();
        update.unlock();
        put_mark(&mut update, &order, mark.as_ref());
        if let Some(next) = &next {
            next.add_to(inner, &mut update, &after);
        }
        let filter = as_read(&order, given_up.fence);
        let write = inner.calls.change(filter, update.into_fields());
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
        keep_beside(inner, &order, given_up.fence, mark.as_ref()).await;
        let next = match next {
            Some(next) => next.answer(inner, changed, session).await,
            None => None,
        };
        return Ok(Released { held: true, next });
    }
    Err(acquire::busy())
}

/// The mark that stands once the grant is given up.
fn mark_after(given_up: &GivenUp<'_>, order: &OrderDocument) -> Option<Mark> {
    match given_up.fate {
        Fate::Keep => order.mark.clone(),
        Fate::Clear => None,
        Fate::Back => {
            let undone = order.state().next(LeaseEvent::Undone(given_up.fence));
            undone.ok().and_then(|state| state.mark().cloned())
        }
    }
}

fn put_mark(update: &mut Update, order: &OrderDocument, mark: Option<&Mark>) {
    match mark {
        Some(mark) if order.mark.as_ref() == Some(mark) => {}
        Some(mark) => update.put("orderlock.mark", mark_to_fields(mark)),
        None if order.mark.is_some() => update.unset("orderlock.mark"),
        None => {}
    }
}

/// What is kept beside the order follows. One that does not is one mark too many, or an earlier run's
/// with the number of a later one.
async fn keep_beside(inner: &Arc<Inner>, order: &OrderDocument, fence: Fence, mark: Option<&Mark>) {
    match mark {
        None if order.mark.is_some() => marks::ended(inner, &order.id, fence),
        Some(mark) if order.mark.as_ref() != Some(mark) => {
            if let Err(error) = marks::keep(inner, &order.id, fence, mark).await {
                tracing::debug!(%error, "a mark was not written beside its order");
            }
        }
        _ => {}
    }
}
