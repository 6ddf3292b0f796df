//! A library server with a handler that sleeps, as if it waited for an external service.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use axum::Router;
use futures_util::StreamExt as _;
use orderlock::postgres::{PostgresOptions, PostgresStore};
use orderlock::sqlite::{SqliteOptions, SqliteStore};
use orderlock::{
    Body, Caller, CreateRequest, Failure, Fingerprint, IdempotencyKey, Limits, LockedOrder,
    Operation, OrderId, OrderLock, OrderStore, OrderType, Outcome, SingleTenant,
};
use serde::{Deserialize, Serialize};

use crate::Store;

/// How many orders are made at once.
const MAKERS: usize = 256;

#[derive(Clone, Serialize, Deserialize)]
struct Order {
    count: u64,
}

impl OrderType for Order {}

async fn sleep(order: LockedOrder<Order>, body: String) -> Result<Outcome<Order>, Failure> {
    let milliseconds = body.parse()?;
    tokio::time::sleep(Duration::from_millis(milliseconds)).await;
    let count = order.count + 1;
    Ok(Outcome::Applied(Order { count }))
}

pub(crate) fn run(store: &Store) -> Result<()> {
    crate::machine::allow_many_files()?;
    super::serve(async {
        let opened: Arc<dyn OrderStore> = match &store.store {
            None => Arc::new(SqliteStore::open("slow.db", SqliteOptions::default())?),
            Some(address) => {
                let options = PostgresOptions::default();
                Arc::new(PostgresStore::open(address, options).await?)
            }
        };
        let orders = OrderLock::<Order>::new(opened, SingleTenant).with_limits(Limits {
            handler: Duration::from_secs(60),
            ..Limits::default()
        });
        let creations = (0..store.sleepers).map(|number| create(&orders, number));
        let making = futures_util::stream::iter(creations).buffer_unordered(MAKERS);
        making.for_each(|()| std::future::ready(())).await;
        Ok(Router::new().route("/orders/{id}/sleep", orders.post("sleep", sleep)))
    })
}

async fn create(orders: &OrderLock<Order>, number: usize) {
    let name = format!("o{number}");
    let operation = Operation::named("create").name().clone();
    let (Ok(order), Ok(key)) = (OrderId::parse(&name), IdempotencyKey::parse(&name)) else {
        return;
    };
    let request = CreateRequest {
        caller: Caller::single(),
        order: Some(order),
        key,
        fingerprint: Fingerprint::of(&operation, None, Body::Bytes(b"")),
        operation,
    };
    // An order that is missing is a wrong answer of the load.
    let _ended = orders.lifecycle().create(request, Order { count: 0 }).await;
}
