//! The suite that every store must pass.

#![allow(
    clippy::unwrap_used,
    reason = "a place that cannot be made fails the check"
)]

use std::sync::Arc;

use orderlock_sqlite::{SqliteOptions, SqliteStore};
use orderlock_testkit::{StoreFactory, TestRuntime};
use tempfile::TempDir;

struct Sqlite;

impl StoreFactory for Sqlite {
    type Store = SqliteStore;
    type Place = TempDir;

    async fn place(&self, _: TestRuntime) -> TempDir {
        tempfile::tempdir().unwrap()
    }

    async fn open(&self, place: &TempDir, runtime: TestRuntime) -> SqliteStore {
        let options = SqliteOptions::default().with_runtime(Arc::new(runtime));
        SqliteStore::open(place.path().join("orders.db"), options).unwrap()
    }

    async fn close(&self, store: SqliteStore) {
        drop(store);
    }
}

orderlock_testkit::conformance!(Sqlite);
