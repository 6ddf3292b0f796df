//! Orders that another service has made, and goes on writing to.

use std::sync::Arc;

use mongodb::bson::oid::ObjectId;
use mongodb::bson::{Bson, DateTime, doc};
use orderlock_core::store::{Acquired, Filter, List, Loss};
use orderlock_core::{Caller, OrderStore as _, OutcomeKind, Version};
use orderlock_mongodb::MongodbOptions;
use orderlock_testkit::{TestRuntime, fixtures};

use crate::place::Place;
use crate::world::World;

const HEX: &str = "0123456789abcdef01234567";

fn object_id() -> ObjectId {
    ObjectId::parse_str(HEX).unwrap()
}

#[tokio::test]
async fn an_order_that_was_there_before_is_worked_on_as_any_other() {
    // The tests' server finds no `ObjectId` but in `_id`: under a clock that stands, no relay asks the
    // journal for the entries of such an order.
    let options = MongodbOptions::default().with_runtime(Arc::new(TestRuntime::new()));
    let place = Place::new();
    let store = place.open(options).await;
    let world = World::over(place, store).await;
    let made = DateTime::from_millis(1_600_000_000_000);
    world
        .foreign_order(doc! {
            "_id": object_id(), "count": 0, "locked": null, "status": "open",
            "customer": object_id(), "createdAt": made, "lines": [{"product": object_id()}],
        })
        .await;
    let before = world.view(HEX).await;
    assert_eq!(before.version, Version::FIRST);
    assert_eq!(before.times.created.as_millisecond(), 1_600_000_000_000);
    assert_eq!(before.index.status.as_deref(), Some("open"));
    assert_eq!(before.index.customer, None, "an ObjectId is no text");
    for turn in 1..=3_u64 {
        let held = world.hold(HEX, &format!("k{turn}")).await;
        let receipt = world.settle(held.settle()).await.unwrap();
        assert_eq!(receipt.number, turn);
        assert_eq!(world.count(HEX).await, turn);
        assert_eq!(world.view(HEX).await.version, Version(turn + 1));
    }
    // What the handler's type does not know is there, with its type and in its place.
    let after = world.raw(object_id()).await;
    assert_eq!(after.get("customer"), Some(&object_id().into()));
    assert_eq!(after.get("createdAt"), Some(&made.into()));
    assert_eq!(
        after.get("lines"),
        Some(&Bson::from(vec![doc! {"product": object_id()}]))
    );
    assert_eq!(after.get("status"), Some(&"open".into()));
    assert_eq!(
        after.get("locked"),
        Some(&Bson::Null),
        "free to the old services"
    );
}

#[tokio::test]
async fn an_order_needs_neither_status_nor_locked() {
    let world = World::new().await;
    world.foreign_order(doc! {"_id": "bare", "count": 7}).await;
    let held = world.hold("bare", "k1").await;
    world.settle(held.settle()).await.unwrap();
    let retry = world
        .store
        .acquire(world.request("bare", "k1"))
        .await
        .unwrap();
    let Acquired::Settled(entry) = retry else {
        panic!("not settled but {retry:?}");
    };
    assert_eq!(entry.answer, held.settle().answer().cloned());
    assert_eq!(world.count("bare").await, 8);
}

#[tokio::test]
async fn lists_find_them_by_their_own_fields() {
    let world = World::new().await;
    for (id, status) in [("f1", "open"), ("f2", "paid"), ("f3", "open")] {
        let order = doc! {"_id": id, "count": 0, "status": status, "customer": "ann"};
        world.foreign_order(order).await;
    }
    world.order("o1").await;
    let list = |filter: Filter| List {
        tenant: Caller::single().tenant,
        filter,
        limit: 10,
        cursor: None,
    };
    let open = Filter {
        status: Some("open".into()),
        ..Filter::default()
    };
    let page = world.store.list(list(open)).await.unwrap();
    let names: Vec<_> = page
        .items
        .iter()
        .map(|view| view.target.order.as_str())
        .collect();
    assert_eq!(
        names,
        ["o1", "f3", "f1"],
        "those that Orderlock made come first"
    );
    let all = world.store.list(list(Filter::default())).await.unwrap();
    assert_eq!(all.items.len(), 4);
}

#[tokio::test]
async fn an_unlock_by_another_service_makes_the_holder_lose() {
    let world = World::new().await;
    world
        .foreign_order(doc! {"_id": "f1", "count": 0, "locked": null})
        .await;
    let held = world.hold("f1", "k1").await;
    world.write("f1", doc! {"$set": {"locked": null}}).await;
    assert_eq!(world.settle(held.settle()).await, Err(Loss::NotHeld));
    assert_eq!(world.count("f1").await, 0, "nothing was applied");
    assert_eq!(world.view("f1").await.lease, None);
    let next = world.hold("f1", "k2").await;
    world.settle(next.settle()).await.unwrap();
    assert_eq!(world.count("f1").await, 1);
}

#[tokio::test]
async fn a_change_by_another_service_is_found_and_written_down() {
    let world = World::new().await;
    world.order("o1").await;
    world
        .write("o1", doc! {"$set": {"count": 40, "extra": "theirs"}})
        .await;
    let held = world.hold("o1", "k1").await;
    assert_eq!(
        held.grant.version,
        Version(2),
        "the change has moved the version"
    );
    assert_eq!(fixtures::count(&held.grant.document), 40);
    world.settle(held.settle()).await.unwrap();
    let history = world.history("o1").await;
    let [_, noted, ours] = history.as_slice() else {
        panic!("not three entries but {history:?}");
    };
    assert_eq!(noted.operation.as_str(), "changed-elsewhere");
    assert_eq!(noted.outcome, OutcomeKind::Applied);
    assert_eq!(noted.version, Version(2));
    assert!(noted.answer.is_none() && noted.fence.is_none());
    assert_eq!(fixtures::count(noted.change.as_ref().unwrap()), 40);
    assert_eq!((ours.number, ours.version), (3, Version(3)));
    // From now on others write to the order too: their member is not the handler's to drop.
    let after = world.raw("o1").await;
    assert_eq!(after.get("extra"), Some(&"theirs".into()));
    assert_eq!(world.count("o1").await, 41);
}

#[tokio::test]
async fn a_change_while_it_is_held_is_found_at_the_next_grant() {
    let world = World::new().await;
    world.order("o1").await;
    let held = world.hold("o1", "k1").await;
    world.write("o1", doc! {"$set": {"extra": 1}}).await;
    world.settle(held.settle()).await.unwrap();
    let next = world.hold("o1", "k2").await;
    assert_eq!(next.grant.version, Version(3));
    world.settle(next.settle()).await.unwrap();
    let names: Vec<_> = world
        .history("o1")
        .await
        .iter()
        .map(|entry| entry.operation.to_string())
        .collect();
    assert_eq!(names, ["create", "change", "changed-elsewhere", "change"]);
    assert_eq!(world.raw("o1").await.get_i32("extra").ok(), Some(1));
}

#[tokio::test]
async fn a_change_elsewhere_is_no_version_that_the_client_expects() {
    let world = World::new().await;
    world.order("o1").await;
    world.write("o1", doc! {"$set": {"count": 9}}).await;
    let mut request = world.request("o1", "k1");
    request.expected = Some(Version(1));
    let answer = world.store.acquire(request.clone()).await.unwrap();
    let current = Version(2);
    assert_eq!(answer, Acquired::VersionMismatch { current });
    assert_eq!(world.view("o1").await.lease, None);
    request.expected = Some(current);
    let answer = world.store.acquire(request).await.unwrap();
    assert!(matches!(answer, Acquired::Granted(_)), "{answer:?}");
}
