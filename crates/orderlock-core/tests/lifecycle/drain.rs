//! Shutting down.

use std::time::Duration;

use orderlock_core::{
    Denied, Ended, Failed, LeaseId, Principal, Resolution, ResolveRequest, StoreError, Unresolved,
};
use orderlock_testkit::faults::{Fault, Plan, Verb};

use crate::world::{Counter, World, creation, patient, request, settled, target};

#[tokio::test]
async fn a_drain_tells_who_waits_and_lets_the_running_settle() {
    let world = World::new().await;
    let (first, mut handler) = world.add_later(request("k"));
    handler.begun().await;
    let waiting = world.add(patient("waiting"));
    let attached = world.add(patient("k"));
    world.waiting(2).await;
    let lifecycle = world.lifecycle.clone();
    let drain = tokio::spawn(async move { lifecycle.drain(Duration::from_secs(60)).await });
    let ended = waiting.await;
    assert!(
        matches!(ended, Ended::Denied(Denied::ShuttingDown)),
        "{ended:?}"
    );
    let ended = world.add(request("late")).await;
    assert!(
        matches!(ended, Ended::Denied(Denied::ShuttingDown)),
        "{ended:?}"
    );
    handler.go();
    assert_eq!(
        settled(first.await),
        (r#"applied {"count":1}"#.into(), false)
    );
    assert_eq!(
        settled(attached.await),
        (r#"applied {"count":1}"#.into(), true)
    );
    drain.await.unwrap().unwrap();
    World::assert_free(&world.view().await, 2, 1);
    assert!(!world.lifecycle.is_ready());
}

#[tokio::test]
async fn a_handler_that_outlasts_the_drain_is_stopped_and_its_order_released() {
    let world = World::new().await;
    let (first, mut handler) = world.add_later(request("k"));
    handler.begun().await;
    let lifecycle = world.lifecycle.clone();
    let drain = tokio::spawn(async move { lifecycle.drain(Duration::from_secs(5)).await });
    world.waiting(1).await;
    world.runtime.advance(Duration::from_secs(6));
    let ended = first.await;
    assert!(
        matches!(
            ended,
            Ended::Failed {
                failure: Failed::Stopped,
                ..
            }
        ),
        "{ended:?}"
    );
    drain.await.unwrap().unwrap();
    World::assert_free(&world.view().await, 1, 0);
}

#[tokio::test]
async fn an_idle_node_drains_at_once() {
    let world = World::new().await;
    world.lifecycle.drain(Duration::from_secs(5)).await.unwrap();
    let ended = world.add(request("late")).await;
    assert!(
        matches!(ended, Ended::Denied(Denied::ShuttingDown)),
        "{ended:?}"
    );
}

#[tokio::test]
async fn a_node_that_has_drained_creates_and_decides_nothing() {
    let world = World::new().await;
    world.lifecycle.drain(Duration::from_secs(5)).await.unwrap();
    let creation = creation(Some("p"), "c", "body");
    let ended = world.lifecycle.create(creation, Counter { count: 0 }).await;
    assert!(
        matches!(ended, Ended::Denied(Denied::ShuttingDown)),
        "{ended:?}"
    );
    let decision = ResolveRequest {
        target: target("o"),
        mark: LeaseId("mrk_0-1-0".into()),
        resolution: Resolution::<Counter>::RunAgain,
        expected: None,
        actor: Principal::parse("operator").unwrap(),
        reason: "the bank was asked".into(),
    };
    let resolved = world.lifecycle.resolve(decision).await;
    assert!(
        matches!(resolved, Err(Unresolved::Denied(Denied::ShuttingDown))),
        "{resolved:?}"
    );
}

/// What cannot be released one by one ends with the session.
#[tokio::test]
async fn a_drained_node_leaves_no_lease_behind() {
    let (world, store) = crate::faults::world().await;
    let (first, mut handler) = world.add_later(request("k"));
    handler.begun().await;
    let failed = |plan: Plan, call| plan.at_call(Verb::Release, call, Fault::FailBefore);
    store.plan((1..=9).fold(Plan::new(), failed));
    let drain = world.lifecycle.drain(Duration::from_secs(5));
    world.runtime.drive(drain).await.unwrap();
    assert!(matches!(first.await, Ended::Failed { .. }));
    World::assert_free(&world.view().await, 1, 0);
}

#[tokio::test]
async fn a_session_that_could_not_be_ended_is_told() {
    let (world, store) = crate::faults::world().await;
    store.fail_next(Verb::Leave, Fault::FailBefore);
    let drained = world.lifecycle.drain(Duration::from_secs(5)).await;
    assert!(
        matches!(drained, Err(StoreError::NotApplied(_))),
        "{drained:?}"
    );
    assert!(!world.lifecycle.is_ready());
}
