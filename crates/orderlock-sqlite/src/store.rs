//! The store: each verb, and which way it takes.
//!
//! Reads run where they are asked for. A grant without a mark, and the release of one, change
//! nothing but memory, and are made at once under the lock of their part of it. Everything else is
//! a job of the writer.

use std::future::ready;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use futures_util::stream::BoxStream;
use futures_util::{FutureExt as _, StreamExt as _};
use orderlock_core::store::{
    Acquire, Acquired, BreakLease, Broken, Create, Created, Entries, EntriesSince, Entry, Expire,
    Expired, History, Join, Joined, Known, Leases as LeasesRequest, Leave, Left, List, Lookup,
    OrderView, Page, Read, Release, Released, Renew, Renewed, Resolve, Resolved, Settle, Settled,
    StoreFuture, StoreInfo, Sweep, Swept,
};
use orderlock_core::{LeaseView, OrderStore, Runtime, StoreError, Target, Tenant};
use rusqlite::Connection;
use tokio_stream::wrappers::BroadcastStream;

use crate::acquire::{Decided, decide_acquire, hand_over};
use crate::batch::Transactions;
use crate::error::Fault;
use crate::flusher::LogFile;
use crate::horizon::Horizon;
use crate::leases::{Held, Leases, Slot};
use crate::open::{OpenError, open};
use crate::owner::OwnerLock;
use crate::pages::{self, HeldRows};
use crate::read::{self, Readers, Snapshot};
use crate::turn::Turn;
use crate::writer::{Shared, Writer, taken};
use crate::{SqliteOptions, acquire, create, expire, node, operator, settle};

/// Orders, leases and journal in one SQLite file that this process owns.
///
/// Clones are the same store. When the last one is dropped, the queue is written to its end, the
/// writer stops and the file is free for another owner.
#[derive(Clone, Debug)]
pub struct SqliteStore(Arc<Inner>);

// The order of the fields is the order of their end: the writer first, the owner's lock last.
#[derive(Debug)]
pub(crate) struct Inner {
    pub(crate) writer: Writer,
    pub(crate) readers: Readers,
    pub(crate) leases: Arc<Leases>,
    shared: Arc<Shared>,
    horizon: Arc<Horizon>,
    runtime: Arc<dyn Runtime>,
    info: StoreInfo,
    _owner: OwnerLock,
}

/// What the writer has done since the store was opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Statistics {
    /// Transactions that wrote something: each is one flush of the log.
    pub commits: u64,
    /// Settles that took effect. Divided by it, `commits` is the flushes for each operation.
    pub settles: u64,
    /// How often the log was copied into the file.
    pub checkpoints: u64,
}

impl SqliteStore {
    /// Opens the file, makes it if there is none, and brings its layout up to date.
    ///
    /// It blocks for as long as that takes: call it at the start of the program.
    ///
    /// # Errors
    /// [`OpenError`], which says what to do: above all when another process owns the file, when a
    /// newer program has written it, and when it is damaged or something else.
    pub fn open(path: impl AsRef<Path>, options: SqliteOptions) -> Result<Self, OpenError> {
        let opened = open(path.as_ref(), &options)?;
        let leases = Arc::new(Leases::new());
        let shared = Arc::new(Shared::default());
        let info = StoreInfo {
            name: "sqlite",
            location: opened.path.display().to_string(),
            durability: "survives power loss: each commit is flushed to the disk of this machine \
                         before it is answered"
                .to_owned(),
            document_bytes_max: options.document_bytes_max,
        };
        let horizon = Arc::new(Horizon::new());
        let log = LogFile::of(&opened.path);
        let transactions = Transactions {
            path: opened.path,
            connection: Some(opened.writer),
            owner: opened.owner,
            document_bytes_max: options.document_bytes_max,
            runtime: Arc::clone(&options.runtime),
            leases: Arc::clone(&leases),
            shared: Arc::clone(&shared),
            horizon: Arc::clone(&horizon),
        };
        let (queue, batch) = (options.queue, options.batch);
        let writer = Writer::start(transactions, Box::new(log), queue, batch);
        Ok(Self(Arc::new(Inner {
            writer: writer.map_err(OpenError::Thread)?,
            horizon,
            readers: Readers::new(opened.readers),
            leases,
            shared,
            runtime: options.runtime,
            info,
            _owner: opened.lock,
        })))
    }

    /// What the writer has done so far.
    #[must_use]
    pub fn statistics(&self) -> Statistics {
        let shared = &self.0.shared;
        Statistics {
            commits: shared.commits.load(Ordering::Relaxed),
            settles: shared.settles.load(Ordering::Relaxed),
            checkpoints: shared.checkpoints.load(Ordering::Relaxed),
        }
    }

    #[cfg(test)]
    pub(crate) fn inner(&self) -> &Inner {
        &self.0
    }
}

impl Inner {
    /// A verb that is a job of the writer.
    fn write<R, T>(
        &self,
        request: R,
        verb: fn(&mut Turn<'_>, &R) -> Result<T, Fault>,
    ) -> StoreFuture<'_, T>
    where
        R: Send + 'static,
        T: Send + 'static,
    {
        self.writer.run(move |turn| verb(turn, &request)).boxed()
    }

    /// Grants what memory alone can grant. None if it takes the writer: for a mark, or because
    /// the writer is just deciding about this order.
    ///
    /// The order's part of memory stays locked from the look at the file to the grant, and a
    /// settle frees its lease there only once it is on the disk: so a grant sees every settle that
    /// went before, and none that may still be lost.
    async fn acquire_in_memory(&self, request: &Acquire) -> Result<Option<Acquired>, StoreError> {
        let (decided, written) = self.decide_in_memory(request)?;
        if written && decided.is_some() {
            self.horizon.reached().await?;
        }
        Ok(decided)
    }

    /// The decision, and whether the writer is at the order.
    fn decide_in_memory(&self, request: &Acquire) -> Result<(Option<Acquired>, bool), Fault> {
        let target = request.claim.target();
        let mut shard = self.leases.shard(&target);
        let held = self.leases.live(shard.get(&target));
        let session = self.leases.session(request.session);
        let written = self.written(shard.get(&target));
        let decided = self.readers.read(|snapshot| {
            let now = self.runtime.wall();
            decide_acquire(snapshot, request, held.as_ref(), session.as_ref(), now)
        })?;
        let answer = match decided {
            Decided::Answer(answer) => Some(answer),
            Decided::Grant(..) if request.mark.is_some() || written => None,
            Decided::Grant(held, grant) => {
                shard.entry(target).or_default().held = Some(held);
                Some(Acquired::Granted(grant))
            }
        };
        Ok((answer, written))
    }

    /// Releases a lease without a mark. None if it takes the writer: a mark is in play, or the
    /// grant is not here (it may still stand in the writer's queue, and must not outlive this).
    fn release_in_memory(&self, request: &Release) -> Result<Option<Released>, Fault> {
        let next = request.next.as_deref();
        let next_needs_more =
            next.is_some_and(|next| next.mark.is_some() || next.claim.target() != request.target);
        let mut shard = self.leases.shard(&request.target);
        let held = self.leases.live(shard.get(&request.target));
        let held = held.filter(|held| held.lease().fence == request.fence);
        let Some(held) = held else { return Ok(None) };
        if next_needs_more
            || held.state().mark().is_some()
            || self.written(shard.get(&request.target))
        {
            return Ok(None);
        }
        let free = settle::after_release(held.state(), request)?;
        debug_assert!(free.lease().is_none(), "a release leaves no lease");
        let next = match next {
            None => None,
            Some(next) => {
                let session = self.leases.session(next.session);
                let decided = self.readers.read(|snapshot| {
                    let now = self.runtime.wall();
                    decide_acquire(snapshot, next, None, session.as_ref(), now)
                });
                hand_over(decided)?
            }
        };
        let (held, answer) = match next {
            None => (None, None),
            Some(Decided::Answer(answer)) => (None, Some(answer)),
            Some(Decided::Grant(held, grant)) => (Some(held), Some(Acquired::Granted(grant))),
        };
        let let_go = held.is_none();
        match held {
            Some(held) => shard.entry(request.target.clone()).or_default().held = Some(held),
            None => drop(shard.remove(&request.target)),
        }
        drop(shard);
        if let_go {
            self.leases.announce(&request.target);
        }
        Ok(Some(Released {
            held: true,
            next: answer,
        }))
    }

    /// Reads one order and its lease at one moment. What is read is on the disk when this returns.
    async fn read_order<T>(
        &self,
        target: &Target,
        work: impl FnOnce(&Connection, Option<&Held>) -> Result<T, Fault>,
    ) -> Result<T, StoreError> {
        let (found, written) = {
            let shard = self.leases.shard(target);
            let held = self.leases.live(shard.get(target));
            let written = self.written(shard.get(target));
            let read = self.readers.read(|snapshot| work(snapshot, held.as_ref()));
            (read?, written)
        };
        if written {
            self.horizon.reached().await?;
        }
        Ok(found)
    }

    /// Reads a tenant's orders and their leases at one moment. Memory is locked only until the
    /// snapshot stands. What is read is on the disk when this returns.
    async fn read_tenant<T>(
        &self,
        tenant: &Tenant,
        work: impl FnOnce(&Connection, &HeldRows) -> Result<T, Fault>,
    ) -> Result<T, StoreError> {
        let page = {
            let shards = self.leases.all();
            let connection = self.readers.take();
            let snapshot = Snapshot::begin_now(&connection).map_err(Fault::from)?;
            let held = self.leases.of_tenant(tenant, &shards);
            drop(shards);
            work(&snapshot, &held)?
        };
        self.horizon.reached().await?;
        Ok(page)
    }

    /// Reads the journal. What is read is on the disk when this returns.
    async fn read_journal<T>(
        &self,
        work: impl FnOnce(&Connection) -> Result<T, Fault>,
    ) -> Result<T, StoreError> {
        let read = self.readers.read(work)?;
        self.horizon.reached().await?;
        Ok(read)
    }

    /// Whether the file may show more of an order than is on the disk: the writer is at it, or a
    /// flush has failed.
    fn written(&self, slot: Option<&Slot>) -> bool {
        pinned(slot) || self.horizon.is_broken()
    }

    /// While another process owns the file, this one's leases mean nothing.
    fn owned(&self) -> Result<(), StoreError> {
        if self.shared.taken.load(Ordering::Acquire) {
            return Err(taken());
        }
        Ok(())
    }
}

fn pinned(slot: Option<&Slot>) -> bool {
    slot.is_some_and(|slot| slot.pinned)
}

impl OrderStore for SqliteStore {
    fn describe(&self) -> StoreInfo {
        self.0.info.clone()
    }

    fn freed(&self) -> BoxStream<'static, Target> {
        let freed = BroadcastStream::new(self.0.leases.subscribe());
        freed.filter_map(|target| ready(target.ok())).boxed()
    }

    fn join(&self, request: Join) -> StoreFuture<'_, Joined> {
        self.0.write(request, node::join)
    }

    fn renew(&self, request: Renew) -> StoreFuture<'_, Renewed> {
        self.0.write(request, node::renew)
    }

    fn leave(&self, request: Leave) -> StoreFuture<'_, Left> {
        self.0.write(request, node::leave)
    }

    fn sweep(&self, request: Sweep) -> StoreFuture<'_, Swept> {
        self.0.write(request, node::sweep)
    }

    fn create(&self, request: Create) -> StoreFuture<'_, Created> {
        self.0.write(request, create::create)
    }

    fn read(&self, request: Read) -> StoreFuture<'_, Option<OrderView>> {
        async move {
            let target = &request.target;
            let read = |snapshot: &_, held: Option<&_>| read::read(snapshot, target, held);
            self.0.read_order(target, read).await
        }
        .boxed()
    }

    fn list(&self, request: List) -> StoreFuture<'_, Page<OrderView>> {
        async move {
            let page = |snapshot: &_, held: &_| pages::list(snapshot, &request, held);
            self.0.read_tenant(&request.tenant, page).await
        }
        .boxed()
    }

    fn history(&self, request: History) -> StoreFuture<'_, Option<Page<Entry>>> {
        async move {
            let now = self.0.runtime.wall();
            let page = |snapshot: &_| pages::history(snapshot, &request, now);
            self.0.read_journal(page).await
        }
        .boxed()
    }

    fn lookup(&self, request: Lookup) -> StoreFuture<'_, Known> {
        async move {
            let now = self.0.runtime.wall();
            let look = |snapshot: &_, held: Option<&_>| read::lookup(snapshot, &request, held, now);
            self.0.read_order(&request.target, look).await
        }
        .boxed()
    }

    fn acquire(&self, request: Acquire) -> StoreFuture<'_, Acquired> {
        async move {
            self.0.owned()?;
            if let Some(answer) = self.0.acquire_in_memory(&request).await? {
                return Ok(answer);
            }
            self.0.write(request, acquire::acquire).await
        }
        .boxed()
    }

    fn settle(&self, request: Settle) -> StoreFuture<'_, Settled> {
        self.0.writer.settle(request).boxed()
    }

    fn release(&self, request: Release) -> StoreFuture<'_, Released> {
        async move {
            self.0.owned()?;
            if let Some(released) = self.0.release_in_memory(&request)? {
                return Ok(released);
            }
            self.0.write(request, settle::release).await
        }
        .boxed()
    }

    fn leases(&self, request: LeasesRequest) -> StoreFuture<'_, Page<LeaseView>> {
        async move {
            let page = |snapshot: &_, held: &_| pages::leases(snapshot, &request, held);
            self.0.read_tenant(&request.tenant, page).await
        }
        .boxed()
    }

    fn break_lease(&self, request: BreakLease) -> StoreFuture<'_, Broken> {
        self.0.write(request, operator::break_lease)
    }

    fn resolve(&self, request: Resolve) -> StoreFuture<'_, Resolved> {
        self.0.write(request, operator::resolve)
    }

    fn entries_since(&self, request: EntriesSince) -> StoreFuture<'_, Entries> {
        async move {
            let now = self.0.runtime.wall();
            let page = |snapshot: &_| pages::entries_since(snapshot, &request, now);
            self.0.read_journal(page).await
        }
        .boxed()
    }

    fn expire(&self, request: Expire) -> StoreFuture<'_, Expired> {
        self.0.write(request, expire::expire)
    }
}
