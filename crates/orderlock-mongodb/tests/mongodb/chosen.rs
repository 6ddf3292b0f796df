//! Orders under chosen ids: a key makes one, whoever dies in between.

use std::time::Duration;

use mongodb::bson::doc;
use orderlock_core::store::{Claim, Create, Created};
use orderlock_core::{OrderStore as _, Runtime as _, TokioRuntime};
use orderlock_mongodb::MongodbOptions;
use orderlock_testkit::fixtures::{self, ids};

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
    let patience = Duration::from_millis(200);
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
