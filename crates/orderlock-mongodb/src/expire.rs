//! `expire`: ends the retention of answers, then of tombstones, in small batches.

use std::sync::Arc;

use mongodb::bson::{Bson, Document as Fields, doc};
use orderlock_core::StoreError;
use orderlock_core::store::{Expire, Expired};

use crate::error::Failure;
use crate::fields::micros;
use crate::relay;
use crate::store::Inner;

/// The most that one call ends.
const BATCH_MAX: usize = 1_000;

pub(crate) async fn expire(inner: &Arc<Inner>, request: &Expire) -> Result<Expired, StoreError> {
    // An answer that still waits in its order's document is ended where it then is.
    relay::move_all(inner).await?;
    let limit = request.limit.clamp(1, BATCH_MAX);
    let now = micros(inner.clock.now());
    let gone = doc! {"$unset": {"answer": "", "due": ""}};
    let answers = end(inner, "due", &now, gone, limit).await?;
    let left = limit.saturating_sub(answers);
    let gone = doc! {"$unset": {"ends": ""}};
    let tombstones = match left {
        0 => 0,
        left => end(inner, "ends", &now, gone, left).await?,
    };
    Ok(Expired {
        answers,
        tombstones,
        more: answers + tombstones >= limit,
        behind: std::time::Duration::ZERO,
    })
}

/// Ends what is due by a member of the journal's entries. Two nodes that do so at once each count
/// what they have ended.
async fn end(
    inner: &Inner,
    by: &str,
    now: &Bson,
    gone: Fields,
    limit: usize,
) -> Result<usize, StoreError> {
    let query = inner
        .calls
        .journal
        .find(doc! {by: {"$lte": now}})
        .projection(doc! {"position": 1})
        .sort(doc! {by: 1})
        .limit(i64::try_from(limit).unwrap_or(i64::MAX));
    let due = inner.calls.all(query).await.map_err(Failure::not_applied)?;
    let due: Vec<&Bson> = due
        .iter()
        .filter_map(|fields| fields.get("position"))
        .collect();
    if due.is_empty() {
        return Ok(0);
    }
    let filter = doc! {"position": {"$in": due}, by: {"$lte": now}};
    let update = inner.calls.journal.update_many(filter, gone);
    let done = inner
        .calls
        .bounded(update)
        .await
        .map_err(Failure::of_a_write)?;
    Ok(usize::try_from(done.modified_count).unwrap_or(limit))
}
