//! An order type of one's own, an external operation, and its recovery: a payment is captured
//! once, however often the client repeats its request.

#![allow(clippy::print_stdout, reason = "an example shows what it does")]

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::{Json, State};
use axum::http::{Request, StatusCode};
use axum::response::{IntoResponse, Response};
use orderlock::sqlite::{SqliteOptions, SqliteStore};
use orderlock::{
    Caller, IdempotencyKey, Index, JsonAnswers, LockedOrder, Operation, OrderId, OrderLock,
    OrderType, Outcome, Problem, Recovery, SingleTenant,
};
use serde::{Deserialize, Serialize};
use tower::ServiceExt as _;

#[derive(Clone, Serialize, Deserialize)]
struct Order {
    status: String,
    customer: String,
    total: u64,
    payment: Option<String>,
}

impl OrderType for Order {
    fn index(&self) -> Index<'_> {
        Index {
            status: Some(&self.status),
            customer: Some(&self.customer),
        }
    }
}

#[derive(Deserialize)]
struct Pay {
    amount: u64,
}

/// A payment gateway that is out of reach at the first attempt.
#[derive(Clone, Default)]
struct Gateway(Arc<AtomicBool>);

struct GatewayDown;

impl IntoResponse for GatewayDown {
    fn into_response(self) -> Response {
        (StatusCode::BAD_GATEWAY, "the payment gateway is down").into_response()
    }
}

impl Gateway {
    /// The key makes two attempts one payment.
    async fn capture(&self, amount: u64, key: &str) -> Result<String, GatewayDown> {
        if !self.0.swap(true, Ordering::SeqCst) {
            return Err(GatewayDown);
        }
        Ok(format!("{amount} captured as {}", &key[..8]))
    }
}

async fn pay(
    order: LockedOrder<Order>,
    State(gateway): State<Gateway>,
    Json(body): Json<Pay>,
) -> Result<Outcome<Order>, GatewayDown> {
    if body.amount != order.total {
        let problem = Problem::new(422, "wrong-amount", "The amount is not the order's total");
        return Ok(Outcome::Refused(problem));
    }
    let key = order.key().derive("capture");
    let payment = gateway.capture(body.amount, &key).await?;
    let (order, _lease) = order.split();
    Ok(Outcome::Applied(Order {
        status: "paid".into(),
        payment: Some(payment),
        ..order
    }))
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    // Gone at the end, so that each run begins anew. A service gives a path that stays.
    let folder = tempfile::tempdir()?;
    let store = SqliteStore::open(folder.path().join("orders.db"), SqliteOptions::default())?;
    let orders = OrderLock::<Order>::new(store, SingleTenant)
        .with_answers(JsonAnswers::new().with_location_prefix("/orders/"))
        .with_body_limit(16 * 1024);
    let capture = Operation::named("pay").external(Recovery::Resume {
        times: 5,
        within: std::time::Duration::from_secs(3600),
    });
    let app = Router::new()
        .route("/orders/{id}/pay", orders.post(capture, pay))
        .with_state(Gateway::default());

    let order = Order {
        status: "pending".into(),
        customer: "cus_42".into(),
        total: 2598,
        payment: None,
    };
    let (key, id) = (IdempotencyKey::parse("create-1")?, OrderId::parse("o-1")?);
    orders
        .create(&Caller::single(), key, Some(id), order)
        .await?;

    // The first attempt fails outside, the second resumes it, the third is answered from the
    // journal; another key finds the order paid for.
    let mut last = StatusCode::ACCEPTED;
    for _ in 0..3 {
        let request = Request::post("/orders/o-1/pay")
            .header("idempotency-key", "5f0c9b3e")
            .header("content-type", "application/json")
            .body(Body::from(r#"{"amount":2598}"#))?;
        let response = app.clone().oneshot(request).await?;
        last = response.status();
        let replayed = response.headers().contains_key("idempotent-replayed");
        let body = to_bytes(response.into_body(), 64 * 1024).await?;
        println!(
            "{last}, replayed: {replayed}\n{}",
            String::from_utf8_lossy(&body)
        );
    }
    assert_eq!(last, StatusCode::OK);
    Ok(())
}
