//! What a handler declares of a failure, it declares of that failure and of no other.

use std::time::Duration;

use orderlock_core::{
    Ended, Failed, HandlerError, LeaseViewState, LockedOrder, Operation, OperationRequest, Outcome,
    Recovery, Undone,
};

use crate::world::{Counter, Ending, World, asking, request, settled};

type Told = Result<Outcome<Counter>, Undone<String>>;

fn paying(recovery: Recovery) -> OperationRequest {
    asking(Operation::named("pay").external(recovery), "k", "{}")
}

fn resumable() -> Recovery {
    Recovery::Resume {
        times: 9,
        within: Duration::from_secs(3_600),
    }
}

/// Runs a handler of an external operation, and says whether its client was told that the outcome
/// is unknown.
async fn pay<F>(
    world: &World,
    recovery: Recovery,
    work: impl FnOnce(LockedOrder<Counter>) -> F + Send + 'static,
) -> bool
where
    F: Future<Output = Told> + Send + 'static,
{
    let ended = world.lifecycle.run(paying(recovery), work).await;
    let ended: Ending = ended.map_error(Undone::into_error);
    let Ended::Failed {
        failure: Failed::Error(_),
        marked,
        ..
    } = ended
    else {
        panic!("{ended:?}")
    };
    marked
}

async fn unreachable(order: LockedOrder<Counter>) -> Told {
    Err(order.without_effect("the connection was refused"))
}

async fn timed_out(_: LockedOrder<Counter>) -> Told {
    Err("nobody answered".to_owned())?
}

async fn assert_marked(world: &World, attempt: u32) {
    let lease = world.view().await.lease.expect("the mark stays");
    assert_eq!(
        (lease.state, lease.attempt),
        (LeaseViewState::Marked, attempt)
    );
}

/// The first bank declines, which is harmless, so another one is tried; that one takes the money and
/// its answer is lost.
#[tokio::test]
async fn a_failure_that_is_survived_takes_no_later_ones_mark_along() {
    let world = World::new().await;
    let marked = pay(&world, Recovery::Reconcile, |order| async move {
        let declined = unreachable(order).await;
        assert!(declined.is_err_and(|declined| declined.is_without_effect()));
        Err("the second bank timed out".to_owned())?
    });
    assert!(marked.await);
    assert_marked(&world, 1).await;
}

#[tokio::test]
async fn every_error_that_is_not_declared_leaves_the_mark() {
    let world = World::new().await;
    assert!(pay(&world, Recovery::Reconcile, timed_out).await);
    assert_marked(&world, 1).await;
}

/// A retry reaches nobody. That says nothing about the first run, which may have paid.
#[tokio::test]
async fn a_declaration_about_one_run_says_nothing_about_the_runs_before_it() {
    let world = World::new().await;
    assert!(pay(&world, resumable(), timed_out).await);
    assert!(
        pay(&world, resumable(), unreachable).await,
        "the outcome of the first run is as unknown as before"
    );
    assert_marked(&world, 1).await;
    let other = world.add(request("other")).await;
    assert!(
        matches!(
            other,
            Ended::Denied(orderlock_core::Denied::OutcomeUnknown(_))
        ),
        "{other:?}"
    );
    // The key's own retry resumes it.
    let ended = world.add(paying(resumable())).await;
    assert!(!settled(ended).1);
}

/// After a checkpoint there is something to go on from, and nothing that is unknown.
#[tokio::test]
async fn a_declared_failure_after_a_checkpoint_leaves_no_mark() {
    let world = World::new().await;
    let marked = pay(&world, Recovery::Reconcile, |order| async move {
        let order = order.checkpoint(Counter { count: 10 }).await;
        unreachable(order.unwrap()).await
    });
    assert!(!marked.await);
    World::assert_free(&world.view().await, 2, 10);
}

#[tokio::test]
async fn an_operation_without_a_mark_fails_as_ever() {
    let world = World::new().await;
    let ended = world.lifecycle.run(request("k"), unreachable).await;
    let ended: Ending = ended.map_error(Undone::into_error);
    assert!(
        matches!(ended, Ended::Failed { marked: false, .. }),
        "{ended:?}"
    );
    World::assert_free(&world.view().await, 1, 0);
}
