//! A payment that is captured once, although the first attempt times out after the provider has
//! captured it: resumed by the client's retry, and then left to an operator.

#![allow(clippy::print_stdout, reason = "an example shows what it does")]

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::extract::{Json, Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Router, http::request::Parts};
use orderlock::sqlite::{SqliteOptions, SqliteStore};
use orderlock::{
    Caller, Failure, IdempotencyKey, Limits, LockedOrder, Operation, OrderId, OrderLock, OrderType,
    Outcome, Principal, Problem, Recovery, SingleTenant, Tenant, problems,
};
use reqwest::{Client, RequestBuilder};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

type Result<T, E = Box<dyn std::error::Error + Send + Sync>> = std::result::Result<T, E>;

#[derive(Clone, Serialize, Deserialize)]
struct Order {
    total: u64,
    /// The provider's name for the payment.
    payment: Option<String>,
}

impl OrderType for Order {}

/// The payment provider: a service of its own, which knows nothing of Orderlock. Like real ones it
/// takes a key with each request, and captures once for each key.
mod provider {
    use super::*;

    #[derive(Clone, Default)]
    pub(super) struct Provider(Arc<Mutex<Books>>);

    #[derive(Default)]
    struct Books {
        /// The payments by their key: order, and the name of the payment.
        captured: BTreeMap<String, (String, String)>,
        /// Every request: its key, and which attempt it says it is.
        requests: Vec<(String, u64)>,
    }

    impl Provider {
        pub(super) fn captures(&self) -> usize {
            self.books(|books| books.captured.len())
        }

        pub(super) fn requests(&self) -> Vec<(String, u64)> {
            self.books(|books| books.requests.clone())
        }

        fn books<R>(&self, read: impl FnOnce(&mut Books) -> R) -> R {
            read(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
        }
    }

    async fn capture(
        State(provider): State<Provider>,
        headers: HeaderMap,
        Json(body): Json<Value>,
    ) -> Response {
        let key = headers
            .get("idempotency-key")
            .and_then(|key| key.to_str().ok());
        let Some(key) = key else {
            return StatusCode::BAD_REQUEST.into_response();
        };
        let (payment, known) = provider.books(|books| {
            let attempt = body["attempt"].as_u64().unwrap_or_default();
            books.requests.push((key.to_owned(), attempt));
            let known = books.captured.contains_key(key);
            let name = format!("pay_{}", books.captured.len() + 1);
            let order = body["order"].as_str().unwrap_or_default().to_owned();
            let captured = books.captured.entry(key.to_owned());
            (captured.or_insert((order, name)).1.clone(), known)
        });
        if !known {
            // The money has moved, and the answer gets lost on the way.
            std::future::pending::<()>().await;
        }
        Json(json!({"payment": payment})).into_response()
    }

    async fn find(State(provider): State<Provider>, Path(order): Path<String>) -> Json<Value> {
        let payment = provider.books(|books| {
            let mut captured = books.captured.values();
            let found = captured.find(|(of, _)| *of == order);
            found.map(|(_, payment)| payment.clone())
        });
        Json(json!({"payment": payment}))
    }

    pub(super) fn app(provider: &Provider) -> Router {
        Router::new()
            .route("/captures", post(capture))
            .route("/captures/{order}", get(find))
            .with_state(provider.clone())
    }
}

/// The way to the provider.
#[derive(Clone)]
struct Gateway {
    client: Client,
    captures: String,
}

impl Gateway {
    async fn capture(&self, key: &str, body: &Value) -> Result<String, reqwest::Error> {
        let request = self
            .client
            .post(&self.captures)
            .header("idempotency-key", key);
        let answer: Value = request.json(body).send().await?.json().await?;
        Ok(answer["payment"].as_str().unwrap_or_default().to_owned())
    }
}

/// Knows nothing of locks, retries and recovery: it captures under a key that is the same in each
/// attempt, and returns the order.
async fn confirm(
    order: LockedOrder<Order>,
    State(gateway): State<Gateway>,
) -> Result<Outcome<Order>, Failure> {
    let key = order.key().derive("capture");
    let (id, attempt) = (order.id().as_str(), order.attempt());
    let body = json!({"order": id, "amount": order.total, "attempt": attempt});
    // After an error it is unknown whether the provider has captured, so the mark stays.
    let payment = gateway.capture(&key, &body).await?;
    Ok(Outcome::Applied(Order {
        payment: Some(payment),
        ..order.split().0
    }))
}

/// Who may decide about a mark. A real service checks a credential here.
async fn operator(parts: &Parts) -> Result<Caller, Problem> {
    let name = parts
        .headers
        .get("x-operator")
        .and_then(|name| name.to_str().ok());
    let principal = name.and_then(|name| Principal::parse(name).ok());
    Ok(Caller {
        tenant: Tenant::single(),
        principal: principal.ok_or_else(|| problems::FORBIDDEN.described())?,
    })
}

fn app(orders: &OrderLock<Order>, gateway: Gateway) -> Router {
    let resumed = Operation::named("confirm").external(Recovery::Resume {
        times: 3,
        within: Duration::from_secs(3600),
    });
    let reconciled = Operation::named("confirm-by-hand").external(Recovery::Reconcile);
    Router::new()
        .route("/orders/{id}/confirm", orders.post(resumed, confirm))
        .route(
            "/orders/{id}/confirm-by-hand",
            orders.post(reconciled, confirm),
        )
        .route("/orders/{id}/resolution", orders.resolution(operator))
        .with_state(gateway)
}

/// Serves on the loopback for as long as the program runs.
async fn serve(app: Router) -> Result<String> {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    let address = format!("http://{}", listener.local_addr()?);
    tokio::spawn(async move { axum::serve(listener, app).await });
    Ok(address)
}

/// An answer: its status, whether it is a replay, and its body.
type Told = (u16, bool, Value);

async fn send(what: &str, request: RequestBuilder) -> Result<Told> {
    let answer = request.send().await?;
    let status = answer.status().as_u16();
    let replayed = answer.headers().contains_key("idempotent-replayed");
    let body: Value = answer.json().await?;
    println!(
        "{what}\n  {status}{} {body}",
        if replayed { ", replayed" } else { "" }
    );
    Ok((status, replayed, body))
}

#[tokio::main]
async fn main() -> Result<()> {
    let provider = provider::Provider::default();
    let bank = serve(provider::app(&provider)).await?;
    let folder = tempfile::tempdir()?;
    let store = SqliteStore::open(folder.path().join("orders.db"), SqliteOptions::default())?;
    let orders = OrderLock::<Order>::new(store, SingleTenant).with_limits(Limits {
        // Real services wait longer; an example should not.
        handler: Duration::from_millis(300),
        ..Limits::default()
    });
    for order in ["o-1", "o-2"] {
        let (key, id) = (IdempotencyKey::parse(order)?, OrderId::parse(order)?);
        let order = Order {
            total: 2598,
            payment: None,
        };
        orders
            .create(&Caller::single(), key, Some(id), order)
            .await?;
    }
    let client = Client::new();
    let gateway = Gateway {
        client: client.clone(),
        captures: format!("{bank}/captures"),
    };
    let shop = serve(app(&orders, gateway)).await?;

    resumed(&client, &shop, &provider).await?;
    reconciled(&client, &shop, &bank, &provider).await?;
    println!("two orders, two payments");
    orders.drain(Duration::from_secs(5)).await?;
    Ok(())
}

/// The client's retry resumes: the provider is asked again under the same key, and captures once.
async fn resumed(client: &Client, shop: &str, provider: &provider::Provider) -> Result<()> {
    let confirm = |key: &str| {
        let url = format!("{shop}/orders/o-1/confirm");
        client.post(url).header("idempotency-key", key)
    };
    let (status, _, body) = send("o-1 is confirmed", confirm("5f0c9b3e")).await?;
    assert_eq!(
        (status, &body["type"]),
        (409, &json!("/problems/outcome-unknown"))
    );
    assert_eq!((&body["retryable"], provider.captures()), (&json!(true), 1));

    let (status, _, _) = send("another client is faster", confirm("another")).await?;
    assert_eq!(status, 409);

    let (status, replayed, body) = send("the first one repeats", confirm("5f0c9b3e")).await?;
    assert_eq!((status, replayed), (200, false));
    assert_eq!(body["result"]["payment"], "pay_1");
    let (status, replayed, _) = send("and once more", confirm("5f0c9b3e")).await?;
    assert_eq!((status, replayed), (200, true));

    let requests = provider.requests();
    let attempts: Vec<u64> = requests.iter().map(|(_, attempt)| *attempt).collect();
    assert_eq!(attempts, [1, 2]);
    assert_eq!(requests[0].0, requests[1].0, "the same key at the provider");
    assert_eq!(provider.captures(), 1);
    println!("o-1: attempts {attempts:?}, captured once\n");
    Ok(())
}

/// The service does not ask the provider again by itself: an operator looks, and decides.
async fn reconciled(
    client: &Client,
    shop: &str,
    bank: &str,
    provider: &provider::Provider,
) -> Result<()> {
    let confirm = || {
        let url = format!("{shop}/orders/o-2/confirm-by-hand");
        client.post(url).header("idempotency-key", "77aa")
    };
    let (status, _, body) = send("o-2 is confirmed", confirm()).await?;
    assert_eq!((status, &body["retryable"]), (409, &json!(false)));
    let (status, _, unknown) = send("a retry does not help", confirm()).await?;
    assert_eq!(
        (status, &unknown["type"]),
        (409, &json!("/problems/outcome-unknown"))
    );

    let found = client.get(format!("{bank}/captures/o-2"));
    let (_, _, found) = send("the operator asks the provider", found).await?;
    let decision = json!({
        "decision": "settle", "outcome": "applied", "mark": unknown["mark"],
        "order": {"total": 2598, "payment": found["payment"]},
        "reason": "the provider has captured it",
    });
    let resolution = client
        .post(format!("{shop}/orders/o-2/resolution"))
        .header("idempotency-key", "case-1")
        .header("x-operator", "ada")
        .json(&decision);
    let (status, _, _) = send("and settles it in the client's name", resolution).await?;
    assert_eq!(status, 200);

    let (status, replayed, body) = send("the client repeats", confirm()).await?;
    assert_eq!((status, replayed), (200, true));
    assert_eq!(body["result"]["payment"], "pay_2");
    assert_eq!((provider.captures(), provider.requests().len()), (2, 3));
    println!("o-2: one attempt, captured once\n");
    Ok(())
}
