//! Orders that Orderlock has never written, and orders of which somebody has dropped what it had
//! written: a service that replaces a whole document leaves nothing of what it does not know.
//!
//! Of such an order the journal still has every entry that was moved, and this node those that it has
//! written itself and not moved yet. So keys are asked of the journal, numbers go on behind its last
//! one, and the replacement is written down as a change that somebody else has made.

use std::sync::Arc;

use mongodb::bson::Bson;
use orderlock_core::{OutcomeKind, StoreError};

use crate::database::calls::{TURN, Update};
use crate::database::marks;
use crate::document::fields::{long, micros};
use crate::document::json;
use crate::document::lease::mark_to_fields;
use crate::document::order::{Locked, OrderDocument};
use crate::error::Failure;
use crate::planted::{Planted, is_planted};
use crate::relay;
use crate::store::Inner;
use crate::verbs::break_lease::still;

/// What Orderlock writes into an order that it has never written before.
pub(crate) fn adopt(inner: &Inner, update: &mut Update, order: &OrderDocument) {
    if order.turn.is_none() {
        begin(inner, update);
        update.put("orderlock.adopted", 1);
        update.put("orderlock.version", 1_i64);
        update.put("orderlock.number", 0_i64);
        update.put("orderlock.hash", json::hash(&order.own));
    }
}

/// The count of turns begins at the time of day: it never comes to a turn that it has been at before
/// the order was replaced.
fn begin(inner: &Inner, update: &mut Update) {
    update.put(TURN, micros(inner.clock.now()));
}

/// Whether somebody has dropped an entry with the rest of the order that this node has written itself:
/// it is not in the journal before the relay has been there.
pub(crate) fn dropped_ours(inner: &Inner, order: &OrderDocument) -> bool {
    order.turn.is_none() && inner.relay.keeps(&order.id)
}

/// Takes an order up again of which somebody has dropped what Orderlock had written. Says whether it
/// was one, and so is to be looked at again.
pub(crate) async fn take_up(inner: &Arc<Inner>, order: &OrderDocument) -> Result<bool, StoreError> {
    if is_planted(Planted::Replaced) {
        return Ok(false);
    }
    // A service that holds the order may write all of it once more.
    if order.turn.is_some() || matches!(order.locked, Locked::Foreign(_)) {
        return Ok(false);
    }
    if dropped_ours(inner, order) {
        // What this node has written and not moved is not lost.
        relay::move_now(inner, std::slice::from_ref(&order.id)).await?;
        let found = inner.calls.order(&order.id).await;
        if found
            .map_err(Failure::not_applied)?
            .is_none_or(|order| order.turn.is_some())
        {
            return Ok(true);
        }
    }
    write_back(inner, order).await
}

/// Writes back what the journal knows of an order, and the mark that was open in it. Says whether
/// there was anything.
pub(crate) async fn write_back(inner: &Inner, order: &OrderDocument) -> Result<bool, StoreError> {
    let calls = &inner.calls;
    let (id, target) = (&order.id, &order.target);
    let last = calls.last_entry(id, target).await;
    let last = last.map_err(Failure::not_applied)?;
    let mark = marks::kept(inner, order).await?;
    if last.is_none() && mark.is_none() {
        return Ok(false);
    }
    let mut update = Update::default();
    begin(inner, &mut update);
    let (mut version, mut number) = (Bson::from(1_i64), Bson::from(0_i64));
    if let Some(last) = &last {
        let first = calls.entry(id, target, 1).await;
        let first = first.map_err(Failure::not_applied)?;
        if let Some(first) = first.filter(|first| first.entry.outcome == OutcomeKind::Created) {
            update.put("orderlock.created", micros(first.entry.at));
        }
        update.put("orderlock.updated", micros(last.entry.at));
        (version, number) = (long(last.entry.version.0), long(last.entry.number));
    }
    update.put("orderlock.version", version.clone());
    update.put("orderlock.number", number);
    // The next grant goes beyond that version, and says that somebody else has changed the order.
    update.put("orderlock.floor", version);
    update.put("orderlock.spilled", 1);
    if let Some(mark) = &mark {
        update.put("orderlock.mark", mark_to_fields(mark));
    }
    let written = calls.touch(still(order), update.into_fields()).await;
    if written.map_err(Failure::of_a_write)? {
        tracing::warn!(
            order = %order.target,
            "somebody has replaced the order's document; what the journal knows of it was written back"
        );
    }
    Ok(true)
}

/// The version that a replaced order had, as far as the journal knows, and the mark that is open in
/// it: for those who only look.
pub(crate) async fn recall(
    inner: &Inner,
    mut order: OrderDocument,
) -> Result<OrderDocument, StoreError> {
    if order.turn.is_none() {
        let last = inner.calls.last_entry(&order.id, &order.target).await;
        if let Some(last) = last.map_err(Failure::not_applied)? {
            order.version = last.entry.version;
        }
        order.mark = marks::kept(inner, &order).await?;
    }
    Ok(order)
}
