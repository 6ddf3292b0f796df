//! The suite that every store must pass, on a server that speaks MongoDB's protocol.

#![allow(
    clippy::unwrap_used,
    reason = "a place that cannot be made fails the check"
)]

mod place;

use std::sync::Arc;

use orderlock_mongodb::{MongodbOptions, MongodbStore};
use orderlock_testkit::{StoreFactory, TestRuntime};
use place::Place;

struct Mongodb;

impl StoreFactory for Mongodb {
    type Store = MongodbStore;
    type Place = Place;

    async fn place(&self, _: TestRuntime) -> Place {
        Place::on_either_server()
    }

    async fn open(&self, place: &Place, runtime: TestRuntime) -> MongodbStore {
        place
            .open(MongodbOptions::default().with_runtime(Arc::new(runtime)))
            .await
    }

    async fn close(&self, store: MongodbStore) {
        drop(store);
    }
}

orderlock_testkit::conformance!(shared: Mongodb);
