//! `acquire`: which request gets the order, and what the others get as an answer.

use std::time::Duration;

use orderlock_core::store::{Acquired, Known};
use orderlock_core::{LeaseViewState, Version};

use super::world::{World, applied, granted, replayed, single};
use crate::fixtures::{self, ids};

pub(crate) async fn grants_a_free_order(world: World) {
    world.order("o1").await;
    let before = world.view("o1").await;
    let held = world.join("a").await.hold("o1", "k1").await;
    let grant = &held.grant;
    assert_eq!(grant.fence, held.request.fence);
    assert_eq!(grant.version, before.version);
    assert_eq!(grant.document, before.document);
    assert_eq!(grant.index, before.index);
    assert_eq!(grant.times, before.times);
    assert_eq!(grant.attempt, 1);
    assert_eq!(grant.progress, None);
    let view = world.view("o1").await;
    let lease = view.lease.expect("the lease is shown");
    assert_eq!(lease.state, LeaseViewState::Held);
    assert_eq!(lease.target, ids::target("o1"));
    assert_eq!(lease.operation, Some(held.request.operation));
    assert_eq!(lease.caller, Some(held.request.claim.caller));
    assert_eq!(lease.key_id, Some(held.request.claim.key_id));
    assert_eq!(lease.fingerprint, Some(held.request.claim.fingerprint));
    assert_eq!(lease.attempt, 1);
    assert_eq!(lease.since, Some(grant.now));
    assert_eq!(view.version, before.version, "a grant moves no version");
    assert_eq!(world.history("o1").await.len(), 1, "a grant is no entry");
}

pub(crate) async fn repeats_the_same_grant(world: World) {
    world.order("o1").await;
    let held = world.join("a").await.hold("o1", "k1").await;
    world.pass(Duration::from_secs(1));
    let again = granted(world.acquire(held.request.clone()).await);
    assert_eq!(again, held.grant, "with the clock as it was at the grant");
    applied(world.settle(held.settle()).await);
}

pub(crate) async fn tells_others_who_holds_it(world: World) {
    world.order("o1").await;
    let node = world.join("a").await;
    let held = node.hold("o1", "k1").await;
    let lease = world.view("o1").await.lease.unwrap();
    let other = node.request(fixtures::claim("o1", "k2"));
    assert_eq!(world.acquire(other).await, Acquired::Held(lease.clone()));
    let same = world.join("b").await.request(fixtures::claim("o1", "k1"));
    assert_eq!(world.acquire(same).await, Acquired::InProgress(lease));
    let reused = fixtures::asking(fixtures::claim("o1", "k1"), r#"{"other": 1}"#);
    assert_eq!(world.acquire(node.request(reused)).await, Acquired::Reused);
    applied(world.settle(held.settle()).await);
}

pub(crate) async fn orders_are_held_one_by_one(world: World) {
    world.order("o1").await;
    world.order("o2").await;
    let node = world.join("a").await;
    node.hold("o1", "k1").await;
    node.hold("o2", "k1").await;
    assert_eq!(world.leases(&single()).await.len(), 2);
}

pub(crate) async fn a_settled_key_wins_over_everything(world: World) {
    world.order("o1").await;
    let node = world.join("a").await;
    let first = node.hold("o1", "k1").await;
    applied(world.settle(first.settle()).await);
    node.hold("o1", "k2").await;
    let mut retry = node.request(fixtures::claim("o1", "k1"));
    retry.expected = Some(Version(77));
    let entry = replayed(world.acquire(retry).await);
    assert_eq!(entry.answer, first.settle().answer().cloned());
    let reused = fixtures::asking(fixtures::claim("o1", "k1"), r#"{"other": 1}"#);
    assert_eq!(world.acquire(node.request(reused)).await, Acquired::Reused);
}

pub(crate) async fn another_callers_same_key_is_another_key(world: World) {
    world.order("o1").await;
    let node = world.join("a").await;
    let (ann, bob) = (ids::caller("-", "ann"), ids::caller("-", "bob"));
    let anns = node.request(fixtures::claim_by(&ann, "o1", "k1"));
    let held = node.hold_by(anns).await;
    let bobs = || node.request(fixtures::claim_by(&bob, "o1", "k1"));
    let answer = world.acquire(bobs()).await;
    assert!(matches!(answer, Acquired::Held(_)), "{answer:?}");
    applied(world.settle(held.settle()).await);
    let held = node.hold_by(bobs()).await;
    applied(world.settle(held.settle()).await);
    assert_eq!(world.count("o1").await, 2);
    let actors: Vec<_> = world.history("o1").await.into_iter().skip(1).collect();
    assert_eq!(actors[0].actor, ann.principal);
    assert_eq!(actors[1].actor, bob.principal);
}

pub(crate) async fn another_orders_same_key_is_another_key(world: World) {
    world.order("o1").await;
    world.order("o2").await;
    let node = world.join("a").await;
    let held = node.hold("o1", "k1").await;
    applied(world.settle(held.settle()).await);
    let known = world.known(&fixtures::claim("o2", "k1")).await;
    assert_eq!(known, Known::Unknown);
    node.hold("o2", "k1").await;
}

pub(crate) async fn compares_the_expected_version_at_the_grant(world: World) {
    world.order("o1").await;
    let node = world.join("a").await;
    let asking = |key: &str, version| {
        let mut request = node.request(fixtures::claim("o1", key));
        request.expected = Some(Version(version));
        request
    };
    let current = Version(1);
    let mismatch = Acquired::VersionMismatch { current };
    assert_eq!(world.acquire(asking("k1", 2)).await, mismatch);
    assert_eq!(world.view("o1").await.lease, None);
    let held = node.hold_by(asking("k1", 1)).await;
    // While it is held, it may still reach the expected version.
    let answer = world.acquire(asking("k2", 2)).await;
    assert!(matches!(answer, Acquired::Held(_)), "{answer:?}");
    applied(world.settle(held.settle()).await);
    node.hold_by(asking("k2", 2)).await;
}

pub(crate) async fn knows_what_is_not_there(world: World) {
    let node = world.join("a").await;
    let request = node.request(fixtures::claim("o1", "k1"));
    assert_eq!(world.acquire(request).await, Acquired::NotFound);
}

pub(crate) async fn a_failed_key_leaves_nothing(world: World) {
    use orderlock_core::store::MarkFate;
    world.order("o1").await;
    let node = world.join("a").await;
    let held = node.hold("o1", "k1").await;
    world.release(held.release(MarkFate::Keep)).await;
    // Not even its fingerprint: another body is accepted under it.
    let claim = fixtures::asking(fixtures::claim("o1", "k1"), r#"{"other": 1}"#);
    let held = node.hold_by(node.request(claim)).await;
    assert_eq!(held.grant.attempt, 1);
}
