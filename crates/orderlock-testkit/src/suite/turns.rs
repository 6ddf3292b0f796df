//! Turns between nodes: a node that waits gets the order, however long the line of another one is.
//!
//! It is asked of stores that several processes share: each node here has a store of its own. How a
//! store writes down who waits is its own affair.

use std::time::Duration;

use orderlock_core::store::{Acquire, Acquired, MarkFate, Release};

use super::handover::over;
use super::node::{Held, Node};
use super::world::{World, applied, handed};
use crate::fixtures;

/// Between two steps of a check. After half a second of waiting it is a node's turn, and for as
/// long the order is kept for it.
const STEP: Duration = Duration::from_millis(100);

/// Two nodes on one order, `o1`, under one clock.
struct Nodes {
    one: Node,
    other: Node,
    world: World,
}

impl Nodes {
    async fn new(world: World) -> Self {
        world.order("o1").await;
        let one = world.join("a").await;
        let other = world.beside().await.join("b").await;
        Self { one, other, world }
    }

    /// The one node holds the order, and the other has waited until it is its turn.
    async fn due(&self) -> (Held, Acquire) {
        let held = self.one.hold("o1", "a0").await;
        let waits = request(&self.other, "b0");
        passed_over(&self.other, &waits).await;
        for _ in 0..6 {
            passed_over(&self.other, &waits).await;
            self.world.pass(STEP);
        }
        (held, waits)
    }
}

fn request(node: &Node, key: &str) -> Acquire {
    node.request(fixtures::claim("o1", key))
}

/// Asks in vain: the order is held, or kept for another node.
async fn passed_over(node: &Node, request: &Acquire) {
    let told = node.acquire(request.clone()).await;
    let held = matches!(told, Acquired::Held(_));
    assert!(held, "out of turn, {} got {told:?}", request.claim.key);
}

/// Settles with a hand-over in the node's own line. The next holder, or none if the order was let
/// go for another node.
async fn hand_over(node: &Node, held: &Held, key: &str) -> Option<Held> {
    let request = request(node, key);
    match handed(node.settle(over(held.settle(), &request)).await) {
        Acquired::Granted(grant) => Some(Held {
            request,
            grant: *grant,
        }),
        Acquired::Held(_) => None,
        other => panic!("neither granted nor held but {other:?}"),
    }
}

/// The same where it is another node's turn.
async fn let_go(node: &Node, held: &Held, key: &str) {
    let next = hand_over(node, held, key).await;
    assert!(next.is_none(), "out of turn, {key} was handed the order");
}

pub(crate) async fn a_long_line_on_one_node_lets_another_in(world: World) {
    let nodes = Nodes::new(world).await;
    let mut held = nodes.one.hold("o1", "a0").await;
    let waits = request(&nodes.other, "b0");
    passed_over(&nodes.other, &waits).await;
    passed_over(&nodes.other, &waits).await;
    let mut turns = 0;
    loop {
        nodes.world.pass(STEP);
        let key = format!("a{}", turns + 1);
        let Some(next) = hand_over(&nodes.one, &held, &key).await else {
            break;
        };
        turns += 1;
        assert!(turns < 10, "out of turn, the line goes on for ever");
        held = next;
        passed_over(&nodes.other, &waits).await;
    }
    assert!(turns >= 4, "a line that lasts less than the wait goes on");
    passed_over(&nodes.one, &request(&nodes.one, "a-new")).await;
    let held = nodes.other.hold_by(waits).await;
    applied(nodes.other.settle(held.settle()).await);
    nodes.one.hold("o1", "a-last").await;
    assert_eq!(nodes.world.count("o1").await, turns + 2);
}

pub(crate) async fn requests_that_do_not_stand_in_line_let_another_node_in(world: World) {
    let nodes = Nodes::new(world).await;
    let (held, waits) = nodes.due().await;
    applied(nodes.one.settle(held.settle()).await);
    passed_over(&nodes.one, &request(&nodes.one, "a1")).await;
    // An answer needs no grant, and so no turn.
    let told = nodes.one.acquire(request(&nodes.one, "a0")).await;
    assert!(matches!(told, Acquired::Settled(_)), "{told:?}");
    nodes.other.hold_by(waits).await;
}

pub(crate) async fn an_order_is_not_kept_for_one_that_has_gone(world: World) {
    let nodes = Nodes::new(world).await;
    let (held, waits) = nodes.due().await;
    applied(nodes.one.settle(held.settle()).await);
    let next = request(&nodes.one, "a1");
    passed_over(&nodes.one, &next).await;
    nodes.world.pass(STEP * 6);
    let held = nodes.one.hold_by(next).await;
    // Who comes back after that begins to wait anew.
    passed_over(&nodes.other, &waits).await;
    nodes.world.pass(STEP);
    let next = hand_over(&nodes.one, &held, "a2").await;
    assert!(next.is_some(), "kept for one that had gone");
}

pub(crate) async fn nodes_that_wait_have_their_turns_in_the_order_in_which_they_came(world: World) {
    let nodes = Nodes::new(world).await;
    let third = nodes.world.beside().await.join("c").await;
    let held = nodes.one.hold("o1", "a0").await;
    let (first, second) = (request(&nodes.other, "b0"), request(&third, "c0"));
    passed_over(&nodes.other, &first).await;
    passed_over(&nodes.other, &first).await;
    nodes.world.pass(STEP);
    passed_over(&third, &second).await;
    for _ in 0..7 {
        passed_over(&nodes.other, &first).await;
        passed_over(&third, &second).await;
        nodes.world.pass(STEP);
    }
    applied(nodes.one.settle(held.settle()).await);
    passed_over(&third, &second).await;
    let held = nodes.other.hold_by(first).await;
    // The line of the node that has its turn waits for the one that is due after it.
    passed_over(&third, &second).await;
    let_go(&nodes.other, &held, "b1").await;
    passed_over(&nodes.one, &request(&nodes.one, "a1")).await;
    third.hold_by(second).await;
}

pub(crate) async fn a_holder_that_takes_long_sees_who_has_come_since_its_grant(world: World) {
    let nodes = Nodes::new(world).await;
    let (held, waits) = nodes.due().await;
    let_go(&nodes.one, &held, "a1").await;
    nodes.other.hold_by(waits).await;
    assert_eq!(
        nodes.world.count("o1").await,
        1,
        "the settle itself is good"
    );
}

pub(crate) async fn a_release_that_hands_over_lets_another_node_in(world: World) {
    let nodes = Nodes::new(world).await;
    let (held, waits) = nodes.due().await;
    let release = Release {
        next: Some(Box::new(request(&nodes.one, "a1"))),
        ..held.release(MarkFate::Keep)
    };
    let released = nodes.one.release(release).await;
    assert!(released.held);
    let told = released.next.expect("the next one is asked for");
    let held = matches!(told, Acquired::Held(_));
    assert!(held, "out of turn, a1 was handed the order: {told:?}");
    nodes.other.hold_by(waits).await;
}
