//! How to test a handler and its route under fault, in no time: a model store that fails where it
//! hurts, and a clock that moves by itself. In a test of yours, `main` is a `#[tokio::test]`.

use std::sync::Arc;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::http::{Request, StatusCode};
use orderlock::{
    Caller, Failure, IdempotencyKey, LockedOrder, OrderId, OrderLock, OrderType, Outcome, Problem,
    SingleTenant,
};
use orderlock_testkit::faults::{Fault, FaultStore, Plan, Verb};
use orderlock_testkit::{MemoryStore, TestRuntime};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tower::ServiceExt as _;

type Result<T, E = Box<dyn std::error::Error + Send + Sync>> = std::result::Result<T, E>;

#[derive(Serialize, Deserialize)]
struct Order {
    stamps: u64,
}

impl OrderType for Order {}

/// The handler that is tested: a card takes three stamps, and no more.
async fn stamp(order: LockedOrder<Order>) -> Result<Outcome<Order>, Failure> {
    Ok(match order.stamps {
        0..3 => Outcome::Applied(Order {
            stamps: order.stamps + 1,
        }),
        _ => Outcome::Refused(Problem::new(409, "card-full", "The card is full")),
    })
}

/// A card in a store that fails on demand, and the route to it.
struct World {
    runtime: TestRuntime,
    store: FaultStore<MemoryStore>,
    app: Router,
}

impl World {
    async fn new() -> Result<Self> {
        let runtime = TestRuntime::new();
        let memory = MemoryStore::new(Arc::new(runtime.clone()));
        let store = FaultStore::new(memory, Plan::new());
        let orders = OrderLock::<Order>::new(store.clone(), SingleTenant);
        let orders = orders.with_runtime(Arc::new(runtime.clone()));
        let app = Router::new().route("/cards/{id}/stamps", orders.post("stamp", stamp));
        let (key, id) = (IdempotencyKey::parse("new")?, OrderId::parse("c-1")?);
        let card = Order { stamps: 0 };
        orders
            .create(&Caller::single(), key, Some(id), card)
            .await?;
        Ok(Self {
            runtime,
            store,
            app,
        })
    }

    /// Sends a request as a client does, while the clock moves by itself.
    async fn stamp(&self, key: &str) -> Result<(StatusCode, Value)> {
        let request = Request::post("/cards/c-1/stamps").header("idempotency-key", key);
        let request = request.header("prefer", "wait=60");
        let answer = self.app.clone().oneshot(request.body(Body::empty())?);
        let answer = self.runtime.drive(answer).await?;
        let status = answer.status();
        let body = to_bytes(answer.into_body(), 10_000).await?;
        Ok((status, serde_json::from_slice(&body)?))
    }

    /// Sends it until it is answered with the order, as a client that wants its stamp does.
    async fn insist(&self, key: &str) -> Result<Value> {
        let mut told = self.stamp(key).await?;
        for _ in 0..10 {
            if told.0.is_success() {
                break;
            }
            told = self.stamp(key).await?;
        }
        Ok(told.1["result"]["stamps"].clone())
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<()> {
    // Whatever goes wrong with the write, the client repeats its request, and the card has one stamp.
    for fault in [
        Fault::FailBefore,
        Fault::FailAfter,
        Fault::LoseRequest,
        Fault::DropAnswer,
        Fault::Hang,
    ] {
        let world = World::new().await?;
        world.store.fail_next(Verb::Settle, fault.clone());
        assert_eq!(world.insist("monday").await?, 1, "{fault:?}");
        assert_eq!(world.insist("tuesday").await?, 2, "{fault:?}");
        assert_eq!(world.store.struck().len(), 1, "{fault:?} has struck");
    }

    // A store that no longer answers: the client gets an error, and when the store is back, so is
    // the order.
    let world = World::new().await?;
    world.store.sever();
    let (status, body) = world.stamp("monday").await?;
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE, "{body}");
    world.store.mend();
    assert_eq!(world.insist("monday").await?, 1);
    Ok(())
}
