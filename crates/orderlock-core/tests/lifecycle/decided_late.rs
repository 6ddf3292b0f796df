//! Decisions that reach the store when another mark stands than the one that they are about.

use orderlock_core::{OutcomeKind, Resolution};
use orderlock_testkit::faults::{Fault, Gate, Plan, Verb};

use crate::resolve::{
    RESUME, applied, assert_not_open, decide, fail, faulty, mark, marked, outside,
};

/// A decision on its way, when the run that it is about is followed by another that leaves its mark too: of
/// that one nobody has decided anything.
#[tokio::test]
async fn a_decision_that_comes_late_ends_no_mark_of_a_later_run() {
    for resolution in [Resolution::RunAgain, applied(5)] {
        let (world, faults) = faulty(0).await;
        let _failed = fail(&world, outside("k", RESUME)).await;
        let first = mark(&world).await;
        let gate = Gate::new();
        faults.fail_next(Verb::Resolve, Fault::DelayBefore(gate.clone()));
        let lifecycle = world.lifecycle.clone();
        let request = decide(&first.id, resolution);
        let late = tokio::spawn(async move { lifecycle.resolve(request).await });
        gate.reached(1).await;
        let _failed = fail(&world, outside("k", RESUME)).await;
        let second = mark(&world).await;
        assert_eq!((first.attempt, second.attempt), (1, 2));
        gate.open();
        assert_not_open(&late.await.unwrap());
        assert_eq!(mark(&world).await.id, second.id);
        assert!(world.entries().await.is_empty());
    }
}

/// The first try cleared the mark and its answer was lost: before the second, the key has run again and left
/// a mark of its own.
#[tokio::test]
async fn a_repeated_decision_ends_no_mark_of_the_run_that_it_allowed() {
    let (world, faults) = faulty(1).await;
    let first = marked(&world).await;
    let gate = Gate::new();
    let waits = Fault::DelayBefore(gate.clone());
    let plan = Plan::new().at_call(Verb::Resolve, 1, Fault::FailAfter);
    faults.plan(plan.at_call(Verb::Resolve, 2, waits));
    let lifecycle = world.lifecycle.clone();
    let request = decide(&first, Resolution::RunAgain);
    let deciding = tokio::spawn(async move { lifecycle.resolve(request).await });
    world.runtime.drive(gate.reached(1)).await;
    let second = marked(&world).await;
    assert_ne!(second, first);
    gate.open();
    deciding.await.unwrap().unwrap();
    assert_eq!(mark(&world).await.id, second);
    assert_eq!(world.outcomes().await, [OutcomeKind::MarkCleared]);
}
