//! Operations that call the outside: every way in which one ends without its outcome being known,
//! and the answers to all clients while its mark is open.

use std::time::Duration;

use orderlock_testkit::faults::{Fault, Verb};

use crate::client::{Ask, Told};
use crate::world::{Door, HANDLER, Lock, Seen, World};

/// How the outcome came to be unknown.
const CAUSES: [&str; 7] = [
    "fail",
    "surviveAndFail",
    "panic",
    "hang",
    "lease lost",
    "store out of reach",
    "grow",
];

/// Runs the operation under the key `k-1` until its outcome is unknown.
async fn provoke(world: &World, operation: &str, cause: &str) -> Told {
    match cause {
        "lease lost" => {
            let told = world.start(&Ask::act(operation, "k-1", "wait"));
            world.probe.started(1).await;
            world.store.inner().void_all_leases();
            world.probe.go();
            told.await.unwrap()
        }
        "store out of reach" => {
            world.store.fail_next(Verb::Settle, Fault::FailBefore);
            world.ask(&Ask::act(operation, "k-1", "apply")).await
        }
        "hang" => {
            let told = world.start(&Ask::act(operation, "k-1", "hang"));
            world.probe.started(1).await;
            world.runtime.advance(HANDLER);
            told.await.unwrap()
        }
        act => world.ask(&Ask::act(operation, "k-1", act)).await,
    }
}

/// The body that [`provoke`] sends for a cause.
fn act_of(cause: &str) -> &str {
    match cause {
        "lease lost" => "wait",
        "store out of reach" => "apply",
        act => act,
    }
}

fn check(told: &Told, operation: &str, may_pass: bool) {
    let body = told.json();
    assert_eq!(body["retryable"], may_pass, "{body}");
    assert_eq!(told.header("retry-after"), may_pass.then_some("1"));
    assert_eq!(body["operation"], operation);
    assert!(body["detail"].as_str().unwrap().contains("o-1"), "{body}");
    assert!(body.get("applied").is_none(), "nobody knows: {body}");
}

#[tokio::test]
async fn whatever_leaves_a_mark_is_answered_as_an_unknown_outcome() {
    for door in Door::BOTH {
        for cause in CAUSES {
            for (operation, may_pass) in [("outside", false), ("resume", true)] {
                println!("{door:?}: {operation}, {cause}");
                let world = World::new(door).await;
                let first = provoke(&world, operation, cause).await;
                let first = first.expect(409, "outcome-unknown");
                check(&first, operation, may_pass);
                assert_eq!(world.seen().await, Seen::new(0, &[], Lock::Marked));

                // Another key waits for the mark's end, however patient it is.
                let other = world.ask(&Ask::act("act", "k-2", "apply").wait(5)).await;
                let other = other.expect(409, "outcome-unknown");
                check(&other, operation, may_pass);
                assert_eq!(other.json()["mark"], world.lock().await.id.to_string());
                assert_eq!(other.json()["attempt"], 1);
                // The same key stands for what it began with, and for nothing else.
                let reused = world.ask(&Ask::act(operation, "k-1", "refuse")).await;
                reused.expect(422, "idempotency-key-reused");
                let reused = world.ask(&Ask::act("act", "k-1", act_of(cause))).await;
                reused.expect(422, "idempotency-key-reused");
                assert_eq!(world.probe.runs(), 1, "nobody ran");
                if operation == "outside" {
                    let retry = world.ask(&Ask::act(operation, "k-1", act_of(cause))).await;
                    check(&retry.expect(409, "outcome-unknown"), operation, false);
                    assert_eq!(world.probe.runs(), 1, "nobody ran");
                }
            }
        }
    }
}

#[tokio::test]
async fn a_resumed_operation_settles_under_its_own_key() {
    for door in Door::BOTH {
        let world = World::new(door).await;
        world.store.fail_next(Verb::Settle, Fault::FailBefore);
        let ask = Ask::act("resume", "k-1", "apply");
        world.ask(&ask).await.expect(409, "outcome-unknown");
        let told = world.ask(&ask).await.success();
        assert!(!told.replayed());
        assert!(world.ask(&ask).await.success().replayed());
        assert_eq!(world.probe.runs(), 2);
        assert_eq!(world.seen().await, Seen::new(1, &["applied"], Lock::Free));
        world.ask(&Ask::act("act", "k-2", "apply")).await.success();
    }
}

#[tokio::test]
async fn resuming_is_bounded_in_runs_and_in_time() {
    for door in Door::BOTH {
        let ask = Ask::act("resume", "k-1", "fail");
        let world = World::new(door).await;
        for attempt in 1..=3 {
            world.ask(&ask).await.expect(409, "outcome-unknown");
            assert_eq!(world.lock().await.attempt, attempt);
        }
        let over = world.ask(&ask).await.expect(409, "outcome-unknown");
        check(&over, "resume", false);
        assert_eq!(world.probe.runs(), 3);

        let world = World::new(door).await;
        world.ask(&ask).await.expect(409, "outcome-unknown");
        world.runtime.advance(Duration::from_secs(61));
        let late = world.ask(&ask).await.expect(409, "outcome-unknown");
        check(&late, "resume", false);
        assert_eq!(world.probe.runs(), 1);
    }
}

#[tokio::test]
async fn a_failure_without_effect_takes_its_mark_along() {
    for door in Door::BOTH {
        for operation in ["outside", "resume"] {
            let world = World::new(door).await;
            let ask = Ask::act(operation, "k-1", "failWithoutEffect");
            let told = world.ask(&ask).await;
            assert_eq!(told.status, 502);
            assert_eq!(world.seen().await, Seen::untouched());
            // Nothing is open: other keys run, and the same key may carry another body.
            world.ask(&Ask::act("act", "k-2", "apply")).await.success();
            let again = Ask::act(operation, "k-1", "apply");
            world.ask(&again).await.success();
            let seen = Seen::new(2, &["applied", "applied"], Lock::Free);
            assert_eq!(world.seen().await, seen);
        }
    }
}
