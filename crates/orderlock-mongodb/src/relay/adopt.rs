//! Orders that Orderlock has never written, and orders of which somebody has dropped what it had
//! written: a service that replaces a whole document leaves nothing of what it does not know.
//!
//! Of such an order the journal still has every entry that was moved, and this node those that it has
//! written itself and not moved yet. So keys are asked of the journal, numbers go on behind its last
//! one, and the replacement is written down as a change that somebody else has made.

use mongodb::bson::Bson;
use orderlock_core::{OutcomeKind, StoreError, Timestamp};

use crate::database::calls::Calls;
use crate::database::marks;
use crate::document::fields::{long, micros};
use crate::document::json;
use crate::document::lease::mark_to_fields;
use crate::document::order::OrderDocument;
use crate::document::update::{REVISION, Update};
use crate::error::Failure;

/// What Orderlock writes into an order that it has never written before.
pub(crate) fn adopt(now: Timestamp, update: &mut Update, order: &OrderDocument) {
    if order.revision.is_none() {
        begin(now, update);
        update.put("orderlock.adopted", 1);
        update.put("orderlock.version", 1_i64);
        update.put("orderlock.number", 0_i64);
        update.put("orderlock.hash", json::hash(&order.own));
    }
}

/// Revisions begin at the time of day: they never come to one that was there before the order was
/// replaced.
fn begin(now: Timestamp, update: &mut Update) {
    update.put(REVISION, micros(now));
}

/// Writes back what the journal knows of an order, and the mark that was open in it. Says whether
/// there was anything.
pub(crate) async fn write_back(
    calls: &Calls,
    now: Timestamp,
    order: &OrderDocument,
) -> Result<bool, StoreError> {
    let (id, target) = (&order.id, &order.target);
    let last = calls.last_entry(id, target).await;
    let last = last.map_err(Failure::not_applied)?;
    let mark = marks::kept(calls, order).await?;
    if last.is_none() && mark.is_none() {
        return Ok(false);
    }
    let mut update = Update::default();
    begin(now, &mut update);
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
    let written = calls.touch(order.unchanged(), update.into_fields()).await;
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
    calls: &Calls,
    mut order: OrderDocument,
) -> Result<OrderDocument, StoreError> {
    if order.revision.is_none() {
        let last = calls.last_entry(&order.id, &order.target).await;
        if let Some(last) = last.map_err(Failure::not_applied)? {
            order.version = last.entry.version;
        }
        order.mark = marks::kept(calls, &order).await?;
    }
    Ok(order)
}
