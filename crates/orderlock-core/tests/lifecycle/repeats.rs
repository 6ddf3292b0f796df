//! How often a verb is asked again, and what its end is called when it stays in doubt.

use std::sync::Arc;
use std::time::Duration;

use orderlock_core::store::BreakLease;
use orderlock_core::{
    Denied, Ended, Interrupted, Limits, LockedOrder, Operation, Outcome, Principal, Recovery,
    Resolution, ResolveRequest, Tenant, Unresolved, Version,
};
use orderlock_testkit::faults::{Fault, FaultStore, Plan, Verb};

use crate::faults::Faulty;
use crate::world::{Counter, Ending, World, asking, creation, patient, request, settled, target};

/// So often is a verb repeated here.
const REPEATS: u32 = 2;
/// The first time, and every repeat.
const ALL: usize = 1 + REPEATS as usize;

async fn world() -> (World, Faulty) {
    let limits = Limits {
        repeats: REPEATS,
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

fn calls(store: &Faulty, verb: Verb) -> usize {
    let calls = store.calls().into_iter();
    calls.filter(|call| *call == verb).count()
}

/// The next calls of a verb fail like this, one after the other.
fn fail(store: &Faulty, verb: Verb, faults: impl IntoIterator<Item = Fault>) {
    let first = calls(store, verb) as u64 + 1;
    let planned = (first..).zip(faults);
    store.plan(planned.fold(Plan::new(), |plan, (call, fault)| {
        plan.at_call(verb, call, fault)
    }));
}

fn always(fault: Fault) -> impl Iterator<Item = Fault> {
    std::iter::repeat_n(fault, 50)
}

async fn failing(_: LockedOrder<Counter>) -> Result<Outcome<Counter>, String> {
    Err("down".to_owned())
}

/// Makes a checkpoint and gives back what came of it, in words.
async fn stopping(order: LockedOrder<Counter>) -> Result<Outcome<Counter>, Interrupted> {
    let order = order.checkpoint(Counter { count: 10 }).await?;
    Ok(Outcome::Applied(Counter {
        count: order.count + 1,
    }))
}

#[tokio::test]
async fn an_acquire_in_doubt_is_repeated_and_then_undone() {
    // An answer that does not come uses up the time in which its client is told.
    for (fault, tries) in [
        (Fault::FailAfter, ALL),
        (Fault::LoseRequest, ALL),
        (Fault::DropAnswer, 1),
    ] {
        let (world, store) = world().await;
        fail(&store, Verb::Acquire, always(fault.clone()));
        let ended = world.runtime.drive(world.add(request("k"))).await;
        assert!(
            matches!(ended, Ended::Denied(Denied::StoreUnavailable(_))),
            "{fault:?} {ended:?}"
        );
        assert_eq!(calls(&store, Verb::Acquire), tries, "{fault:?}");
        world.idle().await;
        World::assert_free(&world.view().await, 1, 0);
    }
}

#[tokio::test]
async fn an_acquire_that_did_not_happen_is_told_at_once() {
    let (world, store) = world().await;
    fail(&store, Verb::Acquire, always(Fault::FailBefore));
    let ended = world.add(request("k")).await;
    assert!(
        matches!(ended, Ended::Denied(Denied::StoreUnavailable(_))),
        "{ended:?}"
    );
    assert_eq!(calls(&store, Verb::Acquire), 1);
    assert_eq!(calls(&store, Verb::Undo), 0, "there is nothing to undo");
}

/// No handler has run, and so nothing can have happened outside: no mark is left to be resolved.
#[tokio::test]
async fn a_grant_that_is_undone_leaves_no_mark_that_only_an_operator_could_end() {
    let (world, store) = world().await;
    fail(&store, Verb::Acquire, always(Fault::FailAfter));
    let operation = Operation::named("pay").external(Recovery::Reconcile);
    let paying = asking(operation, "k", "{}");
    let ended = world.runtime.drive(world.add(paying)).await;
    assert!(
        matches!(ended, Ended::Denied(Denied::StoreUnavailable(_))),
        "{ended:?}"
    );
    World::assert_free(&world.view().await, 1, 0);
}

#[tokio::test]
async fn a_settle_is_repeated_and_its_end_says_what_is_known() {
    for (fault, unknown) in [
        (Fault::FailAfter, true),
        (Fault::LoseRequest, true),
        (Fault::FailBefore, false),
    ] {
        let (world, store) = world().await;
        fail(&store, Verb::Settle, always(fault.clone()));
        let ended = world.runtime.drive(world.add(request("k"))).await;
        match &ended {
            Ended::Unknown => assert!(unknown, "{fault:?}"),
            Ended::Denied(Denied::StoreUnavailable(_)) => assert!(!unknown, "{fault:?}"),
            other => panic!("{fault:?} {other:?}"),
        }
        assert_eq!(calls(&store, Verb::Settle), ALL, "{fault:?}");
    }
}

/// The settle is never given up, but its client is told after as long as the store may take.
#[tokio::test]
async fn a_client_waits_for_its_settle_no_longer_than_for_the_store() {
    let (world, store) = world().await;
    fail(
        &store,
        Verb::Settle,
        always(Fault::DropAnswer).take(ALL - 1),
    );
    let begun = world.runtime.elapsed();
    let ended = world.runtime.drive(world.add(request("k"))).await;
    assert!(matches!(ended, Ended::Unknown), "{ended:?}");
    let waited = world.runtime.elapsed() - begun;
    assert!(waited <= Limits::default().store + Duration::from_millis(50));
    let retry = world.runtime.drive(world.add(patient("k"))).await;
    assert_eq!(settled(retry), (r#"applied {"count":1}"#.into(), true));
    assert_eq!(calls(&store, Verb::Settle), ALL);
}

#[tokio::test]
async fn a_release_is_repeated_so_often_and_no_more() {
    for fault in [Fault::FailBefore, Fault::LoseRequest] {
        let (world, store) = world().await;
        fail(&store, Verb::Release, always(fault));
        let failed = world.lifecycle.run(request("k"), failing);
        let ended: Ending = world.runtime.drive(failed).await;
        assert!(matches!(ended, Ended::Failed { .. }), "{ended:?}");
        assert_eq!(calls(&store, Verb::Release), ALL);
    }
}

#[tokio::test]
async fn a_release_that_comes_through_at_its_last_repeat_frees_the_order() {
    let (world, store) = world().await;
    let all_but_one = always(Fault::FailBefore).take(ALL - 1);
    fail(&store, Verb::Release, all_but_one);
    let failed = world.lifecycle.run(request("k"), failing);
    let ended: Ending = world.runtime.drive(failed).await;
    assert!(matches!(ended, Ended::Failed { .. }), "{ended:?}");
    World::assert_free(&world.view().await, 1, 0);
}

#[tokio::test]
async fn a_creation_in_doubt_is_repeated_so_often_and_no_more() {
    let (world, store) = world().await;
    let before = calls(&store, Verb::Create);
    fail(&store, Verb::Create, always(Fault::LoseRequest));
    let creation = creation(Some("p"), "c", "body");
    let ended = world.lifecycle.create(creation, Counter { count: 5 });
    let ended = world.runtime.drive(ended).await;
    assert!(matches!(ended, Ended::Unknown), "{ended:?}");
    assert_eq!(calls(&store, Verb::Create) - before, ALL);
}

/// That a later try did not happen says nothing about the one before it: the next one tells.
#[tokio::test]
async fn a_creation_in_doubt_is_asked_about_until_the_same_key_tells() {
    let (world, store) = world().await;
    let before = calls(&store, Verb::Create);
    fail(&store, Verb::Create, [Fault::FailAfter, Fault::FailBefore]);
    let creation = creation(Some("p"), "c", "body");
    let ended = world.lifecycle.create(creation, Counter { count: 5 });
    let told = settled(world.runtime.drive(ended).await);
    assert_eq!(told, (r#"created {"count":5}"#.into(), true));
    assert_eq!(calls(&store, Verb::Create) - before, 3);
}

/// An operator is not told that nothing happened because the last of several tries did nothing.
#[tokio::test]
async fn a_break_that_may_have_happened_says_so_whatever_its_last_try_came_to() {
    let (world, store) = world().await;
    let (held, mut handler) = world.add_later(request("k"));
    handler.begun().await;
    let lease = world.view().await.lease.expect("it is held");
    let doubt = std::iter::once(Fault::FailAfter);
    fail(
        &store,
        Verb::BreakLease,
        doubt.chain(always(Fault::FailBefore)),
    );
    let broken = world.lifecycle.break_lease(BreakLease {
        tenant: Tenant::single(),
        lease: lease.id,
        actor: Principal::parse("operator").unwrap(),
        reason: "stuck".into(),
    });
    let error = world.runtime.drive(broken).await.unwrap_err();
    assert!(error.may_have_happened(), "{error:?}");
    handler.go();
    let ended = world.runtime.drive(held).await;
    assert!(matches!(ended, Ended::Lost { .. }), "{ended:?}");
}

#[tokio::test]
async fn a_creation_whose_answer_was_lost_once_is_told_by_its_repeat() {
    let (world, store) = world().await;
    fail(&store, Verb::Create, [Fault::FailAfter]);
    let creation = creation(Some("p"), "c", "body");
    let ended = world.lifecycle.create(creation, Counter { count: 5 });
    let told = settled(world.runtime.drive(ended).await);
    assert_eq!(told.0, r#"created {"count":5}"#);
}

#[tokio::test]
async fn a_creation_that_did_not_happen_is_told_at_once() {
    let (world, store) = world().await;
    let before = calls(&store, Verb::Create);
    fail(&store, Verb::Create, always(Fault::FailBefore));
    let creation = creation(Some("p"), "c", "body");
    let ended = world.lifecycle.create(creation, Counter { count: 5 }).await;
    assert!(
        matches!(ended, Ended::Denied(Denied::StoreUnavailable(_))),
        "{ended:?}"
    );
    assert_eq!(calls(&store, Verb::Create) - before, 1);
}

#[tokio::test]
async fn a_checkpoint_in_doubt_ends_the_attempt_in_doubt() {
    let (world, store) = world().await;
    fail(&store, Verb::Settle, always(Fault::FailAfter).take(ALL));
    let ended = world
        .runtime
        .drive(world.lifecycle.run(request("k"), stopping))
        .await;
    assert!(matches!(ended, Ended::Unknown), "{ended:?}");
    assert_eq!(calls(&store, Verb::Settle), ALL);
    // The retry finds that it had been applied, and is given it.
    let (told, replayed) = settled(world.add(patient("k")).await);
    assert_eq!(
        (told.as_str(), replayed),
        (r#"applied {"count":11}"#, false)
    );
    World::assert_free(&world.view().await, 3, 11);
}

#[tokio::test]
async fn a_checkpoint_that_did_not_happen_ends_the_attempt_as_lost() {
    let (world, store) = world().await;
    fail(&store, Verb::Settle, always(Fault::FailBefore));
    let ended = world
        .runtime
        .drive(world.lifecycle.run(request("k"), stopping))
        .await;
    assert!(
        matches!(ended, Ended::Lost { partial: None, .. }),
        "{ended:?}"
    );
    assert_eq!(calls(&store, Verb::Settle), ALL);
    World::assert_free(&world.view().await, 1, 0);
}

/// A retry runs on what the checkpoint has left, so the client must know of it.
#[tokio::test]
async fn a_settle_that_did_not_happen_says_what_a_checkpoint_had_applied() {
    let (world, store) = world().await;
    let first = calls(&store, Verb::Settle) as u64 + 2;
    let failed = |plan: Plan, call| plan.at_call(Verb::Settle, call, Fault::FailBefore);
    store.plan((first..first + ALL as u64).fold(Plan::new(), failed));
    let ended = world
        .runtime
        .drive(world.lifecycle.run(request("k"), stopping))
        .await;
    let Ended::Lost {
        partial: Some(partial),
        marked: false,
    } = ended
    else {
        panic!("{ended:?}")
    };
    assert_eq!(partial.version, Version(2));
    World::assert_free(&world.view().await, 2, 10);
}

#[tokio::test]
async fn a_decision_in_doubt_is_repeated_so_often_and_no_more() {
    let lost = always(Fault::LoseRequest).take(ALL).collect::<Vec<_>>();
    let doubt_then_certainty = vec![Fault::FailAfter, Fault::FailBefore, Fault::FailBefore];
    for faults in [lost, doubt_then_certainty] {
        let (world, store) = world().await;
        let operation = Operation::named("pay").external(Recovery::Reconcile);
        let marked = world.lifecycle.run(asking(operation, "k", "{}"), failing);
        assert!(matches!(marked.await, Ended::Failed { marked: true, .. }));
        let decision = ResolveRequest::<Counter> {
            target: target("o"),
            mark: world.view().await.lease.expect("the mark stays").id,
            resolution: Resolution::RunAgain,
            expected: None,
            actor: Principal::parse("operator").unwrap(),
            reason: "the bank was asked".into(),
        };
        fail(&store, Verb::Resolve, faults);
        let resolving = world.lifecycle.resolve(decision.clone());
        let resolved = world.runtime.drive(resolving).await;
        assert!(matches!(resolved, Err(Unresolved::Unknown)), "{resolved:?}");
        assert_eq!(calls(&store, Verb::Resolve), ALL);
        // The same request tells.
        world.lifecycle.resolve(decision).await.unwrap();
        assert_eq!(world.entries().await.len(), 1);
    }
}
