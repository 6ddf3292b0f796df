//! `SqliteStore`: each verb of the seam, and which way it takes.
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
    MarkEnd, OrderView, Page, Read, Release, Released, Renew, Renewed, Resolve, Resolved, Settle,
    Settled, StoreFuture, StoreInfo, Sweep, Swept, Undo,
};
use orderlock_core::{LeaseView, OrderStore, Target};
use rusqlite::Connection;
use tokio_stream::wrappers::BroadcastStream;

use crate::SqliteOptions;
use crate::clock::Clock;
use crate::file::readers::{Gate, Readers};
use crate::file::wal::LogLength;
use crate::inner::Inner;
use crate::open::{OpenError, open};
use crate::state::doubts::Doubts;
use crate::state::durability::Durability;
use crate::state::leases::Leases;
use crate::verbs::create;
use crate::verbs::expire;
use crate::verbs::in_memory::Direct;
use crate::verbs::lists;
use crate::verbs::operator;
use crate::verbs::pages;
use crate::verbs::pages::HeldRows;
use crate::verbs::sessions;
use crate::writer::Writer;
use crate::writer::batch::Transactions;
use crate::writer::flusher::{Log, LogFile};

/// Orders, leases and journal in one SQLite file that this process owns.
///
/// Clones are the same store. When the last one is dropped, the queue is written to its end, the
/// writer stops, and the file is whole and free for another owner.
#[derive(Clone, Debug)]
pub struct SqliteStore(Arc<Inner>);

/// What the writer has done since the store was opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Statistics {
    /// Transactions that wrote something: each is one flush of the log.
    pub commits: u64,
    /// Settles that took effect. Divided by it, `commits` is the flushes for each operation.
    pub settles: u64,
    /// How often the log was copied into the file.
    pub checkpoints: u64,
    /// How long the log beside the file is. It is shortened when it has become long, as soon as
    /// nobody reads what it has.
    pub log_bytes: u64,
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
        flushed_by: impl FnOnce(LogFile) -> Box<dyn Log>,
    ) -> Result<Self, OpenError> {
        let opened = open(path, &options)?;
        let leases = Arc::new(Leases::new(options.order_memory, options.answer_memory));
        let clock = Arc::new(Clock::new(Arc::clone(&options.runtime), opened.seen));
        let direct = Arc::new(Direct {
            leases: Arc::clone(&leases),
            shared: Arc::default(),
            durability: Arc::new(Durability::new()),
            clock: Arc::clone(&clock),
        });
        let info = StoreInfo {
            name: "sqlite",
            location: opened.path.display().to_string(),
            durability: "survives power loss: each commit is flushed to the disk of this machine \
                         before it is answered"
                .to_owned(),
            trouble: None,
            document_bytes_max: options.document_bytes_max,
        };
        let log = LogFile::of(&opened.path, opened.files.clone());
        let log = log.map_err(|error| OpenError::Io {
            path: opened.path.clone(),
            error,
        })?;
        let gate = Arc::new(Gate::default());
        let transactions = Transactions {
            path: opened.path,
            files: opened.files,
            connection: Some(opened.writer),
            owner: opened.owner,
            document_bytes_max: options.document_bytes_max,
            clock,
            leases,
            shared: Arc::clone(&direct.shared),
            durability: Arc::clone(&direct.durability),
            readers: Arc::clone(&gate),
            doubts: Doubts::default(),
            log: LogLength::new(),
        };
        let (log, queue, batch) = (flushed_by(log), options.queue, options.batch);
        let readers = Readers::start(opened.readers, &gate).map_err(OpenError::Thread)?;
        let writer = Writer::start(transactions, log, queue, batch);
        Ok(Self(Arc::new(Inner {
            readers,
            writer: writer.map_err(OpenError::Thread)?,
            direct,
            runtime: options.runtime,
            timeout: options.timeout,
            info,
            _owner: opened.lock,
        })))
    }

    /// What the writer has done so far.
    #[must_use]
    pub fn statistics(&self) -> Statistics {
        let shared = &self.0.direct.shared;
        Statistics {
            commits: shared.commits.load(Ordering::Relaxed),
            settles: shared.settles.load(Ordering::Relaxed),
            checkpoints: shared.checkpoints.load(Ordering::Relaxed),
            log_bytes: shared.log_bytes.load(Ordering::Relaxed),
        }
    }

    #[cfg(test)]
    pub(crate) fn inner(&self) -> &Inner {
        &self.0
    }
}

impl OrderStore for SqliteStore {
    fn describe(&self) -> StoreInfo {
        StoreInfo {
            trouble: self.0.trouble(),
            ..self.0.info.clone()
        }
    }

    fn freed(&self) -> BoxStream<'static, Target> {
        let freed = BroadcastStream::new(self.0.direct.leases.subscribe());
        freed.filter_map(|target| ready(target.ok())).boxed()
    }

    fn join(&self, request: Join) -> StoreFuture<'_, Joined> {
        self.0.write(request, sessions::join)
    }

    fn renew(&self, request: Renew) -> StoreFuture<'_, Renewed> {
        self.0.write(request, sessions::renew)
    }

    fn leave(&self, request: Leave) -> StoreFuture<'_, Left> {
        self.0.write(request, sessions::leave)
    }

    fn sweep(&self, request: Sweep) -> StoreFuture<'_, Swept> {
        self.0.write(request, sessions::sweep)
    }

    fn create(&self, request: Create) -> StoreFuture<'_, Created> {
        self.0.write(request, create::create)
    }

    fn read(&self, request: Read) -> StoreFuture<'_, Option<OrderView>> {
        self.0.read_one(request).boxed()
    }

    fn list(&self, request: List) -> StoreFuture<'_, Page<OrderView>> {
        async move {
            let tenant = request.tenant.clone();
            let page = move |file: &Connection, held: &HeldRows| lists::list(file, &request, held);
            let mut page = self.0.read_tenant(&tenant, page).await?;
            let leases = page.items.iter_mut().filter_map(|view| view.lease.as_mut());
            leases.for_each(|lease| self.0.attended(lease));
            Ok(page)
        }
        .boxed()
    }

    fn history(&self, request: History) -> StoreFuture<'_, Option<Page<Entry>>> {
        let now = self.0.runtime.wall();
        let page = move |file: &Connection| pages::history(file, &request, now);
        self.0.read_journal(page).boxed()
    }

    fn mark_end(&self, request: MarkEnd) -> StoreFuture<'_, Option<Entry>> {
        let now = self.0.runtime.wall();
        let entry = move |file: &Connection| pages::mark_end(file, &request, now);
        self.0.read_journal(entry).boxed()
    }

    fn lookup(&self, request: Lookup) -> StoreFuture<'_, Known> {
        self.0.look_up(request).boxed()
    }

    fn acquire(&self, request: Acquire) -> StoreFuture<'_, Acquired> {
        self.0.acquire(request).boxed()
    }

    fn settle(&self, request: Settle) -> StoreFuture<'_, Settled> {
        self.0.writer.settle(request, self.0.deadline()).boxed()
    }

    fn release(&self, request: Release) -> StoreFuture<'_, Released> {
        self.0.let_go(request.into()).boxed()
    }

    fn undo(&self, request: Undo) -> StoreFuture<'_, Released> {
        self.0.let_go(request.into()).boxed()
    }

    fn leases(&self, request: LeasesRequest) -> StoreFuture<'_, Page<LeaseView>> {
        async move {
            let tenant = request.tenant.clone();
            let page =
                move |file: &Connection, held: &HeldRows| pages::leases(file, &request, held);
            let mut page = self.0.read_tenant(&tenant, page).await?;
            page.items
                .iter_mut()
                .for_each(|lease| self.0.attended(lease));
            Ok(page)
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
        let now = self.0.runtime.wall();
        let page = move |file: &Connection| pages::entries_since(file, &request, now);
        self.0.read_journal(page).boxed()
    }

    fn expire(&self, request: Expire) -> StoreFuture<'_, Expired> {
        self.0.write(request, expire::expire)
    }
}
