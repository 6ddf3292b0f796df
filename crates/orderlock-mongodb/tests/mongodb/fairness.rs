//! What is written of a node that waits, and what is left of it. That nodes have their turns is in
//! the suite.

use std::sync::Arc;
use std::time::Duration;

use mongodb::bson::{Bson, Document as Fields, doc};
use orderlock_core::OrderStore as _;
use orderlock_core::store::{Acquire, Acquired, Settled};
use orderlock_mongodb::{MongodbOptions, MongodbStore};
use orderlock_testkit::{TestRuntime, fixtures};

use crate::proxy::{Fate, Gate, Proxy};
use crate::world::{Held, World, hold, join, request};

/// Between two steps of a test: five of them, and a wait is due.
const STEP: Duration = Duration::from_millis(100);

/// Two nodes on one order, `o1`, under one clock.
struct Nodes {
    world: World,
    other: MongodbStore,
    /// What the other node asks for.
    waits: Acquire,
    runtime: TestRuntime,
}

impl Nodes {
    async fn new() -> Self {
        let runtime = TestRuntime::new();
        let options = || MongodbOptions::default().with_runtime(Arc::new(runtime.clone()));
        let world = World::with(options()).await;
        world.order("o1").await;
        let other = world.place.open(options()).await;
        let waits = request(join(&other, "b").await, "o1", "b");
        Self {
            world,
            other,
            waits,
            runtime,
        }
    }

    /// The other node asks, and finds the order held.
    async fn ask(&self) {
        let told = self.other.acquire(self.waits.clone()).await.unwrap();
        assert!(matches!(told, Acquired::Held(_)), "{told:?}");
    }

    /// The first node holds the order, and the other has waited until it is due.
    async fn due(&self) -> Held {
        let held = self.world.hold("o1", "a0").await;
        self.ask().await;
        for _ in 0..6 {
            self.ask().await;
            self.runtime.advance(STEP);
        }
        held
    }

    /// The first node lets the order go, and is granted it again.
    async fn let_go_and_hold(&self, held: &Held, key: &str) -> Held {
        self.world.settle(held.settle()).await.unwrap();
        self.world.hold("o1", key).await
    }

    /// The first node settles, and the next in its own line is granted the order by that.
    async fn hand_over(&self, held: &Held, key: &str) -> Held {
        self.runtime.advance(STEP);
        let request = self.world.request("o1", key);
        let settle = fixtures::handing_over(held.settle(), request.clone());
        let settled = self.world.store.settle(settle).await.unwrap();
        let Settled::Accepted(accepted) = settled else {
            panic!("not accepted");
        };
        match accepted.next.expect("the next one is asked for") {
            Acquired::Granted(grant) => Held {
                request,
                grant: *grant,
            },
            other => panic!("not granted but {other:?}"),
        }
    }

    /// What Orderlock keeps in the order's document.
    async fn kept(&self) -> Fields {
        let order = self.world.raw("o1").await;
        order.get_document("orderlock").unwrap().clone()
    }

    /// How many nodes wait, as the order's document says.
    async fn waiting(&self) -> usize {
        let kept = self.kept().await;
        kept.get_document("waits").map_or(0, Fields::len)
    }

    async fn turn(&self) -> Option<Bson> {
        self.kept().await.get("turn").cloned()
    }
}

#[tokio::test]
async fn a_wait_is_written_at_the_second_try_and_ends_with_the_grant() {
    let nodes = Nodes::new().await;
    let held = nodes.world.hold("o1", "a0").await;
    nodes.ask().await;
    assert_eq!(nodes.waiting().await, 0, "one try is no wait");
    nodes.ask().await;
    assert_eq!(nodes.waiting().await, 1);
    nodes.world.settle(held.settle()).await.unwrap();
    hold(&nodes.other, nodes.waits.clone()).await;
    assert_eq!(nodes.waiting().await, 0, "whoever has it does not wait");
}

#[tokio::test]
async fn the_next_grant_takes_away_what_is_left_of_a_wait() {
    let nodes = Nodes::new().await;
    let held = nodes.due().await;
    assert_eq!(nodes.waiting().await, 1);
    nodes.runtime.advance(STEP * 6);
    nodes.let_go_and_hold(&held, "a1").await;
    assert_eq!(nodes.waiting().await, 0);
}

#[tokio::test]
async fn a_clock_that_is_set_back_keeps_no_order() {
    let nodes = Nodes::new().await;
    let held = nodes.due().await;
    let path = format!("orderlock.waits.{:032x}.asked", nodes.waits.session.0);
    let later = doc! {"$inc": {path: 3_600_000_000_i64}};
    nodes.world.write("o1", later).await;
    // A wait that is to come does not count, and then begins anew.
    let held = nodes.hand_over(&held, "a1").await;
    nodes.ask().await;
    nodes.hand_over(&held, "a2").await;
}

#[tokio::test]
async fn a_wait_hinders_no_holder() {
    let nodes = Nodes::new().await;
    let held = nodes.world.hold("o1", "a0").await;
    let before = nodes.turn().await;
    nodes.ask().await;
    nodes.ask().await;
    assert_eq!(nodes.waiting().await, 1);
    assert_eq!(nodes.turn().await, before);
    // One that is not due yet is passed, and goes on waiting.
    nodes.let_go_and_hold(&held, "a1").await;
    assert_eq!(nodes.waiting().await, 1);
}

#[tokio::test]
async fn waits_that_cannot_be_read_are_nobodys() {
    let nodes = Nodes::new().await;
    let odd = doc! {"$set": {"orderlock.waits": {"x": 1, "y": {"since": "?"}}}};
    nodes.world.write("o1", odd).await;
    nodes.world.hold("o1", "a0").await;
    assert_eq!(nodes.waiting().await, 0);
}

/// A node that is far from the database, or whose database is slow.
#[tokio::test]
async fn a_node_whose_questions_take_long_has_its_turn() {
    let runtime = TestRuntime::new();
    let options = || MongodbOptions::default().with_runtime(Arc::new(runtime.clone()));
    let world = World::with(options()).await;
    world.order("o1").await;
    let proxy = Proxy::new().await;
    let address = world.place.address_on(&proxy.address());
    let other = MongodbStore::connect(&address, options()).await.unwrap();
    let waits = request(join(&other, "b").await, "o1", "b");
    let held = world.hold("o1", "a0").await;
    for _ in 0..5 {
        let gate = Gate::default();
        proxy.meet("findAndModify", "orders", Fate::Held(gate.clone()), 1);
        let question = other.acquire(waits.clone());
        let on_its_way = async {
            gate.reached().await;
            runtime.advance(STEP * 2);
            gate.open();
        };
        let (told, ()) = futures_util::join!(question, on_its_way);
        assert!(matches!(told, Ok(Acquired::Held(_))), "{told:?}");
        // The way back, and a pause.
        runtime.advance(STEP * 4);
    }
    let settle = fixtures::handing_over(held.settle(), world.request("o1", "a1"));
    let Settled::Accepted(accepted) = world.store.settle(settle).await.unwrap() else {
        panic!("not accepted");
    };
    let next = accepted.next.expect("the next one is asked for");
    assert!(
        matches!(next, Acquired::Held(_)),
        "it is the other's turn: {next:?}"
    );
    proxy.let_pass();
    hold(&other, waits).await;
}
