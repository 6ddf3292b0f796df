//! The journal is asked before anything is refused, and one request is one request.

use std::time::Duration;

use futures_util::FutureExt as _;
use orderlock_core::{Denied, Ended, KeyStatus, Limits, OperationRequest, Version};
use orderlock_testkit::faults::{Fault, Gate, Verb};

use crate::faults::world;
use crate::world::{Counter, World, creation, patient, request, settled};

fn expecting(version: u64, request: OperationRequest) -> OperationRequest {
    OperationRequest {
        expected: Some(Version(version)),
        ..request
    }
}

/// A retry is told its answer, however long the line is.
#[tokio::test]
async fn a_settled_key_is_replayed_when_the_line_is_full() {
    let limits = Limits {
        line: 2,
        ..Limits::default()
    };
    let world = World::with_limits(limits).await;
    settled(world.add(request("done")).await);
    let (first, mut handler) = world.add_later(request("k"));
    handler.begun().await;
    let waiting = world.add(patient("a"));
    world.waiting(1).await;
    for retry in [request("done"), patient("done")] {
        assert!(settled(world.add(retry).await).1);
    }
    handler.go();
    settled(first.await);
    settled(waiting.await);
}

#[tokio::test]
async fn a_settled_key_is_replayed_while_the_node_shuts_down() {
    let world = World::new().await;
    settled(world.add(request("done")).await);
    let (first, mut handler) = world.add_later(request("k"));
    handler.begun().await;
    let lifecycle = world.lifecycle.clone();
    let mut drain = async move { lifecycle.drain(Duration::from_secs(9)).await }.boxed();
    assert!((&mut drain).now_or_never().is_none());
    assert!(settled(world.add(request("done")).await).1);
    let again = world
        .lifecycle
        .create(creation(Some("o"), "o", "new"), Counter { count: 0 });
    assert!(settled(again.await).1);
    let new = world.add(request("new")).await;
    assert!(
        matches!(new, Ended::Denied(Denied::ShuttingDown)),
        "{new:?}"
    );
    handler.go();
    settled(first.await);
    drain.await.unwrap();
}

/// Nobody says that nothing was applied who has not looked.
#[tokio::test]
async fn a_denial_that_nobody_looked_up_says_so() {
    let (world, store) = world().await;
    let (first, mut handler) = world.add_later(request("k"));
    handler.begun().await;
    store.fail_next(Verb::Lookup, Fault::FailBefore);
    let ended = world.add(request("other")).await;
    let Ended::Denied(denied) = ended else {
        panic!("{ended:?}")
    };
    assert!(!denied.looked_up(), "{denied:?}");
    let ended = world.add(request("other")).await;
    let Ended::Denied(denied @ Denied::Locked(_)) = ended else {
        panic!("{ended:?}")
    };
    assert!(denied.looked_up());
    handler.go();
    settled(first.await);
}

/// `If-Match` is compared at the grant. It does not make another request of a retry.
#[tokio::test]
async fn a_retry_that_expects_another_version_is_told_its_own_run() {
    let world = World::new().await;
    let (first, mut handler) = world.add_later(expecting(1, request("k")));
    handler.begun().await;
    for retry in [request("k"), expecting(7, request("k"))] {
        let ended = world.add(retry).await;
        assert!(
            matches!(ended, Ended::Denied(Denied::InProgress(Some(_)))),
            "{ended:?}"
        );
    }
    let attached = world.add(expecting(7, patient("k")));
    world.waiting(1).await;
    handler.go();
    assert!(!settled(first.await).1);
    assert!(settled(attached.await).1);
}

#[tokio::test]
async fn a_retry_that_expects_another_version_takes_no_second_place() {
    let limits = Limits {
        line: 3,
        ..Limits::default()
    };
    let world = World::with_limits(limits).await;
    let (first, mut handler) = world.add_later(request("first"));
    handler.begun().await;
    let fits = world.add(expecting(2, patient("k")));
    world.waiting(1).await;
    let stale = world.add(expecting(1, patient("k")));
    world.waiting(2).await;
    handler.go();
    settled(first.await);
    assert!(!settled(fits.await).1);
    assert!(settled(stale.await).1);
    World::assert_free(&world.view().await, 3, 2);
}

/// Whoever takes the place of an equal request that has gone, or whose version does not fit, brings
/// its own.
#[tokio::test]
async fn each_of_two_equal_requests_is_granted_by_its_own_version() {
    for gone in [false, true] {
        let world = World::new().await;
        let (first, mut handler) = world.add_later(request("first"));
        handler.begun().await;
        let stale = world.add(expecting(1, patient("k")));
        world.waiting(1).await;
        let fits = world.add(expecting(2, patient("k")));
        world.waiting(2).await;
        let told = match gone {
            true => {
                drop(stale);
                None
            }
            false => Some(stale),
        };
        handler.go();
        settled(first.await);
        if let Some(stale) = told {
            let ended = stale.await;
            assert!(
                matches!(ended, Ended::Denied(Denied::VersionMismatch { .. })),
                "{ended:?}"
            );
        }
        assert!(!settled(fits.await).1, "gone: {gone}");
        World::assert_free(&world.view().await, 3, 2);
    }
}

/// It was granted for the version of an equal request that has gone meanwhile.
#[tokio::test]
async fn a_grant_for_anothers_version_is_not_used() {
    let (world, store) = world().await;
    let (first, mut handler) = world.add_later(request("first"));
    handler.begun().await;
    let fits = world.add(expecting(2, patient("k")));
    world.waiting(1).await;
    let stale = world.add(expecting(1, patient("k")));
    world.waiting(2).await;
    let settling = Gate::new();
    store.fail_next(Verb::Settle, Fault::DelayAfter(settling.clone()));
    handler.go();
    settling.reached(1).await;
    drop(fits);
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
    settling.open();
    settled(first.await);
    let ended = stale.await;
    assert!(
        matches!(
            ended,
            Ended::Denied(Denied::VersionMismatch {
                current: Version(2)
            })
        ),
        "{ended:?}"
    );
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
    World::assert_free(&world.view().await, 2, 1);
}

/// A key that runs on another node is told as such, though a third one stands in the way here.
#[tokio::test]
async fn a_key_that_runs_elsewhere_is_not_told_as_another_keys() {
    let world = World::new().await;
    let (first, mut handler) = world.add_later(request("k"));
    handler.begun().await;
    let other = World::node(&world.store, &world.runtime, "node-2", Limits::default());
    other.start().await.unwrap();
    let elsewhere = crate::patience::elsewhere(&world, other);
    let waiting = elsewhere.add(patient("waits"));
    world.runtime.sleeping(2 * crate::world::KEEPERS + 2).await;
    let ended = world.runtime.drive(elsewhere.add(request("k"))).await;
    assert!(
        matches!(ended, Ended::Denied(Denied::InProgress(Some(_)))),
        "{ended:?}"
    );
    handler.go();
    settled(first.await);
    settled(waiting.await);
}

/// The status of a key that settles while it is asked for.
#[tokio::test]
async fn a_key_that_settles_meanwhile_is_not_unknown() {
    let (world, store) = world().await;
    let (first, mut handler) = world.add_later(request("first"));
    handler.begun().await;
    let waits = world.add(patient("k"));
    world.waiting(1).await;
    let gate = Gate::new();
    store.fail_next(Verb::Lookup, Fault::DelayAfter(gate.clone()));
    let (lifecycle, asked) = (world.lifecycle.clone(), request("k"));
    let status = tokio::spawn(async move {
        let status = lifecycle.status(&asked.caller, &asked.order, &asked.key);
        status.await
    });
    gate.reached(1).await;
    handler.go();
    settled(first.await);
    settled(waits.await);
    gate.open();
    let status = status.await.unwrap().unwrap();
    assert!(!matches!(status, KeyStatus::Unknown), "{status:?}");
}

/// Whatever id was chosen for an order, its key is told by the order that it made, and by no other.
#[tokio::test]
async fn a_key_that_made_an_order_under_a_chosen_id_is_known_there() {
    let world = World::new().await;
    world.create("p").await;
    let status = async |order: &str, key: &str| {
        let asked = request(key);
        let order = orderlock_core::OrderId::parse(order).unwrap();
        let status = world.lifecycle.status(&asked.caller, &order, &asked.key);
        status.await.unwrap()
    };
    assert!(matches!(status("p", "p").await, KeyStatus::Settled { .. }));
    assert!(matches!(status("o", "p").await, KeyStatus::Unknown));
}
