//! How long requests of different patience wait for an order that another node holds.

use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt as _;
use orderlock_core::{Denied, Ended, Lifecycle, Limits, OperationRequest};
use orderlock_testkit::faults::Verb;

use crate::faults::world;
use crate::world::{KEEPERS, World, patient, request, settled};

/// The same orders as another node sees them.
pub(crate) fn elsewhere(world: &World, lifecycle: Lifecycle) -> World {
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
    world.runtime.sleeping(2 * KEEPERS + 2).await;
    let begun = world.runtime.elapsed();
    let ended = world
        .runtime
        .drive(elsewhere.add(request("impatient")))
        .await;
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
    world.runtime.sleeping(2 * KEEPERS + 2).await;
    let mut long = Box::pin(elsewhere.add(patient("same")));
    world.runtime.sleeping(2 * KEEPERS + 3).await;
    let ended = world.runtime.drive(short).await;
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
        settled(world.runtime.drive(long).await),
        (r#"applied {"count":2}"#.into(), false)
    );
}

/// When the front of a line asks for an order that another node holds, from its first question
/// on, for five seconds.
async fn questions() -> Vec<Duration> {
    let (world, store) = world().await;
    let (_running, mut handler) = world.add_later(request("k"));
    handler.begun().await;
    let asked = || {
        let calls = store.calls().into_iter();
        calls.filter(|call| *call == Verb::Acquire).count()
    };
    let other = World::node(&world.store, &world.runtime, "node-2", Limits::default());
    other.start().await.unwrap();
    let elsewhere = elsewhere(&world, other);
    let _waiting = elsewhere.add(patient("l"));
    let (mut at, mut seen) = (Vec::new(), asked());
    while world.runtime.elapsed() < Duration::from_secs(5) {
        for _ in 0..20 {
            tokio::task::yield_now().await;
        }
        if asked() > seen {
            seen = asked();
            at.push(world.runtime.elapsed());
        }
        world.runtime.advance(Duration::from_millis(1));
    }
    at
}

/// Without a hint from the store, the pauses grow from some milliseconds to a quarter of a second,
/// and differ, so that nodes do not ask in step for ever.
#[tokio::test]
async fn the_front_asks_again_with_growing_pauses_up_to_a_bound() {
    let at = questions().await;
    let milliseconds = at.windows(2).map(|pair| (pair[1] - pair[0]).as_millis());
    let pauses: Vec<_> = milliseconds.collect();
    println!("{pauses:?}");
    let (growing, grown) = pauses.split_at(4);
    assert!((10..=21).contains(&growing[0]), "{pauses:?}");
    assert!(growing.is_sorted(), "{pauses:?}");
    assert!(
        grown.iter().all(|pause| (125..=251).contains(pause)),
        "{pauses:?}"
    );
    assert!(grown.iter().any(|pause| *pause != grown[0]), "{pauses:?}");
}
