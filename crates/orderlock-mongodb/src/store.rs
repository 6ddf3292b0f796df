//! The store itself: its opening, and the seam.

use std::future::ready;
use std::sync::Arc;

use futures_util::stream::BoxStream;
use futures_util::{FutureExt as _, StreamExt as _};
use orderlock_core::store::{
    Acquire, Acquired, BreakLease, Broken, Create, Created, Entries, EntriesSince, Entry, Expire,
    Expired, History, Join, Joined, Known, Leases, Leave, Left, List, Lookup, MarkEnd, OrderView,
    Page, Read, Release, Released, Renew, Renewed, Resolve, Resolved, Settle, Settled, StoreFuture,
    StoreInfo, Sweep, Swept, Undo,
};
use orderlock_core::{LeaseView, OrderStore, Target};
use tokio_stream::wrappers::BroadcastStream;

use crate::open::error::OpenError;
use crate::open::open;
use crate::options::MongodbOptions;
use crate::shared::Inner;
use crate::verbs::{
    acquire, break_lease, create, entries_since, expire, history, lists, read, release, resolve,
    sessions, settle, sweep,
};

/// Orders, leases and journal in a MongoDB database that any number of nodes share.
///
/// Clones are the same store.
#[derive(Clone, Debug)]
pub struct MongodbStore(Arc<Inner>);

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
        Ok(Self(Arc::new(Inner::new(opened, options))))
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
        async move { entries_since::entries_since(&self.0, &request).await }.boxed()
    }

    fn expire(&self, request: Expire) -> StoreFuture<'_, Expired> {
        async move { expire::expire(&self.0, &request).await }.boxed()
    }
}
