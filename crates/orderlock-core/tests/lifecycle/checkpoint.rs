//! Progress that is settled while the lease is kept.

use std::time::Duration;

use orderlock_core::{
    Denied, Ended, Failed, Interrupted, LockedOrder, Operation, Outcome, OutcomeKind, Version,
};
use tokio::sync::oneshot;

use crate::world::{Counter, World, asking, request, settled};

#[tokio::test]
async fn a_checkpoint_moves_the_version_and_the_settle_follows_it() {
    let world = World::new().await;
    let work = |order: LockedOrder<Counter>| async move {
        let order = order.checkpoint(Counter { count: 10 }).await?;
        assert_eq!((order.count, order.version()), (10, Version(2)));
        let order = order.checkpoint(Counter { count: 20 }).await?;
        Ok::<_, Interrupted>(Outcome::Applied(Counter {
            count: order.count + 1,
        }))
    };
    let ended = world.lifecycle.run(request("k"), work).await;
    assert_eq!(settled(ended), (r#"applied {"count":21}"#.into(), false));
    World::assert_free(&world.view().await, 4, 21);
    let outcomes = [
        OutcomeKind::Checkpoint,
        OutcomeKind::Checkpoint,
        OutcomeKind::Applied,
    ];
    assert_eq!(world.outcomes().await, outcomes);
}

#[tokio::test]
async fn a_failure_after_a_checkpoint_says_what_was_applied_and_the_next_run_is_given_it() {
    let world = World::new().await;
    let work = |order: LockedOrder<Counter>| async move {
        order.checkpoint(Counter { count: 10 }).await.unwrap();
        Err::<Outcome<Counter>, _>("down")
    };
    let ended = world.lifecycle.run(request("k"), work).await;
    let Ended::Failed {
        failure: Failed::Error("down"),
        partial: Some(partial),
        ..
    } = ended
    else {
        panic!("{ended:?}")
    };
    assert_eq!(partial.version, Version(2));
    World::assert_free(&world.view().await, 2, 10);

    // The checkpoint is a part of the key's one effect: another body must not be mixed with it.
    let ended = world
        .add(asking(Operation::named("add"), "k", r#"{"x":1}"#))
        .await;
    assert!(
        matches!(ended, Ended::Denied(Denied::KeyReused)),
        "{ended:?}"
    );

    let again = |order: LockedOrder<Counter>| async move {
        assert_eq!(order.attempt(), 2);
        let progress = order
            .progress()
            .expect("the last checkpoint")
            .change
            .clone()
            .unwrap();
        assert_eq!(progress.decode::<Counter>().unwrap().count, 10);
        Ok::<_, String>(Outcome::Applied(Counter {
            count: order.count + 1,
        }))
    };
    let ended = world.lifecycle.run(request("k"), again).await;
    assert_eq!(settled(ended), (r#"applied {"count":11}"#.into(), false));
}

#[tokio::test]
async fn after_a_lost_checkpoint_nothing_is_applied_whatever_the_handler_returns() {
    let world = World::new().await;
    let memory = std::sync::Arc::clone(&world.memory);
    let work = |order: LockedOrder<Counter>| async move {
        memory.void_all_leases();
        assert_eq!(
            order.checkpoint(Counter { count: 10 }).await.unwrap_err(),
            Interrupted::Lost
        );
        Ok::<_, String>(Outcome::Applied(Counter { count: 99 }))
    };
    let ended = world.lifecycle.run(request("k"), work).await;
    assert!(
        matches!(ended, Ended::Lost { partial: None, .. }),
        "{ended:?}"
    );
    World::assert_free(&world.view().await, 1, 0);
}

#[tokio::test]
async fn a_checkpoint_that_outlives_its_attempt_is_refused() {
    let world = World::new().await;
    let (send, lease) = oneshot::channel();
    let work = |order: LockedOrder<Counter>| async move {
        let (_, lease) = order.split();
        send.send(lease).unwrap();
        Ok::<_, String>(Outcome::Applied(Counter { count: 1 }))
    };
    settled(world.lifecycle.run(request("k"), work).await);
    let late = lease.await.unwrap().checkpoint(Counter { count: 50 }).await;
    assert_eq!(late.unwrap_err(), Interrupted::Lost);
    World::assert_free(&world.view().await, 2, 1);
}

#[tokio::test]
async fn a_time_out_after_a_checkpoint_keeps_it() {
    let world = World::new().await;
    let (begin, begun) = oneshot::channel();
    let work = |order: LockedOrder<Counter>| async move {
        let _order = order.checkpoint(Counter { count: 10 }).await.unwrap();
        begin.send(()).unwrap();
        std::future::pending::<Result<Outcome<Counter>, String>>().await
    };
    let ended = world.lifecycle.run(request("k"), work);
    begun.await.unwrap();
    world.runtime.advance(Duration::from_secs(31));
    let ended = ended.await;
    let Ended::Failed {
        failure: Failed::TimedOut,
        partial: Some(partial),
        ..
    } = ended
    else {
        panic!("{ended:?}")
    };
    assert_eq!(partial.version, Version(2));
    World::assert_free(&world.view().await, 2, 10);
}
