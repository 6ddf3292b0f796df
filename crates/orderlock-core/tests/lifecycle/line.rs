//! Waiting in line on one node.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::future::join_all;
use orderlock_core::{
    Denied, Ended, Limits, LockedOrder, Operation, OperationRequest, Outcome, Version,
};

use crate::world::{Counter, World, asking, patient, request, settled};

#[tokio::test]
async fn first_come_first_served() {
    let world = World::new().await;
    let (first, mut handler) = world.add_later(request("first"));
    handler.begun().await;
    let ran = Arc::new(Mutex::new(Vec::new()));
    let mut waiting = Vec::new();
    for number in 0..10 {
        let ran = Arc::clone(&ran);
        let work = move |order: LockedOrder<Counter>| async move {
            ran.lock().unwrap().push(number);
            Ok::<_, String>(Outcome::Applied(Counter {
                count: order.count + 1,
            }))
        };
        waiting.push(world.lifecycle.run(patient(&format!("k{number}")), work));
        world.waiting(number + 1).await;
    }
    handler.go();
    settled(first.await);
    for ended in join_all(waiting).await {
        settled(ended);
    }
    assert_eq!(*ran.lock().unwrap(), (0..10).collect::<Vec<_>>());
    World::assert_free(&world.view().await, 12, 11);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_workers_on_one_order_end_at_exactly_the_product() {
    let world = Arc::new(World::new().await);
    let workers = (0..32).map(|worker| {
        let world = Arc::clone(&world);
        tokio::spawn(async move {
            for step in 0..25 {
                settled(world.add(patient(&format!("w{worker}-{step}"))).await);
            }
        })
    });
    for worker in join_all(workers.collect::<Vec<_>>()).await {
        worker.unwrap();
    }
    World::assert_free(&world.view().await, 801, 800);
    assert_eq!(world.entries().await.len(), 800);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn equal_requests_have_one_effect_and_one_body() {
    let world = Arc::new(World::new().await);
    let requests = (0..64).map(|_| {
        let world = Arc::clone(&world);
        tokio::spawn(async move { settled(world.add(patient("same")).await) })
    });
    let answers: Vec<_> = join_all(requests.collect::<Vec<_>>())
        .await
        .into_iter()
        .map(Result::unwrap)
        .collect();
    assert!(
        answers
            .iter()
            .all(|(body, _)| body == r#"applied {"count":1}"#),
        "{answers:?}"
    );
    assert_eq!(answers.iter().filter(|(_, replayed)| !replayed).count(), 1);
    World::assert_free(&world.view().await, 2, 1);
}

#[tokio::test]
async fn an_attached_request_never_runs_and_shares_a_failure() {
    let world = World::new().await;
    let (first, mut handler) = world.add_later(request("k"));
    handler.begun().await;
    let (attached, mut never) = world.add_later(patient("k"));
    world.waiting(1).await;
    drop(handler);
    assert!(matches!(first.await, Ended::Failed { .. }));
    let ended = attached.await;
    let Ended::Failed {
        failure: orderlock_core::Failed::Attached(answer),
        ..
    } = &ended
    else {
        panic!("{ended:?}")
    };
    assert_eq!(answer.body, "handler-failed");
    assert!(!never.has_begun());
    assert!(
        !settled(world.add(request("k")).await).1,
        "a retry after that runs again"
    );
}

#[tokio::test]
async fn who_does_not_ask_to_wait_is_told_who_holds_the_order() {
    let world = World::new().await;
    let (first, mut handler) = world.add_later(request("k"));
    handler.begun().await;
    let ended = world.add(request("other")).await;
    let Ended::Denied(Denied::Locked(running)) = ended else {
        panic!("{ended:?}")
    };
    assert_eq!(running.operation.unwrap().as_str(), "add");
    assert!(running.since.is_some());
    let ended = world.add(request("k")).await;
    assert!(
        matches!(ended, Ended::Denied(Denied::InProgress(_))),
        "{ended:?}"
    );
    let ended = world
        .add(asking(Operation::named("add"), "k", r#"{"x":1}"#))
        .await;
    assert!(
        matches!(ended, Ended::Denied(Denied::KeyReused)),
        "{ended:?}"
    );
    handler.go();
    settled(first.await);
}

#[tokio::test]
async fn a_wait_ends_when_its_time_is_over() {
    let world = World::new().await;
    let (first, mut handler) = world.add_later(request("k"));
    handler.begun().await;
    let waiting = world.add(OperationRequest {
        wait: Duration::from_secs(5),
        ..request("other")
    });
    let attached = world.add(OperationRequest {
        wait: Duration::from_secs(5),
        ..request("k")
    });
    world.waiting(2).await;
    world.runtime.advance(Duration::from_secs(6));
    let ended = waiting.await;
    assert!(
        matches!(ended, Ended::Denied(Denied::Locked(_))),
        "{ended:?}"
    );
    let ended = attached.await;
    assert!(
        matches!(ended, Ended::Denied(Denied::InProgress(_))),
        "{ended:?}"
    );
    handler.go();
    settled(first.await);
    World::assert_free(&world.view().await, 2, 1);
}

#[tokio::test]
async fn the_line_is_bounded() {
    let world = World::with_limits(Limits {
        line: 3,
        ..Limits::default()
    })
    .await;
    let (first, mut handler) = world.add_later(request("k"));
    handler.begun().await;
    let waiting = [world.add(patient("a")), world.add(patient("b"))];
    world.waiting(2).await;
    for full in [patient("c"), patient("a")] {
        let ended = world.add(full).await;
        assert!(
            matches!(ended, Ended::Denied(Denied::QueueFull)),
            "{ended:?}"
        );
    }
    // Who does not ask to stand in line is told who holds the order, however long the line is.
    let ended = world.add(request("d")).await;
    assert!(
        matches!(ended, Ended::Denied(Denied::Locked(_))),
        "{ended:?}"
    );
    handler.go();
    settled(first.await);
    for ended in join_all(waiting).await {
        settled(ended);
    }
}

#[tokio::test]
async fn the_node_is_bounded() {
    let world = World::with_limits(Limits {
        in_flight: 1,
        ..Limits::default()
    })
    .await;
    let (first, mut handler) = world.add_later(request("k"));
    handler.begun().await;
    let ended = world.add(patient("other")).await;
    assert!(
        matches!(ended, Ended::Denied(Denied::NodeFull)),
        "{ended:?}"
    );
    handler.go();
    settled(first.await);
}

#[tokio::test]
async fn a_settled_key_is_answered_at_once_whoever_holds_the_order() {
    let world = World::new().await;
    settled(world.add(request("done")).await);
    let (first, mut handler) = world.add_later(request("k"));
    handler.begun().await;
    for again in [request("done"), patient("done")] {
        assert_eq!(
            settled(world.add(again).await),
            (r#"applied {"count":1}"#.into(), true)
        );
    }
    let other = asking(Operation::named("add"), "done", r#"{"x":1}"#);
    let ended = world
        .add(OperationRequest {
            wait: Duration::from_secs(9),
            ..other
        })
        .await;
    assert!(
        matches!(ended, Ended::Denied(Denied::KeyReused)),
        "{ended:?}"
    );
    handler.go();
    settled(first.await);
}

#[tokio::test]
async fn a_client_that_goes_away_leaves_the_line() {
    let world = World::new().await;
    let (first, mut handler) = world.add_later(request("k"));
    handler.begun().await;
    let (gone, mut never) = world.add_later(patient("gone"));
    world.waiting(1).await;
    let last = world.add(patient("last"));
    world.waiting(2).await;
    drop(gone);
    handler.go();
    settled(first.await);
    assert_eq!(
        settled(last.await),
        (r#"applied {"count":2}"#.into(), false)
    );
    assert!(!never.has_begun());
    World::assert_free(&world.view().await, 3, 2);
}

#[tokio::test]
async fn an_equal_request_takes_the_place_of_a_client_that_went_away() {
    let world = World::new().await;
    let (first, mut handler) = world.add_later(request("k"));
    handler.begun().await;
    let (gone, mut never) = world.add_later(patient("same"));
    world.waiting(1).await;
    let behind = world.add(patient("behind"));
    world.waiting(2).await;
    let equal = world.add(patient("same"));
    world.waiting(3).await;
    drop(gone);
    handler.go();
    settled(first.await);
    // It stands where the one that went away stood, before the one that came between.
    assert_eq!(
        settled(equal.await),
        (r#"applied {"count":2}"#.into(), false)
    );
    assert_eq!(
        settled(behind.await),
        (r#"applied {"count":3}"#.into(), false)
    );
    assert!(!never.has_begun());
}

#[tokio::test]
async fn a_hand_over_makes_every_check_and_passes_over_who_is_answered_by_it() {
    let world = World::new().await;
    let (first, mut handler) = world.add_later(request("k"));
    handler.begun().await;
    let stale = world.add(OperationRequest {
        expected: Some(Version(1)),
        ..patient("stale")
    });
    world.waiting(1).await;
    let fits = world.add(OperationRequest {
        expected: Some(Version(2)),
        ..patient("fits")
    });
    world.waiting(2).await;
    handler.go();
    settled(first.await);
    let ended = stale.await;
    assert!(
        matches!(
            ended,
            Ended::Denied(Denied::VersionMismatch {
                current: Version(2)
            })
        ),
        "{ended:?}"
    );
    assert_eq!(
        settled(fits.await),
        (r#"applied {"count":2}"#.into(), false)
    );
}

#[tokio::test]
async fn orders_do_not_stand_in_each_others_way() {
    let world = World::new().await;
    world.create("p").await;
    let (first, mut handler) = world.add_later(request("k"));
    handler.begun().await;
    let mut elsewhere = request("k");
    elsewhere.order = orderlock_core::OrderId::parse("p").unwrap();
    assert_eq!(
        settled(world.add(elsewhere).await),
        (r#"applied {"count":1}"#.into(), false)
    );
    handler.go();
    settled(first.await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn impatient_requests_either_run_or_are_told_and_no_turn_is_lost() {
    let world = Arc::new(World::new().await);
    let ran = Arc::new(AtomicUsize::new(0));
    let requests = (0..400).map(|number| {
        let (world, ran) = (Arc::clone(&world), Arc::clone(&ran));
        tokio::spawn(async move {
            let wait = Duration::from_secs(if number % 3 == 0 { 0 } else { 30 });
            let ended = world.add(OperationRequest {
                wait,
                ..request(&format!("k{number}"))
            });
            // Every seventh client goes away at once.
            if number % 7 == 0 {
                return drop(ended);
            }
            match ended.await {
                Ended::Settled { .. } => drop(ran.fetch_add(1, Ordering::Relaxed)),
                Ended::Denied(Denied::Locked(_)) if number % 3 == 0 => {}
                other => panic!("{number}: {other:?}"),
            }
        })
    });
    for request in join_all(requests.collect::<Vec<_>>()).await {
        request.unwrap();
    }
    // Whoever comes now finds the order free or about to be.
    settled(world.add(patient("last")).await);
    let view = world.view().await;
    assert_eq!(view.lease, None);
    assert_eq!(view.version.0, world.count().await + 1);
    assert!(world.count().await > ran.load(Ordering::Relaxed) as u64);
}
