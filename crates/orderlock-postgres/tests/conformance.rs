//! The suite that every store must pass, on a real server whose commits reach the disk.

#![allow(
    clippy::unwrap_used,
    reason = "a place that cannot be made fails the check"
)]

mod place;

use std::sync::Arc;

use orderlock_postgres::{PostgresOptions, PostgresStore};
use orderlock_testkit::{StoreFactory, TestRuntime};
use place::Place;

struct Postgres;

impl StoreFactory for Postgres {
    type Store = PostgresStore;
    type Place = Place;

    async fn place(&self, _: TestRuntime) -> Place {
        Place::new().await
    }

    async fn open(&self, place: &Place, runtime: TestRuntime) -> PostgresStore {
        place
            .open(PostgresOptions::default().with_runtime(Arc::new(runtime)))
            .await
    }

    async fn close(&self, store: PostgresStore) {
        drop(store);
    }
}

orderlock_testkit::conformance!(shared: Postgres);
