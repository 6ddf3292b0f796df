//! How an attempt ends: each row of the coverage matrix, and each way to fail.

use std::sync::Arc;
use std::time::Duration;

use orderlock_core::{
    Denied, Ended, Failed, LockedOrder, Operation, Outcome, OutcomeKind, Problem,
};
use tokio::sync::Notify;

use crate::world::{Counter, Ending, World, asking, request, settled};

fn refusal() -> Problem {
    Problem::new(409, "no", "No")
}

#[tokio::test]
async fn applied_updates_and_unlocks_in_one_write() {
    let world = World::new().await;
    let ended = world.add(request("k")).await;
    assert_eq!(settled(ended), (r#"applied {"count":1}"#.into(), false));
    World::assert_free(&world.view().await, 2, 1);
    assert_eq!(world.outcomes().await, [OutcomeKind::Applied]);
    assert_eq!(
        settled(world.add(request("k")).await),
        (r#"applied {"count":1}"#.into(), true)
    );
    World::assert_free(&world.view().await, 2, 1);
}

#[tokio::test]
async fn a_handled_error_with_a_change_applies_it_and_keeps_its_status() {
    let world = World::new().await;
    let run = || {
        let work = |_: LockedOrder<Counter>| async {
            Ok(Outcome::AppliedWithError(Counter { count: 7 }, refusal()))
        };
        let ended: std::pin::Pin<Box<dyn Future<Output = Ending>>> =
            Box::pin(world.lifecycle.run(request("k"), work));
        ended
    };
    let Ended::Settled {
        answer,
        replayed: false,
        ..
    } = run().await
    else {
        panic!("not settled")
    };
    assert_eq!(answer.status, 409);
    World::assert_free(&world.view().await, 2, 7);
    assert_eq!(world.outcomes().await, [OutcomeKind::AppliedWithError]);
    let Ended::Settled {
        answer: again,
        replayed: true,
        ..
    } = run().await
    else {
        panic!("not replayed")
    };
    assert_eq!(answer, again);
}

#[tokio::test]
async fn a_refusal_unlocks_and_is_stored_and_moves_no_version() {
    let world = World::new().await;
    let work = |_: LockedOrder<Counter>| async { Ok::<_, String>(Outcome::Refused(refusal())) };
    let ended = world.lifecycle.run(request("k"), work).await;
    assert_eq!(settled(ended), (r#"refused {"count":0}"#.into(), false));
    World::assert_free(&world.view().await, 1, 0);
    assert_eq!(world.outcomes().await, [OutcomeKind::Refused]);
    assert_eq!(
        settled(world.add(request("k")).await),
        (r#"refused {"count":0}"#.into(), true)
    );
}

#[tokio::test]
async fn an_operation_may_opt_out_of_stored_refusals() {
    let world = World::new().await;
    let request = asking(Operation::named("add").without_stored_refusals(), "k", "{}");
    let work = |_: LockedOrder<Counter>| async { Ok::<_, String>(Outcome::Refused(refusal())) };
    let ended = world.lifecycle.run(request.clone(), work).await;
    assert!(
        matches!(&ended, Ended::Refused(answer) if answer.status == 409),
        "{ended:?}"
    );
    World::assert_free(&world.view().await, 1, 0);
    assert_eq!(world.outcomes().await, []);
    assert!(!settled(world.add(request).await).1, "a retry runs again");
}

#[tokio::test]
async fn a_same_state_request_is_a_stored_success_that_moves_no_version() {
    let world = World::new().await;
    let work = |_: LockedOrder<Counter>| async { Ok::<_, String>(Outcome::Unchanged) };
    let ended = world.lifecycle.run(request("k"), work).await;
    assert_eq!(settled(ended), (r#"unchanged {"count":0}"#.into(), false));
    World::assert_free(&world.view().await, 1, 0);
    assert_eq!(
        settled(world.add(request("k")).await),
        (r#"unchanged {"count":0}"#.into(), true)
    );
}

#[tokio::test]
async fn an_error_unlocks_and_a_retry_runs_again_even_with_another_body() {
    let world = World::new().await;
    let work = |_: LockedOrder<Counter>| async { Err::<Outcome<Counter>, _>("down".to_owned()) };
    let ended = world.lifecycle.run(request("k"), work).await;
    let Ended::Failed {
        failure: Failed::Error(error),
        partial: None,
        marked: false,
    } = ended
    else {
        panic!("{ended:?}")
    };
    assert_eq!(error, "down");
    World::assert_free(&world.view().await, 1, 0);
    assert_eq!(world.outcomes().await, []);
    let other = asking(Operation::named("add"), "k", r#"{"other":1}"#);
    assert_eq!(
        settled(world.add(other).await),
        (r#"applied {"count":1}"#.into(), false)
    );
}

#[tokio::test]
async fn a_panic_unlocks_wherever_it_strikes() {
    let world = World::new().await;
    let at_once =
        |_: LockedOrder<Counter>| -> std::future::Ready<Result<Outcome<Counter>, String>> {
            panic!("before there is a future")
        };
    let later = |_: LockedOrder<Counter>| async {
        tokio::task::yield_now().await;
        panic!("in the future");
        #[allow(unreachable_code)]
        Ok::<_, String>(Outcome::Unchanged)
    };
    for (key, ended) in [
        ("a", world.lifecycle.run(request("a"), at_once).await),
        ("b", world.lifecycle.run(request("b"), later).await),
    ] {
        assert!(
            matches!(
                ended,
                Ended::Failed {
                    failure: Failed::Panicked,
                    ..
                }
            ),
            "{key} {ended:?}"
        );
        World::assert_free(&world.view().await, 1, 0);
    }
    assert!(
        !settled(world.add(request("a")).await).1,
        "a retry runs again"
    );
}

#[tokio::test]
async fn a_handler_past_its_limit_is_released_and_what_it_returns_is_ignored() {
    let world = World::new().await;
    let (ended, mut handler) = world.add_later(request("k"));
    handler.begun().await;
    world.runtime.advance(Duration::from_secs(31));
    let ended = ended.await;
    assert!(
        matches!(
            ended,
            Ended::Failed {
                failure: Failed::TimedOut,
                ..
            }
        ),
        "{ended:?}"
    );
    World::assert_free(&world.view().await, 1, 0);
    assert_eq!(
        settled(world.add(request("k")).await),
        (r#"applied {"count":1}"#.into(), false)
    );
}

/// Panics when it is dropped, and says that it was.
struct Bomb(Arc<Notify>);

impl Drop for Bomb {
    fn drop(&mut self) {
        self.0.notify_one();
        panic!("in the drop");
    }
}

#[tokio::test]
async fn a_panic_in_the_drop_of_a_handler_that_hit_its_limit_harms_nobody() {
    let world = World::new().await;
    let dropped = Arc::new(Notify::new());
    let bomb = Bomb(Arc::clone(&dropped));
    let (begin, begun) = tokio::sync::oneshot::channel();
    let work = move |_: LockedOrder<Counter>| async move {
        let _bomb = bomb;
        begin.send(()).unwrap();
        std::future::pending::<Result<Outcome<Counter>, String>>().await
    };
    let ended = world.lifecycle.run(request("k"), work);
    begun.await.unwrap();
    world.runtime.advance(Duration::from_secs(31));
    let ended = ended.await;
    assert!(
        matches!(
            ended,
            Ended::Failed {
                failure: Failed::TimedOut,
                ..
            }
        ),
        "{ended:?}"
    );
    dropped.notified().await;
    World::assert_free(&world.view().await, 1, 0);
    assert!(!settled(world.add(request("l")).await).1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_handler_that_blocks_its_thread_is_released_at_its_limit_all_the_same() {
    let world = World::new().await;
    let (begin, begun) = tokio::sync::oneshot::channel();
    let (unblock, blocked) = std::sync::mpsc::channel::<()>();
    let work = move |_: LockedOrder<Counter>| async move {
        begin.send(()).unwrap();
        let _until_the_test_is_over = blocked.recv();
        Ok::<_, String>(Outcome::Applied(Counter { count: 100 }))
    };
    let ended = world.lifecycle.run(request("k"), work);
    begun.await.unwrap();
    world.runtime.advance(Duration::from_secs(31));
    let ended = ended.await;
    assert!(
        matches!(
            ended,
            Ended::Failed {
                failure: Failed::TimedOut,
                ..
            }
        ),
        "{ended:?}"
    );
    World::assert_free(&world.view().await, 1, 0);
    drop(unblock);
    assert_eq!(
        settled(world.add(request("k")).await),
        (r#"applied {"count":1}"#.into(), false)
    );
}

#[tokio::test]
async fn a_client_that_goes_away_after_the_grant_changes_nothing() {
    let world = World::new().await;
    let (ended, mut handler) = world.add_later(request("k"));
    handler.begun().await;
    drop(ended);
    let retry = world.add(crate::world::patient("k"));
    world.waiting(1).await;
    handler.go();
    assert_eq!(
        settled(retry.await),
        (r#"applied {"count":1}"#.into(), true)
    );
    World::assert_free(&world.view().await, 2, 1);
}

#[tokio::test]
async fn an_unknown_order_and_another_version_are_told_without_a_run() {
    let world = World::new().await;
    let mut absent = request("k");
    absent.order = orderlock_core::OrderId::parse("absent").unwrap();
    let ended = world.add(absent).await;
    assert!(
        matches!(ended, Ended::Denied(Denied::NotFound)),
        "{ended:?}"
    );

    let mut expecting = request("k");
    expecting.expected = Some(orderlock_core::Version(5));
    let ended = world.add(expecting.clone()).await;
    let Ended::Denied(Denied::VersionMismatch { current }) = ended else {
        panic!("{ended:?}")
    };
    expecting.expected = Some(current);
    assert!(!settled(world.add(expecting.clone()).await).1);
    // The version has moved, and a retry is still answered: it is compared at the grant only.
    assert!(settled(world.add(expecting).await).1);
}

#[tokio::test]
async fn a_lease_voided_while_the_handler_runs_is_lost_and_damages_nothing() {
    let world = World::new().await;
    let (ended, mut handler) = world.add_later(request("k"));
    handler.begun().await;
    world.memory.void_all_leases();
    handler.go();
    let ended = ended.await;
    assert!(
        matches!(
            ended,
            Ended::Lost {
                partial: None,
                marked: false
            }
        ),
        "{ended:?}"
    );
    World::assert_free(&world.view().await, 1, 0);
    assert_eq!(
        settled(world.add(request("k")).await),
        (r#"applied {"count":1}"#.into(), false)
    );
}
