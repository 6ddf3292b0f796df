//! An external operation that was asked for along with somebody else's end, by a try that nobody
//! answered, and whose client goes away: no mark stays of a handler that has never run.

use std::time::Duration;

use futures_util::future::join;
use orderlock_core::{Ended, Operation, OperationRequest, Recovery};
use orderlock_testkit::faults::{Fault, Gate, Plan, Verb};

use crate::faults::world;
use crate::world::{World, asking, patient, request, settled};

/// A request for an external operation that waits in line.
fn paying() -> OperationRequest {
    OperationRequest {
        wait: Duration::from_secs(30),
        ..asking(
            Operation::named("pay").external(Recovery::Reconcile),
            "next",
            "{}",
        )
    }
}

/// Nobody has to decide about anything, and the next request has the order.
async fn assert_unmarked(world: &World) {
    world.idle().await;
    assert_eq!(world.view().await.lease, None);
    let other = world.runtime.drive(world.add(patient("other"))).await;
    settled(other);
}

/// The second try says nothing of the next in line: it finds that the first was done.
#[tokio::test]
async fn a_successor_that_goes_while_its_grant_is_in_doubt_leaves_no_mark() {
    for verb in [Verb::Release, Verb::Settle] {
        for goes_first in [true, false] {
            let (world, store) = world().await;
            let gate = Gate::new();
            let (first, mut handler) = world.add_later(request("first"));
            handler.begun().await;
            let (next, mut never) = world.add_later(paying());
            world.waiting(1).await;
            store.plan(Plan::new().at_call(verb, 1, Fault::FailAfter).at_call(
                verb,
                2,
                Fault::DelayAfter(gate.clone()),
            ));
            match verb {
                Verb::Release => drop(handler),
                _ => handler.go(),
            }
            world.runtime.drive(gate.reached(1)).await;
            if goes_first {
                drop(next);
                while world.lifecycle.in_flight() > 1 {
                    tokio::task::yield_now().await;
                }
            } else {
                gate.open();
                drop(next);
            }
            gate.open();
            let first = world.runtime.drive(first).await;
            match verb {
                Verb::Release => assert!(matches!(first, Ended::Failed { .. }), "{first:?}"),
                _ => drop(settled(first)),
            }
            assert!(!never.has_begun(), "{verb:?}");
            assert_unmarked(&world).await;
        }
    }
}

/// The first try has granted, and all others are made by a node that lets nobody in any more.
#[tokio::test]
async fn a_shutdown_forgets_no_grant_in_doubt() {
    let (world, store) = world().await;
    let (gate, all) = (Gate::new(), 3..=20);
    let (first, mut handler) = world.add_later(request("first"));
    handler.begun().await;
    let (next, mut never) = world.add_later(paying());
    world.waiting(1).await;
    let plan = Plan::new()
        .at_call(Verb::Settle, 1, Fault::FailAfter)
        .at_call(Verb::Settle, 2, Fault::DelayBefore(gate.clone()));
    let lost = |plan: Plan, call| plan.at_call(Verb::Settle, call, Fault::LoseRequest);
    store.plan(all.fold(plan, lost));
    handler.go();
    world.runtime.drive(gate.reached(1)).await;
    let drain = world.lifecycle.drain(Duration::from_secs(60));
    let (next, drained) = world.runtime.drive(join(next, drain)).await;
    assert!(matches!(next, Ended::Denied(_)), "{next:?}");
    drained.unwrap();
    drop(first);
    assert!(!never.has_begun());
    assert_eq!(world.view().await.lease, None);
}
