//! What breaks from outside while a request is on its way: clients that leave, leases that are
//! voided, stores that do not answer, nodes that shut down.

use std::time::Duration;

use orderlock_testkit::faults::{Fault, Gate, Verb};

use crate::client::Ask;
use crate::world::{Door, Lock, Seen, World};

#[tokio::test]
async fn a_client_that_leaves_after_the_grant_changes_nothing() {
    for door in Door::BOTH {
        let world = World::new(door).await;
        let ask = Ask::act("act", "k-1", "wait").wait(20);
        let connection = ask.begin(world.address).await;
        world.probe.started(1).await;
        drop(connection);
        let retry = world.start(&ask);
        // The lifecycle counts the first request still, and the retry beside it.
        while world.orders.lifecycle().in_flight() < 2 {
            tokio::task::yield_now().await;
        }
        assert_eq!(world.seen().await.lock, Lock::Held);
        world.probe.go();
        let told = retry.await.unwrap().success();
        assert!(told.replayed());
        assert_eq!(world.probe.runs(), 1);
        assert_eq!(world.seen().await, Seen::new(1, &["applied"], Lock::Free));
    }
}

#[tokio::test]
async fn a_client_that_leaves_the_line_runs_nothing() {
    for door in Door::BOTH {
        let world = World::new(door).await;
        let first = world.start(&Ask::act("act", "k-1", "wait"));
        world.probe.started(1).await;
        let waiting = Ask::act("act", "k-2", "apply")
            .wait(20)
            .begin(world.address)
            .await;
        while world.orders.lifecycle().in_flight() < 2 {
            tokio::task::yield_now().await;
        }
        drop(waiting);
        while world.orders.lifecycle().in_flight() > 1 {
            tokio::task::yield_now().await;
        }
        world.probe.go();
        first.await.unwrap().success();
        assert_eq!(world.probe.runs(), 1);
        assert_eq!(world.seen().await, Seen::new(1, &["applied"], Lock::Free));
    }
}

#[tokio::test]
async fn who_waits_in_line_gets_its_turn_and_is_told_what_was_granted() {
    for door in Door::BOTH {
        let world = World::new(door).await;
        let first = world.start(&Ask::act("act", "k-1", "wait"));
        world.probe.started(1).await;
        let patient = world.start(&Ask::act("act", "k-2", "apply").wait(3600));
        while world.orders.lifecycle().in_flight() < 2 {
            tokio::task::yield_now().await;
        }
        let hasty = world.ask(&Ask::act("act", "k-3", "apply")).await;
        let hasty = hasty.expect(409, "order-locked");
        assert_eq!(hasty.json()["operation"], "act");
        assert!(hasty.json()["since"].as_str().unwrap().ends_with('Z'));
        assert_eq!(hasty.header("retry-after"), Some("1"));
        assert_eq!(hasty.header("preference-applied"), None);
        let equal = world.ask(&Ask::act("act", "k-1", "wait")).await;
        equal.expect(409, "idempotency-key-in-progress");
        world.probe.go();
        first.await.unwrap().success();
        let told = patient.await.unwrap().success();
        assert_eq!(told.header("preference-applied"), Some("wait=20"));
        assert_eq!(
            world.seen().await,
            Seen::new(2, &["applied", "applied"], Lock::Free)
        );
    }
}

#[tokio::test]
async fn a_wait_ends_when_it_is_over() {
    for door in Door::BOTH {
        let world =
            World::with_limits(door, |limits| limits.handler = Duration::from_secs(50)).await;
        let first = world.start(&Ask::act("act", "k-1", "wait"));
        world.probe.started(1).await;
        let sleepers = world.runtime.sleepers();
        let patient = world.start(&Ask::act("act", "k-2", "apply").wait(2));
        // Its body's guard is gone again when its wait begins.
        while world.orders.lifecycle().in_flight() < 2 || world.runtime.sleepers() <= sleepers {
            tokio::task::yield_now().await;
        }
        world.runtime.advance(Duration::from_secs(2));
        let told = patient.await.unwrap().expect(409, "order-locked");
        assert_eq!(told.header("preference-applied"), Some("wait=2"));
        world.probe.go();
        first.await.unwrap().success();
    }
}

#[tokio::test]
async fn a_lease_that_was_voided_applies_nothing() {
    for door in Door::BOTH {
        for (operation, kind, status) in [
            ("act", "lease-lost", 503),
            ("outside", "outcome-unknown", 409),
        ] {
            let world = World::new(door).await;
            let first = world.start(&Ask::act(operation, "k-1", "wait"));
            world.probe.started(1).await;
            world.store.inner().void_all_leases();
            world.probe.go();
            let told = first.await.unwrap().expect(status, kind);
            let lost = kind == "lease-lost";
            assert_eq!(told.json()["retryable"], lost);
            assert_eq!(told.header("retry-after"), lost.then_some("1"));
            let lock = if lost { Lock::Free } else { Lock::Marked };
            assert_eq!(world.seen().await, Seen::new(0, &[], lock));
        }
    }
}

#[tokio::test]
async fn a_settle_whose_answer_is_lost_is_unknown_until_the_key_tells() {
    for door in Door::BOTH {
        let world = World::new(door).await;
        world.store.fail_next(Verb::Settle, Fault::FailAfter);
        let ask = Ask::act("act", "k-1", "apply");
        let told = world.ask(&ask).await.expect(503, "settle-unknown");
        assert_eq!(told.json()["retryable"], true);
        assert!(told.json().get("applied").is_none(), "nobody knows");
        assert!(world.ask(&ask).await.success().replayed());
        assert_eq!(world.probe.runs(), 1);
        assert_eq!(world.seen().await, Seen::new(1, &["applied"], Lock::Free));
    }
}

#[tokio::test]
async fn a_store_that_is_out_of_reach_is_said_to_be_without_its_secrets() {
    for door in Door::BOTH {
        let world = World::new(door).await;
        world.store.fail_next(Verb::Acquire, Fault::FailBefore);
        let ask = Ask::act("act", "k-1", "apply");
        let told = world.ask(&ask).await.expect(503, "store-unavailable");
        assert_eq!(told.header("retry-after"), Some("2"));
        assert!(!String::from_utf8_lossy(&told.body).contains("planned"));
        assert_eq!(world.seen().await, Seen::untouched());
        world.ask(&ask).await.success();
    }
}

#[tokio::test]
async fn a_refused_body_is_not_told_before_the_store_has_said_that_the_key_is_new() {
    let world = World::new(Door::Adapter).await;
    let ask = Ask::act("act", "k-1", "apply").body("{");
    assert_eq!(world.ask(&ask).await.status, 400);
    world.store.fail_next(Verb::Lookup, Fault::FailBefore);
    world.ask(&ask).await.expect(503, "store-unavailable");
}

#[tokio::test]
async fn an_answer_leaves_only_after_its_settle() {
    for door in Door::BOTH {
        let world = World::new(door).await;
        let gate = Gate::new();
        world
            .store
            .fail_next(Verb::Settle, Fault::DelayAfter(gate.clone()));
        let asked = world.start(&Ask::act("act", "k-1", "apply"));
        gate.reached(1).await;
        assert!(!asked.is_finished());
        gate.open();
        asked.await.unwrap().success();
    }
}

#[tokio::test]
async fn a_node_that_shuts_down_tells_it_and_lets_handlers_end() {
    for door in Door::BOTH {
        let world = World::new(door).await;
        let running = world.start(&Ask::act("act", "k-1", "wait"));
        world.probe.started(1).await;
        let orders = world.orders.clone();
        let drained = tokio::spawn(async move { orders.drain(Duration::from_secs(60)).await });
        while world.orders.lifecycle().is_ready() {
            tokio::task::yield_now().await;
        }
        let late = world.ask(&Ask::act("act", "k-2", "apply")).await;
        late.expect(503, "shutting-down");
        world.probe.go();
        running.await.unwrap().success();
        drained.await.unwrap().unwrap();
        assert_eq!(world.seen().await, Seen::new(1, &["applied"], Lock::Free));
    }
}
