//! Orders under chosen ids: a key makes one, whoever dies in between.

use std::time::Duration;

use mongodb::bson::doc;
use orderlock_core::store::{Claim, Create, Created, Entries, EntriesSince};
use orderlock_core::{Caller, OrderStore as _, Runtime as _, TokioRuntime};
use orderlock_mongodb::{MongodbOptions, MongodbStore};
use orderlock_testkit::fixtures::{self, ids};

use crate::proxy::{Fate, Gate, Proxy};
use crate::world::{World, collection};

const RESERVATIONS: &str = "orders_orderlock_reservations";

/// The creation of an order of this id by a key whose derived id is `d1`.
fn creation(id: &str) -> Create {
    let first = fixtures::create(fixtures::claim("d1", "c"), TokioRuntime.wall());
    let claim = Claim {
        order: ids::order(id),
        ..first.claim.clone()
    };
    Create { claim, ..first }
}

async fn create(world: &World, id: &str) -> Created {
    world.store.create(creation(id)).await.unwrap()
}

/// Which order the key has made.
#[track_caller]
fn order_of(created: &Created) -> &str {
    match created {
        Created::Settled(entry) => entry.target.order.as_str(),
        other => panic!("not settled but {other:?}"),
    }
}

#[tokio::test]
async fn a_reservation_of_a_node_that_died_is_taken_over() {
    let patience = Duration::from_secs(3);
    let options = MongodbOptions::default().with_patience(patience);
    let world = World::with(options).await;
    let reservations = collection(&world.place, RESERVATIONS).await;
    let left = doc! {"_id": "- d1", "order": "x1"};
    reservations.insert_one(left).await.unwrap();
    // The client asks again under the same id, or under another.
    let created = create(&world, "x2").await;
    assert!(matches!(created, Created::Inserted(_)), "{created:?}");
    for id in ["x1", "x3", "d1", "x2"] {
        assert_eq!(order_of(&create(&world, id).await), "x2", "asked for {id}");
    }
    assert_eq!(world.orders.count_documents(doc! {}).await.unwrap(), 1);
}

#[tokio::test]
async fn a_node_that_died_before_it_had_confirmed_has_made_it() {
    let world = World::new().await;
    let created = create(&world, "x1").await;
    assert!(matches!(created, Created::Inserted(_)), "{created:?}");
    let reservations = collection(&world.place, RESERVATIONS).await;
    let before = doc! {"$unset": {"confirmed": ""}};
    let undone = reservations.update_one(doc! {"_id": "- d1"}, before).await;
    assert_eq!(undone.unwrap().modified_count, 1);
    for id in ["x2", "x1", "d1"] {
        assert_eq!(order_of(&create(&world, id).await), "x1", "asked for {id}");
    }
    assert_eq!(world.orders.count_documents(doc! {}).await.unwrap(), 1);
}

#[tokio::test]
async fn an_order_under_the_derived_id_is_the_keys_one_order() {
    let world = World::new().await;
    let created = create(&world, "d1").await;
    assert!(matches!(created, Created::Inserted(_)), "{created:?}");
    for id in ["x1", "x2"] {
        assert_eq!(order_of(&create(&world, id).await), "d1", "asked for {id}");
    }
    let reservations = collection(&world.place, RESERVATIONS).await;
    assert_eq!(reservations.count_documents(doc! {}).await.unwrap(), 0);
    assert_eq!(world.orders.count_documents(doc! {}).await.unwrap(), 1);
}

#[tokio::test]
async fn an_order_that_was_removed_may_be_made_again() {
    let world = World::new().await;
    create(&world, "x1").await;
    world.orders.delete_one(doc! {"_id": "x1"}).await.unwrap();
    let created = create(&world, "x2").await;
    assert!(matches!(created, Created::Inserted(_)), "{created:?}");
    assert_eq!(order_of(&create(&world, "x1").await), "x2");
}

/// The orders of which the stream has an entry, in its order.
async fn stream(store: &MongodbStore) -> Vec<String> {
    let request = EntriesSince {
        tenant: Caller::single().tenant,
        cursor: None,
        limit: 100,
    };
    match store.entries_since(request).await.unwrap() {
        Entries::Some { entries, .. } => entries
            .into_iter()
            .map(|entry| entry.target.order.as_str().to_owned())
            .collect(),
        Entries::NewEpoch => panic!("the journal is as it was"),
    }
}

/// A creation on another node, which has inserted its order and stands before its next command.
struct Stopped {
    gate: Gate,
    creation: tokio::task::JoinHandle<Created>,
}

impl Stopped {
    async fn before(command: &'static str, world: &World, id: &str) -> Self {
        let (proxy, gate) = (Proxy::new().await, Gate::default());
        let address = world.place.address_on(&proxy.address());
        let options = MongodbOptions::default();
        let store = MongodbStore::connect(&address, options).await.unwrap();
        proxy.meet(command, RESERVATIONS, Fate::Held(gate.clone()), 1);
        let request = creation(id);
        let creation = tokio::spawn(async move { store.create(request).await.unwrap() });
        gate.reached().await;
        Self { gate, creation }
    }

    async fn go_on(self) -> Created {
        self.gate.open();
        self.creation.await.unwrap()
    }
}

#[tokio::test]
async fn an_order_that_is_taken_away_again_is_in_no_stream() {
    let world = World::new().await;
    // Its reservation is there, and not confirmed.
    let stopped = Stopped::before("findAndModify", &world, "x1").await;
    let created = create(&world, "d1").await;
    assert!(matches!(created, Created::Inserted(_)), "{created:?}");
    assert_eq!(stream(&world.store).await, ["d1"]);
    assert_eq!(order_of(&stopped.go_on().await), "d1");
    assert_eq!(world.orders.count_documents(doc! {}).await.unwrap(), 1);
    assert_eq!(stream(&world.store).await, ["d1"]);
}

#[tokio::test]
async fn an_order_under_the_derived_id_that_is_taken_away_again_is_in_no_stream() {
    let world = World::new().await;
    create(&world, "x1").await;
    // It has not looked yet whether the key has made another.
    let stopped = Stopped::before("find", &world, "d1").await;
    assert_eq!(stream(&world.store).await, ["x1"]);
    assert_eq!(order_of(&stopped.go_on().await), "x1");
    assert_eq!(world.orders.count_documents(doc! {}).await.unwrap(), 1);
    assert_eq!(stream(&world.store).await, ["x1"]);
}

#[tokio::test]
async fn an_order_that_readers_have_seen_is_the_keys_one_order() {
    for (id, command) in [("x1", "findAndModify"), ("d1", "find")] {
        let world = World::new().await;
        // Its node may have died there.
        let stopped = Stopped::before(command, &world, id).await;
        assert_eq!(stream(&world.store).await, [id]);
        for other in ["d1", "x2"] {
            assert_eq!(order_of(&create(&world, other).await), id);
        }
        let created = stopped.go_on().await;
        assert!(matches!(created, Created::Inserted(_)), "{created:?}");
        assert_eq!(world.orders.count_documents(doc! {}).await.unwrap(), 1);
        assert_eq!(stream(&world.store).await, [id]);
    }
}
