//! Copies of the file: which of them are whole, and what the others say of themselves.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "the helpers of these tests fail as loudly as the tests"
)]

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use orderlock_core::store::{EntriesSince, Filter, History, List, Lookup, Read};
use orderlock_core::{OrderStore as _, Runtime as _, Tenant};
use orderlock_sqlite::{SqliteOptions, SqliteStore};
use orderlock_testkit::{TestRuntime, fixtures};
use rusqlite::Connection;
use tempfile::TempDir;

const ORDERS: usize = 20;

fn open(path: &Path) -> SqliteStore {
    // Small enough for no order to stay in memory: each read is one of the file.
    let options = SqliteOptions::default()
        .with_order_memory(0)
        .with_runtime(Arc::new(TestRuntime::new()));
    SqliteStore::open(path, options).unwrap()
}

async fn fill(store: &SqliteStore) {
    for number in 0..ORDERS {
        let claim = fixtures::claim(&format!("o{number}"), "create");
        let create = fixtures::create(claim, TestRuntime::new().wall());
        store.create(create).await.unwrap();
    }
}

fn list() -> List {
    List {
        tenant: Tenant::single(),
        filter: Filter::default(),
        limit: 1,
        cursor: None,
    }
}

/// Every way to read.
async fn read(store: &SqliteStore) {
    let target = fixtures::ids::target("o1");
    store.list(list()).await.unwrap();
    let key_id = fixtures::claim("o1", "create").key_id;
    let lookup = Lookup {
        target: target.clone(),
        key_id,
    };
    store.lookup(lookup).await.unwrap();
    let history = History {
        target: target.clone(),
        limit: 9,
        cursor: None,
    };
    store.history(history).await.unwrap().unwrap();
    let tenant = Tenant::single();
    let since = EntriesSince {
        tenant,
        cursor: None,
        limit: 9,
    };
    store.entries_since(since).await.unwrap();
    store.read(Read { target }).await.unwrap().unwrap();
}

/// How many of the orders a file has.
async fn count(path: &Path) -> usize {
    let store = open(path);
    let mut count = 0;
    for number in 0..ORDERS {
        let target = fixtures::ids::target(&format!("o{number}"));
        count += usize::from(store.read(Read { target }).await.unwrap().is_some());
    }
    count
}

/// A copy of the file alone.
fn copy(path: &Path) -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let copy = folder.path().join("copy.db");
    fs::copy(path, &copy).unwrap();
    (folder, copy)
}

#[tokio::test]
async fn after_a_clean_stop_the_file_alone_is_whole() {
    for reads in [false, true] {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("orders.db");
        for _ in 0..2 {
            let store = open(&path);
            fill(&store).await;
            if reads {
                read(&store).await;
            }
            drop(store);
            let (_folder, copy) = copy(&path);
            assert_eq!(count(&copy).await, ORDERS);
            assert!(!folder.path().join("orders.db-wal").exists());
        }
    }
}

/// Somebody else has the file open while it is stopped: nothing is lost, and what is missing in the
/// file is beside it.
#[tokio::test]
async fn a_stop_under_a_foreign_reader_loses_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("orders.db");
    let store = open(&path);
    let reader = Connection::open(&path).unwrap();
    let begin = "BEGIN; SELECT count(*) FROM orders";
    reader.execute_batch(begin).unwrap();
    fill(&store).await;
    drop(store);
    assert!(folder.path().join("orders.db-wal").exists());
    assert_eq!(count(&path).await, ORDERS);
    drop(reader);
    assert_eq!(count(&path).await, ORDERS);
    let (_folder, copy) = copy(&path);
    assert_eq!(count(&copy).await, ORDERS);
}

/// SQLite's own copies of an open file are whole: a backup needs no stop.
#[tokio::test]
async fn an_online_backup_is_whole() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("orders.db");
    let backup = folder.path().join("backup.db");
    let store = open(&path);
    fill(&store).await;
    read(&store).await;
    let file = Connection::open(&path).unwrap();
    file.execute("VACUUM INTO ?1", [backup.to_str().unwrap()])
        .unwrap();
    drop(file);
    assert_eq!(count(&backup).await, ORDERS);
    drop(store);
    assert_eq!(count(&path).await, ORDERS);
}
