//! The answer to an `acquire`, once it is decided.

use orderlock_core::store::{Acquired, Grant, Verdict};
use orderlock_core::{KeyId, StoreError};

use crate::database::marks;
use crate::database::retry::busy;
use crate::document::keys::KeyEntry;
use crate::document::order::OrderDocument;
use crate::error::Failure;
use crate::shared::Inner;

/// The answer to a request that is not granted.
pub(crate) async fn answer(
    inner: &Inner,
    order: &OrderDocument,
    key_id: KeyId,
    verdict: Verdict,
    word: Option<KeyEntry>,
) -> Result<Acquired, StoreError> {
    Ok(match verdict {
        Verdict::Answer(answer) => answer,
        Verdict::Replay => {
            let number = word.map_or(0, |word| word.number);
            let record = inner.calls.entry_of_key(order, key_id, number).await?;
            Acquired::Settled(Box::new(record.shown(inner.clock.now())))
        }
        Verdict::Repeat => return granted(inner, order, word).await,
        Verdict::Grant(_) => return Err(busy()),
    })
}

/// The grant that holds the order, as its holder gets it; at once, or when it is asked for again. What
/// is known of its key was looked up under it.
pub(crate) async fn granted(
    inner: &Inner,
    order: &OrderDocument,
    word: Option<KeyEntry>,
) -> Result<Acquired, StoreError> {
    let Some(held) = order.lease() else {
        return Ok(Acquired::NotFound);
    };
    let lease = &held.lease;
    if let Some(mark) = &order.mark {
        marks::keep(&inner.calls, &order.id, lease.fence, mark).await?;
    }
    let progress = match word.filter(|word| word.progress.is_some()) {
        Some(word) => {
            inner
                .calls
                .checkpoint_of_key(order, lease.key_id, &word)
                .await?
        }
        None => None,
    };
    let progress = progress.filter(|record| inner.clock.forgets_by() < record.forgotten);
    let progress = progress.map(|record| Box::new(record.shown(inner.clock.now())));
    let grant = Grant {
        fence: lease.fence,
        version: order.version,
        document: order.document().map_err(Failure::not_applied)?,
        index: order.index(),
        times: order.times(),
        now: lease.since,
        attempt: lease.attempt,
        // What this very run has done is no news to it.
        progress: progress.filter(|entry| entry.attempt < lease.attempt),
    };
    inner.grants.keep(lease.fence, order.clone());
    Ok(Acquired::Granted(Box::new(grant)))
}
