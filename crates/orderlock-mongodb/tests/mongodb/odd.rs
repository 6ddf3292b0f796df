//! Documents that cannot be read: one of them holds up none of the others.

use std::sync::Arc;

use mongodb::bson::{Bson, doc};
use orderlock_core::store::{
    Entries, EntriesSince, Expire, Filter, Leases, Leave, List, Read, Renew, Renewed, Sweep,
};
use orderlock_core::{Caller, OrderStore as _, StoreError};
use orderlock_mongodb::MongodbOptions;
use orderlock_testkit::TestRuntime;
use orderlock_testkit::fixtures::{RETENTION, ids};

use crate::world::World;

/// Orders with entries that wait; some were copied by a service under ids that are none, or damaged.
async fn with_odd_ones() -> (World, TestRuntime) {
    let runtime = TestRuntime::new();
    let options = MongodbOptions::default().with_runtime(Arc::new(runtime.clone()));
    let world = World::with(options).await;
    world.order("o1").await;
    world.hold("o1", "k1").await;
    let order = world.raw("o1").await;
    for id in [Bson::Int32(4711), Bson::from("has a space or two")] {
        let mut copy = order.clone();
        copy.insert("_id", id);
        world.orders.insert_one(copy).await.unwrap();
    }
    for (id, member, value) in [
        ("d1", "entries", Bson::from(doc! {"e1": {"number": 1}})),
        ("d2", "entries", Bson::from(doc! {"x": 1})),
        ("d3", "lease", Bson::from(doc! {"session": "?"})),
        ("d4", "version", Bson::from("two")),
    ] {
        let mut copy = order.clone();
        copy.insert("_id", id);
        copy.get_document_mut("orderlock")
            .unwrap()
            .insert(member, value);
        world.orders.insert_one(copy).await.unwrap();
    }
    world.order("z1").await;
    (world, runtime)
}

#[tokio::test]
async fn the_journal_goes_on_beside_them() {
    let (world, runtime) = with_odd_ones().await;
    let request = EntriesSince {
        tenant: Caller::single().tenant,
        cursor: None,
        limit: 100,
    };
    let Entries::Some { entries, .. } = world.store.entries_since(request).await.unwrap() else {
        panic!("nothing was restored");
    };
    let mut told: Vec<_> = entries
        .iter()
        .map(|entry| entry.target.order.as_str())
        .collect();
    told.sort_unstable();
    // Their entries could be read.
    assert_eq!(told, ["d3", "d4", "o1", "z1"]);
    runtime.advance(RETENTION.answer);
    let expired = world.store.expire(Expire { limit: 10 }).await.unwrap();
    assert_eq!(expired.answers, 4, "{expired:?}");
}

#[tokio::test]
async fn leases_are_voided_beside_them() {
    let (world, _) = with_odd_ones().await;
    for _ in 0..3 {
        let known = Vec::new();
        let session = world.session;
        let renewed = world.store.renew(Renew { session, known }).await.unwrap();
        assert_ne!(renewed, Renewed::Ended);
    }
    assert_eq!(
        world.view("o1").await.lease,
        None,
        "its node does not know it"
    );
    world.hold("o1", "k1").await;
    world.hold("z1", "k1").await;
    let left = world
        .store
        .leave(Leave {
            session: world.session,
        })
        .await
        .unwrap();
    assert_eq!(left.voided, 2);
    let swept = world.store.sweep(Sweep { limit: 1 }).await.unwrap();
    assert!(!swept.more, "{swept:?}");
}

#[tokio::test]
async fn lists_pass_them_over_and_a_reader_is_told() {
    let (world, _) = with_odd_ones().await;
    let list = List {
        tenant: Caller::single().tenant,
        filter: Filter::default(),
        limit: 100,
        cursor: None,
    };
    let page = world.store.list(list).await.unwrap();
    let mut listed: Vec<_> = page
        .items
        .iter()
        .map(|view| view.target.order.as_str())
        .collect();
    listed.sort_unstable();
    assert_eq!(
        listed,
        ["d1", "o1", "z1"],
        "what waits in an order is not shown"
    );
    let leases = Leases {
        tenant: Caller::single().tenant,
        limit: 100,
        cursor: None,
    };
    let leases = world.store.leases(leases).await.unwrap();
    let mut leases: Vec<_> = leases
        .items
        .iter()
        .map(|view| view.target.order.as_str())
        .collect();
    leases.sort_unstable();
    assert_eq!(
        leases,
        ["d1", "d2", "d4", "o1"],
        "those whose lease can be read"
    );
    let target = ids::target("d3");
    let read = world.store.read(Read { target }).await;
    let Err(StoreError::Corrupt(why)) = read else {
        panic!("not damaged but {read:?}");
    };
    assert!(why.to_string().contains("d3"), "{why}");
}
