//! The model passes its own suite.

use std::sync::Arc;

use orderlock_testkit::{MemoryStore, StoreFactory, TestRuntime, conformance};

struct Memory;

impl StoreFactory for Memory {
    type Store = MemoryStore;
    type Place = MemoryStore;

    async fn place(&self, runtime: TestRuntime) -> MemoryStore {
        MemoryStore::new(Arc::new(runtime))
    }

    async fn open(&self, place: &MemoryStore, _: TestRuntime) -> MemoryStore {
        place.clone()
    }

    async fn close(&self, store: MemoryStore) {
        store.restart();
    }
}

conformance!(Memory);
