//! The lock as a tower layer, for any tower service. See [`OrderLockLayer`] for the rules.
//!
//! ```
//! use axum::{Router, body::Body, http::Request, routing::post};
//! use orderlock::sqlite::{SqliteOptions, SqliteStore};
//! use orderlock::{Caller, IdempotencyKey, LockedOrder, OrderId, OrderLock, OrderType, Outcome, SingleTenant};
//! use serde::{Deserialize, Serialize};
//! use tower::ServiceExt as _;
//!
//! #[derive(Serialize, Deserialize)]
//! struct Order { open: bool }
//!
//! impl OrderType for Order {}
//!
//! async fn close(order: LockedOrder<Order>) -> Outcome<Order> {
//!     if order.open { Outcome::Applied(Order { open: false }) } else { Outcome::Unchanged }
//! }
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let folder = tempfile::tempdir()?;
//! # let path = folder.path().join("orders.db");
//! let orders = OrderLock::<Order>::new(SqliteStore::open(path, SqliteOptions::default())?, SingleTenant);
//! // Middleware that is added after the lock runs outside it, before every replay too.
//! let app: Router = Router::new().route("/orders/{id}/close", post(close).layer(orders.layer("close")));
//! # let (key, id) = (IdempotencyKey::parse("created-1")?, OrderId::parse("o-1")?);
//! # orders.create(&Caller::single(), key, Some(id), Order { open: true }).await?;
//!
//! let request = || Request::post("/orders/o-1/close").header("idempotency-key", "5f0c9b3e");
//! let first = app.clone().oneshot(request().body(Body::empty())?).await?;
//! assert_eq!(first.status(), 200);
//! let retry = app.oneshot(request().body(Body::empty())?).await?;
//! assert_eq!(retry.headers()["idempotent-replayed"], "true");
//! # Ok(())
//! # }
//! ```

mod passed;
mod service;
mod stack;

pub use passed::PassedBody;
pub use service::{OrderLockService, RequestBody, ResponseBody};
pub use stack::OrderLockLayer;
