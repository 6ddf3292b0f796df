//! Whoever asks is told within the limit for the store, whatever the store does; what has to go on
//! goes on without the client.

use std::time::Duration;

use futures_util::FutureExt as _;
use orderlock_core::store::{BreakLease, History, Leases, List, Read};
use orderlock_core::{
    Denied, Ended, LeaseId, Limits, LockedOrder, OperationRequest, Outcome, Principal, Resolution,
    ResolveRequest, StoreError, Tenant,
};
use orderlock_testkit::faults::{Fault, Gate, Plan, Verb};

use crate::faults::{Faulty, world};
use crate::world::{Counter, Ending, World, creation, patient, request, settled, target};

const STORE: Duration = Duration::from_secs(5);

/// From now on no call of these verbs is answered.
fn hang(store: &Faulty, verbs: &[Verb]) {
    let calls = store.calls();
    let plan = verbs.iter().fold(Plan::new(), |plan, verb| {
        let before = calls.iter().filter(|call| *call == verb).count() as u64;
        (1..=99).fold(plan, |plan, call| {
            plan.at_call(*verb, before + call, Fault::Hang)
        })
    });
    store.plan(plan);
}

/// How long it takes until a future is there.
async fn timed<F: Future>(world: &World, future: F) -> (F::Output, Duration) {
    let begun = world.runtime.elapsed();
    let output = world.runtime.drive(future).await;
    (output, world.runtime.elapsed() - begun)
}

#[track_caller]
fn assert_in_time(took: Duration, limit: Duration) {
    // The clock of the test goes on in steps.
    let step = Duration::from_millis(50);
    assert!(took <= limit + step, "it took {took:?}");
}

async fn failing(_: LockedOrder<Counter>) -> Result<Outcome<Counter>, String> {
    Err("down".to_owned())
}

#[tokio::test]
async fn an_acquire_that_hangs_is_told_and_taken_back_without_the_client() {
    assert_eq!(Limits::default().store, STORE);
    let (world, store) = world().await;
    hang(&store, &[Verb::Acquire, Verb::Undo, Verb::Release]);
    let (ended, took) = timed(&world, world.add(request("k"))).await;
    assert!(
        matches!(ended, Ended::Denied(Denied::StoreUnavailable(_))),
        "{ended:?}"
    );
    assert_in_time(took, STORE);
    assert_eq!(world.lifecycle.in_flight(), 1, "it still takes it back");
    world.idle().await;
}

#[tokio::test]
async fn a_wait_in_line_adds_to_the_time_and_nothing_else_does() {
    let (world, store) = world().await;
    let (_first, mut handler) = world.add_later(request("first"));
    handler.begun().await;
    hang(&store, &[Verb::Lookup]);
    let wait = Duration::from_secs(7);
    let waiting = world.add(OperationRequest {
        wait,
        ..request("k")
    });
    let (ended, took) = timed(&world, waiting).await;
    assert!(matches!(ended, Ended::Denied(_)), "{ended:?}");
    assert_in_time(took, wait + STORE);
    let (ended, took) = timed(&world, world.add(request("l"))).await;
    assert!(matches!(ended, Ended::Denied(_)), "{ended:?}");
    assert_in_time(took, STORE);
}

/// Whoever stands behind one that waits for the store waits no longer than for the store.
#[tokio::test]
async fn nobody_waits_for_the_front_longer_than_for_the_store() {
    let (world, store) = world().await;
    hang(&store, &[Verb::Acquire, Verb::Undo]);
    let patient = world.add(patient("patient"));
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
    let (ended, took) = timed(&world, world.add(request("k"))).await;
    assert!(matches!(ended, Ended::Denied(_)), "{ended:?}");
    assert_in_time(took, STORE);
    drop(patient);
}

#[tokio::test]
async fn a_failure_is_told_though_its_release_hangs() {
    let (world, store) = world().await;
    hang(&store, &[Verb::Release]);
    let failed = world.lifecycle.run(request("k"), failing);
    let (ended, took) = timed(&world, failed).await;
    let ended: Ending = ended;
    assert!(matches!(ended, Ended::Failed { .. }), "{ended:?}");
    assert_in_time(took, STORE);
}

#[tokio::test]
async fn a_settle_that_hangs_is_told_as_unknown() {
    let (world, store) = world().await;
    hang(&store, &[Verb::Settle, Verb::Release]);
    let (ended, took) = timed(&world, world.add(request("k"))).await;
    assert!(matches!(ended, Ended::Unknown), "{ended:?}");
    assert_in_time(took, STORE);
}

/// What one step has used up, the next one does not have.
#[tokio::test]
async fn all_steps_together_have_one_time() {
    let (world, store) = world().await;
    let acquiring = Gate::new();
    store.fail_next(Verb::Acquire, Fault::DelayAfter(acquiring.clone()));
    hang(&store, &[Verb::Settle, Verb::Release]);
    let begun = world.runtime.elapsed();
    let ended = world.add(request("k"));
    acquiring.reached(1).await;
    world.runtime.advance(STORE - Duration::from_secs(1));
    acquiring.open();
    let ended = world.runtime.drive(ended).await;
    assert!(matches!(ended, Ended::Unknown), "{ended:?}");
    assert_in_time(world.runtime.elapsed() - begun, STORE);
}

#[tokio::test]
async fn a_handler_that_takes_its_time_leaves_the_stores_time_as_it_was() {
    let (world, store) = world().await;
    let (ended, mut handler) = world.add_later(request("k"));
    handler.begun().await;
    world.runtime.advance(STORE * 3);
    hang(&store, &[Verb::Settle, Verb::Release]);
    handler.go();
    let (ended, took) = timed(&world, ended).await;
    assert!(matches!(ended, Ended::Unknown), "{ended:?}");
    assert_in_time(took, STORE);
}

#[tokio::test]
async fn a_creation_is_told_in_time() {
    let (world, store) = world().await;
    hang(&store, &[Verb::Create]);
    let creation = creation(Some("p"), "c", "body");
    let create = world.lifecycle.create(creation, Counter { count: 0 });
    let (ended, took) = timed(&world, create).await;
    assert!(matches!(ended, Ended::Unknown), "{ended:?}");
    assert_in_time(took, STORE);
}

#[tokio::test]
async fn a_node_that_cannot_join_says_so_in_time() {
    let (world, store) = world().await;
    hang(&store, &[Verb::Join]);
    let node = World::node(&world.store, &world.runtime, "node-2", Limits::default());
    let first = node.run(request("k"), failing);
    let (ended, took) = timed(&world, first).await;
    let ended: Ending = ended;
    assert!(
        matches!(ended, Ended::Denied(Denied::StoreUnavailable(_))),
        "{ended:?}"
    );
    assert_in_time(took, STORE);
}

#[tokio::test]
async fn whoever_only_looks_is_told_in_time() {
    let (world, store) = world().await;
    hang(
        &store,
        &[
            Verb::Read,
            Verb::List,
            Verb::History,
            Verb::Leases,
            Verb::Lookup,
            Verb::BreakLease,
        ],
    );
    let node = &world.lifecycle;
    let asked = request("k");
    let tenant = Tenant::single();
    let (limit, cursor) = (9, None);
    let target = target("o");
    let looks = [
        node.read(Read {
            target: target.clone(),
        })
        .map(|read| read.err())
        .boxed(),
        node.list(List {
            tenant: tenant.clone(),
            filter: orderlock_core::store::Filter::default(),
            limit,
            cursor: cursor.clone(),
        })
        .map(|list| list.err())
        .boxed(),
        node.history(History {
            target,
            limit,
            cursor: cursor.clone(),
        })
        .map(|history| history.err())
        .boxed(),
        node.leases(Leases {
            tenant: tenant.clone(),
            limit,
            cursor,
        })
        .map(|leases| leases.err())
        .boxed(),
        node.break_lease(BreakLease {
            tenant,
            lease: LeaseId("lck_0".into()),
            actor: Principal::parse("operator").unwrap(),
            reason: "it hangs".into(),
        })
        .map(|broken| broken.err())
        .boxed(),
    ];
    for look in looks {
        let (error, took) = timed(&world, look).await;
        let error = error.expect("nobody answers");
        assert!(matches!(error, StoreError::OutcomeUnknown(_)), "{error:?}");
        assert_in_time(took, STORE);
    }
    let status = node.status(&asked.caller, &asked.order, &asked.key);
    let (status, took) = timed(&world, status).await;
    assert!(
        matches!(status, Err(Denied::StoreUnavailable(_))),
        "{status:?}"
    );
    assert_in_time(took, STORE);
}

#[tokio::test]
async fn a_decision_is_told_in_time() {
    let (world, store) = world().await;
    let operation =
        orderlock_core::Operation::named("pay").external(orderlock_core::Recovery::Reconcile);
    let marked = world
        .lifecycle
        .run(crate::world::asking(operation, "k", "{}"), failing);
    assert!(matches!(marked.await, Ended::Failed { marked: true, .. }));
    let decision = ResolveRequest::<Counter> {
        target: target("o"),
        mark: world.view().await.lease.expect("the mark stays").id,
        resolution: Resolution::RunAgain,
        expected: None,
        actor: Principal::parse("operator").unwrap(),
        reason: "the bank was asked".into(),
    };
    hang(&store, &[Verb::Resolve]);
    let resolve = world.lifecycle.resolve(decision);
    let (resolved, took) = timed(&world, resolve).await;
    assert!(
        matches!(resolved, Err(orderlock_core::Unresolved::Unknown)),
        "{resolved:?}"
    );
    assert_in_time(took, STORE);
}

/// The client has been told, and the order is free as soon as the store is back.
#[tokio::test]
async fn what_a_client_no_longer_waits_for_is_done_all_the_same() {
    let (world, store) = world().await;
    let releasing = Gate::new();
    store.fail_next(Verb::Release, Fault::DelayBefore(releasing.clone()));
    let failed = world.lifecycle.run(request("k"), failing);
    let ended: Ending = world.runtime.drive(failed).await;
    assert!(matches!(ended, Ended::Failed { .. }), "{ended:?}");
    releasing.open();
    let next = world.runtime.drive(world.add(patient("l"))).await;
    assert_eq!(settled(next), (r#"applied {"count":1}"#.into(), false));
    World::assert_free(&world.view().await, 2, 1);
}
