//! A grant that nobody has used, and a key whose mark was cleared: what stood before stands again.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use orderlock_core::{
    Denied, Ended, LeaseViewState, LockedOrder, Operation, OperationRequest, Outcome, Principal,
    Recovery, Resolution, ResolveRequest,
};
use orderlock_testkit::faults::{Fault, Plan, Verb};

use crate::faults::{Faulty, world};
use crate::world::{Counter, Ending, World, asking, patient, request, settled, target};

fn paying(recovery: Recovery, body: &str) -> OperationRequest {
    asking(Operation::named("pay").external(recovery), "k", body)
}

fn resume(times: u32) -> Recovery {
    Recovery::Resume {
        times,
        within: Duration::from_secs(3_600),
    }
}

async fn failing(_: LockedOrder<Counter>) -> Result<Outcome<Counter>, String> {
    Err("the bank timed out".to_owned())
}

/// The answers to these calls of `acquire` are lost.
fn lose(store: &Faulty, calls: std::ops::RangeInclusive<u64>) {
    let lost = |plan: Plan, call| plan.at_call(Verb::Acquire, call, Fault::FailAfter);
    store.plan(calls.fold(Plan::new(), lost));
}

/// The operation was resumable when it ran first. After an incident it is declared anew, and then
/// the answers to a retry's `acquire` are lost.
#[tokio::test]
async fn a_lost_acquire_ends_no_earlier_runs_mark() {
    let (world, store) = world().await;
    let ended: Ending = world.lifecycle.run(paying(resume(5), "{}"), failing).await;
    assert!(
        matches!(ended, Ended::Failed { marked: true, .. }),
        "{ended:?}"
    );
    lose(&store, 2..=5);
    let retry = world
        .lifecycle
        .run(paying(Recovery::Reconcile, "{}"), failing);
    let ended: Ending = world.runtime.drive(retry).await;
    assert!(
        matches!(ended, Ended::Denied(Denied::StoreUnavailable(_))),
        "{ended:?}"
    );
    let other = world.runtime.drive(world.add(patient("other"))).await;
    assert!(
        matches!(other, Ended::Denied(Denied::OutcomeUnknown(_))),
        "{other:?}"
    );
    let lease = world.view().await.lease.expect("nobody has decided");
    assert_eq!((lease.state, lease.attempt), (LeaseViewState::Marked, 1));
}

/// No handler has run: no attempt was used up, and nobody has to decide anything.
#[tokio::test]
async fn a_lost_acquire_leaves_nothing_unknown() {
    let (world, store) = world().await;
    lose(&store, 1..=4);
    let ended = world
        .runtime
        .drive(world.add(paying(resume(1), "{}")))
        .await;
    assert!(
        matches!(ended, Ended::Denied(Denied::StoreUnavailable(_))),
        "{ended:?}"
    );
    let again = world
        .runtime
        .drive(world.add(paying(resume(1), "{}")))
        .await;
    assert_eq!(settled(again), (r#"applied {"count":1}"#.into(), false));
}

/// A first answer was lost, and then the store certainly did nothing: what it had granted is taken
/// back all the same.
#[tokio::test]
async fn a_grant_in_doubt_is_taken_back_whatever_the_later_tries_come_to() {
    let (world, store) = world().await;
    lose(&store, 1..=1);
    let failed = |plan: Plan, call| plan.at_call(Verb::Acquire, call, Fault::FailBefore);
    store.plan((2..=9).fold(Plan::new(), failed));
    let ended = world.runtime.drive(world.add(request("k"))).await;
    assert!(
        matches!(ended, Ended::Denied(Denied::StoreUnavailable(_))),
        "{ended:?}"
    );
    World::assert_free(&world.view().await, 1, 0);
}

/// Whoever says "run again" speaks of what was asked: the provider may have done it, and knows it by
/// its derived key.
#[tokio::test]
async fn a_key_that_is_to_run_again_stays_bound_to_what_was_asked() {
    let world = World::new().await;
    let seen: Arc<Mutex<Vec<(String, u32)>>> = Arc::default();
    let work = |fails: bool| {
        let seen = Arc::clone(&seen);
        move |order: LockedOrder<Counter>| async move {
            let run = (order.key().derive("capture"), order.attempt());
            seen.lock().unwrap().push(run);
            match fails {
                true => Err("time-out at the bank".to_owned()),
                false => Ok(Outcome::Applied(Counter { count: 100 })),
            }
        }
    };
    let pay = |body: &str| paying(Recovery::Reconcile, body);
    let ended: Ending = world
        .lifecycle
        .run(pay(r#"{"amount":100}"#), work(true))
        .await;
    assert!(
        matches!(ended, Ended::Failed { marked: true, .. }),
        "{ended:?}"
    );
    let decision = ResolveRequest::<Counter> {
        target: target("o"),
        mark: world.view().await.lease.expect("the mark stays").id,
        resolution: Resolution::RunAgain,
        expected: None,
        actor: Principal::parse("operator").unwrap(),
        reason: "nothing at the bank yet".into(),
    };
    world.lifecycle.resolve(decision).await.unwrap();
    let ended: Ending = world
        .lifecycle
        .run(pay(r#"{"amount":200}"#), work(false))
        .await;
    assert!(
        matches!(ended, Ended::Denied(Denied::KeyReused)),
        "{ended:?}"
    );
    let ended: Ending = world
        .lifecycle
        .run(pay(r#"{"amount":100}"#), work(false))
        .await;
    assert!(!settled(ended).1);
    let seen = seen.lock().unwrap();
    let [(first, 1), (second, 2)] = &seen[..] else {
        panic!("{seen:?}")
    };
    assert_eq!(first, second, "the provider takes it for one payment");
}
