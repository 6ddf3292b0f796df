//! The HTTP contract: routes, answers, problems and their pages.

mod body;
mod conditions;
mod create;
mod edge;
mod health;
mod locks;
mod memory;
mod openapi;
mod operations;
mod pages;
mod problems;
mod query;
mod reply;
mod routes;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use futures_util::future::BoxFuture;
use orderlock::{JsonAnswers, Limits, OrderLock, OrderStore, SingleTenant};
use orderlock_orders::bounds::STEP_BYTES_MAX;
use orderlock_orders::{Order, ProcessConfig};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::config::Origins;

pub(crate) use edge::{Edge, around, crowded};
use memory::Held;
pub(crate) use memory::Memory;
use reply::Refused;

pub use health::JournalLag;
pub(crate) use health::no_session;
pub use pages::status_table;
pub use problems::{Kind, kinds};

/// What large bodies and answers may take in memory, if nothing else is said.
const MEMORY: usize = 128 * 1024 * 1024;

/// What the largest page takes: stores end a page that has so many bytes, with its last item.
const PAGE: usize = 2 * 1024 * 1024;

/// What a request body may cost.
#[derive(Clone, Copy, Debug)]
pub struct BodyLimits {
    /// The most bytes of a body; more get 413.
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
    node: Arc<str>,
    orders: OrderLock<Order>,
    process: ProcessConfig,
    body: BodyLimits,
    draining: CancellationToken,
    ending: CancellationToken,
    requests: TaskTracker,
    memory: Memory,
    origins: Origins,
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
    /// The order manager over a store. `node` is the node's unique name, which survives restarts: a
    /// node that starts under it frees what the last run under it held.
    #[must_use]
    pub fn new(
        store: impl OrderStore,
        node: &str,
        limits: Limits,
        process: ProcessConfig,
        body: BodyLimits,
    ) -> Self {
        // What the model lets an order become, the store takes.
        let largest = store.describe().document_bytes_max;
        let process = ProcessConfig {
            order_bytes_max: process
                .order_bytes_max
                .min(largest.saturating_sub(STEP_BYTES_MAX)),
            ..process
        };
        let orders = OrderLock::new(store, SingleTenant)
            .with_limits(limits)
            .with_answers(JsonAnswers::new().with_envelope())
            .with_node_name(node)
            .with_body_limit(body.bytes)
            .with_body_time(body.time);
        Self {
            node: node.into(),
            orders,
            process,
            body,
            draining: CancellationToken::new(),
            ending: CancellationToken::new(),
            requests: TaskTracker::new(),
            memory: Memory::new(MEMORY),
            origins: Origins::default(),
            lag: None,
        }
    }

    /// Another bound than 128 MiB for what bodies and answers take in memory.
    #[must_use]
    pub fn with_memory(mut self, bytes: usize) -> Self {
        self.memory = Memory::new(bytes);
        self
    }

    /// Lets pages of other origins change orders.
    #[must_use]
    pub fn with_origins(mut self, origins: Origins) -> Self {
        self.origins = origins;
        self
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

    /// Memory for a page while it is made: as many may be made at a time as have room.
    fn hold_page(&self) -> Result<Held, Refused> {
        let held = self.memory.hold(PAGE);
        held.ok_or_else(|| Refused(problems::SERVER_BUSY.problem()))
    }

    /// The lock that the routes share.
    #[must_use]
    pub fn orders(&self) -> &OrderLock<Order> {
        &self.orders
    }

    /// Cancelled when the node is to get no more work: readiness says so, and everything else goes
    /// on.
    #[must_use]
    pub fn draining(&self) -> &CancellationToken {
        &self.draining
    }

    /// Cancelled when the node ends: no request is waited for that has not come.
    #[must_use]
    pub fn ending(&self) -> &CancellationToken {
        &self.ending
    }

    /// How many requests are not answered yet, those included whose body is still on its way.
    #[must_use]
    pub fn open_requests(&self) -> usize {
        self.requests.len()
    }

    /// Resolves when every request is answered.
    pub async fn all_answered(&self) {
        self.requests.close();
        self.requests.wait().await;
    }
}

/// The whole service, without a socket.
pub fn app(context: Context) -> Router {
    let document = document().unwrap_or_default();
    let edge = Edge {
        requests: context.requests.clone(),
        ending: context.ending.clone(),
        memory: context.memory.clone(),
        body_max: context.body.bytes,
        origins: context.origins.clone(),
    };
    let router = routes::routes(&context)
        .merge(pages::routes(document.into()))
        .fallback(orderlock::route_not_found)
        .method_not_allowed_fallback(orderlock::method_not_allowed)
        .with_state(Arc::new(context));
    around(router, edge)
}

/// The OpenAPI document, as JSON text.
///
/// # Errors
/// Those of serde, which cannot happen for this document.
pub fn document() -> Result<String, serde_json::Error> {
    openapi::document().to_pretty_json()
}
