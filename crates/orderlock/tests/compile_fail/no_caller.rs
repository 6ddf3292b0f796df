use orderlock::{OrderLock, OrderStore, OrderType};
use serde::{Deserialize, Serialize};

#[derive(Serialize, Deserialize)]
struct Order {
    open: bool,
}

impl OrderType for Order {}

fn lock(store: impl OrderStore) -> OrderLock<Order> {
    OrderLock::new(store, ())
}

fn main() {}
