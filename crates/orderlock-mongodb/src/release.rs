//! `release`: the lease ends without an entry, and the next request may be granted by the same
//! write.

use std::sync::Arc;

use mongodb::bson::{Bson, doc};
use orderlock_core::StoreError;
use orderlock_core::store::{Acquire, MarkFate, Release, Released};

use crate::acquire::{self, TRIES, as_read, busy};
use crate::calls::Update;
use crate::document::OrderDocument;
use crate::error::Failure;
use crate::lease::locked_by;
use crate::next::Next;
use crate::store::Inner;

const NOT_HELD: Released = Released {
    held: false,
    next: None,
};

pub(crate) async fn release(inner: &Arc<Inner>, request: &Release) -> Result<Released, StoreError> {
    let Some(id) = inner.ids.id(&request.target) else {
        return Ok(NOT_HELD);
    };
    let released = match &request.next {
        None => let_go(inner, request, &id).await?,
        Some(next) => hand_over(inner, request, next, &id).await?,
    };
    inner.held.forget(request.fence);
    if released.held {
        inner.hint(&request.target);
    }
    Ok(released)
}

async fn let_go(inner: &Arc<Inner>, request: &Release, id: &Bson) -> Result<Released, StoreError> {
    let filter = doc! {"_id": id, "locked": locked_by(request.fence)};
    let update = letting_go(request.mark).into_fields();
    let held = inner.calls.touch(filter, update).await;
    Ok(Released {
        held: held.map_err(Failure::of_a_write)?,
        next: None,
    })
}

fn letting_go(mark: MarkFate) -> Update {
    let mut update = Update::default();
    update.unlock();
    if mark == MarkFate::Clear {
        update.unset("orderlock.mark");
    }
    update
}

async fn hand_over(
    inner: &Arc<Inner>,
    request: &Release,
    next: &Acquire,
    id: &Bson,
) -> Result<Released, StoreError> {
    let mut known = inner.held.get(request.fence, id);
    for _ in 0..TRIES {
        let order = match known.take() {
            Some(order) => order,
            None => match inner.calls.order(id).await.map_err(Failure::not_applied)? {
                Some(order) => Arc::new(order),
                None => return Ok(NOT_HELD),
            },
        };
        if !order.is_held_by(request.fence) {
            return Ok(NOT_HELD);
        }
        let mark = order
            .mark
            .clone()
            .filter(|_| request.mark == MarkFate::Keep);
        let after = OrderDocument::clone(&order).let_go(mark);
        let next_step = Next::decide(inner, next, (&order, &after)).await?;
        let mut update = letting_go(request.mark);
        next_step.add_to(inner, &mut update, &after);
        let write = inner
            .calls
            .change(as_read(&order, request.fence), update.into_fields());
        let (written, session) = futures_util::join!(write, next_step.look(inner));
        if let Some(order) = written.map_err(Failure::of_a_write)? {
            let next = match next_step.answer(inner, order, session).await {
                Ok(next) => next,
                // The release is good; what became of the next is found by asking for it again.
                Err(_) => acquire::acquire(inner, next).await?,
            };
            return Ok(Released {
                held: true,
                next: Some(next),
            });
        }
    }
    Err(busy())
}
