//! What these tests work with: a store in a place of its own, and a hand on the database beside it.

use std::time::Duration;

use orderlock_core::store::{
    Acquire, Acquired, Fate, Grant, Join, Loss, Read, Receipt, Renew, Settle, Settled,
};
use orderlock_core::{Fence, OrderStore as _, Runtime as _, SessionId, StoreError, TokioRuntime};
use orderlock_postgres::{PostgresOptions, PostgresStore};
use orderlock_testkit::fixtures::{self, ids};
use tokio::task::JoinHandle;
use tokio_postgres::Client;

use crate::place::{Place, connect};

pub(crate) struct World {
    pub(crate) place: Place,
    pub(crate) store: PostgresStore,
    /// A client that knows nothing of the store.
    pub(crate) hand: Client,
    pub(crate) session: SessionId,
}

/// A verb that is under way.
pub(crate) type Task<T> = JoinHandle<Result<T, StoreError>>;

/// A lease that a test holds.
#[derive(Clone)]
pub(crate) struct Held {
    pub(crate) request: Acquire,
    pub(crate) grant: Grant,
}

impl Held {
    pub(crate) fn settle(&self) -> Settle {
        fixtures::settle(&self.request, &self.grant)
    }
}

impl World {
    pub(crate) async fn new() -> Self {
        Self::with(PostgresOptions::default()).await
    }

    pub(crate) async fn with(options: PostgresOptions) -> Self {
        let place = Place::new().await;
        let address = place.address();
        Self::at(place, &address, options).await
    }

    /// A store whose batches wait for rows that others keep locked.
    pub(crate) async fn waiting(options: PostgresOptions) -> Self {
        let place = Place::new().await;
        let address = format!("{}%20-clock_timeout%3D60s", place.address());
        Self::at(place, &address, options).await
    }

    /// A store that reaches its place by this address.
    pub(crate) async fn at(place: Place, address: &str, options: PostgresOptions) -> Self {
        let store = PostgresStore::open(address, options).await.unwrap();
        let hand = connect(&place.address()).await;
        let session = join(&store, "a").await;
        Self {
            place,
            store,
            hand,
            session,
        }
    }

    pub(crate) async fn order(&self, order: &str) {
        create(&self.store, order).await;
    }

    pub(crate) fn request(&self, order: &str, key: &str) -> Acquire {
        request(self.session, order, key)
    }

    pub(crate) async fn hold(&self, order: &str, key: &str) -> Held {
        hold(&self.store, self.request(order, key)).await
    }

    pub(crate) async fn count(&self, order: &str) -> u64 {
        let target = ids::target(order);
        let view = self.store.read(Read { target }).await.unwrap().unwrap();
        fixtures::count(&view.document)
    }

    /// An acquire in a task of its own.
    pub(crate) fn acquire(&self, request: Acquire) -> Task<Acquired> {
        let store = self.store.clone();
        tokio::spawn(async move { store.acquire(request).await })
    }

    /// A settle in a task of its own.
    pub(crate) fn settle(&self, request: Settle) -> Task<Settled> {
        let store = self.store.clone();
        tokio::spawn(async move { store.settle(request).await })
    }

    /// Keeps the rows of all orders from others, until the hand's transaction ends.
    pub(crate) async fn seize(&self) {
        let seize = "BEGIN; SELECT FROM orders FOR UPDATE";
        self.hand.batch_execute(seize).await.unwrap();
    }

    /// Ends the hand's transaction.
    pub(crate) async fn commit(&self) {
        self.hand.batch_execute("COMMIT").await.unwrap();
    }

    /// Waits until so many statements of this place's store wait for a lock.
    pub(crate) async fn blocked(&self, statements: i64) {
        let waiting = "SELECT count(DISTINCT waits.pid) FROM pg_locks waits
            WHERE NOT waits.granted AND EXISTS (
                SELECT FROM pg_locks has
                WHERE has.pid = waits.pid AND has.relation = 'orders'::regclass)";
        loop {
            let row = self.hand.query_one(waiting, &[]).await.unwrap();
            if row.get::<_, i64>(0) >= statements {
                return;
            }
            tokio::task::yield_now().await;
        }
    }
}

pub(crate) async fn join(store: &PostgresStore, node: &str) -> SessionId {
    let session = SessionId(TokioRuntime.random());
    let request = Join {
        node: node.into(),
        session,
        length: Duration::from_secs(60),
        secret: fixtures::secret(),
    };
    store.join(request).await.unwrap();
    session
}

pub(crate) async fn create(store: &PostgresStore, order: &str) {
    let claim = fixtures::claim(order, &format!("create-{order}"));
    let create = fixtures::create(claim, TokioRuntime.wall());
    store.create(create).await.unwrap();
}

/// Renews a session that holds nothing.
pub(crate) async fn renew(store: &PostgresStore, session: SessionId) {
    let request = Renew {
        session,
        known: Vec::new(),
    };
    store.renew(request).await.unwrap();
}

pub(crate) fn request(session: SessionId, order: &str, key: &str) -> Acquire {
    let fence = Fence(TokioRuntime.random());
    fixtures::acquire(fixtures::claim(order, key), session, fence)
}

pub(crate) async fn hold(store: &PostgresStore, request: Acquire) -> Held {
    let grant = granted(store.acquire(request.clone()).await.unwrap());
    Held { request, grant }
}

#[track_caller]
pub(crate) fn granted(acquired: Acquired) -> Grant {
    match acquired {
        Acquired::Granted(grant) => *grant,
        other => panic!("not granted but {other:?}"),
    }
}

/// The receipt of a settle, once it is durable.
pub(crate) async fn applied(settled: Settled) -> Receipt {
    match settled {
        Settled::Accepted(accepted) => {
            assert_eq!(accepted.durable.await.unwrap(), Fate::Durable);
            accepted.receipt
        }
        other => panic!("not accepted but {other:?}"),
    }
}

pub(crate) fn lost(settled: &Settled) -> Loss {
    match settled {
        Settled::Lost(loss) => *loss,
        other => panic!("not lost but {other:?}"),
    }
}
