//! A service that replaces an order's whole document drops all that Orderlock keeps in it. What was
//! answered stays answered all the same.

use std::sync::Arc;

use mongodb::bson::doc;
use orderlock_core::store::{
    Acquired, Created, Cursor, Decision, Entries, EntriesSince, Entry, Known, Loss, Resolve,
    Resolved,
};
use orderlock_core::{
    Caller, OrderStore as _, OutcomeKind, Recovery, Runtime as _, TokioRuntime, Version,
};
use orderlock_mongodb::{MongodbOptions, MongodbStore};
use orderlock_testkit::TestRuntime;
use orderlock_testkit::fixtures::{self, ids};

use crate::proxy::{Fate, Gate, Proxy};
use crate::world::{Held, World, hold, look_up};

/// A world in which the relay moves nothing unless it is asked to: no time passes.
async fn still() -> World {
    let runtime = Arc::new(TestRuntime::new());
    World::with(MongodbOptions::default().with_runtime(runtime)).await
}

/// What an old service does that knows only its own members.
async fn replace(world: &World, order: &str, count: i64) {
    let fields = doc! {"count": count, "by": "an old service", "locked": null};
    let done = world.orders.replace_one(doc! {"_id": order}, fields).await;
    assert_eq!(done.unwrap().matched_count, 1);
}

async fn change(world: &World, order: &str, key: &str) -> Held {
    let held = world.hold(order, key).await;
    world.settle(held.settle()).await.unwrap();
    held
}

async fn since(store: &MongodbStore) -> Vec<Entry> {
    let request = EntriesSince {
        tenant: Caller::single().tenant,
        cursor: None::<Cursor>,
        limit: 100,
    };
    match store.entries_since(request).await.unwrap() {
        Entries::Some { entries, .. } => entries,
        Entries::NewEpoch => panic!("nothing was restored"),
    }
}

/// Asks again under the key of a settled run: it must get that run's answer.
async fn assert_replays(world: &World, held: &Held) {
    let key = held.request.claim.key.as_str();
    let order = held.request.claim.order.as_str();
    let retry = world.store.acquire(world.request(order, key)).await;
    match retry.unwrap() {
        Acquired::Settled(entry) => {
            assert_eq!(entry.key_id, held.request.claim.key_id);
            assert_eq!(entry.answer, held.settle().answer().cloned());
        }
        other => panic!("not replayed but {other:?}"),
    }
    let known = world.store.lookup(look_up(held)).await.unwrap();
    assert!(matches!(known, Known::Settled(_)), "{known:?}");
}

/// The names of an order's entries, which have numbers without gap, each once in the stream.
async fn operations(world: &World, order: &str) -> Vec<String> {
    let history = world.history(order).await;
    for (number, entry) in (1..).zip(&history) {
        assert_eq!(entry.number, number, "{history:?}");
    }
    for two in history.windows(2) {
        assert!(two[0].version <= two[1].version, "{history:?}");
    }
    let stream = since(&world.store).await;
    let of_order = stream
        .iter()
        .filter(|entry| entry.target.order.as_str() == order);
    assert!(of_order.eq(&history), "{stream:?}");
    let names = history.iter().map(|entry| entry.operation.to_string());
    names.collect()
}

#[tokio::test]
async fn a_settled_key_is_answered_from_the_journal() {
    let world = World::new().await;
    world.order("o1").await;
    let first = change(&world, "o1", "k1").await;
    world.history("o1").await;
    for _ in 0..2 {
        replace(&world, "o1", 40).await;
        assert_replays(&world, &first).await;
        assert_eq!(world.view("o1").await.lease, None);
        assert_eq!(world.count("o1").await, 40);
    }
    let next = change(&world, "o1", "k2").await;
    assert_eq!(
        next.grant.version,
        Version(3),
        "beyond every version that was given"
    );
    assert_eq!(fixtures::count(&next.grant.document), 40);
    assert_replays(&world, &next).await;
    let expected = ["create", "change", "changed-elsewhere", "change"];
    assert_eq!(operations(&world, "o1").await, expected);
    assert_replays(&world, &first).await;
    let create = fixtures::create(fixtures::claim("o1", "create-o1"), TokioRuntime.wall());
    let again = world.store.create(create).await.unwrap();
    assert!(matches!(again, Created::Settled(_)), "{again:?}");
}

#[tokio::test]
async fn a_stale_version_is_not_taken_for_the_replaced_one() {
    let world = World::new().await;
    world.order("o1").await;
    change(&world, "o1", "k1").await;
    world.history("o1").await;
    replace(&world, "o1", 40).await;
    assert_eq!(world.view("o1").await.version, Version(2));
    let mut request = world.request("o1", "k2");
    request.expected = Some(Version(1));
    let told = world.store.acquire(request.clone()).await.unwrap();
    let current = Version(2);
    assert_eq!(told, Acquired::VersionMismatch { current });
    request.expected = Some(current);
    let told = world.store.acquire(request).await.unwrap();
    let current = Version(3);
    assert_eq!(told, Acquired::VersionMismatch { current });
}

/// The numbers begin anew with builds that take a replaced order for a new one.
#[tokio::test]
async fn another_keys_answer_is_never_told() {
    let world = World::new().await;
    world.order("o1").await;
    let first = change(&world, "o1", "a").await;
    world.history("o1").await;
    replace(&world, "o1", 1).await;
    // What an earlier build writes into it: version 1, no entry.
    let begun = doc! {"turn": 1_i64, "version": 1_i64, "number": 0_i64};
    world.write("o1", doc! {"$set": {"orderlock": begun}}).await;
    let second = change(&world, "o1", "b").await;
    assert_replays(&world, &second).await;
    let expected = ["create", "change", "change"];
    let names: Vec<_> = world.history("o1").await;
    let names: Vec<_> = names.iter().map(|entry| entry.operation.as_str()).collect();
    assert_eq!(names, expected);
    for held in [&first, &second] {
        assert_replays(&world, held).await;
    }
    let third = change(&world, "o1", "c").await;
    assert_eq!(third.grant.version, Version(3));
    for held in [&first, &second, &third] {
        assert_replays(&world, held).await;
    }
    let last = world.history("o1").await;
    let last = last.last().unwrap();
    assert_eq!((last.number, last.version), (5, Version(4)));
}

#[tokio::test]
async fn an_entry_that_waits_is_not_lost_with_its_document() {
    let world = still().await;
    world.order("o1").await;
    let held = change(&world, "o1", "k1").await;
    assert!(
        world
            .raw("o1")
            .await
            .get_document("orderlock")
            .unwrap()
            .contains_key("waiting")
    );
    replace(&world, "o1", 40).await;
    // Whoever comes first: a retry of the key, a reader of the journal, another key.
    assert_replays(&world, &held).await;
    assert_eq!(operations(&world, "o1").await, ["create", "change"]);
    assert_eq!(
        world.view("o1").await.version,
        Version(2),
        "as was answered"
    );
    replace(&world, "o1", 41).await;
    let next = change(&world, "o1", "k2").await;
    replace(&world, "o1", 42).await;
    let expected = ["create", "change", "changed-elsewhere", "change"];
    assert_eq!(operations(&world, "o1").await, expected);
    for held in [&held, &next] {
        assert_replays(&world, held).await;
    }
}

#[tokio::test]
async fn an_entry_of_an_order_that_was_removed_is_in_the_stream() {
    let world = still().await;
    world.order("o1").await;
    change(&world, "o1", "k1").await;
    world.orders.delete_one(doc! {"_id": "o1"}).await.unwrap();
    let entries = since(&world.store).await;
    let numbers: Vec<_> = entries.iter().map(|entry| entry.number).collect();
    assert_eq!(numbers, [1, 2]);
    assert_eq!(since(&world.store).await, entries, "each once");
}

/// An order that was removed and is made again by the same key is another one, with the same names.
#[tokio::test]
async fn an_order_that_is_made_again_goes_on_behind_the_first() {
    let world = World::new().await;
    world.order("o1").await;
    change(&world, "o1", "k1").await;
    world.history("o1").await;
    world.orders.delete_one(doc! {"_id": "o1"}).await.unwrap();
    world.order("o1").await;
    world.history("o1").await;
    let next = change(&world, "o1", "k2").await;
    assert_eq!(next.grant.version, Version(3));
    let names: Vec<_> = world.history("o1").await;
    let names: Vec<_> = names
        .iter()
        .map(|entry| entry.operation.to_string())
        .collect();
    let expected = ["create", "change", "create", "changed-elsewhere", "change"];
    assert_eq!(names, expected);
    assert_replays(&world, &next).await;
    assert_eq!(since(&world.store).await.len(), 5);
}

#[tokio::test]
async fn a_holder_loses_an_order_that_was_replaced() {
    let world = World::new().await;
    world.order("o1").await;
    let held = world.hold("o1", "k1").await;
    replace(&world, "o1", 7).await;
    assert_eq!(world.settle(held.settle()).await, Err(Loss::NotHeld));
    assert_eq!(world.count("o1").await, 7);
    change(&world, "o1", "k1").await;
    let expected = ["create", "changed-elsewhere", "change"];
    assert_eq!(operations(&world, "o1").await, expected);
}

fn run_again(held: &Held) -> Resolve {
    Resolve {
        target: held.request.claim.target(),
        key_id: held.request.claim.key_id,
        attempt: held.grant.attempt,
        since: held.grant.now,
        decision: Decision::RunAgain {
            retention: fixtures::RETENTION,
        },
        actor: ids::principal("operator"),
        reason: "the bank knows nothing of it".into(),
    }
}

async fn pay(world: &World, order: &str, key: &str) -> Held {
    let mut request = world.request(order, key);
    request.mark = Some(Recovery::Reconcile);
    hold(&world.store, request).await
}

/// The only sign that a payment may have been made.
#[tokio::test]
async fn a_mark_stands_in_an_order_that_was_replaced() {
    let world = World::new().await;
    for (order, attended) in [("o1", true), ("o2", false)] {
        world.order(order).await;
        let held = pay(&world, order, "k1").await;
        if !attended {
            world.store.release(held.release()).await.unwrap();
        }
        replace(&world, order, 7).await;
        if attended {
            assert_eq!(world.settle(held.settle()).await, Err(Loss::NotHeld));
        }
        for key in ["k2", "k1"] {
            let told = world
                .store
                .acquire(world.request(order, key))
                .await
                .unwrap();
            assert!(
                matches!(told, Acquired::Marked(_)),
                "{order} {key}: {told:?}"
            );
        }
        let resolved = world.store.resolve(run_again(&held)).await.unwrap();
        assert!(matches!(resolved, Resolved::Resolved(_)), "{resolved:?}");
        let again = pay(&world, order, "k1").await;
        assert_eq!(again.grant.attempt, 2);
        world.settle(again.settle()).await.unwrap();
    }
}

#[tokio::test]
async fn a_mark_that_has_ended_does_not_come_back() {
    let world = World::new().await;
    world.order("o1").await;
    let held = pay(&world, "o1", "k1").await;
    world.settle(held.settle()).await.unwrap();
    world.history("o1").await;
    replace(&world, "o1", 7).await;
    assert_replays(&world, &held).await;
    change(&world, "o1", "k2").await;
}

/// The relay has read an order, and moved its entries; before it trims the order, somebody replaces it.
#[tokio::test]
async fn a_trim_takes_out_only_what_was_moved() {
    let (proxy, gate) = (Proxy::new().await, Gate::default());
    let world = World::by_way_of(&proxy.address(), MongodbOptions::default()).await;
    // No time passes there: its relay moves nothing.
    let runtime = Arc::new(TestRuntime::new());
    let beside = MongodbOptions::default().with_runtime(runtime);
    let beside = world.place.open(beside).await;
    proxy.meet("update", "orders", Fate::Held(gate.clone()), 1);
    world.order("o1").await;
    gate.reached().await;
    // As an earlier build goes on with it: its first entry has the number of the one that was moved.
    replace(&world, "o1", 7).await;
    let begun = doc! {"turn": 1_i64, "version": 1_i64, "number": 0_i64};
    world.write("o1", doc! {"$set": {"orderlock": begun}}).await;
    let session = crate::world::join(&beside, "b").await;
    let held = hold(&beside, crate::world::request(session, "o1", "k1")).await;
    crate::world::settle(&beside, held.settle())
        .await
        .unwrap()
        .unwrap();
    gate.open();
    assert_eq!(operations(&world, "o1").await, ["create", "change"]);
    assert_replays(&world, &held).await;
}

#[tokio::test]
async fn a_foreign_lock_on_a_replaced_order_is_broken_once() {
    let world = World::new().await;
    world.order("o1").await;
    let held = change(&world, "o1", "k1").await;
    world.history("o1").await;
    let fields = doc! {"count": 3, "locked": "theirs"};
    world
        .orders
        .replace_one(doc! {"_id": "o1"}, fields)
        .await
        .unwrap();
    assert_replays(&world, &held).await;
    let told = world
        .store
        .acquire(world.request("o1", "k2"))
        .await
        .unwrap();
    let Acquired::Held(lease) = told else {
        panic!("not held but {told:?}");
    };
    let breaking = orderlock_core::store::BreakLease {
        tenant: Caller::single().tenant,
        lease: lease.id,
        actor: ids::principal("operator"),
        reason: "its service is gone".into(),
    };
    world.store.break_lease(breaking).await.unwrap();
    change(&world, "o1", "k2").await;
    let history = world.history("o1").await;
    let outcomes: Vec<_> = history.iter().map(|entry| entry.outcome).collect();
    let broken = OutcomeKind::LeaseBroken;
    let applied = OutcomeKind::Applied;
    let expected = [OutcomeKind::Created, applied, broken, applied, applied];
    assert_eq!(outcomes, expected);
}

/// Whoever only looks finds what this node has written and not moved.
#[tokio::test]
async fn what_waits_is_found_by_those_who_only_look() {
    let world = still().await;
    for (order, looks) in [("o1", true), ("o2", false)] {
        world.order(order).await;
        let held = change(&world, order, "k1").await;
        replace(&world, order, 40).await;
        if looks {
            let known = world.store.lookup(look_up(&held)).await.unwrap();
            assert!(matches!(known, Known::Settled(_)), "{known:?}");
        }
        assert_eq!(world.history(order).await.len(), 2);
    }
}
