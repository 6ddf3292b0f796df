//! What is at a bound passes, and what is over it is told so.

use std::sync::Arc;

use orderlock_core::{
    Denied, Ended, Failed, Interrupted, Limits, LockedOrder, Operation, Outcome, Principal,
    Recovery, Resolution, ResolveRequest, Unresolved,
};

use crate::world::{Counter, Ending, World, asking, creation, request, settled, target};

/// A store whose largest order counts to 9.
async fn small() -> World {
    let largest = r#"{"count":9}"#.len();
    World::over(Limits::default(), |memory| {
        Arc::new((*memory).clone().with_document_bytes_max(largest))
    })
    .await
}

fn unwritable<E: std::fmt::Debug>(ended: &Ended<E>) -> bool {
    matches!(
        ended,
        Ended::Failed {
            failure: Failed::Unwritable(_),
            partial: None,
            marked: false
        }
    )
}

#[tokio::test]
async fn an_order_is_created_up_to_the_stores_bound() {
    let world = small().await;
    let create = |key, count| {
        let creation = creation(None, key, "body");
        world.lifecycle.create(creation, Counter { count })
    };
    settled(create("fits", 9).await);
    let ended = create("large", 10).await;
    assert!(unwritable(&ended), "{ended:?}");
    // Nothing of it is stored, and the key is as good as new.
    settled(create("large", 9).await);
}

#[tokio::test]
async fn an_order_is_changed_up_to_the_stores_bound() {
    let world = small().await;
    let set = |key, count| {
        let work = move |_: LockedOrder<Counter>| async move {
            Ok::<_, String>(Outcome::Applied(Counter { count }))
        };
        world.lifecycle.run(request(key), work)
    };
    settled(set("fits", 9).await);
    let ended: Ending = set("large", 10).await;
    assert!(unwritable(&ended), "{ended:?}");
    World::assert_free(&world.view().await, 2, 9);
    settled(set("large", 8).await);
}

#[tokio::test]
async fn a_decision_settles_up_to_the_stores_bound() {
    let world = small().await;
    let operation = Operation::named("pay").external(Recovery::Reconcile);
    let failing = |_: LockedOrder<Counter>| async { Err("down".to_owned()) };
    let paying = asking(operation, "k", "{}");
    let _marked: Ending = world.lifecycle.run(paying, failing).await;
    let mark = world.view().await.lease.expect("the mark stays").id;
    let settle = |count| {
        world.lifecycle.resolve(ResolveRequest {
            target: target("o"),
            mark: mark.clone(),
            resolution: Resolution::Settle(Outcome::Applied(Counter { count })),
            expected: None,
            actor: Principal::parse("operator").unwrap(),
            reason: "the bank was asked".into(),
        })
    };
    let resolved = settle(10).await;
    assert!(
        matches!(resolved, Err(Unresolved::Unwritable(_))),
        "{resolved:?}"
    );
    settle(9).await.unwrap();
    World::assert_free(&world.view().await, 2, 9);
}

#[tokio::test]
async fn a_checkpoint_over_the_stores_bound_cannot_be_stored() {
    let world = small().await;
    let work = |order: LockedOrder<Counter>| async move {
        order.checkpoint(Counter { count: 10 }).await?;
        Ok::<_, Interrupted>(Outcome::Unchanged)
    };
    let ended = world.lifecycle.run(request("k"), work).await;
    assert!(
        matches!(
            ended,
            Ended::Failed {
                failure: Failed::Error(Interrupted::Unwritable),
                partial: None,
                marked: false
            }
        ),
        "{ended:?}"
    );
    World::assert_free(&world.view().await, 1, 0);
}

#[tokio::test]
async fn an_attempt_may_make_so_many_checkpoints() {
    let world = World::with_limits(Limits {
        checkpoints: 2,
        ..Limits::default()
    })
    .await;
    let work = |mut order: LockedOrder<Counter>| async move {
        for count in 1..=2 {
            order = order.checkpoint(Counter { count }).await.unwrap();
        }
        order.checkpoint(Counter { count: 3 }).await?;
        Ok::<_, Interrupted>(Outcome::Unchanged)
    };
    let ended = world.lifecycle.run(request("k"), work).await;
    assert!(
        matches!(
            ended,
            Ended::Failed {
                failure: Failed::Error(Interrupted::Unwritable),
                partial: Some(_),
                ..
            }
        ),
        "{ended:?}"
    );
    World::assert_free(&world.view().await, 3, 2);
}

/// A line that has ended leaves nothing that counts against the next one.
#[tokio::test]
async fn a_line_of_one_takes_one_request_after_the_other() {
    let limits = Limits {
        line: 1,
        in_flight: 1,
        ..Limits::default()
    };
    let world = World::with_limits(limits).await;
    for number in 0..3 {
        settled(world.add(request(&format!("k{number}"))).await);
        let ended = world
            .add(orderlock_core::OperationRequest {
                expected: Some(orderlock_core::Version(99)),
                ..request("stale")
            })
            .await;
        assert!(
            matches!(ended, Ended::Denied(Denied::VersionMismatch { .. })),
            "{ended:?}"
        );
    }
    World::assert_free(&world.view().await, 4, 3);
}
