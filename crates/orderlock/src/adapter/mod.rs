//! The lock as an axum handler: a function that takes the locked order first, and returns an
//! outcome. Mount it with [`OrderLock::post`](crate::OrderLock::post).
//!
//! An idempotency key belongs to one request: one operation, order, path, query and body. Headers do
//! not count: what a handler does must not depend on one that may differ from try to try. The name of
//! an operation stands for one handler: two that share a name answer each other's retries.
//!
//! ```
//! use axum::{Json, Router, body::Body, extract::State, http::Request};
//! use orderlock::sqlite::{SqliteOptions, SqliteStore};
//! use orderlock::{Caller, Failure, IdempotencyKey, LockedOrder, OrderId, OrderLock, OrderType};
//! use orderlock::{Outcome, Problem, SingleTenant};
//! use serde::{Deserialize, Serialize};
//! use tower::ServiceExt as _;
//!
//! #[derive(Serialize, Deserialize)]
//! struct Order { total: u64, captured: u64 }
//!
//! impl OrderType for Order {}
//!
//! #[derive(Deserialize)]
//! struct Capture { amount: u64 }
//!
//! #[derive(Clone)]
//! struct Shop { most: u64 }
//!
//! // The order first, then any extractors; only the last one may read the body.
//! async fn capture(
//!     order: LockedOrder<Order>,
//!     State(shop): State<Shop>,
//!     Json(body): Json<Capture>,
//! ) -> Result<Outcome<Order>, Failure> {
//!     if order.captured + body.amount > order.total.min(shop.most) {
//!         return Ok(Outcome::Refused(Problem::new(409, "too-much", "The amount is too high")));
//!     }
//!     Ok(Outcome::Applied(Order { captured: order.captured + body.amount, ..order.split().0 }))
//! }
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let folder = tempfile::tempdir()?;
//! # let path = folder.path().join("orders.db");
//! let orders = OrderLock::<Order>::new(SqliteStore::open(path, SqliteOptions::default())?, SingleTenant);
//! let app = Router::new()
//!     .route("/orders/{id}/capture", orders.post("capture", capture))
//!     .with_state(Shop { most: 100_000 });
//! # let (key, id) = (IdempotencyKey::parse("created-1")?, OrderId::parse("o-1")?);
//! # orders.create(&Caller::single(), key, Some(id), Order { total: 2598, captured: 0 }).await?;
//!
//! for (key, amount, status) in [("a", 2000, 200), ("b", 2000, 409), ("b", 2000, 409), ("c", 598, 200)] {
//!     let request = Request::post("/orders/o-1/capture")
//!         .header("idempotency-key", key)
//!         .header("content-type", "application/json")
//!         .body(Body::from(format!(r#"{{"amount": {amount}}}"#)))?;
//!     assert_eq!(app.clone().oneshot(request).await?.status(), status, "{key}");
//! }
//! # Ok(())
//! # }
//! ```
//!
//! | the function returns | Orderlock | a retry |
//! | --- | --- | --- |
//! | `Ok(Outcome::Applied(order))` | saves the order, stores the answer and unlocks, in one write | gets the stored answer |
//! | `Ok(Outcome::AppliedWithError(order, problem))` | the same; the answer is the problem | gets the stored answer |
//! | `Ok(Outcome::Refused(problem))` | stores the problem as the answer and unlocks | gets the stored answer |
//! | `Ok(Outcome::Unchanged)` | stores a success with the order as it is, and unlocks | gets the stored answer |
//! | `Err(error)` | unlocks and stores nothing; the answer is the error | runs again |
//!
//! The `Err(error)` of an external operation is answered with 409 `outcome-unknown` in its place, since
//! what it did outside may have happened, unless it says by `without_effect` that nothing has. Only you
//! see such an error: log it in the handler.
//!
//! Extractors run **before** the lock is acquired. If an extractor of the head refuses the request
//! (authentication, for example), that is the answer, even to a retry: so rights that were withdrawn
//! since the first request count. If the extractor of the body refuses it, a stored answer takes
//! precedence: a retry gets it even if a newer version of the service no longer accepts the body.

pub(crate) mod handler;
mod service;

pub use handler::OrderHandler;
pub use service::{LockedHandler, ViaLock};
