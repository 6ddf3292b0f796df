//! The shortest service: a route that creates orders and one operation under the lock, over one SQLite file.

use axum::{Router, body::Body, http::Request};
use orderlock::sqlite::{SqliteOptions, SqliteStore};
use orderlock::{Failure, LockedOrder, OrderLock, OrderType, Outcome, Problem, SingleTenant};
use serde::{Deserialize, Serialize};
use tower::ServiceExt as _;

#[derive(Serialize, Deserialize)]
struct Order {
    status: String,
}

impl OrderType for Order {}

async fn create() -> Result<Order, Failure> {
    Ok(Order {
        status: "pending".into(),
    })
}

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
    let app = Router::new()
        .route("/orders", orders.create_route(create))
        .route("/orders/{id}/confirm", orders.post("confirm", confirm));

    // A client makes up a key for each operation, and sends it again with each retry.
    let now = std::time::UNIX_EPOCH.elapsed()?.as_nanos();
    let (create, confirm) = (format!("create-{now}"), format!("confirm-{now}"));
    let mut path = "/orders".to_owned();
    for key in [&create, &confirm, &confirm] {
        let request = Request::post(&path).header("idempotency-key", key);
        let response = app.clone().oneshot(request.body(Body::empty())?).await?;
        eprintln!("{} {:?}", response.status(), response.headers());
        assert!(response.status().is_success());
        if let Some(order) = response.headers().get("location") {
            path = format!("{}/confirm", order.to_str()?);
        }
    }
    Ok(())
}
