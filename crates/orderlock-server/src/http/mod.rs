//! The HTTP contract: routes, answers, problems and their pages.

mod body;
mod create;
mod edge;
mod envelope;
mod health;
mod history;
mod host;
mod key;
mod locks;
mod openapi;
mod operations;
mod pages;
mod problems;
mod query;
mod read;
mod reply;
mod routes;
mod target;

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use orderlock::{Limits, OrderLock, OrderStore, SingleTenant};
use orderlock_orders::{Order, ProcessConfig};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use envelope::EnvelopeAnswers;

pub use pages::status_table;
pub use problems::{Kind, kinds};

/// The node's lasting name. A store that lives in one file has one owner, so that a node that
/// starts again may free what its last run held.
const NODE: &str = "orderlock";

/// What a request body may cost.
#[derive(Clone, Copy, Debug)]
pub struct BodyLimits {
    /// The most bytes.
    pub bytes: usize,
    /// How long it may take to arrive.
    pub time: Duration,
}

impl Default for BodyLimits {
    fn default() -> Self {
        Self {
            bytes: 1024 * 1024,
            time: Duration::from_secs(10),
        }
    }
}

/// What the routes work with. Cloning it gives another handle on the same node.
#[derive(Clone, Debug)]
pub struct Context {
    orders: OrderLock<Order>,
    process: ProcessConfig,
    body: BodyLimits,
    draining: CancellationToken,
    requests: TaskTracker,
}

impl Context {
    /// The order manager over a store.
    #[must_use]
    pub fn new(
        store: impl OrderStore,
        limits: Limits,
        process: ProcessConfig,
        body: BodyLimits,
    ) -> Self {
        let orders = OrderLock::new(store, SingleTenant)
            .with_limits(limits)
            .with_answers(EnvelopeAnswers::default())
            .with_node_name(NODE)
            .with_body_limit(body.bytes)
            .with_body_time(body.time);
        Self {
            orders,
            process,
            body,
            draining: CancellationToken::new(),
            requests: TaskTracker::new(),
        }
    }

    /// The lock that the routes share.
    #[must_use]
    pub fn orders(&self) -> &OrderLock<Order> {
        &self.orders
    }

    /// Cancelled when the node takes no more work: readiness says so first.
    #[must_use]
    pub fn draining(&self) -> &CancellationToken {
        &self.draining
    }

    /// How many requests are not answered yet, those included whose body is still on its way.
    #[must_use]
    pub fn open_requests(&self) -> usize {
        self.requests.len()
    }
}

/// The whole service, without a socket.
pub fn app(context: Context) -> Router {
    let document = document().unwrap_or_default();
    let requests = context.requests.clone();
    let router = routes::routes(&context)
        .merge(pages::routes(document.into()))
        .fallback(orderlock::route_not_found)
        .method_not_allowed_fallback(orderlock::method_not_allowed)
        .with_state(Arc::new(context));
    edge::around(router, requests)
}

/// The OpenAPI document, as JSON text.
///
/// # Errors
/// Those of serde, which cannot happen for this document.
pub fn document() -> Result<String, serde_json::Error> {
    openapi::document().to_pretty_json()
}
