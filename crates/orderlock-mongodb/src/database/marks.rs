//! Marks beside their orders. A mark stands in its order's document, where a service that replaces the
//! whole document drops it, and with it the only sign that a payment may have been made. So each mark
//! is written here too before its handler runs, and is put back into an order that was replaced.
//!
//! What stands here and not in its order's document is asked for in that case only, and may be left
//! over: one too many waits for a decision that nobody needs, and one too few would be a blind run.

use std::sync::Arc;

use futures_util::FutureExt as _;
use mongodb::bson::{Bson, Document as Fields, doc};
use orderlock_core::{Fence, Mark, StoreError};

use crate::database::calls::Calls;
use crate::document::fields::{FieldReader, hash_hex, hex, micros};
use crate::document::keys::KeyEntry;
use crate::document::lease::{mark_from_fields, mark_to_fields};
use crate::document::order::OrderDocument;
use crate::error::Failure;

/// Keeps the mark of an order that is held under this fence.
pub(crate) async fn keep(
    calls: &Calls,
    id: &Bson,
    fence: Fence,
    mark: &Mark,
) -> Result<(), StoreError> {
    let set = doc! {"$set": {"fence": hex(fence.0), "mark": mark_to_fields(mark)}};
    let command = calls.marks.update_one(doc! {"_id": id}, set);
    let kept = calls.bounded(command.upsert(true)).await;
    match kept {
        // Another node has just begun it, which is as good.
        Err(failure) if !failure.is_duplicate() => Err(failure.of_a_write()),
        Ok(_) | Err(_) => Ok(()),
    }
}

/// The mark of this grant has ended: nobody waits until it has ended here too.
pub(crate) fn ended(calls: &Arc<Calls>, id: &Bson, fence: Fence) {
    remove(calls, doc! {"_id": id, "fence": hex(fence.0)});
}

/// The same, of a mark about which was decided.
pub(crate) fn decided(calls: &Arc<Calls>, id: &Bson, mark: &Mark) {
    let filter = doc! {
        "_id": id,
        "mark.key": hash_hex(mark.key_id.0),
        "mark.attempt": i64::from(mark.attempt),
        "mark.since": micros(mark.since),
    };
    remove(calls, filter);
}

fn remove(calls: &Arc<Calls>, filter: Fields) {
    let runtime = Arc::clone(&calls.runtime);
    let calls = Arc::clone(calls);
    let task = async move {
        if let Err(failure) = calls.bounded(calls.marks.delete_one(filter)).await {
            let error = failure.not_applied();
            tracing::debug!(%error, "a mark that has ended is left beside its order");
        }
    };
    runtime.spawn(task.boxed());
}

/// The mark that was open in an order which somebody has replaced.
pub(crate) async fn kept(calls: &Calls, order: &OrderDocument) -> Result<Option<Mark>, StoreError> {
    let query = calls.marks.find_one(doc! {"_id": &order.id});
    let found = calls.one(query).await.map_err(Failure::not_applied)?;
    let Some(fields) = found else {
        return Ok(None);
    };
    let mark = FieldReader::new("a mark beside its order", &fields).document("mark");
    let mark = mark.and_then(|mark| {
        mark.map(|mark| mark_from_fields(mark, &order.target.tenant))
            .transpose()
    });
    let Some(mark) = mark.map_err(Failure::not_applied)? else {
        return Ok(None);
    };
    // A settled key has no mark: its settle has ended it.
    let last = calls
        .last_of_key(&order.id, &order.target, mark.key_id)
        .await
        .map_err(Failure::not_applied)?;
    let settled = last.as_ref().and_then(KeyEntry::of);
    let settled = settled.is_some_and(|word| word.progress.is_none());
    Ok(Some(mark).filter(|_| !settled))
}
