//! Bounds: what does not fit is refused before a handler runs, or before it is sent.

use std::time::Duration;

use mongodb::bson::doc;
use orderlock_core::store::{Acquired, Renew, Renewed, Settled};
use orderlock_core::{Document, OrderStore as _, Runtime as _, StoreError, TokioRuntime};
use orderlock_mongodb::MongodbOptions;
use orderlock_testkit::fixtures;

use crate::proxy::{Fate, Proxy};
use crate::world::World;

const MEGABYTE: usize = 1024 * 1024;

#[tokio::test]
async fn a_full_order_takes_no_operation_until_the_relay_has_moved_its_entries() {
    let proxy = Proxy::new().await;
    let options = MongodbOptions::default().with_pending(3, MEGABYTE);
    let world = World::by_way_of(&proxy.address(), options).await;
    let refusal = doc! {"ok": 0.0, "code": 13, "codeName": "Unauthorized", "errmsg": "no"};
    let journal = "orders_orderlock_journal";
    proxy.meet("insert", journal, Fate::Answered(refusal), usize::MAX);
    world.order("o1").await;
    for key in ["k1", "k2"] {
        let held = world.hold("o1", key).await;
        world.settle(held.settle()).await.unwrap();
    }
    // Three entries wait: the order's reader sees them, and nobody may add a fourth.
    assert_eq!(world.history("o1").await.len(), 3);
    let refused = world.store.acquire(world.request("o1", "k3")).await;
    assert!(
        matches!(refused, Err(StoreError::NotApplied(_))),
        "{refused:?}"
    );
    assert_eq!(world.view("o1").await.lease, None, "the order is let go");
    let retry = world
        .store
        .acquire(world.request("o1", "k1"))
        .await
        .unwrap();
    assert!(
        matches!(retry, Acquired::Settled(_)),
        "a retry is answered: {retry:?}"
    );
    proxy.let_pass();
    let held = world.hold("o1", "k3").await;
    assert_eq!(world.settle(held.settle()).await.unwrap().number, 4);
    let numbers: Vec<_> = world
        .history("o1")
        .await
        .iter()
        .map(|entry| entry.number)
        .collect();
    assert_eq!(numbers, [1, 2, 3, 4]);
}

#[tokio::test]
async fn an_order_near_the_size_limit_can_be_held_and_refused_but_not_changed() {
    // The tests' server takes its time for so much.
    let options = MongodbOptions::default().with_patience(Duration::from_secs(60));
    let world = World::with(options).await;
    let large = "x".repeat(15 * MEGABYTE);
    world
        .foreign_order(doc! {"_id": "f1", "count": 0, "large": &large})
        .await;
    let held = world.hold("f1", "k1").await;
    let mut settle = held.settle();
    let after = Document::encode(&serde_json::json!({"count": 1, "large": large})).unwrap();
    fixtures::change_of(&mut settle).after = after;
    let settled = world.store.settle(settle).await.unwrap();
    assert!(matches!(settled, Settled::Impossible(_)), "{settled:?}");
    assert_eq!(world.view("f1").await.lease, None, "the order is let go");
    assert_eq!(world.count("f1").await, 0);
    let held = world.hold("f1", "k2").await;
    let refused = fixtures::refuse(&held.request, &held.grant);
    assert_eq!(world.settle(refused).await.unwrap().number, 1);
    // A small change of it would write an entry as large as the order.
    let held = world.hold("f1", "k3").await;
    let settled = world.store.settle(held.settle()).await.unwrap();
    assert!(matches!(settled, Settled::Impossible(_)), "{settled:?}");
}

#[tokio::test]
async fn what_is_no_document_is_refused_with_a_word() {
    let world = World::new().await;
    let create = |text: &'static str| {
        let mut create = fixtures::create(fixtures::claim("o1", "c"), TokioRuntime.wall());
        create.document = Document::parse(text).unwrap();
        create
    };
    for text in [
        "[]",
        "7",
        r#"{"_id": 1}"#,
        r#"{"orderlock": 1}"#,
        r#"{"a.b": 1}"#,
    ] {
        let refused = world.store.create(create(text)).await;
        assert!(
            matches!(refused, Err(StoreError::Unsupported(_))),
            "{text}: {refused:?}"
        );
    }
    world.order("o1").await;
    for (key, text) in [("k1", "[]"), ("k2", r#"{"locked": null}"#)] {
        let held = world.hold("o1", key).await;
        let mut settle = held.settle();
        fixtures::change_of(&mut settle).after = Document::parse(text).unwrap();
        let settled = world.store.settle(settle).await.unwrap();
        assert!(
            matches!(settled, Settled::Impossible(_)),
            "{text}: {settled:?}"
        );
        assert_eq!(world.view("o1").await.lease, None);
    }
    assert_eq!(world.count("o1").await, 0);
}

#[tokio::test]
async fn a_key_that_has_left_the_order_is_found_in_the_journal() {
    let world = World::new().await;
    world.order("o1").await;
    let mut first = None;
    for turn in 0..45 {
        let held = world.hold("o1", &format!("k{turn}")).await;
        world.settle(held.settle()).await.unwrap();
        // A reader of the history has the relay move what waits.
        world.history("o1").await;
        first.get_or_insert(held);
    }
    let raw = world.raw("o1").await;
    let kept = raw.get_document("orderlock").unwrap();
    assert!(
        kept.get_document("keys").unwrap().len() <= 33,
        "the list is bounded"
    );
    assert!(kept.contains_key("spilled"));
    let first = first.unwrap();
    let retry = world
        .store
        .acquire(world.request("o1", "k0"))
        .await
        .unwrap();
    let Acquired::Settled(entry) = retry else {
        panic!("not settled but {retry:?}");
    };
    assert_eq!(entry.answer, first.settle().answer().cloned());
    assert_eq!(world.view("o1").await.lease, None, "the grant was undone");
    let mut reused = world.request("o1", "k1");
    reused.claim = fixtures::asking(reused.claim, r#"{"other": 1}"#);
    let answer = world.store.acquire(reused).await.unwrap();
    assert_eq!(answer, Acquired::Reused);
    let held = world.hold("o1", "new").await;
    world.settle(held.settle()).await.unwrap();
    assert_eq!(world.count("o1").await, 46);
}

/// The session is renewed, and its node must hear so before the session would lapse: what is still to
/// be looked at among its leases is looked at with a later renewal.
#[tokio::test]
async fn a_renewal_is_answered_although_the_orders_are_slow() {
    let proxy = Proxy::new().await;
    let options = MongodbOptions::default().with_patience(Duration::from_secs(60));
    let world = World::by_way_of(&proxy.address(), options).await;
    world.order("o1").await;
    let held = world.hold("o1", "k1").await;
    let renew = || {
        world.store.renew(Renew {
            session: world.session,
            known: vec![held.grant.fence],
        })
    };
    let extended = Renewed::Extended { voided: Vec::new() };
    assert_eq!(renew().await.unwrap(), extended);
    proxy.meet("find", "orders", Fate::Silence, usize::MAX);
    for _ in 0..2 {
        // Without a bound of its own it would wait as long as every command may take.
        let renewed = tokio::time::timeout(Duration::from_secs(20), renew()).await;
        assert_eq!(renewed.expect("it is answered").unwrap(), extended);
    }
    proxy.let_pass();
    assert_eq!(renew().await.unwrap(), extended);
    world.settle(held.settle()).await.unwrap();
}
