//! Stale holders: a holder that has lost its lease changes nothing, and its next call says that the
//! lease is lost.

use orderlock_core::store::{Leave, Loss, MarkFate};

use super::node::Held;
use super::world::{Ended, SESSION, World, applied};

/// The old holder says everything that a holder can say; nothing of it has an effect.
async fn assert_stale(world: &World, old: &Held) {
    let before = world.view("o1").await;
    let history = world.history("o1").await;
    for settle in [old.settle(), old.refuse(), old.checkpoint()] {
        let ended = world.settle(settle).await;
        assert!(matches!(ended, Ended::Lost(_)), "{ended:?}");
    }
    for fate in [MarkFate::Keep, MarkFate::Clear] {
        assert!(!world.release(old.release(fate)).await.held);
    }
    assert_eq!(world.view("o1").await, before);
    assert_eq!(world.history("o1").await, history);
}

/// The old lease is void: first the order is free, then a successor holds it, then the successor
/// has changed it.
async fn assert_succeeded(world: &World, old: Held, key: &str) {
    assert_stale(world, &old).await;
    let next = world.join("successor").await.hold("o1", key).await;
    assert_stale(world, &old).await;
    applied(world.settle(next.settle()).await);
    assert_stale(world, &old).await;
    assert_eq!(world.count("o1").await, 1);
}

pub(crate) async fn after_a_release(world: World) {
    world.order("o1").await;
    let old = world.join("a").await.hold("o1", "k1").await;
    world.release(old.release(MarkFate::Keep)).await;
    assert_succeeded(&world, old, "k2").await;
}

pub(crate) async fn after_a_break(world: World) {
    world.order("o1").await;
    let old = world.join("a").await.hold("o1", "k1").await;
    world.break_lease(old.break_it()).await;
    assert_succeeded(&world, old, "k2").await;
}

pub(crate) async fn after_a_sweep(world: World) {
    world.order("o1").await;
    let old = world.join("a").await.hold("o1", "k1").await;
    world.pass(SESSION * 2);
    assert_eq!(world.sweep().await, 1);
    assert_succeeded(&world, old, "k2").await;
}

pub(crate) async fn after_a_leave(world: World) {
    world.order("o1").await;
    let node = world.join("a").await;
    let old = node.hold("o1", "k1").await;
    let session = node.session;
    world.store().leave(Leave { session }).await.unwrap();
    assert_succeeded(&world, old, "k2").await;
}

pub(crate) async fn under_the_same_key(world: World) {
    world.order("o1").await;
    let old = world.join("a").await.hold("o1", "k1").await;
    world.join("a").await;
    // The successor runs the same key: the key is no fence.
    assert_succeeded(&world, old, "k1").await;
}

pub(crate) async fn after_a_restart(mut world: World) {
    world.order("o1").await;
    let old = world.join("a").await.hold("o1", "k1").await;
    world.restart().await;
    // Whether or not the lease outlived the restart, the node's new session ends it.
    world.join("a").await;
    assert_succeeded(&world, old, "k2").await;
}

pub(crate) async fn another_grant_of_the_same_node(world: World) {
    world.order("o1").await;
    let node = world.join("a").await;
    let old = node.hold("o1", "k1").await;
    world.release(old.release(MarkFate::Keep)).await;
    let new = node.hold("o1", "k1").await;
    assert_stale(&world, &old).await;
    let receipt = applied(world.settle(new.settle()).await);
    let late = world.settle(old.settle()).await;
    assert!(
        matches!(late, Ended::Lost(Loss::NotHeld | Loss::KeySettled)),
        "{late:?}"
    );
    assert_eq!(world.history("o1").await.len() as u64, receipt.number);
}
