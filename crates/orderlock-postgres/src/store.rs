//! The public store: opening it, and the module that carries out each verb of the seam.

use std::sync::Arc;

use futures_util::FutureExt as _;
use futures_util::stream::BoxStream;
use orderlock_core::store::{
    Acquire, Acquired, BreakLease, Broken, Create, Created, Entries, EntriesSince, Entry, Expire,
    Expired, History, Join, Joined, Known, Leases, Leave, Left, List, Lookup, MarkEnd, OrderView,
    Page, Read, Release, Released, Renew, Renewed, Resolve, Resolved, Settle, Settled, StoreFuture,
    StoreInfo, Sweep, Swept, Undo,
};
use orderlock_core::{LeaseView, OrderStore, StoreError, Target};

use crate::connect::error::OpenError;
use crate::dispatch::{Dispatch, Statistics};
use crate::open::open;
use crate::options::PostgresOptions;
use crate::pool::Purpose;
use crate::sql::clock::ObservedClock;
use crate::verbs::expire::ExpiryProgress;
use crate::verbs::freed::Freed;
use crate::verbs::sessions::watch::SessionWatch;
use crate::verbs::views::entries_since::Lag;
use crate::verbs::views::{entries_since, lists, pages, read};
use crate::verbs::{Context, break_lease, expire, resolve, retention, sessions};

/// Orders, leases and journal in a PostgreSQL database that any number of nodes share.
///
/// Clones are the same store.
#[derive(Clone, Debug)]
pub struct PostgresStore(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    location: String,
    context: Arc<Context>,
    dispatch: Dispatch,
}

impl PostgresStore {
    /// Opens the database and brings its layout up to date, whoever else does so at the same time.
    ///
    /// The address is `postgres://user:password@host:5432/database?parameter=value&...`, with these
    /// parameters and those that the driver knows:
    ///
    /// - `sslmode`: another machine is reached by TLS, and its certificate is checked against its
    ///   host's name, unless `disable` says that the network itself is to be trusted. `require`,
    ///   `verify-ca` and `verify-full` all mean that; `prefer`, which might fall back to plain text,
    ///   is refused. A server on this machine is spoken to in plain text unless asked otherwise.
    /// - `sslrootcert`: the file of the authorities that vouch for the server; without it, those
    ///   that the operating system trusts.
    /// - `orderlock_pooler=transaction`: see [`PostgresOptions::with_pooler`].
    /// - `options`: settings of the server's sessions, such as `-csearch_path%3Dorders`, which puts
    ///   the tables into a schema of their own.
    ///
    /// Of several hosts (`host1:5432,host2:5432`) the one that takes writes is used, and after a
    /// fail-over the one that does then.
    ///
    /// ```no_run
    /// use orderlock_postgres::{PostgresOptions, PostgresStore};
    ///
    /// # async fn open() -> Result<(), orderlock_postgres::OpenError> {
    /// let address = "postgres://orders@db.example/orders?sslrootcert=/etc/ssl/db.pem";
    /// let options = PostgresOptions::default().with_connections(32);
    /// let store = PostgresStore::open(address, options).await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`OpenError`], which says what to do.
    pub async fn open(url: &str, options: PostgresOptions) -> Result<Self, OpenError> {
        let opened = open(url, &options).await?;
        let runtime = Arc::clone(&options.runtime);
        let clock = ObservedClock::new(options.clock.clone(), Arc::clone(&runtime));
        let connection = opened.pool.connection(Purpose::Reading).await?;
        retention::begin(&connection, &clock).await?;
        drop(connection);
        let context = Arc::new(Context {
            pool: opened.pool,
            clock: Arc::new(clock),
            runtime,
            document_bytes_max: options.document_bytes_max,
            freed: Freed::default(),
            watch: SessionWatch::default(),
            expiry: ExpiryProgress::default(),
        });
        Ok(Self(Arc::new(Inner {
            location: opened.location,
            dispatch: Dispatch::new(Arc::clone(&context), &options),
            context,
        })))
    }

    /// How far readers of the journal are held back, by a transaction that somebody has left open.
    ///
    /// # Errors
    /// [`StoreError`] if the database cannot be asked.
    pub async fn lag(&self) -> Result<Lag, StoreError> {
        entries_since::lag(&self.0.context).await
    }

    /// What the store has done so far.
    #[must_use]
    pub fn statistics(&self) -> Statistics {
        self.0.dispatch.statistics()
    }
}

impl OrderStore for PostgresStore {
    fn describe(&self) -> StoreInfo {
        let Context { pool, .. } = &*self.0.context;
        StoreInfo {
            name: "postgres",
            location: self.0.location.clone(),
            durability: pool.health().seen().durability().to_owned(),
            trouble: pool.trouble(),
            document_bytes_max: self.0.context.document_bytes_max,
        }
    }

    fn freed(&self) -> BoxStream<'static, Target> {
        self.0.context.freed.listen()
    }

    fn join(&self, request: Join) -> StoreFuture<'_, Joined> {
        async move { sessions::join(&self.0.context, &request).await }.boxed()
    }

    fn renew(&self, request: Renew) -> StoreFuture<'_, Renewed> {
        async move { sessions::renew(&self.0.context, &request).await }.boxed()
    }

    fn leave(&self, request: Leave) -> StoreFuture<'_, Left> {
        async move { sessions::leave(&self.0.context, &request).await }.boxed()
    }

    fn sweep(&self, request: Sweep) -> StoreFuture<'_, Swept> {
        async move { sessions::sweep(&self.0.context, &request).await }.boxed()
    }

    fn create(&self, request: Create) -> StoreFuture<'_, Created> {
        self.0.dispatch.create(request).boxed()
    }

    fn read(&self, request: Read) -> StoreFuture<'_, Option<OrderView>> {
        async move { read::read(&self.0.context, &request).await }.boxed()
    }

    fn list(&self, request: List) -> StoreFuture<'_, Page<OrderView>> {
        async move { lists::list(&self.0.context, &request).await }.boxed()
    }

    fn history(&self, request: History) -> StoreFuture<'_, Option<Page<Entry>>> {
        async move { pages::history(&self.0.context, &request).await }.boxed()
    }

    fn mark_end(&self, request: MarkEnd) -> StoreFuture<'_, Option<Entry>> {
        async move { pages::mark_end(&self.0.context, &request).await }.boxed()
    }

    fn lookup(&self, request: Lookup) -> StoreFuture<'_, Known> {
        self.0.dispatch.lookup(request).boxed()
    }

    fn acquire(&self, request: Acquire) -> StoreFuture<'_, Acquired> {
        self.0.dispatch.acquire(request).boxed()
    }

    fn settle(&self, request: Settle) -> StoreFuture<'_, Settled> {
        self.0.dispatch.settle(request).boxed()
    }

    fn release(&self, request: Release) -> StoreFuture<'_, Released> {
        self.0.dispatch.release(request).boxed()
    }

    fn undo(&self, request: Undo) -> StoreFuture<'_, Released> {
        self.0.dispatch.undo(request).boxed()
    }

    fn leases(&self, request: Leases) -> StoreFuture<'_, Page<LeaseView>> {
        async move { lists::leases(&self.0.context, &request).await }.boxed()
    }

    fn break_lease(&self, request: BreakLease) -> StoreFuture<'_, Broken> {
        async move { break_lease::break_lease(&self.0.context, &request).await }.boxed()
    }

    fn resolve(&self, request: Resolve) -> StoreFuture<'_, Resolved> {
        async move { resolve::resolve(&self.0.context, &request).await }.boxed()
    }

    fn entries_since(&self, request: EntriesSince) -> StoreFuture<'_, Entries> {
        async move { entries_since::entries_since(&self.0.context, &request).await }.boxed()
    }

    fn expire(&self, request: Expire) -> StoreFuture<'_, Expired> {
        async move { expire::expire(&self.0.context, &request).await }.boxed()
    }
}
