//! The shortest service: one operation under the lock, over one SQLite file.

use axum::{Router, body::Body, http::Request};
use orderlock::sqlite::{SqliteOptions, SqliteStore};
use orderlock::{Caller, Failure, IdempotencyKey, LockedOrder, OrderLock, OrderType};
use orderlock::{OrderId, Outcome, Problem, SingleTenant};
use serde::{Deserialize, Serialize};
use tower::ServiceExt as _;

#[derive(Serialize, Deserialize)]
struct Order {
    status: String,
}

impl OrderType for Order {}

async fn confirm(order: LockedOrder<Order>) -> Result<Outcome<Order>, Failure> {
    Ok(match order.status.as_str() {
        "pending" => Outcome::Applied(Order {
            status: "confirmed".into(),
        }),
        "confirmed" => Outcome::Unchanged,
        _ => Outcome::Refused(Problem::new(409, "not-pending", "The order is not pending")),
    })
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let store = SqliteStore::open("orders.db", SqliteOptions::default())?;
    let orders = OrderLock::<Order>::new(store, SingleTenant);
    let app = Router::new().route("/orders/{id}/confirm", orders.post("confirm", confirm));

    let (key, id) = (IdempotencyKey::parse("created-1")?, OrderId::parse("o-1")?);
    let order = Order {
        status: "pending".into(),
    };
    orders
        .create(&Caller::single(), key, Some(id), order)
        .await?;
    for _ in 0..2 {
        let request = Request::post("/orders/o-1/confirm").header("idempotency-key", "5f0c9b3e");
        let response = app.clone().oneshot(request.body(Body::empty())?).await?;
        eprintln!("{} {:?}", response.status(), response.headers());
        assert!(response.status().is_success());
    }
    Ok(())
}
