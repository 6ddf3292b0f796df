//! `expire`: ends the retention of answers and of tombstones, in batches of which each of the two has
//! its own.

use std::time::Duration;

use mongodb::bson::{Bson, Document as Fields, doc};
use orderlock_core::store::{Expire, Expired};
use orderlock_core::{StoreError, Timestamp};

use crate::document::fields::{FieldReader, micros};
use crate::error::Failure;
use crate::shared::Inner;

/// The most of either that one call ends.
const BATCH_MAX: usize = 1_000;

pub(crate) async fn expire(inner: &Inner, request: &Expire) -> Result<Expired, StoreError> {
    // An answer that still waits in its order's document is ended once it is in the journal. What
    // cannot be moved there holds up none of the others.
    inner.relay.try_move_all().await;
    let now = inner.clock.forgets_by();
    inner.watch.keep_time(&inner.calls, &inner.clock).await?;
    let limit = request.limit.clamp(1, BATCH_MAX);
    let gone = doc! {"$unset": {"answer": "", "due": ""}};
    let answers = end(inner, "due", now, gone, limit).await?;
    let gone = doc! {"$unset": {"ends": ""}};
    let tombstones = end(inner, "ends", now, gone, limit).await?;
    Ok(Expired {
        answers: answers.ended,
        tombstones: tombstones.ended,
        more: answers.ended.max(tombstones.ended) >= limit || answers.left || tombstones.left,
        behind: answers.behind.max(tombstones.behind),
    })
}

/// How the batch of one kind went.
struct EndedBatch {
    ended: usize,
    left: bool,
    /// For how long the oldest has been due that is left.
    behind: Duration,
}

/// Ends what is due by a member of the journal's entries. Two nodes that do so at once each count
/// what they have ended.
async fn end(
    inner: &Inner,
    by: &str,
    now: Timestamp,
    gone: Fields,
    limit: usize,
) -> Result<EndedBatch, StoreError> {
    let query = inner
        .calls
        .journal
        .find(doc! {by: {"$lte": micros(now)}})
        .projection(doc! {"position": 1, by: 1})
        .sort(doc! {by: 1})
        .limit(i64::try_from(limit + 1).unwrap_or(i64::MAX));
    let due = inner.calls.all(query).await.map_err(Failure::not_applied)?;
    let oldest = due
        .get(limit)
        .and_then(|fields| FieldReader::new("a journal entry", fields).time(by).ok());
    let due: Vec<&Bson> = due
        .iter()
        .take(limit)
        .filter_map(|fields| fields.get("position"))
        .collect();
    let mut ended = 0;
    if !due.is_empty() {
        let filter = doc! {"position": {"$in": due}, by: {"$lte": micros(now)}};
        let update = inner.calls.journal.update_many(filter, gone);
        let done = inner.calls.bounded(update).await;
        let done = done.map_err(Failure::of_a_write)?;
        ended = usize::try_from(done.modified_count).unwrap_or(limit);
    }
    Ok(EndedBatch {
        ended,
        left: oldest.is_some(),
        behind: oldest.map_or(Duration::ZERO, |oldest| {
            now.duration_since(oldest).unsigned_abs()
        }),
    })
}
