//! Connections that break before and after each write, and servers that answer too late: what is
//! told is what is known, and asking again tells the rest.

use std::time::Duration;

use mongodb::bson::doc;
use orderlock_core::store::{
    Acquired, BreakLease, Broken, Created, Known, Released, Resolve, Resolved, Settled,
};
use orderlock_core::{LeaseId, OrderStore as _, Recovery, Runtime as _, StoreError, TokioRuntime};
use orderlock_mongodb::MongodbOptions;
use orderlock_testkit::fixtures::{self, ids};

use crate::proxy::{Fate, Proxy, not_confirmed, not_primary};
use crate::world::{World, look_up};

const WRITE: &str = "findAndModify";

async fn world(proxy: &Proxy) -> World {
    let options = MongodbOptions::default().with_patience(Duration::from_secs(3));
    World::by_way_of(&proxy.address(), options).await
}

#[track_caller]
fn assert_unknown<T: std::fmt::Debug>(result: &Result<T, StoreError>) {
    assert!(
        matches!(result, Err(StoreError::OutcomeUnknown(_))),
        "{result:?}"
    );
}

fn lost() -> [(&'static str, Fate); 2] {
    [("before", Fate::LostBefore), ("after", Fate::LostAfter)]
}

#[tokio::test]
async fn a_lost_create_is_answered_when_it_is_asked_again() {
    let proxy = Proxy::new().await;
    let world = world(&proxy).await;
    for (order, (when, fate)) in ["o1", "o2"].into_iter().zip(lost()) {
        let create = fixtures::create(fixtures::claim(order, "c"), TokioRuntime.wall());
        proxy.meet("insert", "orders", fate, 1);
        assert_unknown(&world.store.create(create.clone()).await);
        let again = world.store.create(create).await.unwrap();
        match when {
            "before" => assert!(matches!(again, Created::Inserted(_)), "{again:?}"),
            _ => assert!(matches!(again, Created::Settled(_)), "{again:?}"),
        }
        assert_eq!(world.history(order).await.len(), 1);
    }
}

#[tokio::test]
async fn a_lost_grant_is_the_same_grant_when_it_is_asked_again() {
    let proxy = Proxy::new().await;
    let world = world(&proxy).await;
    for (order, (_, fate)) in ["o1", "o2"].into_iter().zip(lost()) {
        world.order(order).await;
        let request = world.request(order, "k1");
        proxy.meet(WRITE, "orders", fate, 1);
        assert_unknown(&world.store.acquire(request.clone()).await);
        let again = world.store.acquire(request.clone()).await.unwrap();
        let Acquired::Granted(grant) = again else {
            panic!("not granted but {again:?}");
        };
        let grant = *grant;
        assert_eq!(grant.fence, request.fence);
        let held = crate::world::Held { request, grant };
        world.settle(held.settle()).await.unwrap();
        assert_eq!(world.count(order).await, 1);
    }
}

#[tokio::test]
async fn a_lost_settle_is_written_once() {
    let proxy = Proxy::new().await;
    let world = world(&proxy).await;
    for (order, (_, fate)) in ["o1", "o2"].into_iter().zip(lost()) {
        world.order(order).await;
        let held = world.hold(order, "k1").await;
        proxy.meet(WRITE, "orders", fate, 1);
        assert_unknown(&world.store.settle(held.settle()).await);
        let receipt = world.settle(held.settle()).await.unwrap();
        assert_eq!(receipt.number, 2);
        assert_eq!(world.count(order).await, 1);
        assert_eq!(world.history(order).await.len(), 2);
        let known = world.store.lookup(look_up(&held)).await.unwrap();
        assert!(matches!(known, Known::Settled(_)), "{known:?}");
    }
}

#[tokio::test]
async fn a_lost_release_lets_go_once() {
    let proxy = Proxy::new().await;
    let world = world(&proxy).await;
    for (order, (when, fate)) in ["o1", "o2"].into_iter().zip(lost()) {
        world.order(order).await;
        let held = world.hold(order, "k1").await;
        proxy.meet(WRITE, "orders", fate, 1);
        assert_unknown(&world.store.release(held.release()).await);
        let again = world.store.release(held.release()).await.unwrap();
        let was_held = when == "before";
        let expected = Released {
            held: was_held,
            next: None,
        };
        assert_eq!(again, expected);
        assert_eq!(world.view(order).await.lease, None);
    }
}

#[tokio::test]
async fn a_lost_act_of_an_operator_is_carried_out_once() {
    let proxy = Proxy::new().await;
    let world = world(&proxy).await;
    for (order, (when, fate)) in ["o1", "o2"].into_iter().zip(lost()) {
        world.order(order).await;
        let mut request = world.request(order, "k1");
        request.mark = Some(Recovery::Reconcile);
        let held = crate::world::hold(&world.store, request).await;
        let breaking = BreakLease {
            tenant: held.request.claim.caller.tenant.clone(),
            lease: LeaseId::of_grant(held.grant.fence, &held.request.claim.order),
            actor: ids::principal("operator"),
            reason: "it hangs".into(),
        };
        proxy.meet(WRITE, "orders", fate.clone(), 1);
        assert_unknown(&world.store.break_lease(breaking.clone()).await);
        let again = world.store.break_lease(breaking).await.unwrap();
        assert_eq!(again == Broken::NotFound, when == "after", "{again:?}");
        let resolve = Resolve {
            target: ids::target(order),
            key_id: held.request.claim.key_id,
            attempt: held.grant.attempt,
            since: held.grant.now,
            decision: orderlock_core::store::Decision::RunAgain {
                retention: fixtures::RETENTION,
            },
            actor: ids::principal("operator"),
            reason: "nothing happened".into(),
        };
        proxy.meet(WRITE, "orders", fate, 1);
        assert_unknown(&world.store.resolve(resolve.clone()).await);
        let again = world.store.resolve(resolve).await.unwrap();
        assert_eq!(again == Resolved::NotMarked, when == "after", "{again:?}");
        assert_eq!(world.history(order).await.len(), 3, "{when}");
    }
}

#[tokio::test]
async fn a_server_that_is_not_the_primary_has_done_nothing() {
    let proxy = Proxy::new().await;
    let world = world(&proxy).await;
    world.order("o1").await;
    let request = world.request("o1", "k1");
    proxy.meet(WRITE, "orders", Fate::Answered(not_primary()), 1);
    let refused = world.store.acquire(request.clone()).await;
    assert!(
        matches!(refused, Err(StoreError::NotApplied(_))),
        "{refused:?}"
    );
    let held = crate::world::hold(&world.store, request).await;
    proxy.meet(WRITE, "orders", Fate::Answered(not_primary()), 1);
    let refused = world.store.settle(held.settle()).await;
    assert!(
        matches!(refused, Err(StoreError::NotApplied(_))),
        "{refused:?}"
    );
    // The new primary knows the grant, and takes the same settle.
    world.settle(held.settle()).await.unwrap();
    assert_eq!(world.count("o1").await, 1);
}

#[tokio::test]
async fn a_stepping_down_that_leaves_it_open_is_told_as_open() {
    let proxy = Proxy::new().await;
    let world = world(&proxy).await;
    world.order("o1").await;
    let held = world.hold("o1", "k1").await;
    let interrupted = doc! {
        "ok": 0.0, "code": 11602, "codeName": "InterruptedDueToReplStateChange", "errmsg": "x",
    };
    proxy.meet(WRITE, "orders", Fate::DoneAndAnswered(interrupted), 1);
    assert_unknown(&world.store.settle(held.settle()).await);
    assert_eq!(world.settle(held.settle()).await.unwrap().number, 2);
    assert_eq!(world.count("o1").await, 1);
}

#[tokio::test]
async fn an_unconfirmed_write_is_told_as_open() {
    let proxy = Proxy::new().await;
    let world = world(&proxy).await;
    world.order("o1").await;
    let held = world.hold("o1", "k1").await;
    let answer = not_confirmed(doc! {"_id": "o1"});
    proxy.meet(WRITE, "orders", Fate::DoneAndAnswered(answer), 1);
    assert_unknown(&world.store.settle(held.settle()).await);
    assert_eq!(world.settle(held.settle()).await.unwrap().number, 2);
    assert_eq!(world.history("o1").await.len(), 2);
}

#[tokio::test]
async fn a_server_that_says_nothing_is_not_waited_for_for_ever() {
    let proxy = Proxy::new().await;
    let options = MongodbOptions::default().with_patience(Duration::from_secs(3));
    let world = World::by_way_of(&proxy.address(), options).await;
    world.order("o1").await;
    let held = world.hold("o1", "k1").await;
    proxy.meet(WRITE, "orders", Fate::Silence, 1);
    assert_unknown(&world.store.settle(held.settle()).await);
    proxy.met().await;
    let settled = world.store.settle(held.settle()).await.unwrap();
    assert!(matches!(settled, Settled::Accepted(_)), "{settled:?}");
    assert_eq!(world.count("o1").await, 1);
}

#[tokio::test]
async fn a_lost_look_at_the_session_grants_nothing_unseen() {
    let proxy = Proxy::new().await;
    let world = world(&proxy).await;
    world.order("o1").await;
    let request = world.request("o1", "k1");
    // The driver asks a lost question once more by itself.
    proxy.meet("find", "orders_orderlock_nodes", Fate::LostBefore, 2);
    assert_unknown(&world.store.acquire(request.clone()).await);
    proxy.let_pass();
    let held = crate::world::hold(&world.store, request).await;
    world.settle(held.settle()).await.unwrap();
}
