//! The order of the tests, and a handler that does what its request says.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use axum::extract::{Json, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use orderlock::{LockedOrder, OrderType, Outcome, Problem, Undone};
use serde::{Deserialize, Serialize};
use tokio::sync::watch;

/// The order of the tests.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Order {
    pub(crate) count: u64,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub(crate) filling: String,
}

impl OrderType for Order {}

/// What the handler does.
#[derive(Debug, Deserialize)]
pub(crate) struct Command {
    act: String,
}

/// What handlers show of themselves, and what they wait for.
#[derive(Clone, Debug)]
pub(crate) struct Probe {
    runs: Arc<AtomicUsize>,
    started: watch::Sender<usize>,
    go: watch::Sender<bool>,
}

impl Probe {
    pub(crate) fn new() -> Self {
        Self {
            runs: Arc::default(),
            started: watch::Sender::new(0),
            go: watch::Sender::new(false),
        }
    }

    /// How often a handler has been called.
    pub(crate) fn runs(&self) -> usize {
        self.runs.load(Ordering::SeqCst)
    }

    /// Resolves when so many handlers have been called.
    pub(crate) async fn started(&self, count: usize) {
        let mut started = self.started.subscribe();
        let begun = started.wait_for(|now| *now >= count);
        // A guard against a test that waits for ever, not a measure of anything.
        let begun = tokio::time::timeout(Duration::from_secs(60), begun).await;
        begun.expect("a handler begins").unwrap();
    }

    /// Lets every handler that waits go on.
    pub(crate) fn go(&self) {
        self.go.send_replace(true);
    }

    async fn begin(&self) {
        let runs = self.runs.fetch_add(1, Ordering::SeqCst) + 1;
        self.started.send_replace(runs);
    }

    async fn wait(&self) {
        self.go.subscribe().wait_for(|go| *go).await.unwrap();
    }
}

/// The handler's own error.
#[derive(Debug)]
pub(crate) struct GatewayDown;

impl IntoResponse for GatewayDown {
    fn into_response(self) -> Response {
        let mut response = (StatusCode::BAD_GATEWAY, "the gateway is down").into_response();
        let value = axum::http::HeaderValue::from_static("gw-1");
        response.headers_mut().insert("x-gateway", value);
        response
    }
}

fn declined() -> Problem {
    Problem::new(402, "declined", "The card was declined")
}

/// The handler of all operations: it does what the body says.
pub(crate) async fn act(
    order: LockedOrder<Order>,
    State(probe): State<Probe>,
    Json(command): Json<Command>,
) -> Result<Outcome<Order>, Undone<GatewayDown>> {
    probe.begin().await;
    let counted = Order {
        count: order.count + 1,
        filling: String::new(),
    };
    match command.act.as_str() {
        "apply" => Ok(Outcome::Applied(counted)),
        "applyWithError" => Ok(Outcome::AppliedWithError(counted, declined())),
        "refuse" => Ok(Outcome::Refused(declined())),
        "unchanged" => Ok(Outcome::Unchanged),
        "fail" => Err(GatewayDown.into()),
        "failWithoutEffect" => Err(order.without_effect(GatewayDown)),
        "surviveAndFail" => {
            let _survived: Undone<GatewayDown> = order.without_effect(GatewayDown);
            Err(GatewayDown)?
        }
        "panic" => panic!("the handler was told to panic"),
        "hang" => std::future::pending().await,
        "wait" => {
            probe.wait().await;
            Ok(Outcome::Applied(counted))
        }
        "waitAndFail" => {
            probe.wait().await;
            Err(GatewayDown)?
        }
        "grow" => {
            let filling = "x".repeat(8192);
            Ok(Outcome::Applied(Order { filling, ..counted }))
        }
        "checkpointAndFail" => {
            let _order = order.checkpoint(counted).await.map_err(|_| GatewayDown)?;
            Err(GatewayDown)?
        }
        "checkpointAndHang" => {
            let _order = order.checkpoint(counted).await.map_err(|_| GatewayDown)?;
            std::future::pending().await
        }
        "checkpointAndApply" => {
            let order = order.checkpoint(counted).await.map_err(|_| GatewayDown)?;
            let count = order.count + 1;
            Ok(Outcome::Applied(Order {
                count,
                ..order.split().0
            }))
        }
        other => panic!("the test told the handler to {other:?}"),
    }
}
