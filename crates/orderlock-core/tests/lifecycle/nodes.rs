//! Sessions, and orders that another node holds.

use std::time::Duration;

use orderlock_core::store::{Join, Leave};
use orderlock_core::{
    Denied, Ended, Limits, LockedOrder, OperationRequest, OrderStore as _, Outcome, Secret,
    SessionId,
};
use orderlock_testkit::faults::{Fault, Gate, Verb};

use crate::world::{Counter, Ending, KEEPERS, World, patient, request, settled};

pub(crate) fn add_on(
    node: &orderlock_core::Lifecycle,
    request: OperationRequest,
) -> impl Future<Output = Ending> + use<> {
    node.run(request, |order: LockedOrder<Counter>| async move {
        Ok(Outcome::Applied(Counter {
            count: order.count + 1,
        }))
    })
}

#[tokio::test]
async fn an_order_held_by_another_node_is_waited_for() {
    let world = World::new().await;
    let other = World::node(&world.store, &world.runtime, "node-2", Limits::default());
    other.start().await.unwrap();
    let (first, mut handler) = world.add_later(request("k"));
    handler.begun().await;

    let ended = add_on(&other, request("impatient")).await;
    let Ended::Denied(Denied::Locked(running)) = ended else {
        panic!("{ended:?}")
    };
    assert_eq!(running.operation.unwrap().as_str(), "add");
    let ended = add_on(&other, request("k")).await;
    assert!(
        matches!(ended, Ended::Denied(Denied::InProgress(_))),
        "{ended:?}"
    );

    let waiting = add_on(&other, patient("other"));
    // Two nodes' keepers, the handler's limit, and the pause before the other node asks again.
    world.runtime.sleeping(2 * KEEPERS + 2).await;
    handler.go();
    settled(first.await);
    // The hint that the order was let go comes without any time passing.
    assert_eq!(
        settled(waiting.await),
        (r#"applied {"count":2}"#.into(), false)
    );
}

#[tokio::test]
async fn an_equal_request_on_another_node_gets_the_answer() {
    let world = World::new().await;
    let other = World::node(&world.store, &world.runtime, "node-2", Limits::default());
    other.start().await.unwrap();
    let (first, mut handler) = world.add_later(request("k"));
    handler.begun().await;
    let attached = add_on(&other, patient("k"));
    world.runtime.sleeping(2 * KEEPERS + 2).await;
    handler.go();
    settled(first.await);
    assert_eq!(
        settled(attached.await),
        (r#"applied {"count":1}"#.into(), true)
    );
    World::assert_free(&world.view().await, 2, 1);
}

#[tokio::test]
async fn a_node_whose_session_was_ended_joins_again_and_its_old_holder_is_lost() {
    let world = World::new().await;
    let (first, mut handler) = world.add_later(request("k"));
    handler.begun().await;
    // The node starts again under its name while this run of it still lives.
    let join = Join {
        node: "node-1".into(),
        session: SessionId(77),
        length: Duration::from_secs(10),
        secret: Secret::new([0; 32]),
    };
    world.store.join(join).await.unwrap();
    handler.go();
    let ended = first.await;
    assert!(matches!(ended, Ended::Lost { .. }), "{ended:?}");
    World::assert_free(&world.view().await, 1, 0);
    world
        .store
        .leave(Leave {
            session: SessionId(77),
        })
        .await
        .unwrap();
    assert_eq!(
        settled(world.add(request("k")).await),
        (r#"applied {"count":1}"#.into(), false)
    );
}

/// The answer about the old session comes when the node has a new one, and is not about that.
#[tokio::test]
async fn a_renewal_that_comes_late_does_not_end_the_session_after_it() {
    let (world, store) = crate::faults::world().await;
    let again = Join {
        node: "node-1".into(),
        session: SessionId(77),
        length: Duration::from_secs(10),
        secret: Secret::new([0; 32]),
    };
    world.memory.join(again).await.unwrap();
    let renewing = Gate::new();
    store.fail_next(Verb::Renew, Fault::DelayAfter(renewing.clone()));
    world.runtime.sleeping(KEEPERS).await;
    world.runtime.advance(Duration::from_millis(3_400));
    renewing.reached(1).await;
    let (ended, mut handler) = world.add_later(request("k"));
    handler.begun().await;
    renewing.open();
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
    assert!(world.lifecycle.is_ready());
    handler.go();
    assert_eq!(
        settled(ended.await),
        (r#"applied {"count":1}"#.into(), false)
    );
}

#[tokio::test]
async fn a_session_is_kept_while_its_node_lives() {
    let world = World::new().await;
    let (first, mut handler) = world.add_later(request("k"));
    handler.begun().await;
    for _ in 0..8 {
        // A keeper sleeps for a third of the session between two renewals.
        world.runtime.sleeping(KEEPERS + 1).await;
        world.runtime.advance(Duration::from_millis(3_400));
    }
    world.runtime.sleeping(KEEPERS + 1).await;
    assert!(world.lifecycle.is_ready());
    handler.go();
    assert_eq!(
        settled(first.await),
        (r#"applied {"count":1}"#.into(), false)
    );
}

#[tokio::test]
async fn a_store_that_restarts_loses_the_leases_and_the_node_goes_on() {
    let world = World::new().await;
    let (first, mut handler) = world.add_later(request("k"));
    handler.begun().await;
    let waiting = world.add(patient("waiting"));
    world.waiting(1).await;
    world.memory.restart();
    handler.go();
    let ended = first.await;
    assert!(matches!(ended, Ended::Lost { .. }), "{ended:?}");
    assert_eq!(
        settled(waiting.await),
        (r#"applied {"count":1}"#.into(), false)
    );
}
