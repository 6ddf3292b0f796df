//! The third end of a mark: decisions about external operations that nobody attends to.

use std::sync::Arc;
use std::time::Duration;

use orderlock_core::{
    Denied, Ended, LeaseId, LeaseView, LeaseViewState, Limits, LockedOrder, Operation,
    OperationRequest, Outcome, OutcomeKind, Principal, Problem, Recovery, Resolution,
    ResolveRequest, Snapshot, Unresolved, Version,
};
use orderlock_testkit::TestRuntime;
use orderlock_testkit::faults::{Fault, FaultStore, Plan, Verb};

use crate::faults::Faulty;
use crate::world::{Counter, Ending, World, asking, request, settled, target};

pub(crate) const RESUME: Recovery = Recovery::Resume {
    times: 2,
    within: Duration::from_secs(60),
};

pub(crate) fn outside(key: &str, recovery: Recovery) -> OperationRequest {
    asking(Operation::named("pay").external(recovery), key, "{}")
}

/// A run that fails and leaves its mark, or is not granted.
pub(crate) async fn fail(world: &World, request: OperationRequest) -> Ending {
    let failing = |_: LockedOrder<Counter>| async { Err("the gateway is down".to_owned()) };
    world.lifecycle.run(request, failing).await
}

pub(crate) async fn mark(world: &World) -> LeaseView {
    let lease = world.view().await.lease.expect("a mark is open");
    assert_eq!(lease.state, LeaseViewState::Marked);
    lease
}

/// A mark that waits for a decision.
pub(crate) async fn marked(world: &World) -> LeaseId {
    let ended = fail(world, outside("k", Recovery::Reconcile)).await;
    assert!(
        matches!(ended, Ended::Failed { marked: true, .. }),
        "{ended:?}"
    );
    mark(world).await.id
}

pub(crate) fn decide(mark: &LeaseId, resolution: Resolution<Counter>) -> ResolveRequest<Counter> {
    ResolveRequest {
        target: target("o"),
        mark: mark.clone(),
        resolution,
        expected: None,
        actor: Principal::parse("operator").unwrap(),
        reason: "the bank was asked".into(),
    }
}

pub(crate) fn applied(count: u64) -> Resolution<Counter> {
    Resolution::Settle(Outcome::Applied(Counter { count }))
}

pub(crate) async fn faulty(repeats: u32) -> (World, Faulty) {
    let limits = Limits {
        repeats,
        ..Limits::default()
    };
    let mut faulty = None;
    let world = World::over(limits, |memory| {
        let store = Arc::new(FaultStore::new(memory, Plan::new()));
        faulty = Some(Arc::clone(&store));
        store
    });
    (world.await, faulty.expect("the store was wrapped"))
}

#[track_caller]
pub(crate) fn assert_not_open(resolved: &Result<Snapshot, Unresolved>) {
    assert!(matches!(resolved, Err(Unresolved::NotOpen)), "{resolved:?}");
}

#[tokio::test]
async fn run_again_clears_the_mark_and_stands_in_the_journal() {
    let world = World::new().await;
    let mark = marked(&world).await;
    let request = decide(&mark, Resolution::RunAgain);
    let after = world.lifecycle.resolve(request.clone()).await.unwrap();
    assert_eq!(after.version, Version(1));
    World::assert_free(&world.view().await, 1, 0);
    let entry = world.entries().await.remove(0);
    assert_eq!(entry.outcome, OutcomeKind::MarkCleared);
    assert_eq!(entry.actor.as_str(), "operator");
    assert_eq!(entry.reason.as_deref(), Some("the bank was asked"));
    // A repeat is answered as the first was, and writes nothing.
    let again = world.lifecycle.resolve(request).await.unwrap();
    assert_eq!(again.version, Version(1));
    assert_eq!(world.entries().await.len(), 1);
    let other = ResolveRequest {
        reason: "another".into(),
        ..decide(&mark, Resolution::RunAgain)
    };
    assert_not_open(&world.lifecycle.resolve(other).await);
    let run = world.add(outside("k", Recovery::Reconcile)).await;
    assert_eq!(settled(run), (r#"applied {"count":1}"#.into(), false));
}

#[tokio::test]
async fn a_repeat_is_found_in_a_history_of_many_pages() {
    let world = World::new().await;
    for number in 0..600 {
        settled(world.add(request(&format!("before-{number}"))).await);
    }
    let mark = marked(&world).await;
    let decision = decide(&mark, applied(7));
    world.lifecycle.resolve(decision.clone()).await.unwrap();
    settled(world.add(request("after")).await);
    let again = world.lifecycle.resolve(decision.clone()).await.unwrap();
    // The answer is the order as it is now.
    assert_eq!((again.version, world.count().await), (Version(603), 8));
    let other = decide(&mark, applied(8));
    assert_not_open(&world.lifecycle.resolve(other).await);
    for number in 0..600 {
        settled(world.add(request(&format!("behind-{number}"))).await);
    }
    let again = world.lifecycle.resolve(decision).await.unwrap();
    assert_eq!(again.version, Version(1203));
}

/// The repeat is known by the journal's numbers: what it finds may be dated before the mark.
#[tokio::test]
async fn a_repeat_is_found_after_the_clock_was_set_back() {
    for resolution in [applied(7), Resolution::RunAgain] {
        let world = World::new().await;
        let mark = marked(&world).await;
        let start = TestRuntime::START;
        let an_hour_later = start + Duration::from_secs(3600);
        world.runtime.set_clock(start.duration_since(an_hour_later));
        let decision = decide(&mark, resolution);
        let first = world.lifecycle.resolve(decision.clone()).await.unwrap();
        let again = world.lifecycle.resolve(decision).await.unwrap();
        assert_eq!(again.version, first.version);
        assert_eq!(world.entries().await.len(), 1);
    }
}

#[tokio::test]
async fn a_settled_mark_gives_the_original_key_its_answer() {
    let refused = Problem::new(402, "declined", "The card was declined");
    let cases: [(Outcome<Counter>, &str, u64, u64); 4] = [
        (
            Outcome::Applied(Counter { count: 7 }),
            "applied {\"count\":7}",
            2,
            7,
        ),
        (
            Outcome::AppliedWithError(Counter { count: 3 }, refused.clone()),
            "appliedWithError {\"count\":3}",
            2,
            3,
        ),
        (Outcome::Refused(refused), "refused {\"count\":0}", 1, 0),
        (Outcome::Unchanged, "unchanged {\"count\":0}", 1, 0),
    ];
    for (outcome, answer, version, count) in cases {
        let world = World::new().await;
        let mark = marked(&world).await;
        let request = decide(&mark, Resolution::Settle(outcome));
        world.runtime.advance(Duration::from_secs(1));
        let after = world.lifecycle.resolve(request.clone()).await.unwrap();
        assert_eq!(after.version, Version(version), "{answer}");
        let seen = world.view().await;
        World::assert_free(&seen, version, count);
        assert_eq!((after.document, after.times), (seen.document, seen.times));
        let retry = world.add(outside("k", Recovery::Reconcile)).await;
        assert_eq!(settled(retry), (answer.to_owned(), true));
        world.lifecycle.resolve(request).await.unwrap();
        let entries = world.entries().await;
        assert_eq!(entries.len(), 1, "{answer}");
        assert_eq!(entries[0].actor.as_str(), "operator");
        assert_eq!(entries[0].operation.as_str(), "pay");
        let other = decide(&mark, applied(99));
        assert_not_open(&world.lifecycle.resolve(other).await);
        assert_eq!(world.count().await, count);
    }
}

#[tokio::test]
async fn a_decision_is_about_the_mark_that_was_seen() {
    let world = World::new().await;
    let _failed = fail(&world, outside("k", RESUME)).await;
    let first = mark(&world).await;
    let _failed = fail(&world, outside("k", RESUME)).await;
    let second = mark(&world).await;
    assert_eq!((first.attempt, second.attempt), (1, 2));
    assert_ne!(first.id, second.id);
    let late = decide(&first.id, Resolution::RunAgain);
    assert_not_open(&world.lifecycle.resolve(late).await);
    for id in ["mrk_", "mrk_0-1-0", "lck_1", "", "mrk_x-1-2", "mrk_1-1-1-1"] {
        let odd = decide(&LeaseId(id.into()), applied(1));
        assert_not_open(&world.lifecycle.resolve(odd).await);
    }
    assert_eq!(mark(&world).await.id, second.id);

    // What the same key leaves after the decision is another mark too.
    let clear = decide(&second.id, Resolution::RunAgain);
    world.lifecycle.resolve(clear).await.unwrap();
    world.runtime.advance(Duration::from_millis(1));
    let _failed = fail(&world, outside("k", RESUME)).await;
    let third = mark(&world).await;
    assert_eq!(third.attempt, 3, "its runs are counted on");
    let late = decide(&first.id, Resolution::RunAgain);
    assert_not_open(&world.lifecycle.resolve(late).await);
    assert_eq!(mark(&world).await.id, third.id);
}

#[tokio::test]
async fn an_attended_mark_and_a_free_order_have_nothing_to_resolve() {
    let world = World::new().await;
    let mark = marked(&world).await;
    let clear = decide(&mark, Resolution::RunAgain);
    world.lifecycle.resolve(clear).await.unwrap();
    let (running, mut handler) = world.add_later(outside("k2", Recovery::Reconcile));
    handler.begun().await;
    let held = world.view().await.lease.unwrap().id;
    for id in [&held, &mark] {
        let attended = decide(id, applied(50));
        assert_not_open(&world.lifecycle.resolve(attended).await);
    }
    handler.go();
    settled(running.await);
    assert_eq!(world.count().await, 1);
}

#[tokio::test]
async fn a_decision_on_another_version_or_order_is_refused() {
    let world = World::new().await;
    let mark = marked(&world).await;
    for resolution in [Resolution::RunAgain, applied(1)] {
        let stale = ResolveRequest {
            expected: Some(Version(9)),
            ..decide(&mark, resolution)
        };
        let resolved = world.lifecycle.resolve(stale).await;
        let current = Version(1);
        assert!(
            matches!(
                resolved,
                Err(Unresolved::Denied(Denied::VersionMismatch { current: at })) if at == current
            ),
            "{resolved:?}"
        );
    }
    let nowhere = ResolveRequest {
        target: target("none"),
        ..decide(&mark, Resolution::RunAgain)
    };
    let resolved = world.lifecycle.resolve(nowhere).await;
    assert!(
        matches!(resolved, Err(Unresolved::Denied(Denied::NotFound))),
        "{resolved:?}"
    );
    assert!(world.entries().await.is_empty());
}

#[tokio::test]
async fn a_lost_answer_is_asked_for_again_and_nothing_happens_twice() {
    for fault in [Fault::FailAfter, Fault::LoseRequest, Fault::Repeat] {
        for resolution in [Resolution::RunAgain, applied(5)] {
            let (world, faults) = faulty(1).await;
            let mark = marked(&world).await;
            faults.fail_next(Verb::Resolve, fault.clone());
            let request = decide(&mark, resolution.clone());
            let resolving = world.lifecycle.resolve(request);
            world.runtime.drive(resolving).await.unwrap();
            println!("{fault:?} {resolution:?}");
            assert_eq!(world.entries().await.len(), 1);
            assert_eq!(world.view().await.lease, None);
        }
    }
}

#[tokio::test]
async fn what_stays_in_doubt_is_said_and_the_same_request_tells() {
    let (world, faults) = faulty(0).await;
    let mark = marked(&world).await;
    let request = decide(&mark, applied(5));
    faults.fail_next(Verb::Resolve, Fault::FailBefore);
    let resolved = world.lifecycle.resolve(request.clone()).await;
    assert!(
        matches!(
            resolved,
            Err(Unresolved::Denied(Denied::StoreUnavailable(_)))
        ),
        "{resolved:?}"
    );
    faults.fail_next(Verb::Resolve, Fault::FailAfter);
    let resolved = world.lifecycle.resolve(request.clone()).await;
    assert!(matches!(resolved, Err(Unresolved::Unknown)), "{resolved:?}");
    let told = world.lifecycle.resolve(request).await.unwrap();
    assert_eq!(told.version, Version(2));
    assert_eq!(world.outcomes().await, [OutcomeKind::Applied]);
}

#[tokio::test]
async fn resuming_is_bounded_in_runs_and_in_time_and_then_left_to_a_resolution() {
    let unknown = |ended: &Ending| match ended {
        Ended::Denied(Denied::OutcomeUnknown(mark)) => mark.recovery,
        other => panic!("{other:?}"),
    };
    // Other keys are told whether the mark's own key may still end it.
    let world = World::new().await;
    let _failed = fail(&world, outside("k", RESUME)).await;
    assert_eq!(unknown(&world.add(outside("other", RESUME)).await), RESUME);
    let _failed = fail(&world, outside("k", RESUME)).await;
    let third = fail(&world, outside("k", RESUME)).await;
    assert_eq!(unknown(&third), Recovery::Reconcile);
    assert_eq!(mark(&world).await.attempt, 2);

    let world = World::new().await;
    let _failed = fail(&world, outside("k", RESUME)).await;
    world.runtime.advance(Duration::from_secs(61));
    let late = fail(&world, outside("k", RESUME)).await;
    assert_eq!(unknown(&late), Recovery::Reconcile);
    let mark = mark(&world).await;
    assert_eq!(mark.attempt, 1);
    let settle = decide(&mark.id, applied(1));
    world.lifecycle.resolve(settle).await.unwrap();
    let retry = world.add(outside("k", RESUME)).await;
    assert_eq!(settled(retry), (r#"applied {"count":1}"#.into(), true));
}

/// The runs that were used stay used: each decision to run again is about one run. Only the time for
/// resuming is the new run's own.
#[tokio::test]
async fn run_again_lets_one_run_begin_and_gives_no_runs_back() {
    let run_again = async |world: &World| {
        let mark = mark(world).await;
        let decision = decide(&mark.id, Resolution::RunAgain);
        world.lifecycle.resolve(decision).await.unwrap();
    };
    let left = |ended: &Ending| matches!(ended, Ended::Failed { marked: true, .. });
    let refused = |ended: &Ending| matches!(ended, Ended::Denied(Denied::OutcomeUnknown(_)));
    let world = World::new().await;
    assert!(left(&fail(&world, outside("k", RESUME)).await));
    assert!(left(&fail(&world, outside("k", RESUME)).await));
    for attempt in 3..5 {
        assert!(refused(&fail(&world, outside("k", RESUME)).await));
        run_again(&world).await;
        assert!(left(&fail(&world, outside("k", RESUME)).await));
        assert_eq!(mark(&world).await.attempt, attempt);
    }
    run_again(&world).await;
    let run = world.add(outside("k", RESUME)).await;
    assert_eq!(settled(run), (r#"applied {"count":1}"#.into(), false));

    let world = World::new().await;
    let thrice = Recovery::Resume {
        times: 3,
        within: Duration::from_secs(60),
    };
    assert!(left(&fail(&world, outside("k", thrice)).await));
    world.runtime.advance(Duration::from_secs(61));
    assert!(refused(&fail(&world, outside("k", thrice)).await));
    run_again(&world).await;
    assert!(left(&fail(&world, outside("k", thrice)).await));
    assert!(left(&fail(&world, outside("k", thrice)).await));
    assert_eq!(mark(&world).await.attempt, 3);
    assert!(refused(&fail(&world, outside("k", thrice)).await));
}

/// Whatever is sent in the place of a mark's id, the order's history is not read for it.
#[tokio::test]
async fn a_mark_that_does_not_stand_costs_one_look() {
    let (world, store) = faulty(3).await;
    let mark = marked(&world).await;
    let decision = decide(&mark, Resolution::RunAgain);
    world.lifecycle.resolve(decision.clone()).await.unwrap();
    for number in 0..600 {
        settled(world.add(request(&format!("k{number}"))).await);
    }
    let invented = LeaseId(mark.0.replace("-1-", "-9-").into());
    let odd = LeaseId("mrk_x".into());
    for (mark, told, ends) in [(mark, true, 1), (invented, false, 1), (odd, false, 0)] {
        let before = store.calls().len();
        let decision = ResolveRequest {
            mark,
            ..decision.clone()
        };
        let resolved = world.lifecycle.resolve(decision).await;
        assert_eq!(resolved.is_ok(), told, "{resolved:?}");
        let calls = store.calls().split_off(before);
        let count = |verb| calls.iter().filter(|call| **call == verb).count();
        assert_eq!(count(Verb::History), 0, "{calls:?}");
        assert_eq!(count(Verb::MarkEnd), ends, "{calls:?}");
    }
}
