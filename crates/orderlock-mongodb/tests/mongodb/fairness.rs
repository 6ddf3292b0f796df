//! Turns between nodes: a node that waits gets the order, however long the line of another one is.

use std::sync::Arc;
use std::time::Duration;

use mongodb::bson::{Document as Fields, doc};
use orderlock_core::store::{Acquire, Acquired, Release, Settle, Settled, Then};
use orderlock_core::{OrderStore as _, SessionId};
use orderlock_mongodb::{MongodbOptions, MongodbStore};
use orderlock_testkit::TestRuntime;

use crate::world::{Held, World, hold, join, request, settle};

/// Between two steps of a test: five of them, and a wait is due.
const STEP: Duration = Duration::from_millis(100);

/// Two nodes on one order, `o1`, under one clock.
struct Nodes {
    world: World,
    other: Node,
    runtime: TestRuntime,
}

/// Another node.
struct Node {
    store: MongodbStore,
    session: SessionId,
}

impl Nodes {
    async fn new() -> Self {
        let runtime = TestRuntime::new();
        let world = World::with(options(&runtime)).await;
        world.order("o1").await;
        let other = Node::new(&world, &runtime, "b").await;
        Self {
            world,
            other,
            runtime,
        }
    }

    /// Settles in the line of the first node. The next holder, or none if the order was let go.
    async fn hand_over(&self, held: &Held, key: &str) -> Option<Held> {
        self.runtime.advance(STEP);
        let request = self.world.request("o1", key);
        let settle = Settle {
            then: Then::HandOver(Box::new(request.clone())),
            ..held.settle()
        };
        let settled = self.world.store.settle(settle).await.unwrap();
        let Settled::Accepted(accepted) = settled else {
            panic!("not accepted");
        };
        let next = accepted.next;
        match next.expect("the next one is asked for") {
            Acquired::Granted(grant) => Some(Held {
                request,
                grant: *grant,
            }),
            Acquired::Held(_) => None,
            other => panic!("neither granted nor held but {other:?}"),
        }
    }

    /// The first node holds the order, and the other has waited until it is due.
    async fn due(&self) -> (Held, Acquire) {
        let held = self.world.hold("o1", "a0").await;
        let waits = self.other.request("b");
        self.other.ask(&waits).await;
        for _ in 0..6 {
            self.other.ask(&waits).await;
            self.runtime.advance(STEP);
        }
        (held, waits)
    }

    async fn ask(&self, key: &str) -> Acquired {
        let request = self.world.request("o1", key);
        self.world.store.acquire(request).await.unwrap()
    }

    /// How many nodes wait, as the order's document says.
    async fn waits(&self) -> usize {
        let order = self.world.raw("o1").await;
        let kept = order.get_document("orderlock").unwrap();
        kept.get_document("waits").map_or(0, Fields::len)
    }
}

impl Node {
    async fn new(world: &World, runtime: &TestRuntime, name: &str) -> Self {
        let store = world.place.open(options(runtime)).await;
        let session = join(&store, name).await;
        Self { store, session }
    }

    fn request(&self, key: &str) -> Acquire {
        request(self.session, "o1", key)
    }

    /// Asks, and finds the order held.
    async fn ask(&self, request: &Acquire) {
        let told = self.store.acquire(request.clone()).await.unwrap();
        assert!(matches!(told, Acquired::Held(_)), "{told:?}");
    }

    async fn get(&self, request: &Acquire) -> Held {
        hold(&self.store, request.clone()).await
    }
}

fn options(runtime: &TestRuntime) -> MongodbOptions {
    MongodbOptions::default().with_runtime(Arc::new(runtime.clone()))
}

#[tokio::test]
async fn a_long_line_on_one_node_lets_another_in() {
    let nodes = Nodes::new().await;
    let waits = nodes.other.request("b");
    let mut held = nodes.world.hold("o1", "a0").await;
    nodes.other.ask(&waits).await;
    assert_eq!(nodes.waits().await, 0, "one try is no wait");
    nodes.other.ask(&waits).await;
    let mut turns = 0;
    while let Some(next) = nodes.hand_over(&held, &format!("a{}", turns + 1)).await {
        turns += 1;
        assert!(turns < 10, "the line goes on for ever");
        held = next;
        nodes.other.ask(&waits).await;
    }
    println!("let in after {turns} hand-overs");
    assert!(turns >= 4, "a line that lasts less than the wait goes on");
    assert!(matches!(nodes.ask("a8").await, Acquired::Held(_)));
    let held = nodes.other.get(&waits).await;
    assert_eq!(nodes.waits().await, 0, "whoever has it does not wait");
    settle(&nodes.other.store, held.settle())
        .await
        .unwrap()
        .unwrap();
    assert!(matches!(nodes.ask("a9").await, Acquired::Granted(_)));
}

#[tokio::test]
async fn requests_that_do_not_stand_in_line_let_another_node_in() {
    let nodes = Nodes::new().await;
    let (held, waits) = nodes.due().await;
    nodes.world.settle(held.settle()).await.unwrap();
    assert!(matches!(nodes.ask("a1").await, Acquired::Held(_)));
    assert!(matches!(nodes.ask("a0").await, Acquired::Settled(_)));
    nodes.other.get(&waits).await;
}

#[tokio::test]
async fn an_order_is_not_kept_for_one_that_has_gone() {
    let nodes = Nodes::new().await;
    let (held, waits) = nodes.due().await;
    nodes.world.settle(held.settle()).await.unwrap();
    let next = nodes.world.request("o1", "a1");
    let store = &nodes.world.store;
    let told = store.acquire(next.clone()).await.unwrap();
    assert!(matches!(told, Acquired::Held(_)), "{told:?}");
    nodes.runtime.advance(STEP * 6);
    let held = hold(store, next).await;
    assert_eq!(nodes.waits().await, 0, "what is left of it is taken away");
    // Who comes back after that begins to wait anew.
    nodes.other.ask(&waits).await;
    assert!(nodes.hand_over(&held, "a2").await.is_some());
}

#[tokio::test]
async fn nodes_that_wait_have_their_turns_in_the_order_in_which_they_came() {
    let nodes = Nodes::new().await;
    let third = Node::new(&nodes.world, &nodes.runtime, "c").await;
    let held = nodes.world.hold("o1", "a0").await;
    let (first, second) = (nodes.other.request("b"), third.request("c"));
    nodes.other.ask(&first).await;
    nodes.other.ask(&first).await;
    nodes.runtime.advance(STEP);
    third.ask(&second).await;
    for _ in 0..7 {
        nodes.other.ask(&first).await;
        third.ask(&second).await;
        nodes.runtime.advance(STEP);
    }
    nodes.world.settle(held.settle()).await.unwrap();
    third.ask(&second).await;
    let held = nodes.other.get(&first).await;
    // The line of the node that has its turn waits for the one that is due after it.
    third.ask(&second).await;
    let next = nodes.other.request("b2");
    let settle = Settle {
        then: Then::HandOver(Box::new(next)),
        ..held.settle()
    };
    let settled = nodes.other.store.settle(settle).await.unwrap();
    let Settled::Accepted(accepted) = settled else {
        panic!("not accepted");
    };
    assert!(matches!(accepted.next, Some(Acquired::Held(_))));
    assert!(matches!(nodes.ask("a1").await, Acquired::Held(_)));
    third.get(&second).await;
}

#[tokio::test]
async fn a_clock_that_is_set_back_keeps_no_order() {
    let nodes = Nodes::new().await;
    let (held, waits) = nodes.due().await;
    let path = format!("orderlock.waits.{:032x}.asked", nodes.other.session.0);
    let later = doc! {"$inc": {path: 3_600_000_000_i64}};
    nodes.world.write("o1", later).await;
    let held = nodes.hand_over(&held, "a1").await;
    let held = held.expect("a wait that is to come does not count");
    nodes.other.ask(&waits).await;
    assert!(
        nodes.hand_over(&held, "a2").await.is_some(),
        "it begins anew"
    );
}

#[tokio::test]
async fn a_holder_that_takes_long_sees_who_has_come_since_its_grant() {
    let nodes = Nodes::new().await;
    let (held, waits) = nodes.due().await;
    assert_eq!(nodes.waits().await, 1, "after the grant: its copy has none");
    assert!(nodes.hand_over(&held, "a1").await.is_none());
    nodes.other.get(&waits).await;
}

#[tokio::test]
async fn a_release_that_hands_over_lets_another_node_in() {
    let nodes = Nodes::new().await;
    let (held, waits) = nodes.due().await;
    let release = Release {
        next: Some(Box::new(nodes.world.request("o1", "a1"))),
        ..held.release()
    };
    let released = nodes.world.store.release(release).await.unwrap();
    assert!(released.held);
    assert!(matches!(released.next, Some(Acquired::Held(_))));
    nodes.other.get(&waits).await;
}

#[tokio::test]
async fn a_wait_hinders_no_holder() {
    let nodes = Nodes::new().await;
    let held = nodes.world.hold("o1", "a0").await;
    let turn = |order: Fields| {
        order
            .get_document("orderlock")
            .unwrap()
            .get("turn")
            .cloned()
    };
    let before = turn(nodes.world.raw("o1").await);
    let waits = nodes.other.request("b");
    nodes.other.ask(&waits).await;
    nodes.other.ask(&waits).await;
    assert_eq!(nodes.waits().await, 1);
    assert_eq!(turn(nodes.world.raw("o1").await), before);
    nodes.world.settle(held.settle()).await.unwrap();
    // One that is not due yet is passed, and goes on waiting.
    assert!(matches!(nodes.ask("a1").await, Acquired::Granted(_)));
    assert_eq!(nodes.waits().await, 1);
}

#[tokio::test]
async fn waits_that_cannot_be_read_are_nobodys() {
    let nodes = Nodes::new().await;
    let odd = doc! {"$set": {"orderlock.waits": {"x": 1, "y": {"since": "?"}}}};
    nodes.world.write("o1", odd).await;
    nodes.world.hold("o1", "a0").await;
    assert_eq!(nodes.waits().await, 0);
}
