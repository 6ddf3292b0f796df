use axum::routing::MethodRouter;
use orderlock::{Failure, OrderLock, OrderType, Outcome};
use serde::{Deserialize, Serialize};

#[derive(Serialize, Deserialize)]
struct Order {
    open: bool,
}

impl OrderType for Order {}

async fn close() -> Result<Outcome<Order>, Failure> {
    Ok(Outcome::Unchanged)
}

fn route(orders: &OrderLock<Order>) -> MethodRouter {
    orders.post("close", close)
}

fn main() {}
