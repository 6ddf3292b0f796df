//! What a handler is told of its grant, and what operators see of it.

use std::collections::BTreeSet;

use orderlock_core::{
    Ended, Failed, LeaseId, LeaseViewState, Limits, LockedOrder, Operation, OrderType, Outcome,
    Recovery, Runtime as _, Undone, Version,
};
use serde::{Deserialize, Serialize};
use tokio::sync::oneshot;

use crate::world::{Counter, Ending, World, asking, request, settled};

#[tokio::test]
async fn a_handler_is_told_what_it_holds_and_until_when() {
    let world = World::new().await;
    settled(world.add(request("before")).await);
    let begun = world.runtime.now();
    let deadline = begun + Limits::default().handler;
    let work = move |order: LockedOrder<Counter>| async move {
        assert_eq!(order.id().as_str(), "o");
        assert_eq!(order.key().idempotency_key().as_str(), "k");
        assert_eq!((order.version(), order.attempt()), (Version(2), 1));
        assert_eq!(order.deadline(), deadline);
        assert!(order.progress().is_none());
        let capture = order.key().derive("capture");
        assert_eq!(order.lease().id().as_str(), "o");
        let (counter, lease) = order.split();
        assert_eq!(counter, Counter { count: 1 });
        assert_eq!(lease.key().derive("capture"), capture);
        Ok::<_, String>(Outcome::Applied(Counter { count: 2 }))
    };
    let ended = world.lifecycle.run(request("k"), work).await;
    assert_eq!(settled(ended), (r#"applied {"count":2}"#.into(), false));
}

/// Holds the order `o` until the test has seen it, and fails.
async fn seen_while_held(world: &World, key: &str) -> (LeaseId, LeaseId) {
    let (tell, told) = oneshot::channel();
    let (go, gone) = oneshot::channel::<()>();
    let work = move |order: LockedOrder<Counter>| async move {
        tell.send(order.lease_id()).unwrap();
        gone.await.unwrap();
        Err::<Outcome<Counter>, _>("down".to_owned())
    };
    let ended = world.lifecycle.run(request(key), work);
    let told = told.await.unwrap();
    let seen = world.view().await.lease.expect("it is held");
    assert_eq!(seen.state, LeaseViewState::Held);
    go.send(()).unwrap();
    assert!(matches!(ended.await, Ended::Failed { .. }));
    (told, seen.id)
}

/// What an operator breaks is this grant, and no later one of the same key.
#[tokio::test]
async fn no_two_grants_have_the_same_name_for_operators() {
    let world = World::new().await;
    let mut names = BTreeSet::new();
    for key in ["k", "k", "l"] {
        let (told, seen) = seen_while_held(&world, key).await;
        assert_eq!(told, seen);
        assert!(seen.to_string().starts_with("lck_"), "{seen}");
        names.insert(seen.to_string());
    }
    assert_eq!(names.len(), 3, "{names:?}");
}

/// The order as another module of the program sees it.
#[derive(Serialize, Deserialize)]
struct Doubled {
    twice: u64,
}

impl OrderType for Doubled {}

#[tokio::test]
async fn another_view_of_the_order_stands_on_the_same_lease() {
    let world = World::new().await;
    settled(world.add(request("before")).await);
    let work = |order: LockedOrder<Counter>| async move {
        let held = order.lease_id();
        let seen = order.try_map(|counter| {
            let twice = counter.count.checked_mul(2).ok_or("too large")?;
            Ok::<_, &str>(Doubled { twice })
        })?;
        assert_eq!((seen.lease_id(), seen.version()), (held, Version(2)));
        Ok::<_, &str>(Outcome::Applied(Counter { count: seen.twice }))
    };
    let ended = world.lifecycle.run(request("k"), work).await;
    assert_eq!(settled(ended), (r#"applied {"count":2}"#.into(), false));

    let odd = |order: LockedOrder<Counter>| async move {
        order.try_map(|_| Err::<Doubled, _>("it cannot be seen so"))?;
        Ok::<_, &str>(Outcome::Unchanged)
    };
    let ended = world.lifecycle.run(request("l"), odd).await;
    let Ended::Failed {
        failure: Failed::Error(error),
        ..
    } = ended
    else {
        panic!("{ended:?}")
    };
    assert_eq!(error, "it cannot be seen so");
}

fn paying(key: &str) -> orderlock_core::OperationRequest {
    let operation = Operation::named("pay").external(Recovery::Reconcile);
    asking(operation, key, "{}")
}

#[tokio::test]
async fn a_failure_without_effect_leaves_no_mark() {
    let world = World::new().await;
    let declined = |order: LockedOrder<Counter>| async move {
        Err::<Outcome<Counter>, Undone<&str>>(order.without_effect("no connection"))
    };
    let ended = world.lifecycle.run(paying("k"), declined).await;
    let ended = ended.map_error(Undone::into_error);
    assert!(
        matches!(
            ended,
            Ended::Failed {
                failure: Failed::Error("no connection"),
                marked: false,
                ..
            }
        ),
        "{ended:?}"
    );
    World::assert_free(&world.view().await, 1, 0);
    assert!(!settled(world.add(paying("k")).await).1);
}

/// The declaration is about the failure that is returned. Who panics after it returns none.
#[tokio::test]
async fn a_panic_after_such_a_declaration_leaves_the_mark() {
    let world = World::new().await;
    let panicking = |order: LockedOrder<Counter>| async move {
        let failure: Undone<String> = order.without_effect("no connection");
        panic!("{}, and worse", failure.error());
        #[allow(unreachable_code, reason = "it gives the future its type")]
        Ok::<_, String>(Outcome::Unchanged)
    };
    let ended: Ending = world.lifecycle.run(paying("k"), panicking).await;
    assert!(
        matches!(
            ended,
            Ended::Failed {
                failure: Failed::Panicked,
                marked: true,
                ..
            }
        ),
        "{ended:?}"
    );
    let lease = world.view().await.lease.expect("the mark stays");
    assert_eq!(lease.state, LeaseViewState::Marked);
}
