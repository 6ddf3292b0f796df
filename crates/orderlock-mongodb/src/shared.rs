//! A store that is open: what its verbs share.

use std::sync::Arc;

use orderlock_core::store::Tried;
use orderlock_core::{Document, Target};
use tokio::sync::broadcast;

use crate::database::calls::Calls;
use crate::database::clock::StoreClock;
use crate::database::grant_cache::GrantCache;
use crate::database::unreadable::Unreadable;
use crate::document::order::OrderDocument;
use crate::document::order_id::IdShape;
use crate::error::Failure;
use crate::open::Opened;
use crate::open::server_watch::ServerWatch;
use crate::options::MongodbOptions;
use crate::relay::Relay;
use crate::sessions::Sessions;

/// How many hints of freed orders are kept for a slow reader.
const HINTS: usize = 1_024;

/// A store that is open.
pub(crate) struct Inner {
    pub(crate) calls: Arc<Calls>,
    pub(crate) clock: Arc<StoreClock>,
    pub(crate) ids: IdShape,
    pub(crate) epoch: String,
    pub(crate) location: String,
    pub(crate) sessions: Sessions,
    pub(crate) grants: GrantCache,
    pub(crate) tried: Tried,
    pub(crate) relay: Arc<Relay>,
    pub(crate) watch: ServerWatch,
    pub(crate) unreadable: Arc<Unreadable>,
    pub(crate) freed: broadcast::Sender<Target>,
    pub(crate) whole_orders: bool,
    pub(crate) document_bytes_max: usize,
    pending_entries_max: usize,
    pending_bytes_max: usize,
}

impl std::fmt::Debug for Inner {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Inner")
            .field("location", &self.location)
            .finish_non_exhaustive()
    }
}

impl Inner {
    pub(crate) fn new(opened: Opened, options: MongodbOptions) -> Self {
        let calls = opened.calls;
        let clock = Arc::new(StoreClock::new(options.time, opened.seen));
        let unreadable = Arc::new(Unreadable::default());
        let relay = Relay::new(
            Arc::clone(&calls),
            Arc::clone(&clock),
            Arc::clone(&unreadable),
        );
        Self {
            sessions: Sessions::new(Arc::clone(&calls), Arc::clone(&clock)),
            watch: ServerWatch::new(opened.server, opened.seen, clock.instant()),
            relay: Arc::new(relay),
            calls,
            clock,
            ids: opened.ids,
            epoch: opened.epoch,
            location: opened.location,
            grants: GrantCache::default(),
            tried: Tried::default(),
            unreadable,
            freed: broadcast::Sender::new(HINTS),
            whole_orders: options.whole_orders,
            document_bytes_max: options.document_bytes_max,
            pending_entries_max: options.pending_entries_max,
            pending_bytes_max: options.pending_bytes_max,
        }
    }

    /// Tells those who wait that an order was let go.
    pub(crate) fn hint(&self, target: &Target) {
        // It fails only when nobody listens.
        let _ = self.freed.send(target.clone());
    }

    /// Whether so much waits in an order for the relay that it takes no further operation.
    pub(crate) fn is_full(&self, order: &OrderDocument) -> bool {
        order.entries.len() >= self.pending_entries_max
            || (!order.entries.is_empty() && order.pending_bytes() >= self.pending_bytes_max)
    }

    /// Whether the store takes a document of that size.
    pub(crate) fn fits(&self, document: &Document) -> Result<(), Failure> {
        if document.size() > self.document_bytes_max {
            return Err(Failure::impossible(
                "the order is over the store's size limit",
            ));
        }
        Ok(())
    }
}
