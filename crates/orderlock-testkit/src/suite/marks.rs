//! Marks: the durable sign that an external operation has begun. Only a settle, a declared failure
//! without effect, and a resolution end it.

use std::time::Duration;

use orderlock_core::store::{Acquired, Known, Loss, MarkFate};
use orderlock_core::{LeaseViewState, Mark, Recovery};

use super::node::Node;
use super::world::{Ended, World, applied, single};
use crate::fixtures;

const HOUR: Duration = Duration::from_secs(3600);
const RESUME: Recovery = Recovery::Resume {
    times: 3,
    within: HOUR,
};

#[track_caller]
fn marked(acquired: Acquired) -> Mark {
    match acquired {
        Acquired::Marked(mark) => *mark,
        other => panic!("not marked but {other:?}"),
    }
}

/// The same key asks again, as an external operation.
async fn retry(node: &Node, recovery: Recovery) -> Acquired {
    let mut request = node.request(fixtures::claim("o1", "k1"));
    request.mark = Some(recovery);
    node.acquire(request).await
}

async fn another_key(node: &Node) -> Acquired {
    node.acquire(node.request(fixtures::claim("o1", "k2")))
        .await
}

pub(crate) async fn the_grant_writes_it_durably(mut world: World) {
    world.order("o1").await;
    let held = world
        .join("a")
        .await
        .mark("o1", "k1", Recovery::Reconcile)
        .await;
    let lease = world.view("o1").await.lease.unwrap();
    assert_eq!(lease.state, LeaseViewState::Held, "somebody attends to it");
    world.restart().await;
    // Whether the lease outlived the restart is the store's affair; the mark must have.
    let node = world.join("a").await;
    let lease = world.view("o1").await.lease.expect("the mark is gone");
    assert_eq!(lease.state, LeaseViewState::Marked);
    let mark = marked(another_key(&node).await);
    let claim = held.request.claim;
    assert_eq!(mark.caller, claim.caller);
    assert_eq!(mark.key_id, claim.key_id);
    assert_eq!(mark.fingerprint, claim.fingerprint);
    assert_eq!(mark.operation, held.request.operation);
    assert_eq!(mark.attempt, 1);
    assert_eq!(mark.recovery, Recovery::Reconcile);
    assert_eq!(mark.since, held.grant.now);
}

pub(crate) async fn a_final_settle_ends_it(world: World) {
    world.order("o1").await;
    let node = world.join("a").await;
    for (key, refused) in [("k1", false), ("k2", true)] {
        let held = node.mark("o1", key, Recovery::Reconcile).await;
        let request = if refused {
            held.refuse()
        } else {
            held.settle()
        };
        applied(world.settle(request).await);
        assert_eq!(world.view("o1").await.lease, None, "{key}");
    }
    node.hold("o1", "k3").await;
}

pub(crate) async fn a_checkpoint_leaves_it(world: World) {
    world.order("o1").await;
    let node = world.join("a").await;
    let held = node.mark("o1", "k1", Recovery::Reconcile).await;
    applied(world.settle(held.checkpoint()).await);
    world.release(held.release(MarkFate::Keep)).await;
    marked(another_key(&node).await);
}

pub(crate) async fn a_void_lease_leaves_it(world: World) {
    for (order, how) in [("o1", "break"), ("o2", "join"), ("o3", "sweep")] {
        world.order(order).await;
        let held = world
            .join("a")
            .await
            .mark(order, "k1", Recovery::Reconcile)
            .await;
        match how {
            "break" => drop(world.break_lease(held.break_it()).await),
            "join" => drop(world.join("a").await),
            _ => {
                world.pass(super::world::SESSION * 2);
                world.sweep().await;
            }
        }
        let lost = world.settle(held.settle()).await;
        assert_eq!(lost, Ended::Lost(Loss::NotHeld), "{how}");
        let node = world.join("b").await;
        let claim = fixtures::claim(order, "k2");
        marked(world.acquire(node.request(claim)).await);
    }
    let views = world.leases(&single()).await;
    assert_eq!(views.len(), 3);
    assert!(
        views
            .iter()
            .all(|view| view.state == LeaseViewState::Marked)
    );
}

pub(crate) async fn others_are_told_what_stands(world: World) {
    world.order("o1").await;
    let node = world.join("a").await;
    let held = node.mark("o1", "k1", Recovery::Reconcile).await;
    world.release(held.release(MarkFate::Keep)).await;
    let mark = marked(another_key(&node).await);
    assert_eq!(
        marked(retry(&node, RESUME).await),
        mark,
        "reconcile: no resume"
    );
    let reused = fixtures::asking(fixtures::claim("o1", "k1"), r#"{"other": 1}"#);
    assert_eq!(node.acquire(node.request(reused)).await, Acquired::Reused);
    let known = world.known(&held.request.claim).await;
    assert_eq!(known, Known::Marked(Box::new(mark)));
    let unknown = world.known(&fixtures::claim("o1", "k2")).await;
    assert_eq!(unknown, Known::Unknown);
}

pub(crate) async fn its_own_key_resumes_so_many_times(world: World) {
    world.order("o1").await;
    let node = world.join("a").await;
    let begun = world.runtime.elapsed();
    for attempt in 1..=3 {
        let held = node.mark("o1", "k1", RESUME).await;
        assert_eq!(held.grant.attempt, attempt);
        world.pass(Duration::from_secs(60));
        world.release(held.release(MarkFate::Keep)).await;
    }
    let mark = marked(retry(&node, RESUME).await);
    assert_eq!(mark.attempt, 3);
    let first = crate::TestRuntime::START + begun;
    assert_eq!(mark.since, first, "counted from the first run");
    marked(another_key(&node).await);
}

pub(crate) async fn its_own_key_resumes_for_so_long(world: World) {
    world.order("o1").await;
    let node = world.join("a").await;
    let held = node.mark("o1", "k1", RESUME).await;
    world.release(held.release(MarkFate::Keep)).await;
    world.pass(HOUR / 2);
    let held = node.mark("o1", "k1", RESUME).await;
    world.release(held.release(MarkFate::Keep)).await;
    world.pass(HOUR / 2 + Duration::from_secs(1));
    marked(retry(&node, RESUME).await);
}

pub(crate) async fn a_resumed_run_settles_for_its_key(world: World) {
    world.order("o1").await;
    let node = world.join("a").await;
    let first = node.mark("o1", "k1", RESUME).await;
    world.release(first.release(MarkFate::Keep)).await;
    let second = node.mark("o1", "k1", RESUME).await;
    // The first run wakes up late.
    let late = world.settle(first.settle()).await;
    assert_eq!(late, Ended::Lost(Loss::NotHeld));
    applied(world.settle(second.settle()).await);
    assert_eq!(world.count("o1").await, 1);
    assert_eq!(world.history("o1").await[1].attempt, 2);
    node.hold("o1", "k2").await;
}

pub(crate) async fn a_key_without_a_mark_of_its_own_does_not_resume(world: World) {
    world.order("o1").await;
    let node = world.join("a").await;
    let held = node.mark("o1", "k1", RESUME).await;
    world.release(held.release(MarkFate::Keep)).await;
    // The same key, but as an operation that declares nothing: it cannot take the mark over.
    marked(
        node.acquire(node.request(fixtures::claim("o1", "k1")))
            .await,
    );
}
