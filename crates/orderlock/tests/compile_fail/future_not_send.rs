use axum::routing::MethodRouter;
use orderlock::{Failure, LockedOrder, OrderLock, OrderType, Outcome};
use serde::{Deserialize, Serialize};

#[derive(Serialize, Deserialize)]
struct Order {
    open: bool,
}

impl OrderType for Order {}

async fn close(_: LockedOrder<Order>) -> Result<Outcome<Order>, Failure> {
    let shared = std::rc::Rc::new(1);
    std::future::ready(()).await;
    drop(shared);
    Ok(Outcome::Unchanged)
}

fn route(orders: &OrderLock<Order>) -> MethodRouter {
    orders.post("close", close)
}

fn main() {}
