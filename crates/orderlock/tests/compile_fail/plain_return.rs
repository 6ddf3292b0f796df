use axum::routing::MethodRouter;
use orderlock::{Failure, LockedOrder, OrderLock, OrderType};
use serde::{Deserialize, Serialize};

#[derive(Serialize, Deserialize)]
struct Order {
    open: bool,
}

impl OrderType for Order {}

async fn close(order: LockedOrder<Order>) -> Result<Order, Failure> {
    Ok(order.split().0)
}

fn route(orders: &OrderLock<Order>) -> MethodRouter {
    orders.post("close", close)
}

fn main() {}
