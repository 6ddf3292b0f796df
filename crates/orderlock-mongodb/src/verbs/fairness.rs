//! Fairness between nodes, on the way of a verb: who waits for an order is looked up before a hand-over, and
//! written by a node that has found the order held more than once.

use std::time::Instant;

use mongodb::bson::{Bson, doc};
use orderlock_core::store::Acquire;
use orderlock_core::{SessionId, StoreError};

use crate::document::fields::nested;
use crate::document::order::OrderDocument;
use crate::document::waits::{PATIENCE, WaitList};
use crate::error::Failure;
use crate::shared::Inner;

/// Looks at who waits for an order that its holder is about to hand over to this session, if
/// the order may be kept for somebody. The copy that the holder has is as old as its grant: while that
/// is younger than half a second, whoever is not in it cannot have waited for long enough.
pub(crate) async fn look(
    inner: &Inner,
    held: &OrderDocument,
    session: SessionId,
) -> Result<WaitList, StoreError> {
    let now = inner.clock.now();
    let age = held.lease().map(|granted| {
        let since = granted.lease.since.as_microsecond();
        now.as_microsecond().saturating_sub(since)
    });
    let young = age.is_some_and(|age| (0..PATIENCE).contains(&age));
    if young && !held.waits.another_has_waited(session, now) {
        return Ok(WaitList::default());
    }
    let query = inner.calls.orders.find_one(doc! {"_id": &held.id});
    let query = query.projection(doc! {"orderlock.waits": 1});
    let found = inner.calls.one(query).await.map_err(Failure::not_applied)?;
    let found = nested(found.unwrap_or_default());
    let kept = found.get("orderlock").and_then(Bson::as_document);
    Ok(WaitList::read(kept.and_then(|kept| kept.get("waits"))))
}

/// Writes that a request waits which has found its order held, as it was read, if it has found it
/// so before. `begun` is when this question began.
pub(crate) async fn note(inner: &Inner, request: &Acquire, order: &OrderDocument, begun: Instant) {
    let session = request.session;
    // An order that Orderlock has never written is held by a service that keeps no order for anybody.
    let may = order.revision.is_some() && order.waits.has_room_for(session);
    if !may || !inner.tried.before(request) {
        return;
    }
    let took = inner.clock.instant().saturating_duration_since(begun);
    let update = order.waits.noted(session, inner.clock.now(), took);
    let written = inner.calls.touch(doc! {"_id": &order.id}, update).await;
    if let Err(failure) = written {
        let error = failure.not_applied();
        tracing::debug!(%error, order = %order.target, "a wait was not written");
    }
}
