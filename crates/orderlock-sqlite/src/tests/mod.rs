//! What the seam cannot show: who shares a commit, what happens while one is under way, and what
//! happens when it fails.

mod answers;
mod batching;
mod expiry;
mod faults;
mod flushing;
mod foreign;
mod full;
mod handover;
mod journal;
mod lists;
mod memory;
mod migration;
mod pause;
mod place;
mod plans;
mod races;
mod reading;
mod walk;

use std::future::poll_fn;
use std::sync::Arc;
use std::sync::mpsc;
use std::task::Poll;
use std::time::Duration;

use futures_util::FutureExt as _;
use orderlock_core::store::{
    Acquire, Acquired, Created, Grant, Join, KeyFacts, OrderView, Read, Settle, Settled,
    StoreFuture,
};
use orderlock_core::{Fence, OrderStore as _, Runtime as _, SessionId, StoreError};
use orderlock_testkit::{TestRuntime, fixtures};
use rusqlite::Connection;
use tempfile::TempDir;
use tokio::task::JoinHandle;

use crate::SqliteOptions;
use crate::SqliteStore;
use crate::file::error::Fault;
use crate::file::key_index::key_hash;
use crate::file::keys::{Run, find_key};
use crate::file::rows::find_latest;
use crate::state::context::WriteContext;
use crate::writer::flusher::{Log, LogFile};

/// A store on a clock of its own, with one node that has joined.
pub(super) struct Bench {
    pub(super) store: SqliteStore,
    pub(super) runtime: TestRuntime,
    pub(super) session: SessionId,
    pub(super) folder: TempDir,
}

impl Bench {
    pub(super) async fn new() -> Self {
        Self::with(SqliteOptions::default()).await
    }

    pub(super) async fn with(options: SqliteOptions) -> Self {
        Self::flushing(options, |log| Box::new(log)).await
    }

    /// With another way to flush the log.
    pub(super) async fn flushing(
        options: SqliteOptions,
        log: impl FnOnce(LogFile) -> Box<dyn Log>,
    ) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let runtime = TestRuntime::new();
        let options = options.with_runtime(Arc::new(runtime.clone()));
        let path = folder.path().join("orders.db");
        let store = SqliteStore::open_with(&path, options, log).unwrap();
        let session = join(&store, &runtime, "node").await;
        Self {
            store,
            runtime,
            session,
            folder,
        }
    }

    /// The same store, opened again.
    pub(super) async fn reopened(self) -> Self {
        let path = self.path();
        drop(self.store);
        let runtime = Arc::new(self.runtime.clone());
        let options = SqliteOptions::default().with_runtime(runtime);
        let store = SqliteStore::open(path, options).unwrap();
        let session = join(&store, &self.runtime, "node").await;
        Self {
            store,
            session,
            ..self
        }
    }

    pub(super) async fn order(&self, order: &str) {
        let claim = fixtures::claim(order, &format!("create-{order}"));
        let request = fixtures::create(claim, self.runtime.wall());
        let created = self.store.create(request).await.unwrap();
        assert!(matches!(created, Created::Inserted(_)), "{created:?}");
    }

    pub(super) fn request(&self, order: &str, key: &str) -> Acquire {
        let fence = Fence(self.runtime.random());
        fixtures::acquire(fixtures::claim(order, key), self.session, fence)
    }

    /// The settle of an order that is held from here on.
    pub(super) async fn held(&self, order: &str, key: &str) -> Settle {
        let request = self.request(order, key);
        let grant = granted(self.store.acquire(request.clone()).await.unwrap());
        fixtures::settle(&request, &grant)
    }

    pub(super) async fn view(&self, order: &str) -> OrderView {
        let target = fixtures::ids::target(order);
        self.store.read(Read { target }).await.unwrap().unwrap()
    }

    /// Holds what memory knows against the file, order by order, and returns how many orders it
    /// knows. Nothing may be under way.
    #[track_caller]
    pub(super) fn agree(&self) -> usize {
        let direct = &self.store.inner().direct;
        let (file, now) = (self.file(), direct.clock.now());
        journal::tells_every_entry(&file).unwrap();
        let mut count = 0;
        for shard in direct.leases.each_shard() {
            for known in shard.orders.iter() {
                let latest = &**known.latest();
                let order = &latest.whole.order;
                let filed = find_latest(&file, &order.target);
                assert_eq!(filed.unwrap().as_ref(), Some(latest));
                let keys = journal::remembered(&file, order.row);
                let lacking = keys
                    .unwrap()
                    .into_iter()
                    .find(|key| known.lacks(key_hash(*key)));
                assert_eq!(lacking, None, "{} of {:?}", order.target, latest.journal);
                count += 1;
            }
            for entry in shard.answers.iter() {
                let latest = find_latest(&file, &entry.target).unwrap().unwrap();
                let key = (entry.key_id, Run::Next);
                let filed = find_key(&file, latest.place(), key, now).unwrap().unwrap();
                let told = shard.answers.find(&entry.target, entry.key_id, now);
                if told.is_some() {
                    assert_eq!(told, Some(&*filed.entry));
                    let KeyFacts::Final { retained, .. } = filed.facts else {
                        panic!("{:?} of {entry:?}", filed.facts);
                    };
                    assert!(retained, "{entry:?}");
                }
            }
            for (target, slot) in &shard.slots {
                assert!(!slot.pinned, "{target} is pinned");
                let Some(held) = &slot.held else { continue };
                let lease = held.lease();
                if !held.is_in_doubt() {
                    let latest = find_latest(&file, target).unwrap().unwrap();
                    let key = (lease.key_id, Run::Next);
                    let key = find_key(&file, latest.place(), key, now);
                    let facts = key.unwrap().map(|key| key.facts);
                    assert!(
                        !matches!(facts, Some(KeyFacts::Final { .. })),
                        "{target}: {held:?}"
                    );
                }
            }
        }
        count
    }

    /// The file, by a connection of the test's own.
    pub(super) fn file(&self) -> Connection {
        Connection::open(self.path()).unwrap()
    }

    pub(super) fn path(&self) -> std::path::PathBuf {
        self.folder.path().join("orders.db")
    }

    /// Runs a piece of work on the writer.
    pub(super) async fn on_writer<T: Send + 'static>(
        &self,
        work: impl FnMut(&mut WriteContext<'_>) -> Result<T, Fault> + Send + 'static,
    ) -> Result<T, StoreError> {
        on_writer(&self.store, work).await
    }

    /// Stops the writer inside a batch, once everything that is queued before has been decided.
    pub(super) async fn stop(&self) -> Stopped {
        let stop = self.queue_stop();
        stop.reached().await
    }

    /// Queues a stop without waiting for it.
    pub(super) fn queue_stop(&self) -> QueuedStop {
        let (reached, is_reached) = tokio::sync::oneshot::channel();
        let (go, gone) = mpsc::channel::<()>();
        let mut reached = Some(reached);
        let store = self.store.clone();
        let work = move |_: &mut WriteContext<'_>| {
            if let Some(reached) = reached.take() {
                let _ = reached.send(());
            }
            // Bounded, so that a test that fails while the writer stands does not hang.
            let _ = gone.recv_timeout(Duration::from_secs(60));
            Ok(())
        };
        let job = tokio::spawn(async move { on_writer(&store, work).await });
        QueuedStop {
            is_reached,
            stopped: Stopped { go, job },
        }
    }
}

/// Runs a piece of work on the writer.
pub(super) fn on_writer<T: Send + 'static>(
    store: &SqliteStore,
    work: impl FnMut(&mut WriteContext<'_>) -> Result<T, Fault> + Send + 'static,
) -> StoreFuture<'_, T> {
    let inner = store.inner();
    inner.writer.run(work, inner.deadline()).boxed()
}

pub(super) struct QueuedStop {
    is_reached: tokio::sync::oneshot::Receiver<()>,
    stopped: Stopped,
}

impl QueuedStop {
    pub(super) async fn reached(self) -> Stopped {
        self.is_reached.await.unwrap();
        self.stopped
    }
}

/// The writer stands until this is told to go on.
pub(super) struct Stopped {
    go: mpsc::Sender<()>,
    job: JoinHandle<Result<(), StoreError>>,
}

impl Stopped {
    /// Lets the writer go on. What waits in its queue joins the batch in which it stood.
    pub(super) fn go(self) -> JoinHandle<Result<(), StoreError>> {
        drop(self.go);
        self.job
    }
}

/// Starts a verb and lets it come to where it waits: into the writer's queue, if the writer
/// stands.
pub(super) async fn start<T: Send + 'static>(
    store: &SqliteStore,
    verb: impl FnOnce(&SqliteStore) -> StoreFuture<'_, T> + Send + 'static,
) -> JoinHandle<Result<T, StoreError>> {
    let store = store.clone();
    let (polled, is_polled) = tokio::sync::oneshot::channel();
    let task = tokio::spawn(async move {
        let mut verb = verb(&store);
        // One poll puts the job into the queue, as long as there is room.
        let first = poll_fn(|context| Poll::Ready(verb.poll_unpin(context))).await;
        let _ = polled.send(());
        match first {
            Poll::Ready(result) => result,
            Poll::Pending => verb.await,
        }
    });
    is_polled.await.unwrap();
    task
}

pub(super) async fn join(store: &SqliteStore, runtime: &TestRuntime, node: &str) -> SessionId {
    let session = SessionId(runtime.random());
    let request = Join {
        node: node.into(),
        session,
        length: Duration::from_secs(10),
        secret: fixtures::secret(),
    };
    store.join(request).await.unwrap();
    session
}

#[track_caller]
pub(super) fn granted(acquired: Acquired) -> Grant {
    match acquired {
        Acquired::Granted(grant) => *grant,
        other => panic!("not granted but {other:?}"),
    }
}

#[track_caller]
pub(super) fn accepted(settled: Settled) -> orderlock_core::store::Accepted {
    match settled {
        Settled::Accepted(accepted) => accepted,
        other => panic!("not accepted but {other:?}"),
    }
}
