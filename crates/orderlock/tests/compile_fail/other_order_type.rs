use axum::routing::MethodRouter;
use orderlock::{Failure, LockedOrder, OrderLock, OrderType, Outcome};
use serde::{Deserialize, Serialize};

#[derive(Serialize, Deserialize)]
struct Order {
    open: bool,
}

impl OrderType for Order {}

#[derive(Serialize, Deserialize)]
struct Invoice {
    paid: bool,
}

impl OrderType for Invoice {}

async fn close(_: LockedOrder<Invoice>) -> Result<Outcome<Invoice>, Failure> {
    Ok(Outcome::Unchanged)
}

fn route(orders: &OrderLock<Order>) -> MethodRouter {
    orders.post("close", close)
}

fn main() {}
