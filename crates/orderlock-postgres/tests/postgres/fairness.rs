//! What is written of a node that waits, and what is left of it. That nodes have their turns is in
//! the suite.

use std::sync::Arc;
use std::time::Duration;

use orderlock_core::OrderStore as _;
use orderlock_core::store::{Acquire, Acquired, Settled, Sweep};
use orderlock_postgres::{PostgresOptions, PostgresStore};
use orderlock_testkit::{TestRuntime, fixtures};

use crate::proxy::Proxy;
use crate::world::{Held, World, applied, granted, hold, join, request};

/// Between two steps of a test: five of them, and a wait is due.
const STEP: Duration = Duration::from_millis(100);

/// Two nodes on one order, `o1`, under one clock.
struct Nodes {
    world: World,
    other: PostgresStore,
    /// What the other node asks for.
    waits: Acquire,
    runtime: TestRuntime,
}

impl Nodes {
    async fn new() -> Self {
        let runtime = TestRuntime::new();
        let options = || PostgresOptions::default().with_runtime(Arc::new(runtime.clone()));
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

    /// The first node settles, and the next in its own line is granted the order by that.
    async fn hand_over(&self, held: &Held, key: &str) -> Held {
        self.runtime.advance(STEP);
        let request = self.world.request("o1", key);
        let settle = fixtures::handing_over(held.settle(), request.clone());
        let settled = self.world.store.settle(settle).await.unwrap();
        let Settled::Accepted(mut accepted) = settled else {
            panic!("not accepted");
        };
        let next = accepted.next.take().expect("the next one is asked for");
        applied(Settled::Accepted(accepted)).await;
        let grant = granted(next);
        Held { request, grant }
    }

    async fn rows(&self) -> i64 {
        let count = "SELECT count(*) FROM waits";
        let row = self.world.hand.query_one(count, &[]).await.unwrap();
        row.get(0)
    }
}

#[tokio::test]
async fn a_wait_is_written_at_the_second_try_and_ends_with_the_grant() {
    let nodes = Nodes::new().await;
    let held = nodes.world.hold("o1", "a0").await;
    nodes.ask().await;
    assert_eq!(nodes.rows().await, 0, "one try is no wait");
    nodes.ask().await;
    assert_eq!(nodes.rows().await, 1);
    applied(nodes.world.store.settle(held.settle()).await.unwrap()).await;
    hold(&nodes.other, nodes.waits.clone()).await;
    assert_eq!(nodes.rows().await, 0, "whoever has it does not wait");
}

#[tokio::test]
async fn a_clock_that_is_set_back_keeps_no_order() {
    let nodes = Nodes::new().await;
    let held = nodes.due().await;
    let later = "UPDATE waits SET asked = asked + interval '1 hour'";
    assert_eq!(nodes.world.hand.execute(later, &[]).await.unwrap(), 1);
    // A wait that is to come does not count, and then begins anew.
    let held = nodes.hand_over(&held, "a1").await;
    nodes.ask().await;
    nodes.hand_over(&held, "a2").await;
}

#[tokio::test]
async fn what_is_left_of_a_wait_is_swept_away() {
    let nodes = Nodes::new().await;
    nodes.due().await;
    let sweep = || nodes.world.store.sweep(Sweep { limit: 10 });
    sweep().await.unwrap();
    assert_eq!(nodes.rows().await, 1);
    nodes.runtime.advance(Duration::from_secs(61));
    sweep().await.unwrap();
    assert_eq!(nodes.rows().await, 0);
}

#[tokio::test]
async fn a_node_whose_questions_take_long_has_its_turn() {
    let nodes = Nodes::new().await;
    let proxy = Proxy::new().await;
    let runtime = nodes.runtime.clone();
    // Each round trip of the far node takes longer than the longest pause between two questions.
    proxy.each_turn(move || runtime.advance(Duration::from_millis(400)));
    let address = proxy.on_the_way_to(&nodes.world.place.address());
    let options = PostgresOptions::default().with_runtime(Arc::new(nodes.runtime.clone()));
    let far = PostgresStore::open(&address, options).await.unwrap();
    let waits = request(join(&far, "far").await, "o1", "far");
    let mut held = nodes.world.hold("o1", "a0").await;
    for round in 1..10 {
        match far.acquire(waits.clone()).await.unwrap() {
            Acquired::Held(_) => {}
            told => {
                granted(told);
                return;
            }
        }
        let request = nodes.world.request("o1", &format!("a{round}"));
        let settle = fixtures::handing_over(held.settle(), request.clone());
        let settled = nodes.world.store.settle(settle).await.unwrap();
        let Settled::Accepted(mut accepted) = settled else {
            panic!("not accepted");
        };
        let next = accepted.next.take().expect("the next one is asked for");
        applied(Settled::Accepted(accepted)).await;
        match next {
            Acquired::Granted(grant) => {
                held = Held {
                    request,
                    grant: *grant,
                }
            }
            told => assert!(matches!(told, Acquired::Held(_)), "{told:?}"),
        }
    }
    panic!("it waits for ever");
}
