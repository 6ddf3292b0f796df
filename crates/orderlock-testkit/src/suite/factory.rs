//! How the suite gets the stores that it examines.

use std::future::Future;
use std::sync::Arc;

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use orderlock_core::OrderStore;

use crate::TestRuntime;

/// Makes stores for the suite, each over data of its own.
///
/// ```
/// use orderlock_testkit::{MemoryStore, StoreFactory, TestRuntime};
/// use std::sync::Arc;
///
/// struct Memory;
///
/// impl StoreFactory for Memory {
///     type Store = MemoryStore;
///     type Place = MemoryStore;
///
///     async fn place(&self, runtime: TestRuntime) -> MemoryStore {
///         MemoryStore::new(Arc::new(runtime))
///     }
///
///     async fn open(&self, place: &MemoryStore, _: TestRuntime) -> MemoryStore {
///         place.clone()
///     }
///
///     async fn close(&self, store: MemoryStore) {
///         store.restart();
///     }
/// }
/// ```
pub trait StoreFactory: Send + Sync + 'static {
    /// The type of the store under test.
    type Store: OrderStore;

    /// Where the data of one store lie: a directory, a database. They may go with it when it is
    /// dropped.
    type Place: Send + Sync + 'static;

    /// Makes an empty place that no other check uses.
    fn place(&self, runtime: TestRuntime) -> impl Future<Output = Self::Place> + Send;

    /// Opens the store in a place, empty or not; for stores that nodes share, also while it is open
    /// there. The store must take its clock, tasks and randomness from the runtime: no time passes
    /// in it unless the suite lets it pass.
    fn open(
        &self,
        place: &Self::Place,
        runtime: TestRuntime,
    ) -> impl Future<Output = Self::Store> + Send;

    /// Closes a store, so that its place can be opened again; the suite keeps no other pointer to
    /// it.
    fn close(&self, store: Self::Store) -> impl Future<Output = ()> + Send;
}

/// One opened store of any kind.
pub(crate) trait Opened: Send + Sync {
    fn store(&self) -> Arc<dyn OrderStore>;
    /// Closes the store and opens its place again.
    fn reopen(self: Box<Self>) -> BoxFuture<'static, Box<dyn Opened>>;
    /// A second store in the same place, as another process opens it.
    fn beside(&self) -> BoxFuture<'_, Arc<dyn OrderStore>>;
    /// A store in another, empty place.
    fn another(&self, runtime: TestRuntime) -> BoxFuture<'_, Box<dyn Opened>>;
}

/// Through which pointer the suite speaks to the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Door {
    /// The store itself, without a wrapper.
    Direct,
    /// An `Arc<dyn OrderStore>` that is itself used as a store: a forwarder that drops or bends a
    /// verb is found.
    Pointer,
}

impl Door {
    fn lead_to(self, store: Arc<impl OrderStore>) -> Arc<dyn OrderStore> {
        let store: Arc<dyn OrderStore> = store;
        match self {
            Self::Direct => store,
            Self::Pointer => Arc::new(store),
        }
    }
}

struct Typed<F: StoreFactory> {
    factory: Arc<F>,
    door: Door,
    runtime: TestRuntime,
    place: F::Place,
    store: Arc<F::Store>,
}

pub(crate) async fn open<F: StoreFactory>(
    factory: Arc<F>,
    door: Door,
    runtime: TestRuntime,
) -> Box<dyn Opened> {
    let place = factory.place(runtime.clone()).await;
    let store = Arc::new(factory.open(&place, runtime.clone()).await);
    Box::new(Typed {
        factory,
        door,
        runtime,
        place,
        store,
    })
}

impl<F: StoreFactory> Opened for Typed<F> {
    fn store(&self) -> Arc<dyn OrderStore> {
        self.door.lead_to(Arc::clone(&self.store))
    }

    fn reopen(self: Box<Self>) -> BoxFuture<'static, Box<dyn Opened>> {
        async move {
            let Self {
                factory,
                door,
                runtime,
                place,
                store,
            } = *self;
            let store = Arc::into_inner(store).expect("no check keeps a store over a restart");
            factory.close(store).await;
            let store = Arc::new(factory.open(&place, runtime.clone()).await);
            let opened: Box<dyn Opened> = Box::new(Self {
                factory,
                door,
                runtime,
                place,
                store,
            });
            opened
        }
        .boxed()
    }

    fn beside(&self) -> BoxFuture<'_, Arc<dyn OrderStore>> {
        async move {
            let store = self.factory.open(&self.place, self.runtime.clone()).await;
            self.door.lead_to(Arc::new(store))
        }
        .boxed()
    }

    fn another(&self, runtime: TestRuntime) -> BoxFuture<'_, Box<dyn Opened>> {
        open(Arc::clone(&self.factory), self.door, runtime).boxed()
    }
}
