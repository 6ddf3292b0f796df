//! What these tests work with: a store in a place of its own, and a hand on the database beside it.

use std::time::Duration;

use mongodb::bson::{Bson, Document as Fields, doc};
use mongodb::{Client, Collection};
use orderlock_core::store::{
    Acquire, Acquired, Entry, Fate, Grant, History, Join, Lookup, Loss, MarkFate, OrderView, Read,
    Receipt, Release, Settle, Settled,
};
use orderlock_core::{Fence, OrderStore as _, Runtime as _, SessionId, StoreError, TokioRuntime};
use orderlock_mongodb::{MongodbOptions, MongodbStore};
use orderlock_testkit::fixtures::{self, ids};

use crate::place::{Place, server};

pub(crate) const SESSION: Duration = Duration::from_secs(10);

pub(crate) struct World {
    pub(crate) place: Place,
    pub(crate) store: MongodbStore,
    /// The orders, for a client that knows nothing of the store.
    pub(crate) orders: Collection<Fields>,
    pub(crate) session: SessionId,
}

/// A lease that a test holds.
#[derive(Clone, Debug)]
pub(crate) struct Held {
    pub(crate) request: Acquire,
    pub(crate) grant: Grant,
}

impl Held {
    pub(crate) fn settle(&self) -> Settle {
        fixtures::settle(&self.request, &self.grant)
    }

    pub(crate) fn release(&self) -> Release {
        Release {
            target: self.request.claim.target(),
            fence: self.grant.fence,
            mark: MarkFate::Keep,
            next: None,
        }
    }
}

impl World {
    /// A store that is held to the rules that MongoDB has for commands.
    pub(crate) async fn new() -> Self {
        let place = Place::new();
        let store = place.open(MongodbOptions::default()).await;
        Self::over(place, store).await
    }

    pub(crate) async fn with(options: MongodbOptions) -> Self {
        Self::by_way_of(&server(), options).await
    }

    /// A store that reaches its place by another way to the server.
    pub(crate) async fn by_way_of(server: &str, options: MongodbOptions) -> Self {
        let place = Place::new();
        let address = place.address_on(server);
        let store = MongodbStore::connect(&address, options).await.unwrap();
        Self::over(place, store).await
    }

    pub(crate) async fn over(place: Place, store: MongodbStore) -> Self {
        let orders = collection(&place, "orders").await;
        let session = join(&store, "a").await;
        Self {
            place,
            store,
            orders,
            session,
        }
    }

    pub(crate) async fn order(&self, order: &str) {
        let claim = fixtures::claim(order, &format!("create-{order}"));
        let create = fixtures::create(claim, TokioRuntime.wall());
        self.store.create(create).await.unwrap();
    }

    /// An order that another service has made.
    pub(crate) async fn foreign_order(&self, fields: Fields) {
        self.orders.insert_one(fields).await.unwrap();
    }

    pub(crate) fn request(&self, order: &str, key: &str) -> Acquire {
        request(self.session, order, key)
    }

    pub(crate) async fn hold(&self, order: &str, key: &str) -> Held {
        hold(&self.store, self.request(order, key)).await
    }

    pub(crate) async fn settle(&self, request: Settle) -> Result<Receipt, Loss> {
        settle(&self.store, request).await.unwrap()
    }

    pub(crate) async fn view(&self, order: &str) -> OrderView {
        let target = ids::target(order);
        self.store.read(Read { target }).await.unwrap().unwrap()
    }

    pub(crate) async fn count(&self, order: &str) -> u64 {
        fixtures::count(&self.view(order).await.document)
    }

    pub(crate) async fn history(&self, order: &str) -> Vec<Entry> {
        let request = History {
            target: ids::target(order),
            limit: 100,
            cursor: None,
        };
        self.store.history(request).await.unwrap().unwrap().items
    }

    /// The document as another service sees it.
    pub(crate) async fn raw(&self, id: impl Into<Bson>) -> Fields {
        let filter = doc! {"_id": id.into()};
        self.orders.find_one(filter).await.unwrap().unwrap()
    }

    /// What another service does to an order.
    pub(crate) async fn write(&self, id: impl Into<Bson>, update: Fields) {
        let done = self.orders.update_one(doc! {"_id": id.into()}, update);
        assert_eq!(done.await.unwrap().matched_count, 1);
    }
}

pub(crate) async fn join(store: &MongodbStore, node: &str) -> SessionId {
    let session = SessionId(TokioRuntime.random());
    let request = Join {
        node: node.into(),
        session,
        length: SESSION,
        secret: fixtures::secret(),
    };
    store.join(request).await.unwrap();
    session
}

pub(crate) fn request(session: SessionId, order: &str, key: &str) -> Acquire {
    let fence = Fence(TokioRuntime.random());
    fixtures::acquire(fixtures::claim(order, key), session, fence)
}

pub(crate) async fn hold(store: &MongodbStore, request: Acquire) -> Held {
    match store.acquire(request.clone()).await.unwrap() {
        Acquired::Granted(grant) => Held {
            request,
            grant: *grant,
        },
        other => panic!("not granted but {other:?}"),
    }
}

pub(crate) async fn settle(
    store: &MongodbStore,
    request: Settle,
) -> Result<Result<Receipt, Loss>, StoreError> {
    Ok(match store.settle(request).await? {
        Settled::Lost(loss) => Err(loss),
        Settled::Impossible(reason) => panic!("impossible: {reason}"),
        Settled::Accepted(accepted) => match accepted.durable.await? {
            Fate::Durable => Ok(accepted.receipt),
            Fate::Lost(loss) => Err(loss),
        },
    })
}

pub(crate) fn look_up(held: &Held) -> Lookup {
    Lookup {
        target: held.request.claim.target(),
        key_id: held.request.claim.key_id,
    }
}

/// A collection of a place, for a client that knows nothing of the store.
pub(crate) async fn collection(place: &Place, name: &str) -> Collection<Fields> {
    let client = Client::with_uri_str(server()).await.unwrap();
    client.database(&place.name).collection(name)
}
