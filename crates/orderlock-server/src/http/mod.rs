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

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use futures_util::future::BoxFuture;
use orderlock::{Limits, OrderLock, OrderStore, SingleTenant};
use orderlock_orders::{Order, ProcessConfig};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use envelope::EnvelopeAnswers;

pub use health::JournalLag;
pub use pages::status_table;
pub use problems::{Kind, kinds};

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

/// Asks how far readers of the journal are held back; none where they never are.
type LagSource = Arc<dyn Fn() -> BoxFuture<'static, Option<JournalLag>> + Send + Sync>;

/// What the routes work with. Cloning it gives another handle on the same node.
#[derive(Clone)]
pub struct Context {
    orders: OrderLock<Order>,
    process: ProcessConfig,
    body: BodyLimits,
    draining: CancellationToken,
    requests: TaskTracker,
    lag: Option<LagSource>,
}

impl fmt::Debug for Context {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Context")
            .field("orders", &self.orders)
            .field("process", &self.process)
            .field("body", &self.body)
            .finish_non_exhaustive()
    }
}

impl Context {
    /// The order manager over a store. `node` is the node's lasting name: whoever starts under it
    /// frees what the last run under it held.
    #[must_use]
    pub fn new(
        store: impl OrderStore,
        node: &str,
        limits: Limits,
        process: ProcessConfig,
        body: BodyLimits,
    ) -> Self {
        let orders = OrderLock::new(store, SingleTenant)
            .with_limits(limits)
            .with_answers(EnvelopeAnswers::default())
            .with_node_name(node)
            .with_body_limit(body.bytes)
            .with_body_time(body.time);
        Self {
            orders,
            process,
            body,
            draining: CancellationToken::new(),
            requests: TaskTracker::new(),
            lag: None,
        }
    }

    /// Lets readiness tell how far readers of the journal are held back.
    #[must_use]
    pub fn with_journal_lag(
        mut self,
        lag: impl Fn() -> BoxFuture<'static, Option<JournalLag>> + Send + Sync + 'static,
    ) -> Self {
        self.lag = Some(Arc::new(lag));
        self
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
