//! How long requests of different patience wait for an order that another node holds.

use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt as _;
use orderlock_core::{Denied, Ended, Lifecycle, Limits, OperationRequest};

use crate::faults::driven;
use crate::world::{World, patient, request, settled};

/// The same orders as another node sees them.
fn elsewhere(world: &World, lifecycle: Lifecycle) -> World {
    World {
        lifecycle,
        runtime: world.runtime.clone(),
        store: Arc::clone(&world.store),
        memory: Arc::clone(&world.memory),
    }
}

/// The front waits for another node's lease; whoever comes behind it and does not want to wait
/// does not wait for the front's patience either.
#[tokio::test]
async fn who_does_not_ask_to_wait_does_not_wait_behind_one_that_does() {
    let world = World::new().await;
    let other = World::node(&world.store, &world.runtime, "node-2", Limits::default());
    other.start().await.unwrap();
    let (first, mut handler) = world.add_later(request("k"));
    handler.begun().await;
    let elsewhere = elsewhere(&world, other);
    let waiting = elsewhere.add(patient("patient"));
    world.runtime.sleeping(4).await;
    let begun = world.runtime.elapsed();
    let ended = driven(&world.runtime, elsewhere.add(request("impatient"))).await;
    let Ended::Denied(Denied::Locked(running)) = ended else {
        panic!("{ended:?}")
    };
    assert!(running.since.is_some());
    let waited = world.runtime.elapsed() - begun;
    assert!(waited <= Duration::from_secs(1), "it waited {waited:?}");
    handler.go();
    settled(first.await);
    settled(waiting.await);
}

/// Two equal requests of different patience: the shorter one's end is not the longer one's.
#[tokio::test]
async fn whoever_is_attached_waits_as_long_as_it_asked_to() {
    let world = World::new().await;
    let other = World::node(&world.store, &world.runtime, "node-2", Limits::default());
    other.start().await.unwrap();
    let (first, mut handler) = world.add_later(request("k"));
    handler.begun().await;
    let elsewhere = elsewhere(&world, other);
    let short = elsewhere.add(OperationRequest {
        wait: Duration::from_secs(1),
        ..request("same")
    });
    world.runtime.sleeping(4).await;
    let mut long = Box::pin(elsewhere.add(patient("same")));
    world.runtime.sleeping(5).await;
    let ended = driven(&world.runtime, short).await;
    assert!(
        matches!(ended, Ended::Denied(Denied::Locked(_))),
        "{ended:?}"
    );
    for _ in 0..50 {
        tokio::task::yield_now().await;
    }
    assert!(long.as_mut().now_or_never().is_none(), "it still waits");
    handler.go();
    settled(first.await);
    assert_eq!(
        settled(driven(&world.runtime, long).await),
        (r#"applied {"count":2}"#.into(), false)
    );
}
