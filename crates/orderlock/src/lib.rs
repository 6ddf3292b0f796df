//! Locks an order, calls your handler with it, then saves the order that the handler *returns*,
//! stores the answer and unlocks, in one atomic write.
//!
//! Your code never saves and never unlocks. It takes a [`LockedOrder`] and returns an
//! [`Outcome`]: the changed order, or a refusal. A retry with the same idempotency key gets the first
//! answer, byte for byte; the operation is never applied twice.
//!
//! ```
//! use axum::{Router, body::Body, http::Request};
//! use orderlock::{Caller, Failure, IdempotencyKey, LockedOrder, OrderId, OrderLock, OrderType};
//! use orderlock::{Outcome, SingleTenant, sqlite::{SqliteOptions, SqliteStore}};
//! use serde::{Deserialize, Serialize};
//! use tower::ServiceExt as _;
//!
//! #[derive(Serialize, Deserialize)]
//! struct Order { open: bool }
//!
//! impl OrderType for Order {}
//!
//! async fn close(order: LockedOrder<Order>) -> Result<Outcome<Order>, Failure> {
//!     Ok(if order.open { Outcome::Applied(Order { open: false }) } else { Outcome::Unchanged })
//! }
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let folder = tempfile::tempdir()?;
//! # let path = folder.path().join("orders.db");
//! let store = SqliteStore::open(path, SqliteOptions::default())?;
//! let orders = OrderLock::<Order>::new(store, SingleTenant);
//! let app: Router = Router::new().route("/orders/{id}/close", orders.post("close", close));
//!
//! let (key, id) = (IdempotencyKey::parse("created-1")?, OrderId::parse("o-1")?);
//! orders.create(&Caller::single(), key, Some(id), Order { open: true }).await?;
//!
//! let request = || Request::post("/orders/o-1/close").header("idempotency-key", "5f0c9b3e");
//! let first = app.clone().oneshot(request().body(Body::empty())?).await?;
//! assert_eq!(first.headers()["etag"], "\"2\"");
//! let retry = app.oneshot(request().body(Body::empty())?).await?;
//! assert_eq!(retry.headers()["idempotent-replayed"], "true");
//! # Ok(())
//! # }
//! ```
//!
//! With everything configured: the caller of a request, the path parameter with the order's id, time
//! limits, an operation that calls a payment provider, and the lock as a tower layer.
//!
//! ```
//! use std::time::Duration;
//! use axum::{Router, http::request::Parts, routing::post};
//! use orderlock::{
//!     Caller, Failure, JsonAnswers, Limits, LockedOrder, Operation, OrderLock, OrderStore,
//!     OrderType, Outcome, PathParam, Principal, Problem, Recovery, Tenant, problems,
//! };
//! # use serde::{Deserialize, Serialize};
//! # #[derive(Serialize, Deserialize)]
//! # struct Order { paid: bool }
//! # impl OrderType for Order {}
//! # #[derive(Clone)]
//! # struct Account { tenant: Tenant, user: Principal }
//! async fn pay(order: LockedOrder<Order>) -> Result<Outcome<Order>, Failure> {
//!     // A stable key for the payment provider: a second attempt is the same payment there.
//!     let _key = order.key().derive("capture");
//!     Ok(Outcome::Applied(Order { paid: true }))
//! }
//!
//! async fn caller(parts: &Parts) -> Result<Caller, Problem> {
//!     // A middleware in front has checked the credential and left the account here.
//!     let account = parts.extensions.get::<Account>();
//!     let account = account.ok_or_else(|| problems::UNAUTHENTICATED.described())?;
//!     Ok(Caller { tenant: account.tenant.clone(), principal: account.user.clone() })
//! }
//!
//! fn app(store: impl OrderStore) -> Router {
//!     let orders = OrderLock::<Order>::new(store, caller)
//!         .with_limits(Limits { handler: Duration::from_secs(10), ..Limits::default() })
//!         .with_answers(JsonAnswers::new().with_location_prefix("/orders/"))
//!         .with_node_name("node-1")
//!         .with_order_id(PathParam("order"))
//!         .with_body_limit(64 * 1024);
//!     let capture = Operation::named("pay").external(Recovery::Reconcile);
//!     Router::new()
//!         .route("/orders/{order}/pay", orders.post(capture, pay))
//!         .route("/legacy/{order}/pay", post(pay).layer(orders.layer("legacy-pay")))
//! }
//! ```
//!
//! # Where to look
//!
//! - [`OrderLock`]: the lock, and two ways to use it: [`adapter`], for axum handlers, which the compiler
//!   checks, and [`layer`], for any tower service. [`Lifecycle`] is the lock without HTTP.
//! - [`creation`]: the route that creates orders. [`OrderLock::create`] and [`OrderLock::read`] do without a
//!   route.
//! - [`views`]: ready routes that read: an order, a list, a history, what became of a key.
//! - [`PROBLEMS`]: every error that clients can get, and what they can do about it.
//! - [`resolution`]: the route by which an operator ends a mark whose outcome is unknown.
//! - [`header`]: the request headers `Idempotency-Key`, `If-Match` and `Prefer: wait=<seconds>`.
//! - [`answer`]: turns how a request ended into HTTP, for routes that use the [`Lifecycle`] directly.
//! - `docs/glossary.md` in the repository explains the special words, such as *settle*, *mark* and
//!   *fence*.
//!
//! # Features
//!
//! - `sqlite` (default): the embedded store, as [`sqlite`].
//! - `postgres`: the store that any number of nodes share, as [`postgres`].
//! - `mongodb`: the store on a collection that other services may use beside it, as [`mongodb`].
//! - `openapi`: schemas (utoipa) of what the ready routes of [`views`] show.

pub mod adapter;
pub mod answer;
mod body;
mod buffered;
mod caller;
pub mod creation;
pub mod envelope;
mod explain;
mod failure;
pub mod header;
mod json;
pub mod layer;
mod lock;
mod orders;
pub mod problems;
mod request;
pub mod resolution;
mod settled;
pub mod views;

pub use adapter::OrderHandler;
pub use answer::{Rejection, method_not_allowed, route_not_found};
#[doc(hidden)]
pub use caller::CallerFunction;
pub use caller::{
    CallerRefused, CallerSource, ExtractedCaller, OrderIdSource, PathParam, SingleTenant,
};
pub use creation::CreateHandler;
pub use failure::Failure;
pub use header::{RequestKey, is_json};
pub use json::JsonAnswers;
pub use layer::{OrderLockLayer, OrderLockService};
pub use lock::OrderLock;
pub use problems::{PROBLEMS, ProblemKind};
pub use request::fingerprint;
pub use settled::{OrderLockError, ReadOrder, SettledOrder};

pub use orderlock_core as core;
pub use orderlock_core::{
    Answer, Answers, AppliedPart, Body, Caller, CreateRequest, Denied, Document, Ended, Failed,
    Fingerprint, HandlerError, HeldLease, IdempotencyKey, Index, Interrupted, KeyStatus, Lifecycle,
    Limits, LockedOrder, Operation, OperationKey, OperationName, OperationRequest, OrderId,
    OrderStore, OrderType, Outcome, OutcomeKind, Principal, Problem, Recovery, Resolution,
    ResolveRequest, Retention, Runtime, SettledView, StoreError, Target, Tenant, Times, Timestamp,
    TokioRuntime, Undone, Unresolved, Version, forward, store,
};

#[cfg(feature = "mongodb")]
pub use orderlock_mongodb as mongodb;
#[cfg(feature = "postgres")]
pub use orderlock_postgres as postgres;
#[cfg(feature = "sqlite")]
pub use orderlock_sqlite as sqlite;
