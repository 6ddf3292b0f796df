//! The relay: it may die anywhere, run twice, and run on every node at once.

use std::collections::BTreeSet;
use std::sync::Arc;

use mongodb::bson::{Document as Fields, doc};
use orderlock_core::store::{Cursor, Entries, EntriesSince, Entry};
use orderlock_core::{Caller, OrderStore as _};
use orderlock_mongodb::{MongodbOptions, MongodbStore};
use orderlock_testkit::TestRuntime;

use crate::proxy::{Fate, Proxy};
use crate::world::{World, collection};

async fn since(store: &MongodbStore, cursor: Option<Cursor>) -> (Vec<Entry>, Cursor) {
    let request = EntriesSince {
        tenant: Caller::single().tenant,
        cursor,
        limit: 100,
    };
    match store.entries_since(request).await.unwrap() {
        Entries::Some { entries, next } => (entries, next),
        Entries::NewEpoch => panic!("nothing was restored"),
    }
}

#[track_caller]
fn assert_whole(entries: &[Entry]) {
    let mut places = BTreeSet::new();
    for (place, entry) in (1..).zip(entries) {
        assert_eq!(entry.position.0, place, "positions without gap");
        assert!(
            places.insert((entry.target.clone(), entry.number)),
            "told twice"
        );
    }
}

#[tokio::test]
async fn a_relay_that_died_before_it_trimmed_does_no_harm() {
    let world = World::new().await;
    world.order("o1").await;
    let held = world.hold("o1", "k1").await;
    world.settle(held.settle()).await.unwrap();
    let before = world.raw("o1").await;
    let (entries, _) = since(&world.store, None).await;
    assert_eq!(entries.len(), 2);
    // The document as it was before it was trimmed, entries and all.
    let kept = before.get_document("orderlock").unwrap();
    if let Ok(waiting) = kept.get_document("entries") {
        let again = doc! {"orderlock.entries": waiting, "orderlock.waiting": 1};
        world.write("o1", doc! {"$set": again}).await;
    }
    let (after, _) = since(&world.store, None).await;
    assert_eq!(after, entries);
    assert_eq!(world.history("o1").await, entries);
    assert!(!waits(&world.raw("o1").await), "it is trimmed now");
}

fn waits(order: &Fields) -> bool {
    let kept = order.get_document("orderlock").unwrap();
    kept.contains_key("entries") || kept.contains_key("waiting")
}

#[tokio::test]
async fn an_insert_whose_answer_was_lost_is_not_made_twice() {
    let proxy = Proxy::new().await;
    let world = World::by_way_of(&proxy.address(), MongodbOptions::default()).await;
    proxy.meet("insert", "orders_orderlock_journal", Fate::LostAfter, 1);
    world.order("o1").await;
    proxy.met().await;
    let (entries, _) = since(&world.store, None).await;
    assert_eq!(entries.len(), 1);
    assert_whole(&entries);
}

/// A relay goes on behind the position that it gave away last. Here another node has gone further.
#[tokio::test]
async fn a_relay_that_another_has_overtaken_leaves_no_gap() {
    let world = World::new().await;
    let other = world.place.open(MongodbOptions::default()).await;
    for (turn, store) in (1..).zip([&world.store, &other, &world.store, &other]) {
        world.order(&format!("o{turn}")).await;
        let (entries, _) = since(store, None).await;
        assert_eq!(entries.len(), turn);
        assert_whole(&entries);
    }
}

#[tokio::test]
async fn a_trim_that_was_not_confirmed_is_made_again() {
    let proxy = Proxy::new().await;
    let world = World::by_way_of(&proxy.address(), MongodbOptions::default()).await;
    let failures = [
        doc! {"writeConcernError": {"code": 64, "errmsg": "waiting for replication timed out"}},
        doc! {"writeErrors": [{"index": 0, "code": 112, "errmsg": "a conflict"}]},
    ];
    for (turn, failure) in (1..).zip(failures) {
        let mut answer = doc! {"ok": 1.0, "n": 1, "nModified": 1};
        answer.extend(failure);
        proxy.meet("update", "orders", Fate::Answered(answer), usize::MAX);
        let order = format!("o{turn}");
        world.order(&order).await;
        let request = EntriesSince {
            tenant: Caller::single().tenant,
            cursor: None,
            limit: 100,
        };
        // The reader is told what is there; the order goes on waiting.
        let told = world.store.entries_since(request).await;
        assert!(told.is_ok(), "{told:?}");
        assert!(waits(&world.raw(&order).await));
        proxy.let_pass();
        let (entries, _) = since(&world.store, None).await;
        assert_eq!(entries.len(), turn, "none is there twice");
        assert_whole(&entries);
        assert!(!waits(&world.raw(&order).await));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn relays_on_every_node_leave_no_gap_and_tell_nothing_twice() {
    const ORDERS: usize = 6;
    const TURNS: usize = 10;
    let world = World::new().await;
    let mut tasks = Vec::new();
    for number in 0..ORDERS {
        let order = format!("o{number}");
        world.order(&order).await;
        let runtime = Arc::new(TestRuntime::new());
        let options = MongodbOptions::default().with_runtime(runtime);
        let store = world.place.open(options).await;
        let session = crate::world::join(&store, &order).await;
        tasks.push(tokio::spawn(async move {
            for turn in 0..TURNS {
                let request = crate::world::request(session, &order, &format!("k{turn}"));
                let held = crate::world::hold(&store, request).await;
                let settled = crate::world::settle(&store, held.settle()).await;
                assert!(settled.unwrap().is_ok());
                // Each node relays what it finds, its own and the others'.
                since(&store, None).await;
            }
        }));
    }
    let all = ORDERS * (TURNS + 1);
    let (mut followed, mut cursor) = (Vec::new(), None);
    for _ in 0..10_000 {
        let (entries, next) = since(&world.store, cursor).await;
        followed.extend(entries);
        cursor = Some(next);
        if followed.len() >= all {
            break;
        }
        tokio::task::yield_now().await;
    }
    for task in tasks {
        task.await.unwrap();
    }
    assert_eq!(followed.len(), all);
    assert_whole(&followed);
    println!("{ORDERS} nodes relayed {all} entries");
}

#[tokio::test]
async fn a_restored_journal_begins_a_new_epoch() {
    let world = World::new().await;
    world.order("o1").await;
    let (_, cursor) = since(&world.store, None).await;
    let meta = collection(&world.place, "orders_orderlock_meta").await;
    meta.delete_one(doc! {"_id": "epoch"}).await.unwrap();
    let store = world.place.open(MongodbOptions::default()).await;
    let request = EntriesSince {
        tenant: Caller::single().tenant,
        cursor: Some(cursor),
        limit: 10,
    };
    assert_eq!(
        store.entries_since(request).await.unwrap(),
        Entries::NewEpoch
    );
}
