//! A store of one's own: here a wrapper that counts what is asked of the store inside.
//!
//! A store that keeps orders somewhere new implements the same trait, and is examined by the
//! conformance suite of `orderlock-testkit`.

#![allow(clippy::print_stdout, reason = "an example shows what it does")]

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use axum::Router;
use axum::body::Body;
use axum::http::Request;
use orderlock::sqlite::{SqliteOptions, SqliteStore};
use orderlock::{
    Caller, Failure, IdempotencyKey, LockedOrder, OrderId, OrderLock, OrderStore, OrderType,
    Outcome, SingleTenant, forward,
};
use serde::{Deserialize, Serialize};
use tower::ServiceExt as _;

/// Counts the verbs that are asked of a store.
#[derive(Clone, Debug)]
struct Counting<S> {
    inner: S,
    counts: Arc<Mutex<BTreeMap<&'static str, u64>>>,
}

impl<S> Counting<S> {
    fn count(&self, verb: &'static str) -> &S {
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        *counts.entry(verb).or_default() += 1;
        &self.inner
    }
}

// No verb has a default, so that a wrapper never passes by the store that it wraps.
impl<S: OrderStore> OrderStore for Counting<S> {
    forward!(|store| store.inner; describe, freed);
    forward!(|store, verb| store.count(verb);
        join, renew, leave, sweep, create, read, list, history, mark_end, lookup, acquire, settle, release,
        undo, leases, break_lease, resolve, entries_since, expire);
}

#[derive(Serialize, Deserialize)]
struct Order {
    visits: u64,
}

impl OrderType for Order {}

async fn visit(order: LockedOrder<Order>) -> Result<Outcome<Order>, Failure> {
    let visits = order.visits + 1;
    Ok(Outcome::Applied(Order { visits }))
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    // Gone at the end, so that each run begins anew. A service gives a path that stays.
    let folder = tempfile::tempdir()?;
    let counting = Counting {
        inner: SqliteStore::open(folder.path().join("orders.db"), SqliteOptions::default())?,
        counts: Arc::default(),
    };
    let counts = Arc::clone(&counting.counts);
    let orders = OrderLock::<Order>::new(counting, SingleTenant);
    let app = Router::new().route("/orders/{id}/visit", orders.post("visit", visit));

    let (key, id) = (IdempotencyKey::parse("create-1")?, OrderId::parse("o-1")?);
    let order = Order { visits: 0 };
    orders
        .create(&Caller::single(), key, Some(id), order)
        .await?;
    for key in ["first", "second", "second"] {
        let request = Request::post("/orders/o-1/visit").header("idempotency-key", key);
        let response = app.clone().oneshot(request.body(Body::empty())?).await?;
        println!("{key}: {}", response.status());
        assert!(response.status().is_success());
    }
    let counts = counts.lock().unwrap_or_else(PoisonError::into_inner);
    println!("asked of the store: {counts:?}");
    Ok(())
}
