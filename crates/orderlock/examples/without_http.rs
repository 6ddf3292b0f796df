//! The same lock without HTTP: a consumer of messages, where each message's id is its key. A
//! message that is delivered twice counts once.

#![allow(clippy::print_stdout, reason = "an example shows what it does")]

use std::convert::Infallible;
use std::time::Duration;

use orderlock::sqlite::{SqliteOptions, SqliteStore};
use orderlock::{
    Body, Caller, Ended, Fingerprint, IdempotencyKey, JsonAnswers, Lifecycle, LockedOrder,
    Operation, OperationRequest, OrderId, OrderLock, OrderType, Outcome, SingleTenant,
};
use serde::{Deserialize, Serialize};

#[derive(Serialize, Deserialize)]
struct Order {
    shipped: u64,
}

impl OrderType for Order {}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    // Gone at the end, so that each run begins anew. A service gives a path that stays.
    let folder = tempfile::tempdir()?;
    let store = SqliteStore::open(folder.path().join("orders.db"), SqliteOptions::default())?;
    let lifecycle = Lifecycle::builder(store, JsonAnswers::new()).build();
    let (caller, order) = (Caller::single(), OrderId::parse("o-1")?);

    let orders = OrderLock::<Order>::from_lifecycle(lifecycle.clone(), SingleTenant);
    let key = IdempotencyKey::parse("create-1")?;
    let first = Order { shipped: 0 };
    orders
        .create(&caller, key, Some(order.clone()), first)
        .await?;

    let ship = Operation::named("ship").pure();
    for (message, quantity) in [("m-1", 2_u64), ("m-2", 3), ("m-1", 2)] {
        let request = OperationRequest {
            caller: caller.clone(),
            order: order.clone(),
            key: IdempotencyKey::parse(message)?,
            fingerprint: Fingerprint::of(
                ship.name(),
                Some(&order),
                Body::Bytes(&quantity.to_le_bytes()),
            ),
            operation: ship.clone(),
            expected: None,
            wait: Duration::from_secs(10),
        };
        let work = move |order: LockedOrder<Order>| async move {
            let shipped = order.shipped + quantity;
            Ok::<_, Infallible>(Outcome::Applied(Order { shipped }))
        };
        match lifecycle.run(request, work).await {
            Ended::Settled {
                answer, replayed, ..
            } => {
                let text = String::from_utf8_lossy(&answer.body);
                println!("{message}: {text}, replayed: {replayed}");
            }
            // Not acknowledged: the broker delivers the message again.
            other => return Err(format!("{message} was not settled: {other:?}").into()),
        }
    }
    lifecycle.drain(Duration::from_secs(5)).await?;
    Ok(())
}
