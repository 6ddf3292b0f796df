//! Clients that go away at the moment of the grant, and what they leave to others.

use std::time::Duration;

use orderlock_core::{
    Denied, Ended, LeaseViewState, LockedOrder, Operation, OperationRequest, Outcome, Recovery,
};
use orderlock_testkit::faults::{Fault, Gate, Plan, Verb};

use crate::faults::world;
use crate::world::{Counter, Ending, World, asking, patient, request, settled};

/// Lets everything happen that happens without the clock.
async fn settle_down() {
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
}

fn resumable() -> Operation {
    Operation::named("pay").external(Recovery::Resume {
        times: 9,
        within: Duration::from_secs(3600),
    })
}

fn paying(key: &str) -> OperationRequest {
    asking(resumable(), key, "{}")
}

async fn failing(order: LockedOrder<Counter>) -> Result<Outcome<Counter>, String> {
    drop(order);
    Err("down".to_owned())
}

/// A retry that comes while the grant of a client that went away is given back is a request of
/// its own: it is never told how the operation before it ended.
#[tokio::test]
async fn a_retry_is_never_told_the_answer_of_another_operation() {
    let (world, store) = world().await;
    let (first, mut handler) = world.add_later(request("first"));
    handler.begun().await;
    let gone = world.add(patient("second"));
    world.waiting(1).await;
    let (settling, releasing) = (Gate::new(), Gate::new());
    store.fail_next(Verb::Settle, Fault::DelayAfter(settling.clone()));
    store.fail_next(Verb::Undo, Fault::DelayBefore(releasing.clone()));
    handler.go();
    settling.reached(1).await;
    drop(gone);
    settle_down().await;
    settling.open();
    releasing.reached(1).await;
    let retry = world.add(patient("second"));
    settle_down().await;
    releasing.open();
    assert_eq!(
        settled(first.await),
        (r#"applied {"count":1}"#.into(), false)
    );
    assert_eq!(
        settled(retry.await),
        (r#"applied {"count":2}"#.into(), false)
    );
    World::assert_free(&world.view().await, 3, 2);
}

#[tokio::test]
async fn a_retry_that_comes_while_the_grant_is_given_back_waits_and_runs() {
    let (world, store) = world().await;
    let (acquiring, releasing) = (Gate::new(), Gate::new());
    store.fail_next(Verb::Acquire, Fault::DelayAfter(acquiring.clone()));
    store.fail_next(Verb::Undo, Fault::DelayBefore(releasing.clone()));
    let gone = world.add(request("k"));
    acquiring.reached(1).await;
    drop(gone);
    acquiring.open();
    releasing.reached(1).await;
    let retry = world.add(patient("k"));
    settle_down().await;
    releasing.open();
    assert_eq!(
        settled(retry.await),
        (r#"applied {"count":1}"#.into(), false)
    );
}

/// Whoever is granted the order by a hand-over may have gone by then, and so may the next one.
#[tokio::test]
async fn a_grant_that_nobody_takes_is_released_to_whoever_still_waits() {
    let (world, store) = world().await;
    let (first, mut handler) = world.add_later(request("first"));
    handler.begun().await;
    let (gone, mut never) = world.add_later(patient("gone"));
    world.waiting(1).await;
    let (gone_too, mut never_too) = world.add_later(patient("gone-too"));
    world.waiting(2).await;
    let last = world.add(patient("last"));
    world.waiting(3).await;
    let (settling, releasing) = (Gate::new(), Gate::new());
    store.fail_next(Verb::Settle, Fault::DelayAfter(settling.clone()));
    store.fail_next(Verb::Undo, Fault::DelayAfter(releasing.clone()));
    handler.go();
    settling.reached(1).await;
    drop(gone);
    settle_down().await;
    settling.open();
    releasing.reached(1).await;
    drop(gone_too);
    settle_down().await;
    releasing.open();
    settled(first.await);
    assert_eq!(
        settled(last.await),
        (r#"applied {"count":2}"#.into(), false)
    );
    assert!(!never.has_begun() && !never_too.has_begun());
    World::assert_free(&world.view().await, 3, 2);
}

/// Whoever comes and goes while a grant is given back takes nobody's place along.
#[tokio::test]
async fn a_passing_client_leaves_the_line_as_it_was() {
    let (world, store) = world().await;
    let (first, mut handler) = world.add_later(request("first"));
    handler.begun().await;
    let gone = world.add(patient("gone"));
    world.waiting(1).await;
    let behind = world.add(patient("behind"));
    world.waiting(2).await;
    let (settling, releasing) = (Gate::new(), Gate::new());
    store.fail_next(Verb::Settle, Fault::DelayAfter(settling.clone()));
    store.fail_next(Verb::Undo, Fault::DelayBefore(releasing.clone()));
    handler.go();
    settling.reached(1).await;
    drop(gone);
    settle_down().await;
    settling.open();
    releasing.reached(1).await;
    let passing = world.add(patient("passing"));
    settle_down().await;
    drop(passing);
    settle_down().await;
    releasing.open();
    settled(first.await);
    assert_eq!(
        settled(behind.await),
        (r#"applied {"count":2}"#.into(), false)
    );
    World::assert_free(&world.view().await, 3, 2);
}

#[tokio::test]
async fn a_grant_that_nobody_takes_or_waits_for_leaves_the_order_free() {
    let (world, store) = world().await;
    let (first, mut handler) = world.add_later(request("first"));
    handler.begun().await;
    let gone = world.add(patient("gone"));
    world.waiting(1).await;
    let settling = Gate::new();
    store.fail_next(Verb::Settle, Fault::DelayAfter(settling.clone()));
    handler.go();
    settling.reached(1).await;
    drop(gone);
    settle_down().await;
    settling.open();
    settled(first.await);
    settle_down().await;
    World::assert_free(&world.view().await, 2, 1);
    assert_eq!(world.lifecycle.in_flight(), 0);
}

/// The order was asked for under the fence of the one that went away.
#[tokio::test]
async fn whoever_takes_the_place_of_another_releases_what_that_one_was_granted() {
    let world = World::new().await;
    let (first, mut handler) = world.add_later(request("k"));
    handler.begun().await;
    let gone = world.add(patient("same"));
    world.waiting(1).await;
    let equal = world.lifecycle.run(patient("same"), failing);
    world.waiting(2).await;
    drop(gone);
    settle_down().await;
    handler.go();
    settled(first.await);
    let ended = equal.await;
    assert!(matches!(ended, Ended::Failed { .. }), "{ended:?}");
    World::assert_free(&world.view().await, 2, 1);
}

async fn assert_marked(world: &World) {
    let lease = world.view().await.lease.expect("the mark stays");
    assert_eq!(lease.state, LeaseViewState::Marked);
}

/// An earlier run may have paid. That nobody ran this time says nothing about that.
#[tokio::test]
async fn a_grant_that_was_not_used_leaves_the_mark_of_an_earlier_run() {
    let (world, store) = world().await;
    let ended: Ending = world.lifecycle.run(paying("k"), failing).await;
    assert!(
        matches!(ended, Ended::Failed { marked: true, .. }),
        "{ended:?}"
    );
    assert_marked(&world).await;

    let acquiring = Gate::new();
    store.fail_next(Verb::Acquire, Fault::DelayAfter(acquiring.clone()));
    let gone = world.add(paying("k"));
    acquiring.reached(1).await;
    drop(gone);
    acquiring.open();
    settle_down().await;
    assert_eq!(world.lifecycle.in_flight(), 0);
    assert_marked(&world).await;

    let (first, mut handler) = world.add_later(paying("k"));
    handler.begun().await;
    drop(handler);
    assert!(matches!(first.await, Ended::Failed { .. }));
    assert_marked(&world).await;
}

#[tokio::test]
async fn a_grant_whose_answer_is_lost_leaves_the_mark_of_an_earlier_run() {
    let (world, store) = world().await;
    let _failed: Ending = world.lifecycle.run(paying("k"), failing).await;
    let lost = |plan: Plan, call| plan.at_call(Verb::Acquire, call, Fault::FailAfter);
    store.plan((2..=5).fold(Plan::new(), lost));
    let ended = world.runtime.drive(world.add(paying("k"))).await;
    assert!(
        matches!(ended, Ended::Denied(Denied::StoreUnavailable(_))),
        "{ended:?}"
    );
    assert_marked(&world).await;
}

#[tokio::test]
async fn a_first_grant_that_was_not_used_leaves_nothing() {
    for operation in [
        resumable(),
        Operation::named("pay").external(Recovery::Reconcile),
    ] {
        let (world, store) = world().await;
        let acquiring = Gate::new();
        store.fail_next(Verb::Acquire, Fault::DelayAfter(acquiring.clone()));
        let gone = world.add(asking(operation, "k", "{}"));
        acquiring.reached(1).await;
        drop(gone);
        acquiring.open();
        settle_down().await;
        World::assert_free(&world.view().await, 1, 0);
    }
}

/// The handler has called the outside, and its outcome could not be written.
#[tokio::test]
async fn a_settle_that_did_not_happen_says_that_the_mark_stays() {
    let (world, store) = world().await;
    let failed = |plan: Plan, call| plan.at_call(Verb::Settle, call, Fault::FailBefore);
    store.plan((1..=4).fold(Plan::new(), failed));
    let ended = world.runtime.drive(world.add(paying("k"))).await;
    assert!(
        matches!(ended, Ended::Lost { marked: true, .. }),
        "{ended:?}"
    );
    assert_marked(&world).await;
}
