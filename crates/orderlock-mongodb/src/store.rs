//! The store itself: what its verbs share, and the seam.

use std::future::ready;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures_util::stream::BoxStream;
use futures_util::{FutureExt as _, StreamExt as _};
use orderlock_core::store::{
    Acquire, Acquired, BreakLease, Broken, Create, Created, Entries, EntriesSince, Entry, Expire,
    Expired, History, Join, Joined, Known, Leases, Leave, Left, List, Lookup, MarkEnd, OrderView,
    Page, Read, Release, Released, Renew, Renewed, Resolve, Resolved, RetentionClock,
    RetentionTime, Settle, Settled, StoreFuture, StoreInfo, Sweep, Swept, Tried, Undo,
};
use orderlock_core::{Document, LeaseView, OrderStore, Runtime, Target, Timestamp};
use tokio::sync::broadcast;
use tokio_stream::wrappers::BroadcastStream;

use crate::database::calls::Calls;
use crate::database::clock::Clock;
use crate::database::grant_cache::HeldOrders;
use crate::database::unreadable::Odd;
use crate::document::order::OrderDocument;
use crate::document::order_id::IdShape;
use crate::error::Failure;
use crate::open::server_watch::Watch;
use crate::open::{OpenError, open};
use crate::options::MongodbOptions;
use crate::relay::Relay;
use crate::verbs::sessions::Sessions;
use crate::verbs::{
    acquire, break_lease, create, expire, history, lists, read, release, resolve, sessions, settle,
    sweep,
};

/// How many hints of freed orders are kept for a slow reader.
const HINTS: usize = 1_024;

/// Orders, leases and journal in a MongoDB database that any number of nodes share.
///
/// Clones are the same store.
#[derive(Clone, Debug)]
pub struct MongodbStore(Arc<Inner>);

/// What the verbs share.
pub(crate) struct Inner {
    pub(crate) calls: Arc<Calls>,
    pub(crate) clock: Clock,
    pub(crate) runtime: Arc<dyn Runtime>,
    pub(crate) ids: IdShape,
    pub(crate) epoch: String,
    pub(crate) sessions: Sessions,
    pub(crate) held: HeldOrders,
    pub(crate) tried: Tried,
    pub(crate) relay: Relay,
    pub(crate) watch: Watch,
    pub(crate) odd: Odd,
    pub(crate) whole_orders: bool,
    pub(crate) document_bytes_max: usize,
    retention: Mutex<RetentionClock>,
    location: String,
    freed: broadcast::Sender<Target>,
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
    /// The time, or the two between which it lies: what begins lasts from the later one.
    pub(crate) fn times(&self) -> RetentionTime {
        self.retention().at(self.clock.now(), self.clock.instant())
    }

    /// The time by which answers and keys are forgotten.
    pub(crate) fn forgets_by(&self) -> Timestamp {
        self.times().earliest
    }

    /// The time that is believed.
    pub(crate) fn believed(&self) -> Timestamp {
        self.retention().believed(self.clock.instant())
    }

    /// Each change is one step, so that a panic elsewhere leaves it whole.
    fn retention(&self) -> MutexGuard<'_, RetentionClock> {
        self.retention
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
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
    pub(crate) fn fits_document(&self, document: &Document) -> Result<(), Failure> {
        if document.size() > self.document_bytes_max {
            return Err(Failure::impossible(
                "the order is over the store's size limit",
            ));
        }
        Ok(())
    }

    /// Whether the store takes what a settle leaves.
    pub(crate) fn fits(&self, request: &Settle) -> Result<(), Failure> {
        match &request.change {
            Some(change) => self.fits_document(&change.after),
            None => Ok(()),
        }
    }
}

impl MongodbStore {
    /// Opens the collection, and makes the indexes that are missing, whoever else does so at the
    /// same time. The collection may be there already, with orders that Orderlock has never seen.
    ///
    /// The address is `mongodb://user:password@host:27017/database?parameter=value&...`, or
    /// `mongodb+srv://...`, with the driver's parameters (`tls`, `replicaSet`, `authSource`, ...)
    /// and these:
    ///
    /// - `collection`: the orders' collection, `orders` by default. Three others stand beside it:
    ///   `<collection>_orderlock_journal`, `..._sessions` and `..._meta`.
    /// - `id`: the types of the orders' `_id`s. `auto`, the default, takes an order id of 24
    ///   lower-case hexadecimal digits as an `ObjectId` and any other as a string; `string` and
    ///   `objectid` say that there is only the one.
    ///
    /// Every write asks for `w: "majority"` and the journal, every read for what cannot be rolled
    /// back, from the primary. Parameters that ask for less are refused.
    ///
    /// # Errors
    /// [`OpenError`], which says what to do. It never repeats the address.
    pub async fn connect(url: &str, options: MongodbOptions) -> Result<Self, OpenError> {
        let opened = open(url, &options).await?;
        let (clock, now) = (options.clock, options.runtime.now());
        let retention = RetentionClock::new(opened.seen, clock.now(), now);
        Ok(Self(Arc::new(Inner {
            calls: opened.calls,
            clock,
            runtime: options.runtime,
            ids: opened.ids,
            epoch: opened.epoch,
            sessions: Sessions::default(),
            held: HeldOrders::default(),
            tried: Tried::default(),
            relay: Relay::default(),
            watch: Watch::new(opened.server, opened.seen, now),
            odd: Odd::default(),
            whole_orders: options.whole_orders,
            document_bytes_max: options.document_bytes_max,
            retention: Mutex::new(retention),
            location: opened.location,
            freed: broadcast::Sender::new(HINTS),
            pending_entries_max: options.pending_entries_max,
            pending_bytes_max: options.pending_bytes_max,
        })))
    }
}

#[deny(clippy::missing_trait_methods)]
impl OrderStore for MongodbStore {
    fn describe(&self) -> StoreInfo {
        let inner = &self.0;
        let waits = || inner.relay.trouble(inner.clock.instant());
        StoreInfo {
            name: "mongodb",
            location: inner.location.clone(),
            durability: inner.watch.durability(),
            trouble: inner.watch.trouble().or_else(waits),
            document_bytes_max: inner.document_bytes_max,
        }
    }

    fn freed(&self) -> BoxStream<'static, Target> {
        // A reader that lags behind loses hints, which is what hints are for.
        BroadcastStream::new(self.0.freed.subscribe())
            .filter_map(|item| ready(item.ok()))
            .boxed()
    }

    fn join(&self, request: Join) -> StoreFuture<'_, Joined> {
        async move { sessions::join(&self.0, &request).await }.boxed()
    }

    fn renew(&self, request: Renew) -> StoreFuture<'_, Renewed> {
        async move { sessions::renew(&self.0, &request).await }.boxed()
    }

    fn leave(&self, request: Leave) -> StoreFuture<'_, Left> {
        async move { sessions::leave(&self.0, &request).await }.boxed()
    }

    fn sweep(&self, request: Sweep) -> StoreFuture<'_, Swept> {
        async move { sweep::sweep(&self.0, &request).await }.boxed()
    }

    fn create(&self, request: Create) -> StoreFuture<'_, Created> {
        async move { create::create(&self.0, &request).await }.boxed()
    }

    fn read(&self, request: Read) -> StoreFuture<'_, Option<OrderView>> {
        async move { read::read(&self.0, &request).await }.boxed()
    }

    fn list(&self, request: List) -> StoreFuture<'_, Page<OrderView>> {
        async move { lists::list(&self.0, &request).await }.boxed()
    }

    fn history(&self, request: History) -> StoreFuture<'_, Option<Page<Entry>>> {
        async move { history::history(&self.0, &request).await }.boxed()
    }

    fn mark_end(&self, request: MarkEnd) -> StoreFuture<'_, Option<Entry>> {
        async move { history::mark_end(&self.0, &request).await }.boxed()
    }

    fn lookup(&self, request: Lookup) -> StoreFuture<'_, Known> {
        async move { read::lookup(&self.0, &request).await }.boxed()
    }

    fn acquire(&self, request: Acquire) -> StoreFuture<'_, Acquired> {
        async move { acquire::acquire(&self.0, &request).await }.boxed()
    }

    fn settle(&self, request: Settle) -> StoreFuture<'_, Settled> {
        async move { settle::settle(&self.0, &request).await }.boxed()
    }

    fn release(&self, request: Release) -> StoreFuture<'_, Released> {
        async move { release::release(&self.0, &request).await }.boxed()
    }

    fn undo(&self, request: Undo) -> StoreFuture<'_, Released> {
        async move { release::undo(&self.0, &request).await }.boxed()
    }

    fn leases(&self, request: Leases) -> StoreFuture<'_, Page<LeaseView>> {
        async move { lists::leases(&self.0, &request).await }.boxed()
    }

    fn break_lease(&self, request: BreakLease) -> StoreFuture<'_, Broken> {
        async move { break_lease::break_lease(&self.0, &request).await }.boxed()
    }

    fn resolve(&self, request: Resolve) -> StoreFuture<'_, Resolved> {
        async move { resolve::resolve(&self.0, &request).await }.boxed()
    }

    fn entries_since(&self, request: EntriesSince) -> StoreFuture<'_, Entries> {
        async move { history::entries_since(&self.0, &request).await }.boxed()
    }

    fn expire(&self, request: Expire) -> StoreFuture<'_, Expired> {
        async move { expire::expire(&self.0, &request).await }.boxed()
    }
}
