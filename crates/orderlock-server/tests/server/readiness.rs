//! What readiness tells of a node that is ready.

use std::time::Duration;

use futures_util::future::join_all;
use orderlock::Limits;
use orderlock::store::Retention;
use orderlock_testkit::faults::{Fault, Gate, Plan, Verb};

use crate::support::{Call, Setup, World, pending};

/// More than one round of the housekeeping ends at once.
const ORDERS: usize = 510;

#[tokio::test]
async fn a_node_that_is_ready_says_how_far_its_housekeeping_is_behind() {
    let limits = Limits {
        // A third of it is the time to the first look; a busy machine renews within the rest.
        session: Duration::from_secs(6),
        store: Duration::from_secs(60),
        retention: Retention {
            answer: Duration::from_millis(1),
            tombstone: Duration::from_secs(3_600),
        },
        ..Limits::default()
    };
    let world = World::with(Setup {
        limits,
        ..Setup::default()
    });
    // Of what has expired it ends a part, and then nothing.
    let gate = Gate::new();
    let first = Plan::new().at_call(Verb::Expire, 1, Fault::DelayBefore(gate.clone()));
    let failing = |plan: Plan, call| plan.at_call(Verb::Expire, call, Fault::FailBefore);
    world.store().plan((2..10_000).fold(first, failing));
    let creations = (0..ORDERS).map(|_| {
        let create = Call::post("/v1/orders", &pending()).key(&world.new_key());
        world.sent(create)
    });
    for created in join_all(creations).await {
        assert_eq!(created.status, 201, "{}", created.text);
    }
    let behind = async || {
        let ready = world.get("/readyz").await;
        assert_eq!(ready.status, 200, "{}", ready.text);
        let behind = ready.json()["result"]["expiryBehindMilliseconds"].as_u64();
        behind.expect("it is always told")
    };
    assert_eq!(behind().await, 0, "nothing has been looked at");
    gate.open();
    while behind().await == 0 {
        tokio::task::yield_now().await;
    }
}
