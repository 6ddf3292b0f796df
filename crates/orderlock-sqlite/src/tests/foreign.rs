//! Somebody else reads the file: a backup, or a shell in which a transaction stands open.

use std::fs;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use orderlock_core::store::{Created, Read};
use orderlock_core::{OrderStore as _, Runtime as _, StoreError, Version};
use orderlock_testkit::{TestRuntime, fixtures};
use rusqlite::Connection;
use tempfile::TempDir;

use super::{Bench, accepted};
use crate::SqliteOptions;
use crate::SqliteStore;
use crate::open::files::beside;
use crate::writer::flusher::{Log, LogFile};

/// Reads the file until it is dropped.
fn reader(path: &Path) -> Connection {
    let reader = Connection::open(path).unwrap();
    let read = "BEGIN; SELECT count(*) FROM orders";
    reader.execute_batch(read).unwrap();
    reader
}

fn open(path: &Path) -> SqliteStore {
    let options = SqliteOptions::default().with_runtime(Arc::new(TestRuntime::new()));
    SqliteStore::open(path, options).unwrap()
}

/// What a power cut would leave of an open store.
fn image(bench: &Bench) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    for name in ["orders.db", "orders.db-wal"] {
        fs::copy(bench.folder.path().join(name), folder.path().join(name)).unwrap();
    }
    folder
}

async fn version(store: &SqliteStore, order: &str) -> Version {
    let target = fixtures::ids::target(order);
    store.read(Read { target }).await.unwrap().unwrap().version
}

#[tokio::test]
async fn a_restart_waits_for_no_reader() {
    let bench = Bench::new().await;
    bench.order("o").await;
    accepted(
        bench
            .store
            .settle(bench.held("o", "k").await)
            .await
            .unwrap(),
    );
    // The process died; somebody reads what it has left.
    let left = image(&bench);
    let path = left.path().join("orders.db");
    let reader = reader(&path);
    for restart in 0..3 {
        let store = open(&path);
        assert_eq!(version(&store, "o").await, Version(2));
        let claim = fixtures::claim(&format!("o{restart}"), "create");
        let create = fixtures::create(claim, TestRuntime::new().wall());
        let created = store.create(create).await.unwrap();
        assert!(matches!(created, Created::Inserted(_)), "{created:?}");
    }
    drop(reader);
    let store = open(&path);
    for restart in 0..3 {
        assert_eq!(version(&store, &format!("o{restart}")).await, Version(1));
    }
}

/// Fails when it is told to.
struct Failing(Arc<AtomicBool>, LogFile);

impl Log for Failing {
    fn flush(&mut self) -> io::Result<()> {
        if self.0.swap(false, Ordering::SeqCst) {
            return Err(io::Error::other("the disk did not take it"));
        }
        self.1.flush()
    }
}

#[tokio::test]
async fn one_refused_flush_is_healed_under_a_reader() {
    let fails = Arc::new(AtomicBool::new(false));
    let shared = Arc::clone(&fails);
    let failing = |log| -> Box<dyn Log> { Box::new(Failing(shared, log)) };
    let bench = Bench::flushing(SqliteOptions::default(), failing).await;
    bench.order("o").await;
    let reader = reader(&bench.path());
    let settle = bench.held("o", "k").await;
    fails.store(true, Ordering::SeqCst);
    let unknown = bench.store.settle(settle.clone()).await;
    assert!(
        matches!(unknown, Err(StoreError::OutcomeUnknown(_))),
        "{unknown:?}"
    );
    assert!(bench.store.describe().trouble.is_some());
    // Reads and writes go on; the repeat tells what became of it.
    assert_eq!(bench.view("o").await.version, Version(2));
    accepted(bench.store.settle(settle).await.unwrap());
    bench.order("another").await;
    assert_eq!(bench.store.describe().trouble, None);
    let left = image(&bench);
    let copy = open(&left.path().join("orders.db"));
    assert_eq!(version(&copy, "o").await, Version(2));
    drop(reader);
    bench.agree();
}

/// If the system has dropped what it could not write, that is found out, and not answered.
#[tokio::test]
async fn a_log_that_has_lost_what_was_written_is_not_gone_on_with() {
    let fails = Arc::new(AtomicBool::new(false));
    let shared = Arc::clone(&fails);
    let failing = |log| -> Box<dyn Log> { Box::new(Failing(shared, log)) };
    let bench = Bench::flushing(SqliteOptions::default(), failing).await;
    bench.order("o").await;
    let settle = bench.held("o", "k").await;
    fails.store(true, Ordering::SeqCst);
    bench.store.settle(settle.clone()).await.unwrap_err();
    let log = beside(&bench.path(), "-wal");
    let whole = fs::read(&log).unwrap();
    let mut lost = whole.clone();
    let page = lost.len() - 4_096;
    lost[page..].fill(0);
    write_over(&log, &lost);
    for _ in 0..2 {
        let error = bench.store.settle(settle.clone()).await.unwrap_err();
        assert!(matches!(error, StoreError::NotApplied(_)), "{error:?}");
    }
    let trouble = bench.store.describe().trouble.unwrap();
    assert!(trouble.contains("the log"), "{trouble}");
    write_over(&log, &whole);
    accepted(bench.store.settle(settle).await.unwrap());
    assert_eq!(bench.view("o").await.version, Version(2));
}

/// In place, so that it stays the same file.
fn write_over(path: &Path, bytes: &[u8]) {
    use std::io::Write as _;
    let mut file = fs::OpenOptions::new().write(true).open(path).unwrap();
    file.write_all(bytes).unwrap();
}
