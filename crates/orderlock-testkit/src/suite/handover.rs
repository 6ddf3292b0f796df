//! Hand-over: a grant like any other, with every check of `acquire`, in the same step as the
//! unlock.

use orderlock_core::store::{Acquire, Acquired, Settle};
use orderlock_core::{Recovery, Version};

use super::node::{Held, Node};
use super::world::{World, applied, granted, handed};
use crate::fixtures;

/// The settle that hands the order over to the next request.
pub(super) fn over(settle: Settle, next: &Acquire) -> Settle {
    fixtures::handing_over(settle, next.clone())
}

async fn begin(world: &World) -> (Node, Held) {
    world.order("o1").await;
    let node = world.join("a").await;
    let held = node.hold("o1", "k1").await;
    (node, held)
}

pub(crate) async fn grants_the_state_that_the_settle_leaves(world: World) {
    let (node, held) = begin(&world).await;
    let next = node.request(fixtures::claim("o1", "k2"));
    let grant = granted(handed(world.settle(over(held.settle(), &next)).await));
    assert_eq!(grant.fence, next.fence);
    assert_eq!(grant.version, Version(2));
    assert_eq!(fixtures::count(&grant.document), 1);
    assert_eq!(grant.index, fixtures::index("changed"));
    let lease = world.view("o1").await.lease.expect("k2 holds it");
    assert_eq!(lease.key_id, Some(next.claim.key_id));
    let second = Held {
        request: next,
        grant,
    };
    applied(world.settle(second.settle()).await);
    assert_eq!(world.count("o1").await, 2);
}

pub(crate) async fn a_repeat_is_the_same_hand_over(world: World) {
    let (node, held) = begin(&world).await;
    let next = node.request(fixtures::claim("o1", "k2"));
    let first = world.settle(over(held.settle(), &next)).await;
    let again = world.settle(over(held.settle(), &next)).await;
    assert_eq!(again, first);
    assert_eq!(world.count("o1").await, 1);
    let second = Held {
        request: next.clone(),
        grant: granted(handed(first)),
    };
    let receipt = applied(world.settle(second.settle()).await);
    // Once more, when the next has settled too: it is answered, not run again.
    let late = handed(world.settle(over(held.settle(), &next)).await);
    match late {
        Acquired::Settled(entry) => assert_eq!(entry.number, receipt.number),
        other => panic!("not settled but {other:?}"),
    }
    assert_eq!(world.count("o1").await, 2);
    assert_eq!(world.view("o1").await.lease, None);
}

pub(crate) async fn a_long_chain_loses_nothing(world: World) {
    let (node, mut held) = begin(&world).await;
    for turn in 2..=20 {
        let next = node.request(fixtures::claim("o1", &format!("k{turn}")));
        let grant = granted(handed(world.settle(over(held.settle(), &next)).await));
        held = Held {
            request: next,
            grant,
        };
    }
    applied(world.settle(held.settle()).await);
    assert_eq!(world.count("o1").await, 20);
    assert_eq!(world.history("o1").await.len(), 21);
}

pub(crate) async fn passes_over_a_settled_key(world: World) {
    let (node, held) = begin(&world).await;
    applied(world.settle(held.settle()).await);
    let second = node.hold("o1", "k2").await;
    let settled = node.request(fixtures::claim("o1", "k1"));
    let next = handed(world.settle(over(second.settle(), &settled)).await);
    match next {
        Acquired::Settled(entry) => assert_eq!(entry.answer, held.settle().answer().cloned()),
        other => panic!("not settled but {other:?}"),
    }
    assert_eq!(world.view("o1").await.lease, None, "nobody holds it");
    assert_eq!(world.count("o1").await, 2, "the settle itself is good");
}

pub(crate) async fn passes_over_the_very_key_that_settles(world: World) {
    let (node, held) = begin(&world).await;
    let same = node.request(fixtures::claim("o1", "k1"));
    let next = handed(world.settle(over(held.settle(), &same)).await);
    assert!(matches!(next, Acquired::Settled(_)), "{next:?}");
    assert_eq!(world.view("o1").await.lease, None);
}

pub(crate) async fn passes_over_a_reused_key(world: World) {
    let (node, held) = begin(&world).await;
    let reused = fixtures::asking(fixtures::claim("o1", "k1"), r#"{"other": 1}"#);
    let settle = over(held.settle(), &node.request(reused));
    assert_eq!(handed(world.settle(settle).await), Acquired::Reused);
    assert_eq!(world.view("o1").await.lease, None);
}

pub(crate) async fn passes_over_another_version(world: World) {
    let (node, held) = begin(&world).await;
    let mut next = node.request(fixtures::claim("o1", "k2"));
    next.expected = Some(Version(1));
    let current = Version(2);
    let told = handed(world.settle(over(held.settle(), &next)).await);
    assert_eq!(told, Acquired::VersionMismatch { current });
    assert_eq!(world.view("o1").await.lease, None);
    next.expected = Some(current);
    granted(world.acquire(next).await);
}

pub(crate) async fn passes_over_an_ended_session(world: World) {
    let (node, held) = begin(&world).await;
    let mut next = node.request(fixtures::claim("o1", "k2"));
    next.session = orderlock_core::SessionId(0xdead);
    let told = handed(world.settle(over(held.settle(), &next)).await);
    assert_eq!(told, Acquired::SessionEnded);
    assert_eq!(world.view("o1").await.lease, None);
}

pub(crate) async fn carries_a_mark(mut world: World) {
    let (node, held) = begin(&world).await;
    let mut next = node.request(fixtures::claim("o1", "k2"));
    next.mark = Some(Recovery::Reconcile);
    granted(handed(world.settle(over(held.settle(), &next)).await));
    world.restart().await;
    let node = world.join("a").await;
    let other = world
        .acquire(node.request(fixtures::claim("o1", "k3")))
        .await;
    match other {
        Acquired::Marked(mark) => assert_eq!(mark.key_id, next.claim.key_id),
        other => panic!("not marked but {other:?}"),
    }
    assert_eq!(world.count("o1").await, 1);
}

pub(crate) async fn a_lost_settle_hands_nothing_over(world: World) {
    let (node, held) = begin(&world).await;
    world.break_lease(held.break_it()).await;
    let next = node.request(fixtures::claim("o1", "k2"));
    let lost = world.settle(over(held.settle(), &next)).await;
    assert!(matches!(lost, super::world::Ended::Lost(_)), "{lost:?}");
    assert_eq!(world.view("o1").await.lease, None);
}
