//! A lease that ends while its handler runs: the line of the holder's node learns of it.

use std::time::Duration;

use orderlock_core::store::{BreakLease, Broken, Join, Leave};
use orderlock_core::{
    Denied, Ended, LeaseId, LeaseViewState, Limits, LockedOrder, Operation, Outcome, Principal,
    Recovery, Secret, SessionId, Tenant,
};
use orderlock_testkit::faults::{Fault, Gate, Plan, Verb};

use crate::faults::world;
use crate::nodes::add_on;
use crate::world::{Counter, Ending, World, asking, patient, request, settled};

/// Lets everything happen that happens without the clock.
async fn settle_down() {
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
}

fn breaking(lease: LeaseId) -> BreakLease {
    BreakLease {
        tenant: Tenant::single(),
        lease,
        actor: Principal::parse("operator").unwrap(),
        reason: "it hangs".into(),
    }
}

async fn held(world: &World) -> LeaseId {
    let lease = world.view().await.lease.expect("it is held");
    assert_eq!(lease.state, LeaseViewState::Held);
    lease.id
}

/// No time passes: whoever waits gets the order, and what the handler still returns is nothing.
#[tokio::test]
async fn breaking_a_lease_frees_the_order_on_the_node_that_holds_it() {
    let world = World::new().await;
    let (first, mut handler) = world.add_later(request("hangs"));
    handler.begun().await;
    let waiting = world.add(patient("waits"));
    world.waiting(1).await;
    let broken = breaking(held(&world).await);
    let again = broken.clone();
    let told = world.lifecycle.break_lease(broken).await.unwrap();
    assert!(matches!(told, Broken::Broken(_)), "{told:?}");
    assert_eq!(
        settled(waiting.await),
        (r#"applied {"count":1}"#.into(), false)
    );
    let lost = first.await;
    assert!(
        matches!(
            lost,
            Ended::Lost {
                partial: None,
                marked: false
            }
        ),
        "{lost:?}"
    );
    assert_eq!(
        settled(world.add(request("other")).await),
        (r#"applied {"count":2}"#.into(), false)
    );
    World::assert_free(&world.view().await, 3, 2);
    assert_eq!(world.lifecycle.in_flight(), 0);
    let told = world.lifecycle.break_lease(again).await.unwrap();
    assert_eq!(told, Broken::NotFound);
}

#[tokio::test]
async fn breaking_the_lease_of_an_external_operation_leaves_its_mark() {
    let world = World::new().await;
    let paying = asking(
        Operation::named("pay").external(Recovery::Reconcile),
        "k",
        "{}",
    );
    let (first, mut handler) = world.add_later(paying);
    handler.begun().await;
    let broken = breaking(held(&world).await);
    world.lifecycle.break_lease(broken).await.unwrap();
    let lost = first.await;
    assert!(matches!(lost, Ended::Lost { marked: true, .. }), "{lost:?}");
    let other = world.add(request("other")).await;
    assert!(
        matches!(other, Ended::Denied(Denied::OutcomeUnknown(_))),
        "{other:?}"
    );
}

/// The break was made on another node, or past the lifecycle: the next renewal tells.
#[tokio::test]
async fn a_node_learns_by_its_renewal_that_a_lease_was_broken_elsewhere() {
    let world = World::new().await;
    let (first, mut handler) = world.add_later(request("hangs"));
    handler.begun().await;
    let waiting = world.add(patient("waits"));
    world.waiting(1).await;
    let broken = breaking(held(&world).await);
    world.store.break_lease(broken).await.unwrap();
    settle_down().await;
    world.runtime.advance(Limits::default().session / 3);
    assert_eq!(
        settled(waiting.await),
        (r#"applied {"count":1}"#.into(), false)
    );
    let lost = first.await;
    assert!(matches!(lost, Ended::Lost { .. }), "{lost:?}");
}

/// A hint that the order was let go is looked into: whoever has held it for a while asks by a
/// renewal, sooner than the next one is due.
#[tokio::test]
async fn a_hint_about_an_order_that_is_held_is_looked_into() {
    let (world, store) = world().await;
    let (first, mut handler) = world.add_later(request("hangs"));
    handler.begun().await;
    let waiting = world.add(patient("waits"));
    world.waiting(1).await;
    world.runtime.advance(Duration::from_secs(1));
    let renewals = || {
        let calls = store.calls().into_iter();
        calls.filter(|call| *call == Verb::Renew).count()
    };
    let before = renewals();
    let broken = breaking(held(&world).await);
    world.store.break_lease(broken).await.unwrap();
    settle_down().await;
    world.runtime.advance(Duration::from_millis(1));
    settle_down().await;
    assert_eq!(renewals(), before + 1, "the last one is long enough ago");
    assert_eq!(
        settled(waiting.await),
        (r#"applied {"count":1}"#.into(), false)
    );
    let lost = first.await;
    assert!(matches!(lost, Ended::Lost { .. }), "{lost:?}");
}

/// The session was ended while its node stood still. It learns it with its first word to the store,
/// and then from all the orders that it held.
#[tokio::test]
async fn the_end_of_a_session_ends_all_that_it_held() {
    let world = World::new().await;
    world.create("p").await;
    let elsewhere = |key: &str| orderlock_core::OperationRequest {
        order: orderlock_core::OrderId::parse("p").unwrap(),
        ..request(key)
    };
    let (first, mut handler) = world.add_later(request("hangs"));
    let (second, mut other) = world.add_later(elsewhere("hangs-too"));
    handler.begun().await;
    other.begun().await;
    let waiting = world.add(patient("waits"));
    world.waiting(2).await;
    let again = Join {
        node: "node-1".into(),
        session: SessionId(77),
        length: Duration::from_secs(10),
        secret: Secret::new([0; 32]),
    };
    world.store.join(again).await.unwrap();
    let session = SessionId(77);
    world.store.leave(Leave { session }).await.unwrap();
    settle_down().await;
    world.runtime.advance(Limits::default().session / 3);
    for lost in [first.await, second.await] {
        assert!(matches!(lost, Ended::Lost { .. }), "{lost:?}");
    }
    assert_eq!(
        settled(waiting.await),
        (r#"applied {"count":1}"#.into(), false)
    );
    settled(world.add(elsewhere("next")).await);
}

/// The lease is broken after it was granted and before its node knows that it has it.
#[tokio::test]
async fn a_grant_that_is_void_before_it_is_used_is_asked_for_anew() {
    let (world, store) = world().await;
    let acquiring = Gate::new();
    store.fail_next(Verb::Acquire, Fault::DelayAfter(acquiring.clone()));
    let asked = world.add(request("k"));
    acquiring.reached(1).await;
    let broken = breaking(held(&world).await);
    world.lifecycle.break_lease(broken).await.unwrap();
    acquiring.open();
    assert_eq!(
        settled(asked.await),
        (r#"applied {"count":1}"#.into(), false)
    );
    // The renewals go on naming what was broken: that is none of the grants that followed.
    for key in ["l", "m"] {
        world.runtime.advance(Limits::default().session / 3);
        settle_down().await;
        settled(world.add(request(key)).await);
    }
}

/// Its thread is blocked, and so it never learns of anything.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_handler_that_blocks_its_thread_keeps_no_order_that_was_taken_from_it() {
    let world = World::new().await;
    let (begin, begun) = tokio::sync::oneshot::channel();
    let (unblock, blocked) = std::sync::mpsc::channel::<()>();
    let work = move |_: LockedOrder<Counter>| async move {
        begin.send(()).unwrap();
        let _until_the_test_is_over = blocked.recv();
        Ok::<_, String>(Outcome::Applied(Counter { count: 100 }))
    };
    let ended = world.lifecycle.run(request("hangs"), work);
    begun.await.unwrap();
    let broken = breaking(held(&world).await);
    world.lifecycle.break_lease(broken).await.unwrap();
    let lost: Ending = ended.await;
    assert!(matches!(lost, Ended::Lost { .. }), "{lost:?}");
    settled(world.add(request("other")).await);
    drop(unblock);
}

/// Nobody knows whether it was broken. The node looks, and does not guess.
#[tokio::test]
async fn a_break_in_doubt_is_repeated_and_then_looked_into() {
    for fault in [Fault::FailAfter, Fault::LoseRequest] {
        let (world, store) = world().await;
        let (first, mut handler) = world.add_later(request("hangs"));
        handler.begun().await;
        let faults = |plan: Plan, call| plan.at_call(Verb::BreakLease, call, fault.clone());
        store.plan((1..=9).fold(Plan::new(), faults));
        let breaks = world.lifecycle.break_lease(breaking(held(&world).await));
        let broken = world.runtime.drive(breaks).await;
        let happened = matches!(fault, Fault::FailAfter);
        match broken {
            Ok(Broken::NotFound) | Err(_) => {}
            other => panic!("{other:?}"),
        }
        settle_down().await;
        world.runtime.advance(Limits::default().session / 3);
        settle_down().await;
        if happened {
            let lost = first.await;
            assert!(matches!(lost, Ended::Lost { .. }), "{lost:?}");
        } else {
            handler.go();
            settled(first.await);
        }
        settled(add_on(&world.lifecycle, request("other")).await);
    }
}
