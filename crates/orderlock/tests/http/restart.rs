//! A process that dies after its mark: what the next one over the same file makes of it.

use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use orderlock::sqlite::{SqliteOptions, SqliteStore};
use orderlock::{
    Caller, Failure, Limits, LockedOrder, Operation, OrderLock, OrderStore as _, Outcome, Recovery,
    SingleTenant,
};
use orderlock_testkit::fixtures::ids;
use serde_json::json;
use tokio::sync::Notify;

use crate::client::Ask;
use crate::world::{Order, id, serve};

/// What happens outside: the keys that it was called with, and the runs that called.
#[derive(Clone, Default)]
struct Outside {
    calls: Arc<Mutex<Vec<(String, u32)>>>,
    called: Arc<Notify>,
    hangs: bool,
}

impl Outside {
    fn calls(&self) -> Vec<(String, u32)> {
        self.calls.lock().unwrap().clone()
    }
}

async fn capture(
    order: LockedOrder<Order>,
    State(outside): State<Outside>,
) -> Result<Outcome<Order>, Failure> {
    let call = (order.key().derive("capture"), order.attempt());
    outside.calls.lock().unwrap().push(call);
    outside.called.notify_one();
    if outside.hangs {
        std::future::pending::<()>().await;
    }
    let count = order.count + 1;
    Ok(Outcome::Applied(Order {
        count,
        ..order.split().0
    }))
}

fn lock(file: &Path) -> OrderLock<Order> {
    let store = SqliteStore::open(file, SqliteOptions::default()).unwrap();
    OrderLock::new(store, SingleTenant).with_limits(Limits {
        handler: Duration::from_secs(3600),
        ..Limits::default()
    })
}

fn app(orders: &OrderLock<Order>, recovery: Recovery, outside: &Outside) -> Router {
    let capturing = Operation::named("capture").external(recovery);
    Router::new()
        .route("/orders/{id}/capture", orders.post(capturing, capture))
        .route("/orders/{id}/resolution", orders.resolution(SingleTenant))
        .with_state(outside.clone())
}

fn ask(key: &str) -> Ask {
    Ask::new("POST", "/orders/o-1/capture").header("idempotency-key", key)
}

/// A process of its own, as far as a test has one: everything in it ends where it stands.
fn life<F: Future>(life: impl FnOnce() -> F) -> F::Output {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async { life().await })
}

/// Creates the order, begins the operation under the key `k-1`, and dies while it is outside.
fn die_outside(file: &Path, recovery: Recovery, create: bool) -> Vec<(String, u32)> {
    let outside = Outside {
        hangs: true,
        ..Outside::default()
    };
    life(|| async {
        let orders = lock(file);
        if create {
            let order = Order {
                count: 0,
                filling: String::new(),
            };
            let key = ids::key("first");
            orders
                .create(&Caller::single(), key, Some(id()), order)
                .await
                .unwrap();
        }
        let address = serve(app(&orders, recovery, &outside)).await;
        let connection = ask("k-1").begin(address).await;
        outside.called.notified().await;
        drop(connection);
    });
    outside.calls()
}

#[test]
fn a_retry_resumes_what_a_process_that_died_had_begun() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("orders.db");
    let resume = Recovery::Resume {
        times: 3,
        within: Duration::from_secs(3600),
    };
    let first = die_outside(&file, resume, true);
    let second = die_outside(&file, resume, false);
    assert_eq!((first[0].1, second[0].1), (1, 2));
    assert_eq!(first[0].0, second[0].0, "the same key outside");
    life(|| async {
        let outside = Outside::default();
        let orders = lock(&file);
        let address = serve(app(&orders, resume, &outside)).await;
        let other = ask("k-2").send(address).await;
        let other = other.expect(409, "outcome-unknown");
        assert_eq!(
            (&other.json()["attempt"], other.header("retry-after")),
            (&json!(2), Some("1"))
        );
        assert_eq!(
            ask("k-1").send(address).await.success().json()["result"]["count"],
            1
        );
        assert_eq!(outside.calls(), [(first[0].0.clone(), 3)]);
        assert!(ask("k-1").send(address).await.success().replayed());
        ask("k-2").send(address).await.success();
        assert_eq!(outside.calls().len(), 2);
    });
}

#[test]
fn runs_are_counted_over_processes_and_bounded() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("orders.db");
    for (times, within) in [(1, 3600), (3, 0)] {
        let _gone = std::fs::remove_file(&file);
        let resume = Recovery::Resume {
            times,
            within: Duration::from_secs(within),
        };
        die_outside(&file, resume, true);
        life(|| async {
            let outside = Outside::default();
            let orders = lock(&file);
            let address = serve(app(&orders, resume, &outside)).await;
            let retry = ask("k-1").send(address).await;
            let retry = retry.expect(409, "outcome-unknown");
            assert_eq!(retry.json()["retryable"], false);
            assert_eq!(outside.calls(), []);
            drop(orders);
        });
    }
}

#[test]
fn what_must_be_reconciled_waits_for_a_resolution_over_restarts() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("orders.db");
    die_outside(&file, Recovery::Reconcile, true);
    life(|| async {
        let outside = Outside::default();
        let orders = lock(&file);
        let address = serve(app(&orders, Recovery::Reconcile, &outside)).await;
        for key in ["k-1", "k-2"] {
            let told = ask(key).send(address).await;
            told.expect(409, "outcome-unknown");
        }
        let target = Caller::single().target(&id());
        let read = orderlock::store::Read { target };
        let view = orders
            .lifecycle()
            .store()
            .read(read)
            .await
            .unwrap()
            .unwrap();
        let decision = json!({
            "decision": "settle", "outcome": "applied", "order": {"count": 5},
            "mark": view.lease.unwrap().id.to_string(), "reason": "the provider has it",
        });
        let resolution = Ask::new("POST", "/orders/o-1/resolution")
            .header("idempotency-key", "r-1")
            .body(&decision.to_string());
        resolution.send(address).await.success();
    });
    life(|| async {
        let outside = Outside::default();
        let orders = lock(&file);
        let address = serve(app(&orders, Recovery::Reconcile, &outside)).await;
        let retry = ask("k-1").send(address).await.success();
        assert!(retry.replayed());
        assert_eq!(retry.json()["result"]["count"], 5);
        assert_eq!(outside.calls(), [], "nobody called again");
        ask("k-2").send(address).await.success();
        assert_eq!(outside.calls().len(), 1);
    });
}
