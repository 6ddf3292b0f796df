//! The lock as a tower layer, for handlers that are already there: they take the order from the
//! request and return an outcome, and any middleware may be in between.

#![allow(clippy::print_stdout, reason = "an example shows what it does")]

use axum::Router;
use axum::body::Body;
use axum::http::{HeaderMap, Request, StatusCode};
use axum::middleware::{self, Next};
use axum::response::Response;
use axum::routing::post;
use orderlock::sqlite::{SqliteOptions, SqliteStore};
use orderlock::{
    Caller, IdempotencyKey, LockedOrder, OrderId, OrderLock, OrderType, Outcome, SingleTenant,
};
use serde::{Deserialize, Serialize};
use tower::ServiceExt as _;

#[derive(Serialize, Deserialize)]
struct Order {
    open: bool,
}

impl OrderType for Order {}

async fn close(order: LockedOrder<Order>) -> Outcome<Order> {
    if order.open {
        Outcome::Applied(Order { open: false })
    } else {
        Outcome::Unchanged
    }
}

/// A check that replays must pass too is outside the lock.
async fn only_clerks(
    headers: HeaderMap,
    request: Request<Body>,
    next: Next,
) -> Result<Response, StatusCode> {
    if headers.get("x-role").is_none_or(|role| role != "clerk") {
        return Err(StatusCode::FORBIDDEN);
    }
    Ok(next.run(request).await)
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    // Gone at the end, so that each run begins anew. A service gives a path that stays.
    let folder = tempfile::tempdir()?;
    let store = SqliteStore::open(folder.path().join("orders.db"), SqliteOptions::default())?;
    let orders = OrderLock::<Order>::new(store, SingleTenant);
    let app = Router::new()
        .route("/orders/{id}/close", post(close))
        .route_layer(orders.layer("close"))
        .route_layer(middleware::from_fn(only_clerks));

    let (key, id) = (IdempotencyKey::parse("create-1")?, OrderId::parse("o-1")?);
    orders
        .create(&Caller::single(), key, Some(id), Order { open: true })
        .await?;
    for role in ["clerk", "clerk", "visitor"] {
        let request = Request::post("/orders/o-1/close")
            .header("idempotency-key", "5f0c9b3e")
            .header("x-role", role)
            .body(Body::empty())?;
        let response = app.clone().oneshot(request).await?;
        let replayed = response.headers().contains_key("idempotent-replayed");
        println!("{role}: {}, replayed: {replayed}", response.status());
        assert_eq!(response.status().is_success(), role == "clerk");
    }
    Ok(())
}
