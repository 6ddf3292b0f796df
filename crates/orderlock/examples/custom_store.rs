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
use futures_util::stream::BoxStream;
use orderlock::core::LeaseView;
use orderlock::sqlite::{SqliteOptions, SqliteStore};
use orderlock::store::{
    Acquire, Acquired, BreakLease, Broken, Create, Created, Entries, EntriesSince, Entry, Expire,
    Expired, History, Join, Joined, Known, Leases, Leave, Left, List, Lookup, OrderView, Page,
    Read, Release, Released, Renew, Renewed, Resolve, Resolved, Settle, Settled, StoreFuture,
    StoreInfo, Sweep, Swept, Undo,
};
use orderlock::{
    Caller, Failure, IdempotencyKey, LockedOrder, OrderId, OrderLock, OrderStore, OrderType,
    Outcome, SingleTenant, Target,
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
    fn describe(&self) -> StoreInfo {
        self.inner.describe()
    }

    fn freed(&self) -> BoxStream<'static, Target> {
        self.inner.freed()
    }

    fn join(&self, request: Join) -> StoreFuture<'_, Joined> {
        self.count("join").join(request)
    }

    fn renew(&self, request: Renew) -> StoreFuture<'_, Renewed> {
        self.count("renew").renew(request)
    }

    fn leave(&self, request: Leave) -> StoreFuture<'_, Left> {
        self.count("leave").leave(request)
    }

    fn sweep(&self, request: Sweep) -> StoreFuture<'_, Swept> {
        self.count("sweep").sweep(request)
    }

    fn create(&self, request: Create) -> StoreFuture<'_, Created> {
        self.count("create").create(request)
    }

    fn read(&self, request: Read) -> StoreFuture<'_, Option<OrderView>> {
        self.count("read").read(request)
    }

    fn list(&self, request: List) -> StoreFuture<'_, Page<OrderView>> {
        self.count("list").list(request)
    }

    fn history(&self, request: History) -> StoreFuture<'_, Option<Page<Entry>>> {
        self.count("history").history(request)
    }

    fn lookup(&self, request: Lookup) -> StoreFuture<'_, Known> {
        self.count("lookup").lookup(request)
    }

    fn acquire(&self, request: Acquire) -> StoreFuture<'_, Acquired> {
        self.count("acquire").acquire(request)
    }

    fn settle(&self, request: Settle) -> StoreFuture<'_, Settled> {
        self.count("settle").settle(request)
    }

    fn release(&self, request: Release) -> StoreFuture<'_, Released> {
        self.count("release").release(request)
    }

    fn undo(&self, request: Undo) -> StoreFuture<'_, Released> {
        self.count("undo").undo(request)
    }

    fn leases(&self, request: Leases) -> StoreFuture<'_, Page<LeaseView>> {
        self.count("leases").leases(request)
    }

    fn break_lease(&self, request: BreakLease) -> StoreFuture<'_, Broken> {
        self.count("break_lease").break_lease(request)
    }

    fn resolve(&self, request: Resolve) -> StoreFuture<'_, Resolved> {
        self.count("resolve").resolve(request)
    }

    fn entries_since(&self, request: EntriesSince) -> StoreFuture<'_, Entries> {
        self.count("entries_since").entries_since(request)
    }

    fn expire(&self, request: Expire) -> StoreFuture<'_, Expired> {
        self.count("expire").expire(request)
    }
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
    let counting = Counting {
        inner: SqliteStore::open("orders.db", SqliteOptions::default())?,
        counts: Arc::default(),
    };
    let counts = Arc::clone(&counting.counts);
    let orders = OrderLock::<Order>::new(counting, SingleTenant);
    let app = Router::new().route("/orders/{id}/visit", orders.post("visit", visit));

    let (key, id) = (IdempotencyKey::parse("create-1")?, OrderId::parse("o-1")?);
    let order = Order { visits: 0 };
    orders.create(&Caller::single(), key, Some(id), order).await;
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
