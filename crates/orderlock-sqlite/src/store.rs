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
    MarkFate, OrderView, Page, Read, Release, Released, Renew, Renewed, Resolve, Resolved, Settle,
    Settled, StoreFuture, StoreInfo, Sweep, Swept, Undo,
};
use orderlock_core::{LeaseView, OrderStore, Runtime, StoreError, Target};
use tokio_stream::wrappers::BroadcastStream;

use crate::batch::Transactions;
use crate::error::Fault;
use crate::flusher::{Log, LogFile};
use crate::horizon::Horizon;
use crate::leases::Leases;
use crate::log::LogLength;
use crate::open::{OpenError, open};
use crate::owner::OwnerLock;
use crate::pages;
use crate::read::Readers;
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
    pub(crate) horizon: Arc<Horizon>,
    pub(crate) runtime: Arc<dyn Runtime>,
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
        Self::open_with(path.as_ref(), options, |log| Box::new(log))
    }

    /// Opens it with another way to flush the log.
    pub(crate) fn open_with(
        path: &Path,
        options: SqliteOptions,
        log: impl FnOnce(LogFile) -> Box<dyn Log>,
    ) -> Result<Self, OpenError> {
        let opened = open(path, &options)?;
        let leases = Arc::new(Leases::new(options.order_memory));
        let shared = Arc::new(Shared::default());
        let info = StoreInfo {
            name: "sqlite",
            location: opened.path.display().to_string(),
            durability: "survives power loss: each commit is flushed to the disk of this machine \
                         before it is answered"
                .to_owned(),
            trouble: None,
            document_bytes_max: options.document_bytes_max,
        };
        let horizon = Arc::new(Horizon::new());
        let log = log(LogFile::of(&opened.path));
        let transactions = Transactions {
            path: opened.path,
            connection: Some(opened.writer),
            owner: opened.owner,
            document_bytes_max: options.document_bytes_max,
            runtime: Arc::clone(&options.runtime),
            leases: Arc::clone(&leases),
            shared: Arc::clone(&shared),
            horizon: Arc::clone(&horizon),
            log: LogLength::default(),
        };
        let (queue, batch) = (options.queue, options.batch);
        let writer = Writer::start(transactions, log, queue, batch);
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

    /// While another process owns the file, this one's leases mean nothing.
    pub(crate) fn owned(&self) -> Result<(), StoreError> {
        if self.shared.taken.load(Ordering::Acquire) {
            return Err(taken());
        }
        Ok(())
    }
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
        self.0.read_one(request).boxed()
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
        self.0.look_up(request).boxed()
    }

    fn acquire(&self, request: Acquire) -> StoreFuture<'_, Acquired> {
        async move {
            self.0.owned()?;
            if let Some(answer) = self.0.acquire_in_memory(&request)? {
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

    fn undo(&self, request: Undo) -> StoreFuture<'_, Released> {
        let Undo {
            target,
            fence,
            next,
        } = request;
        self.release(Release {
            target,
            fence,
            mark: MarkFate::Keep,
            next,
        })
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
