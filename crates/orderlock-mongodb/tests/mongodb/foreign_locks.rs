//! Locks that services take which know nothing of Orderlock.

use mongodb::bson::{Bson, doc};
use orderlock_core::store::{Acquired, BreakLease, Broken, Filter, Known, Leases, List, Lookup};
use orderlock_core::{Caller, LeaseView, LeaseViewState, OrderStore as _, OutcomeKind};
use orderlock_testkit::fixtures::{self, ids};

use crate::world::World;

async fn leases(world: &World) -> Vec<LeaseView> {
    let request = Leases {
        tenant: Caller::single().tenant,
        limit: 10,
        cursor: None,
    };
    world.store.leases(request).await.unwrap().items
}

fn breaking(lease: &LeaseView) -> BreakLease {
    BreakLease {
        tenant: Caller::single().tenant,
        lease: lease.id.clone(),
        actor: ids::principal("operator"),
        reason: "its service is gone".into(),
    }
}

async fn with_an_old_lock() -> World {
    let world = World::new().await;
    let order = doc! {"_id": "f1", "count": 0, "locked": "5f0c9b3e"};
    world.foreign_order(order).await;
    world
}

#[tokio::test]
async fn it_is_respected_until_it_is_cleared() {
    let world = with_an_old_lock().await;
    let answer = world
        .store
        .acquire(world.request("f1", "k1"))
        .await
        .unwrap();
    let Acquired::Held(view) = answer else {
        panic!("not held but {answer:?}");
    };
    assert_eq!(view.state, LeaseViewState::Foreign);
    assert_eq!(
        (view.operation, view.since, view.key_id),
        (None, None, None)
    );
    let raw = world.raw("f1").await;
    assert_eq!(
        raw.get("locked"),
        Some(&"5f0c9b3e".into()),
        "it stands as it was"
    );
    world.write("f1", doc! {"$set": {"locked": null}}).await;
    let held = world.hold("f1", "k1").await;
    world.settle(held.settle()).await.unwrap();
}

#[tokio::test]
async fn a_settled_key_is_answered_under_it() {
    let world = World::new().await;
    world.order("o1").await;
    let held = world.hold("o1", "k1").await;
    world.settle(held.settle()).await.unwrap();
    world.write("o1", doc! {"$set": {"locked": "theirs"}}).await;
    let retry = world
        .store
        .acquire(world.request("o1", "k1"))
        .await
        .unwrap();
    assert!(matches!(retry, Acquired::Settled(_)), "{retry:?}");
    let lookup = Lookup {
        target: ids::target("o1"),
        key_id: fixtures::claim("o1", "k2").key_id,
    };
    assert_eq!(world.store.lookup(lookup).await.unwrap(), Known::Unknown);
}

#[tokio::test]
async fn it_is_listed_and_an_operator_breaks_it_with_a_reason() {
    let world = with_an_old_lock().await;
    let [lease] = leases(&world).await.try_into().unwrap();
    assert_eq!(lease.state, LeaseViewState::Foreign);
    assert_eq!(world.view("f1").await.lease, Some(lease.clone()));
    let broken = world.store.break_lease(breaking(&lease)).await.unwrap();
    assert_eq!(broken, Broken::Broken(lease.clone()));
    assert_eq!(world.raw("f1").await.get("locked"), Some(&Bson::Null));
    let [entry] = world.history("f1").await.try_into().unwrap();
    assert_eq!(entry.outcome, OutcomeKind::LeaseBroken);
    assert_eq!(entry.reason.as_deref(), Some("its service is gone"));
    let again = world.store.break_lease(breaking(&lease)).await.unwrap();
    assert_eq!(again, Broken::NotFound);
    let held = world.hold("f1", "k1").await;
    assert_eq!(world.settle(held.settle()).await.unwrap().number, 2);
}

#[tokio::test]
async fn only_the_lock_that_was_seen_is_broken() {
    let world = with_an_old_lock().await;
    let [lease] = leases(&world).await.try_into().unwrap();
    world
        .write("f1", doc! {"$set": {"locked": "another"}})
        .await;
    let broken = world.store.break_lease(breaking(&lease)).await.unwrap();
    assert_eq!(broken, Broken::NotFound);
    assert_eq!(world.raw("f1").await.get("locked"), Some(&"another".into()));
}

#[tokio::test]
async fn a_list_of_what_is_locked_shows_it() {
    let world = with_an_old_lock().await;
    world.order("o1").await;
    let list = |locked| List {
        tenant: Caller::single().tenant,
        filter: Filter {
            locked: Some(locked),
            ..Filter::default()
        },
        limit: 10,
        cursor: None,
    };
    for (locked, expected) in [(true, "f1"), (false, "o1")] {
        let page = world.store.list(list(locked)).await.unwrap();
        let names: Vec<_> = page
            .items
            .iter()
            .map(|view| view.target.order.as_str())
            .collect();
        assert_eq!(names, [expected]);
    }
}

#[tokio::test]
async fn what_looks_like_ours_and_is_not_is_foreign() {
    let world = World::new().await;
    let forged = "orderlock:00000000000000000000000000000001";
    let order = doc! {"_id": "f1", "count": 0, "locked": forged};
    world.foreign_order(order).await;
    let answer = world
        .store
        .acquire(world.request("f1", "k1"))
        .await
        .unwrap();
    assert!(matches!(answer, Acquired::Held(_)), "{answer:?}");
    let [lease] = leases(&world).await.try_into().unwrap();
    assert_eq!(lease.state, LeaseViewState::Foreign);
    world.store.break_lease(breaking(&lease)).await.unwrap();
    world.hold("f1", "k1").await;
}
