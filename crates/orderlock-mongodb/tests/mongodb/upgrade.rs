//! Data that the build of 0.1 has written: opened, brought up, and used.

use std::sync::Arc;
use std::time::Duration;

use mongodb::bson::{Bson, Document as Fields, doc};
use orderlock_core::store::{
    Acquired, Cursor, Decision, Entries, EntriesSince, Entry, Resolve, Resolved, Undo,
};
use orderlock_core::{Caller, OrderStore as _, OutcomeKind, Recovery};
use orderlock_mongodb::{MongodbOptions, MongodbStore, OpenError};
use orderlock_testkit::TestRuntime;
use orderlock_testkit::fixtures::{self, ids};

use crate::place::Place;
use crate::world::{Held, World, collection, hold};

const WRITTEN: &str = include_str!("../fixtures/layout-0.1.json");
const FOREIGN: &str = "0123456789abcdef01234567";
const RESUME: Recovery = Recovery::Resume {
    times: 3,
    within: Duration::from_secs(3_600),
};

/// What 0.1 has written, by collection.
fn written() -> Vec<(String, Vec<Fields>)> {
    let all: serde_json::Map<String, serde_json::Value> = serde_json::from_str(WRITTEN).unwrap();
    let read = |value| serde_json::from_value(value).unwrap();
    all.into_iter()
        .map(|(name, value)| (name, read(value)))
        .collect()
}

/// A journal entry of 0.1.
fn entry_of(order: &str, number: i64) -> Fields {
    let journal = written()
        .into_iter()
        .find(|(name, _)| name.ends_with("journal"));
    let found = journal.unwrap().1.into_iter().find(|entry| {
        let of_order = entry
            .get("order")
            .is_some_and(|id| id.as_str() == Some(order));
        of_order && entry.get("number").and_then(number_of) == Some(number)
    });
    found.unwrap()
}

fn number_of(value: &Bson) -> Option<i64> {
    value.as_i64().or_else(|| value.as_i32().map(i64::from))
}

async fn lay(place: &Place) {
    for (name, documents) in written() {
        collection(place, &name)
            .await
            .insert_many(documents)
            .await
            .unwrap();
    }
}

/// A world over that data, some seconds after it was written.
async fn upgraded() -> World {
    let place = Place::new();
    lay(&place).await;
    let runtime = TestRuntime::seeded(99);
    runtime.advance(Duration::from_secs(5));
    let options = MongodbOptions::default().with_runtime(Arc::new(runtime));
    let store = place.open(options).await;
    World::over(place, store).await
}

async fn asked(world: &World, order: &str, key: &str) -> Acquired {
    world
        .store
        .acquire(world.request(order, key))
        .await
        .unwrap()
}

/// Asks under a key that 0.1 has settled: byte for byte, it gets the answer of then.
async fn assert_replays(world: &World, order: &str, key: &str, number: i64) {
    let told = asked(world, order, key).await;
    let Acquired::Settled(entry) = told else {
        panic!("{order} {key} is not replayed but {told:?}");
    };
    let kept = entry_of(order, number);
    let kept = kept.get_document("answer").unwrap().get("body").unwrap();
    let Bson::Binary(body) = kept else {
        panic!("no body but {kept}");
    };
    assert_eq!(entry.answer.unwrap().body, body.bytes);
}

async fn marked(world: &World, order: &str, key: &str) -> Held {
    let mut request = world.request(order, key);
    request.mark = Some(RESUME);
    hold(&world.store, request).await
}

#[tokio::test]
async fn keys_are_answered_as_before() {
    let world = upgraded().await;
    assert_replays(&world, "settled", "k1", 2).await;
    assert_replays(&world, "settled", "k2", 3).await;
    assert_replays(&world, "spilled", "k0", 2).await;
    assert_replays(&world, "spilled", "k35", 37).await;
    assert_replays(&world, "replaced", "k1", 2).await;
    assert_eq!(asked(&world, "expired", "k1").await, Acquired::Expired);
    // The tests' server finds no `ObjectId` but in `_id`: an order of such an id has no entries there.
    for (order, key) in [("waiting", "k1"), ("replaced", "k2"), ("text", "k1")] {
        let told = asked(&world, order, key).await;
        assert!(matches!(told, Acquired::Settled(_)), "{order}: {told:?}");
    }
    // Keys whose marks were cleared were not bound then.
    let mut request = world.request("resolved", "k1");
    request.claim = fixtures::asking(request.claim, r#"{"other": 1}"#);
    hold(&world.store, request).await;
}

#[tokio::test]
async fn marks_and_checkpoints_stand() {
    let world = upgraded().await;
    let held = marked(&world, "progress", "k1").await;
    assert_eq!(held.grant.attempt, 2);
    let progress = held.grant.progress.as_ref().expect("the checkpoint");
    assert_eq!(
        (progress.number, progress.outcome),
        (2, OutcomeKind::Checkpoint)
    );
    world.settle(held.settle()).await.unwrap();

    let Acquired::Marked(before) = asked(&world, "resume", "k2").await else {
        panic!("no mark stands");
    };
    let held = marked(&world, "resume", "k1").await;
    assert_eq!(held.grant.attempt, 2);
    let undo = Undo {
        target: held.request.claim.target(),
        fence: held.grant.fence,
        next: None,
    };
    assert!(world.store.undo(undo).await.unwrap().held);
    let told = asked(&world, "resume", "k2").await;
    assert_eq!(told, Acquired::Marked(before));

    let told = asked(&world, "reconcile", "k2").await;
    let Acquired::Marked(mark) = told else {
        panic!("not marked but {told:?}");
    };
    let resolve = Resolve {
        target: ids::target("reconcile"),
        key_id: fixtures::claim("reconcile", "k1").key_id,
        attempt: mark.attempt,
        since: mark.since,
        decision: Decision::RunAgain {
            retention: fixtures::RETENTION,
        },
        actor: ids::principal("operator"),
        reason: "nothing happened".into(),
    };
    let resolved = world.store.resolve(resolve).await.unwrap();
    assert!(matches!(resolved, Resolved::Resolved(_)), "{resolved:?}");
    assert_eq!(marked(&world, "reconcile", "k1").await.grant.attempt, 2);
}

#[tokio::test]
async fn orders_are_shown_and_go_on() {
    let world = upgraded().await;
    let text = world.view("text").await.document;
    assert_eq!(&text.as_bytes()[..], br#"{"count": 1, "price": 1.10}"#);
    // A whole double is an integer from now on, and that is no change.
    let held = world.hold(FOREIGN, "k2").await;
    assert_eq!(held.grant.version.0, 1);
    let shown = String::from_utf8(held.grant.document.as_bytes().to_vec()).unwrap();
    assert!(shown.contains(r#""total":3}"#), "{shown}");
    world.settle(held.settle()).await.unwrap();
    // Its holder's session was one of 0.1.
    let held = world.hold("held", "k2").await;
    world.settle(held.settle()).await.unwrap();
    for order in [
        "settled", "expired", "spilled", "waiting", "text", "replaced",
    ] {
        let held = world.hold(order, "next").await;
        world.settle(held.settle()).await.unwrap();
        let history = world.history(order).await;
        let whole = (1..)
            .zip(&history)
            .all(|(number, entry)| entry.number == number);
        assert!(whole, "{order}: {history:?}");
    }
}

async fn since(store: &MongodbStore, cursor: Option<Cursor>) -> Vec<Entry> {
    let request = EntriesSince {
        tenant: Caller::single().tenant,
        cursor,
        limit: 200,
    };
    match store.entries_since(request).await.unwrap() {
        Entries::Some { entries, .. } => entries,
        Entries::NewEpoch => panic!("nothing was restored"),
    }
}

#[tokio::test]
async fn the_stream_goes_on_where_readers_stand() {
    let world = upgraded().await;
    let all = since(&world.store, None).await;
    for (position, entry) in (1..).zip(&all) {
        assert_eq!(entry.position.0, position);
    }
    // Each entry of then, also those that waited, and one whose number was taken.
    assert_eq!(all.len(), 54 + 4);
    let meta = written()
        .into_iter()
        .find(|(name, _)| name.ends_with("meta"));
    let epoch = meta
        .unwrap()
        .1
        .into_iter()
        .find(|kept| kept.get_str("_id").is_ok_and(|id| id == "epoch"));
    let epoch = epoch.unwrap().get_str("value").unwrap().to_owned();
    let rest = since(&world.store, Some(Cursor(format!("{epoch}.40").into()))).await;
    assert_eq!(rest, all[40..]);
}

#[tokio::test]
async fn a_node_of_then_can_begin_no_session() {
    let world = upgraded().await;
    let sessions = collection(&world.place, "orders_orderlock_sessions").await;
    assert_eq!(
        sessions.count_documents(doc! {}).await.unwrap(),
        1,
        "those of then have ended"
    );
    let join = doc! {"_id": "00000000000000000000000000000001", "node": "old", "renewals": 0_i64,
    "length": 10_000_000_i64};
    let refused = sessions.insert_one(join).await.unwrap_err();
    assert!(refused.to_string().contains("11000"), "{refused}");
    let meta = collection(&world.place, "orders_orderlock_meta").await;
    let layout = meta
        .find_one(doc! {"_id": "layout"})
        .await
        .unwrap()
        .unwrap();
    assert_eq!(layout.get("number").and_then(number_of), Some(2));
}

#[tokio::test]
async fn a_step_that_died_half_way_is_taken_again() {
    let place = Place::new();
    lay(&place).await;
    let meta = collection(&place, "orders_orderlock_meta").await;
    let begun = doc! {"_id": "layout", "number": 2_i64, "oldest": 2_i64};
    meta.insert_one(begun).await.unwrap();
    place.open(MongodbOptions::default()).await;
    let sessions = collection(&place, "orders_orderlock_sessions").await;
    assert_eq!(sessions.count_documents(doc! {}).await.unwrap(), 1);
}

#[tokio::test]
async fn a_later_layout_says_who_may_work_beside_it() {
    let place = Place::new();
    place.open(MongodbOptions::default()).await;
    let meta = collection(&place, "orders_orderlock_meta").await;
    let later = |oldest: i64| doc! {"$set": {"number": 9_i64, "oldest": oldest}};
    meta.update_one(doc! {"_id": "layout"}, later(2))
        .await
        .unwrap();
    place.open(MongodbOptions::default()).await;
    meta.update_one(doc! {"_id": "layout"}, later(3))
        .await
        .unwrap();
    let refused = MongodbStore::connect(&place.address(), MongodbOptions::default()).await;
    assert!(matches!(refused, Err(OpenError::Layout)), "{refused:?}");
}
