//! Checkpoints: parts of one effect, each applied once, and never an answer.

use orderlock_core::store::{Acquired, Known, Loss, MarkFate, Settle};
use orderlock_core::{OutcomeKind, Version};

use super::node::Held;
use super::world::{Ended, World, applied};
use crate::fixtures;

/// The settle that follows so many checkpoints of one grant.
fn later(settle: Settle, steps: u32) -> Settle {
    let version = Version(settle.version.0 + u64::from(steps));
    let mut settle = Settle {
        step: steps,
        version,
        ..settle
    };
    let change = fixtures::change_of(&mut settle);
    let count = fixtures::count(&change.after) + u64::from(steps);
    change.before = fixtures::document(count - 1);
    change.after = fixtures::document(count);
    settle
}

async fn checkpoint(world: &World, held: &Held, step: u32) -> orderlock_core::store::Receipt {
    applied(world.settle(later(held.checkpoint(), step)).await)
}

pub(crate) async fn keeps_the_lease_and_moves_the_order(world: World) {
    world.order("o1").await;
    let node = world.join("a").await;
    let held = node.hold("o1", "k1").await;
    assert_eq!(checkpoint(&world, &held, 0).await.number, 2);
    let view = world.view("o1").await;
    assert_eq!(view.version, Version(2));
    assert_eq!(fixtures::count(&view.document), 1);
    assert!(view.lease.is_some());
    let other = world
        .acquire(node.request(fixtures::claim("o1", "k2")))
        .await;
    assert!(matches!(other, Acquired::Held(_)), "{other:?}");
    assert_eq!(checkpoint(&world, &held, 1).await.number, 3);
    applied(world.settle(later(held.settle(), 2)).await);
    assert_eq!(world.count("o1").await, 3);
    let outcomes: Vec<_> = world.history("o1").await;
    let outcomes: Vec<_> = outcomes
        .iter()
        .map(|entry| (entry.outcome, entry.step))
        .collect();
    let expected = [
        (OutcomeKind::Created, 0),
        (OutcomeKind::Checkpoint, 0),
        (OutcomeKind::Checkpoint, 1),
        (OutcomeKind::Applied, 2),
    ];
    assert_eq!(outcomes, expected);
}

pub(crate) async fn is_never_an_answer(world: World) {
    world.order("o1").await;
    let node = world.join("a").await;
    let held = node.hold("o1", "k1").await;
    checkpoint(&world, &held, 0).await;
    let claim = &held.request.claim;
    let known = world.known(claim).await;
    assert!(matches!(known, Known::Running(_)), "{known:?}");
    world.release(held.release(MarkFate::Keep)).await;
    assert_eq!(world.known(claim).await, Known::Unknown);
    let next = node.hold("o1", "k1").await;
    assert_eq!(next.grant.attempt, 2);
    let progress = next.grant.progress.as_ref().expect("the last checkpoint");
    assert_eq!(progress.outcome, OutcomeKind::Checkpoint);
    assert_eq!(progress.change, Some(fixtures::document(1)));
    assert_eq!(progress.attempt, 1);
    applied(world.settle(next.settle()).await);
    assert_eq!(world.count("o1").await, 2);
}

pub(crate) async fn the_next_run_is_given_the_last_one(mut world: World) {
    world.order("o1").await;
    let node = world.join("a").await;
    let held = node.hold("o1", "k1").await;
    checkpoint(&world, &held, 0).await;
    checkpoint(&world, &held, 1).await;
    world.break_lease(held.break_it()).await;
    // Another key's operation in between does not hide it.
    let other = node.hold("o1", "k2").await;
    assert_eq!(other.grant.progress, None);
    applied(world.settle(other.refuse()).await);
    world.restart().await;
    let next = world.join("a").await.hold("o1", "k1").await;
    let progress = next.grant.progress.expect("the last checkpoint");
    assert_eq!((progress.step, progress.number), (1, 3));
}

pub(crate) async fn a_key_with_progress_stands_for_one_request(world: World) {
    world.order("o1").await;
    let node = world.join("a").await;
    let held = node.hold("o1", "k1").await;
    checkpoint(&world, &held, 0).await;
    world.release(held.release(MarkFate::Keep)).await;
    let reused = fixtures::asking(fixtures::claim("o1", "k1"), r#"{"other": 1}"#);
    assert_eq!(world.acquire(node.request(reused)).await, Acquired::Reused);
}

pub(crate) async fn a_repeat_is_applied_once(world: World) {
    world.order("o1").await;
    let node = world.join("a").await;
    let held = node.hold("o1", "k1").await;
    let first = checkpoint(&world, &held, 0).await;
    assert_eq!(checkpoint(&world, &held, 0).await, first);
    let second = checkpoint(&world, &held, 1).await;
    assert_eq!(checkpoint(&world, &held, 0).await, first);
    assert_eq!(world.count("o1").await, 2);
    let last = applied(world.settle(later(held.settle(), 2)).await);
    // Also after the lease has ended, and when another key holds the order.
    node.hold("o1", "k2").await;
    assert_eq!(checkpoint(&world, &held, 0).await, first);
    assert_eq!(checkpoint(&world, &held, 1).await, second);
    let again = applied(world.settle(later(held.settle(), 2)).await);
    assert_eq!(again, last);
    assert_eq!(world.count("o1").await, 3);
    assert_eq!(world.history("o1").await.len(), 4);
    assert!(world.view("o1").await.lease.is_some(), "k2 still holds it");
}

pub(crate) async fn a_repeat_is_not_the_final_settle(world: World) {
    world.order("o1").await;
    let node = world.join("a").await;
    let held = node.hold("o1", "k1").await;
    checkpoint(&world, &held, 0).await;
    checkpoint(&world, &held, 0).await;
    assert!(
        world.view("o1").await.lease.is_some(),
        "a repeat unlocks nothing"
    );
    world.release(held.release(MarkFate::Keep)).await;
    checkpoint(&world, &held, 0).await;
    // The repeat gave no answer to the key, and took no lease back.
    assert_eq!(world.known(&held.request.claim).await, Known::Unknown);
    assert_eq!(world.view("o1").await.lease, None);
    let late = world.settle(later(held.settle(), 1)).await;
    assert_eq!(late, Ended::Lost(Loss::NotHeld));
    assert_eq!(world.history("o1").await.len(), 2);
}

pub(crate) async fn steps_come_in_their_order(world: World) {
    world.order("o1").await;
    let held = world.join("a").await.hold("o1", "k1").await;
    let early = world.settle(later(held.checkpoint(), 1)).await;
    assert!(matches!(early, Ended::Lost(_)), "{early:?}");
    checkpoint(&world, &held, 0).await;
    assert_eq!(world.count("o1").await, 1);
    assert_eq!(world.history("o1").await.len(), 2);
}
