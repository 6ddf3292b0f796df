//! Taking up an order that somebody has replaced, before a verb decides anything about it.

use orderlock_core::StoreError;

use crate::document::order::{Locked, OrderDocument};
use crate::error::Failure;
use crate::planted::{Planted, is_planted};
use crate::relay::{Relay, adopt};

impl Relay {
    /// Whether somebody has dropped an entry with the rest of the order that this node has written
    /// itself: it is not in the journal before the relay has been there.
    pub(crate) fn dropped_ours(&self, order: &OrderDocument) -> bool {
        order.revision.is_none() && self.queue.keeps(&order.id)
    }

    /// Takes an order up again of which somebody has dropped what Orderlock had written. Says whether it
    /// was one, and so is to be looked at again.
    pub(crate) async fn take_up(&self, order: &OrderDocument) -> Result<bool, StoreError> {
        if is_planted(Planted::Replaced) {
            return Ok(false);
        }
        // A service that holds the order may write all of it once more.
        if order.revision.is_some() || matches!(order.locked, Locked::Foreign(_)) {
            return Ok(false);
        }
        if self.dropped_ours(order) {
            // What this node has written and not moved is not lost.
            self.move_now(std::slice::from_ref(&order.id)).await?;
            let found = self.calls.order(&order.id).await;
            if found
                .map_err(Failure::not_applied)?
                .is_none_or(|order| order.revision.is_some())
            {
                return Ok(true);
            }
        }
        adopt::write_back(&self.calls, self.clock.now(), order).await
    }
}
