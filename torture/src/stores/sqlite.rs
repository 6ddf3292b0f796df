//! The embedded store: one file, and nodes that are lifecycles of one process over it.

use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use orderlock_core::OrderStore;
use orderlock_sqlite::{SqliteOptions, SqliteStore};
use rusqlite::{Connection, OpenFlags};
use tempfile::TempDir;
use tokio::runtime::Handle;
use tokio::signal::unix::Signal;

use super::{Bed, Struck};
use crate::clock::{Clock, NodeRuntime};
use crate::faults::{Fault, start_all};
use crate::full::Full;
use crate::ledger::lock;
use crate::plan::Plan;
use crate::scene::Scene;

/// How much a file may hold while the disk counts as full: a few pages.
const ROOM: u64 = 32 * 1024;

/// How long an old process may take to let go of the file.
const LETS_GO: Duration = Duration::from_secs(20);

/// A file, and who has it open.
pub(super) struct Sqlite {
    clock: Arc<Clock>,
    /// The runtime of the run: the store outlives single nodes.
    handle: Handle,
    store: Mutex<Option<SqliteStore>>,
    path: PathBuf,
    /// Held by whoever takes the file away or opens it anew: not both at a time.
    changing: tokio::sync::Mutex<()>,
    _folder: TempDir,
    /// Heard, so that a file that may not grow is an error and not this program's end.
    _too_large: Signal,
}

impl Sqlite {
    pub(super) fn new(_plan: &Plan, clock: Arc<Clock>) -> Result<Self> {
        let folder = tempfile::Builder::new()
            .prefix("orderlock-torture-")
            .tempdir()?;
        Ok(Self {
            clock,
            handle: Handle::current(),
            store: Mutex::default(),
            path: folder.path().join("orders.db"),
            changing: tokio::sync::Mutex::default(),
            _folder: folder,
            _too_large: Full::heard()?,
        })
    }

    fn store(&self) -> Result<SqliteStore> {
        let mut store = lock(&self.store);
        if let Some(store) = &*store {
            return Ok(store.clone());
        }
        let runtime = Arc::new(NodeRuntime {
            handle: self.handle.clone(),
            clock: Arc::clone(&self.clock),
        });
        let options = SqliteOptions::default().with_runtime(runtime);
        let opened = SqliteStore::open(&self.path, options)?;
        *store = Some(opened.clone());
        Ok(opened)
    }

    /// The whole process ends, with every node, and starts again.
    async fn restart(&self, scene: &Arc<Scene>) -> Struck {
        let _alone = self.changing.lock().await;
        let nodes = scene.all_nodes();
        let busy = scene.busy();
        if busy == 0 {
            return Ok(None);
        }
        for node in &nodes {
            scene.put_node(node.place, None);
            node.kill();
        }
        drop(nodes);
        drop(lock(&self.store).take());
        start_all(scene).await;
        Ok(Some(format!("with {busy} requests in flight")))
    }

    /// Somebody else reads the file for a while. It counts if others have written meanwhile what this
    /// one does not see: so much of the log has to stay.
    async fn foreign_reader(&self, time: Duration) -> Struck {
        let reader = self.foreign("BEGIN").await?;
        tokio::time::sleep(time).await;
        let writes = self.foreign("BEGIN").await?;
        let behind = tokio::task::spawn_blocking(move || -> Result<i64> {
            Ok(changes(&writes)? - changes(&reader)?)
        });
        let behind = behind.await??;
        let evidence = format!(
            "for {:.1} s, {behind} changes behind it",
            time.as_secs_f64()
        );
        Ok((behind > 0).then_some(evidence))
    }

    /// Somebody else locks the file for a while. It counts if somebody had to wait for that.
    async fn foreign_writer(&self, scene: &Scene, time: Duration) -> Struck {
        let before = scene.ledger.failures();
        let writer = self.foreign("BEGIN IMMEDIATE").await?;
        tokio::time::sleep(time).await;
        let waited = scene.ledger.asked_now(&["settle", "create"]);
        tokio::task::spawn_blocking(move || drop(writer)).await?;
        let failed = scene.ledger.failures() - before;
        let seconds = time.as_secs_f64();
        let evidence = format!("for {seconds:.1} s, {waited} writes waited, {failed} verbs failed");
        Ok((waited > 0 || failed > 0).then_some(evidence))
    }

    /// A connection of somebody else's, in a transaction.
    async fn foreign(&self, begin: &'static str) -> Result<Connection> {
        let path = self.path.clone();
        let opened = tokio::task::spawn_blocking(move || -> Result<Connection> {
            // Whoever made the file anew while it has another name would throw its log away.
            let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
            let connection = Connection::open_with_flags(path, flags)?;
            connection.busy_timeout(Duration::from_secs(5))?;
            connection.execute_batch(begin)?;
            // A snapshot is taken at the first look.
            changes(&connection)?;
            Ok(connection)
        });
        opened.await?
    }

    /// No file takes anything for a while behind its first pages.
    async fn fill(&self, scene: &Arc<Scene>, time: Duration) -> Struck {
        let before = scene.ledger.failures();
        let full = Full::begin(ROOM)?;
        tokio::time::sleep(time).await;
        drop(full);
        let failed = scene.ledger.failures() - before;
        let evidence = format!("{failed} verbs failed while no file took more than {ROOM} bytes");
        Ok((failed > 0).then_some(evidence))
    }

    async fn move_away(&self, scene: &Scene, time: Duration) -> Struck {
        let _alone = self.changing.lock().await;
        let before = scene.ledger.failures();
        let elsewhere = self.path.with_extension("moved");
        std::fs::rename(&self.path, &elsewhere)?;
        tokio::time::sleep(time).await;
        std::fs::rename(&elsewhere, &self.path).context("the file cannot be moved back")?;
        let failed = scene.ledger.failures() - before;
        let evidence = format!("for {:.1} s, {failed} verbs failed", time.as_secs_f64());
        Ok((failed > 0).then_some(evidence))
    }
}

/// The disk refuses to flush for a while.
async fn refuse(scene: &Arc<Scene>, time: Duration) -> Struck {
    let before = scene.ledger.failures();
    orderlock_sqlite::refuse_flushes(true);
    tokio::time::sleep(time).await;
    orderlock_sqlite::refuse_flushes(false);
    // Whoever was told nothing yet is told in a moment.
    tokio::time::sleep(Duration::from_millis(100)).await;
    let failed = scene.ledger.failures() - before;
    let evidence = format!("{failed} verbs failed, in {} ms", time.as_millis());
    Ok((failed > 0).then_some(evidence))
}

/// How many changes of orders somebody sees.
fn changes(connection: &Connection) -> rusqlite::Result<i64> {
    let changes = "SELECT coalesce(sum(version), 0) FROM orders";
    connection.query_row(changes, [], |row| row.get(0))
}

impl Bed for Sqlite {
    fn clock(&self) -> &Arc<Clock> {
        &self.clock
    }

    fn faults(&self) -> Vec<Fault> {
        let mut faults = Fault::OF_ANY.to_vec();
        faults.extend([
            Fault::Restart,
            Fault::DiskFull,
            Fault::FlushRefused,
            Fault::ForeignReader,
            Fault::ForeignWriter,
            Fault::FileMoved,
            Fault::Crowd,
            Fault::DeadClockBack,
        ]);
        faults
    }

    fn open(
        self: Arc<Self>,
        _place: usize,
        _runtime: Arc<NodeRuntime>,
    ) -> BoxFuture<'static, Result<Arc<dyn OrderStore>>> {
        async move {
            let begun = Instant::now();
            loop {
                let bed = Arc::clone(&self);
                match tokio::task::spawn_blocking(move || bed.store()).await? {
                    Ok(store) => return Ok(Arc::new(store) as Arc<dyn OrderStore>),
                    Err(error) if begun.elapsed() > LETS_GO => return Err(error),
                    // Whoever had the file open before has not let go of it yet.
                    Err(_) => tokio::time::sleep(Duration::from_millis(20)).await,
                }
            }
        }
        .boxed()
    }

    fn strike(self: Arc<Self>, fault: Fault, scene: Arc<Scene>) -> BoxFuture<'static, Struck> {
        async move {
            let time = scene.dice().duration(Duration::from_millis(2_500));
            let time = time + Duration::from_millis(200);
            match fault {
                Fault::Restart => self.restart(&scene).await,
                Fault::ForeignReader => self.foreign_reader(time).await,
                Fault::ForeignWriter => self.foreign_writer(&scene, time).await,
                Fault::DiskFull => self.fill(&scene, time).await,
                Fault::FlushRefused => refuse(&scene, time / 4).await,
                Fault::FileMoved => self.move_away(&scene, time).await,
                _ => Ok(None),
            }
        }
        .boxed()
    }

    fn calm(&self) -> BoxFuture<'_, Result<()>> {
        async { Ok(()) }.boxed()
    }
}
