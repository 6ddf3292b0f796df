use axum::routing::MethodRouter;
use orderlock::{LockedOrder, OrderLock, OrderType, Outcome};
use serde::{Deserialize, Serialize};

#[derive(Serialize, Deserialize)]
struct Order {
    open: bool,
}

impl OrderType for Order {}

struct Down;

async fn close(_: LockedOrder<Order>) -> Result<Outcome<Order>, Down> {
    Ok(Outcome::Unchanged)
}

fn route(orders: &OrderLock<Order>) -> MethodRouter {
    orders.post("close", close)
}

fn main() {}
