//! A settle that was accepted and whose flush fails has every exit that another one has.

use std::sync::Arc;

use futures_util::future::join;
use orderlock_core::{
    Denied, Ended, LeaseViewState, Limits, Operation, OperationRequest, OutcomeKind, Recovery,
    StoreError,
};
use orderlock_testkit::faults::{Fault, FaultStore, Plan, Verb};

use crate::handover::{Asked, Scene, pure};
use crate::late::Late;
use crate::world::{Handler, World, asking, request, settled};

fn full() -> StoreError {
    StoreError::NotApplied("planned".into())
}

fn in_doubt() -> StoreError {
    StoreError::OutcomeUnknown("planned".into())
}

/// What certainly did not happen is made good under the same step: its client is not left in doubt,
/// and the order not locked.
#[tokio::test]
async fn a_settle_whose_flush_certainly_failed_is_sent_again() {
    let scene = Scene::new(Limits::default()).await;
    let (first, second, mut handler) = scene.accepted(pure("second")).await;
    handler.begun().await;
    scene.late.fail_and_go_back(full());
    // Its grant went with the flush: it is told at once, whatever its handler does.
    let second = second.await;
    assert!(matches!(second, Ended::Lost { .. }), "{second:?}");
    let first = scene.world.runtime.drive(first).await;
    assert_eq!(settled(first), (r#"applied {"count":1}"#.into(), false));
    World::assert_free(&scene.world.view().await, 2, 1);
    let second = scene.world.add(pure("second")).await;
    assert_eq!(settled(second).0, r#"applied {"count":2}"#);
}

/// A repeat is answered as the first was, and so tells what became of it.
#[tokio::test]
async fn a_settle_whose_flush_is_in_doubt_is_asked_about_under_the_same_step() {
    for kept in [true, false] {
        let scene = Scene::new(Limits::default()).await;
        let (first, second, mut handler) = scene.accepted(pure("second")).await;
        handler.begun().await;
        match kept {
            true => scene.late.fail_and_keep(in_doubt()),
            false => scene.late.fail_and_go_back(in_doubt()),
        }
        handler.go();
        let both = join(first, second);
        let (first, second) = scene.world.runtime.drive(both).await;
        assert_eq!(settled(first).0, r#"applied {"count":1}"#);
        match kept {
            true => assert_eq!(settled(second).0, r#"applied {"count":2}"#),
            false => assert!(matches!(second, Ended::Lost { .. }), "{second:?}"),
        }
        let view = scene.world.view().await;
        assert_eq!(view.lease, None, "kept: {kept}");
        let again = scene.world.add(pure("second")).await;
        assert_eq!(settled(again).0, r#"applied {"count":2}"#);
    }
}

#[tokio::test]
async fn a_settle_whose_lease_went_with_the_flush_is_lost() {
    let scene = Scene::new(Limits::default()).await;
    let (first, second, mut handler) = scene.accepted(pure("second")).await;
    handler.begun().await;
    scene.late.fail_and_go_back(in_doubt());
    scene.world.memory.void_all_leases();
    handler.go();
    let both = join(first, second);
    let (first, second) = scene.world.runtime.drive(both).await;
    assert!(matches!(first, Ended::Lost { .. }), "{first:?}");
    assert!(matches!(second, Ended::Lost { .. }), "{second:?}");
    World::assert_free(&scene.world.view().await, 1, 0);
}

/// What is certainly gone has taken the grant of its successor along: neither the successor's client
/// nor the next in line waits for a handler that can settle nothing.
#[tokio::test]
async fn a_run_ends_with_the_ground_that_it_stands_on() {
    let scene = Scene::new(Limits::default()).await;
    let (first, second, mut handler) = scene.accepted(pure("second")).await;
    handler.begun().await;
    scene.late.lose();
    let begun = scene.world.runtime.elapsed();
    let (first, second) = scene.world.runtime.drive(join(first, second)).await;
    assert!(matches!(first, Ended::Lost { .. }), "{first:?}");
    assert!(matches!(second, Ended::Lost { .. }), "{second:?}");
    let took = scene.world.runtime.elapsed() - begun;
    assert!(took < Limits::default().handler, "{took:?}");
    settled(scene.world.add(pure("third")).await);
    drop(handler);
}

struct Failing {
    world: World,
    late: Late,
    first: Asked,
    next: Asked,
    handler: Handler,
}

/// A settle is accepted and not durable, and every further one fails.
async fn failing(fault: Fault, next: OperationRequest) -> Failing {
    let (mut late, mut faulty) = (None, None);
    let world = World::over(Limits::default(), |memory| {
        let late = late.insert(Late::new(memory)).clone();
        let store = Arc::new(FaultStore::new(late, Plan::new()));
        Arc::clone(faulty.insert(store))
    });
    let world = world.await;
    let (late, store) = late.zip(faulty).expect("they were made");
    let failed = |plan: Plan, call| plan.at_call(Verb::Settle, call, fault.clone());
    store.plan((2..=99).fold(Plan::new(), failed));
    let (first, mut handler) = world.add_later(pure("first"));
    handler.begun().await;
    let (next, next_handler) = world.add_later(next);
    world.waiting(1).await;
    handler.go();
    late.accepted().await;
    Failing {
        world,
        late,
        first: Box::pin(first),
        next: Box::pin(next),
        handler: next_handler,
    }
}

/// Whoever stays in doubt gives the lease up all the same: no order waits for renewals to find out
/// that nobody names it.
#[tokio::test]
async fn a_settle_that_cannot_be_made_good_leaves_no_lock_behind() {
    for (fault, unknown) in [(Fault::FailBefore, false), (Fault::LoseRequest, true)] {
        let lost = failing(fault, pure("second")).await;
        let mut handler = lost.handler;
        handler.begun().await;
        drop(handler);
        lost.late.fail_and_go_back(full());
        let both = join(lost.first, lost.next);
        let begun = lost.world.runtime.elapsed();
        let (first, _) = lost.world.runtime.drive(both).await;
        match first {
            Ended::Unknown => assert!(unknown),
            Ended::Denied(Denied::StoreUnavailable(_)) => assert!(!unknown),
            other => panic!("{other:?}"),
        }
        World::assert_free(&lost.world.view().await, 1, 0);
        let took = lost.world.runtime.elapsed() - begun;
        assert!(took < Limits::default().session / 3, "{took:?}");
    }
}

/// The mark was written by the hand-over, and its handler never ran: nobody has to be asked about
/// that.
#[tokio::test]
async fn a_hand_over_in_doubt_leaves_no_mark_of_a_handler_that_never_ran() {
    let paying = || {
        let operation = Operation::named("pay").external(Recovery::Reconcile);
        OperationRequest {
            wait: std::time::Duration::from_secs(30),
            ..asking(operation, "paying", "{}")
        }
    };
    let lost = failing(Fault::LoseRequest, paying()).await;
    lost.late.fail_and_keep(in_doubt());
    let first = lost.world.runtime.drive(lost.first).await;
    assert!(matches!(first, Ended::Unknown), "{first:?}");
    // Its turn has come: it asks anew, and runs.
    let mut handler = lost.handler;
    handler.begun().await;
    let lease = lost.world.view().await.lease.expect("it is held");
    assert_eq!(lease.state, LeaseViewState::Held);
    assert_eq!(lease.attempt, 1, "no run was counted");
    drop(handler);
    let next = lost.next.await;
    assert!(
        matches!(next, Ended::Failed { marked: true, .. }),
        "{next:?}"
    );
    let outcomes = lost.world.outcomes().await;
    assert_eq!(outcomes, [OutcomeKind::Applied], "the first was kept");
    let other = lost.world.add(request("other")).await;
    assert!(
        matches!(other, Ended::Denied(Denied::OutcomeUnknown(_))),
        "{other:?}"
    );
}
