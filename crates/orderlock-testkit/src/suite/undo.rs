//! `undo`: a grant under which no handler has run leaves no trace, for any kind of request.

use std::time::Duration;

use orderlock_core::store::{Acquired, MarkFate, Released, Undo};
use orderlock_core::{Mark, Recovery};

use super::node::{Held, Node};
use super::world::{World, applied, granted};
use crate::fixtures;

const RESUME: Recovery = Recovery::Resume {
    times: 5,
    within: Duration::from_secs(3600),
};
const TAKEN_BACK: Released = Released {
    held: true,
    next: None,
};
const NOT_HELD: Released = Released {
    held: false,
    next: None,
};

/// The mark that blocks another key.
async fn stands(node: &Node) -> Mark {
    let other = node.request(fixtures::claim("o1", "other"));
    match node.acquire(other).await {
        Acquired::Marked(mark) => *mark,
        told => panic!("no mark stands: {told:?}"),
    }
}

/// An order whose last run, of `k1`, has left its mark.
async fn with_a_mark(world: &World, node: &Node) -> Held {
    world.order("o1").await;
    let held = node.mark("o1", "k1", RESUME).await;
    world.release(held.release(MarkFate::Keep)).await;
    held
}

pub(crate) async fn a_plain_grant_leaves_the_order_free(world: World) {
    world.order("o1").await;
    let node = world.join("a").await;
    let held = node.hold("o1", "k1").await;
    assert_eq!(world.undo(held.undo()).await, TAKEN_BACK);
    assert_eq!(world.view("o1").await.lease, None);
    assert_eq!(world.undo(held.undo()).await, NOT_HELD);
    node.hold("o1", "k2").await;
    assert_eq!(world.history("o1").await.len(), 1, "it wrote no entry");
}

pub(crate) async fn a_first_mark_goes_with_its_grant(world: World) {
    world.order("o1").await;
    let node = world.join("a").await;
    for recovery in [RESUME, Recovery::Reconcile] {
        let held = node.mark("o1", "k1", recovery).await;
        assert_eq!(held.grant.attempt, 1);
        assert_eq!(world.undo(held.undo()).await, TAKEN_BACK);
        assert_eq!(world.view("o1").await.lease, None, "{recovery:?}");
    }
    node.hold("o1", "k2").await;
}

pub(crate) async fn an_earlier_runs_mark_stands_as_it_did(world: World) {
    let node = world.join("a").await;
    with_a_mark(&world, &node).await;
    let before = stands(&node).await;
    // The policy that the operation has by now does not matter: the mark is the earlier run's.
    for recovery in [RESUME, Recovery::Reconcile] {
        world.pass(Duration::from_secs(1));
        let held = node.mark("o1", "k1", recovery).await;
        assert_eq!(held.grant.attempt, 2, "an undone run counts as none");
        assert_eq!(world.undo(held.undo()).await, TAKEN_BACK);
        assert_eq!(stands(&node).await, before, "{recovery:?}");
        assert_eq!(world.undo(held.undo()).await, NOT_HELD);
    }
    let held = node.mark("o1", "k1", RESUME).await;
    assert_eq!(held.grant.attempt, 2);
    applied(world.settle(held.settle()).await);
}

pub(crate) async fn it_hands_over_with_every_check(world: World) {
    let node = world.join("a").await;
    with_a_mark(&world, &node).await;
    let held = node.mark("o1", "k1", RESUME).await;
    let other = node.request(fixtures::claim("o1", "k2"));
    let undo = Undo {
        next: Some(Box::new(other)),
        ..held.undo()
    };
    let told = world.undo(undo).await.next;
    assert!(matches!(told, Some(Acquired::Marked(_))), "{told:?}");

    world.order("o2").await;
    let held = node.mark("o2", "k1", Recovery::Reconcile).await;
    let next = node.request(fixtures::claim("o2", "k2"));
    let undo = Undo {
        next: Some(Box::new(next.clone())),
        ..held.undo()
    };
    let released = world.undo(undo.clone()).await;
    let grant = granted(released.next.expect("the next was asked"));
    assert_eq!(grant.fence, next.fence);
    assert_eq!(world.undo(undo).await, NOT_HELD);
    assert_eq!(granted(world.acquire(next).await), grant);
}

pub(crate) async fn another_grant_is_not_touched(world: World) {
    let node = world.join("a").await;
    let old = with_a_mark(&world, &node).await;
    let held = node.mark("o1", "k1", RESUME).await;
    assert_eq!(world.undo(old.undo()).await, NOT_HELD);
    let elsewhere = Undo {
        target: fixtures::ids::target("none"),
        ..held.undo()
    };
    assert_eq!(world.undo(elsewhere).await, NOT_HELD);
    applied(world.settle(held.settle()).await);
    assert_eq!(world.undo(held.undo()).await, NOT_HELD);
    node.hold("o1", "k2").await;
}

pub(crate) async fn what_a_step_has_written_stays(world: World) {
    world.order("o1").await;
    let node = world.join("a").await;
    let held = node.mark("o1", "k1", RESUME).await;
    applied(world.settle(held.checkpoint()).await);
    assert_eq!(world.undo(held.undo()).await, TAKEN_BACK);
    let mark = stands(&node).await;
    assert_eq!(mark.attempt, 1, "the run has begun: its mark stays");
    assert_eq!(world.count("o1").await, 1);
}
