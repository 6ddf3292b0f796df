//! Creating orders over HTTP: a function that makes a new order from a request, and returns it. Mount it
//! with [`OrderLock::create_route`](crate::OrderLock::create_route).
//!
//! ```
//! use axum::{Extension, Json, Router, body::Body, http::Request};
//! use orderlock::sqlite::{SqliteOptions, SqliteStore};
//! use orderlock::{Caller, OrderLock, OrderType, Problem, Rejection, SingleTenant};
//! use serde::{Deserialize, Serialize};
//! use tower::ServiceExt as _;
//!
//! #[derive(Serialize, Deserialize)]
//! struct Order { customer: String, total: u64 }
//!
//! impl OrderType for Order {}
//!
//! #[derive(Deserialize)]
//! struct New { total: u64 }
//!
//! // Any extractors; only the last one may read the body. The caller is an extension.
//! async fn create(Extension(caller): Extension<Caller>, Json(new): Json<New>) -> Result<Order, Rejection> {
//!     if new.total == 0 {
//!         return Err(Problem::new(422, "nothing-to-pay", "The total is zero").into());
//!     }
//!     Ok(Order { customer: caller.principal.to_string(), total: new.total })
//! }
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let folder = tempfile::tempdir()?;
//! # let path = folder.path().join("orders.db");
//! let orders = OrderLock::<Order>::new(SqliteStore::open(path, SqliteOptions::default())?, SingleTenant);
//! let app: Router = Router::new().route("/orders", orders.create_route(create));
//!
//! let mut first = None;
//! for (key, total, status) in [("a", 2598, 201), ("a", 2598, 201), ("b", 0, 422)] {
//!     let request = Request::post("/orders")
//!         .header("idempotency-key", key)
//!         .header("content-type", "application/json")
//!         .body(Body::from(format!(r#"{{"total": {total}}}"#)))?;
//!     let response = app.clone().oneshot(request).await?;
//!     assert_eq!(response.status(), status, "{key}");
//!     if let Some(location) = response.headers().get("location") {
//!         assert!(location.to_str()?.starts_with("/orders/ord_"));
//!         // A retry gets the same order.
//!         assert_eq!(first.get_or_insert(location.clone()), location);
//!     }
//! }
//! # Ok(())
//! # }
//! ```
//!
//! | the function returns | Orderlock | a retry |
//! | --- | --- | --- |
//! | `Ok(order)` | inserts the order and stores the answer, in one write | gets the stored answer |
//! | `Err(error)` | stores nothing; the answer is the error | runs again |
//!
//! A creation happens at most once for each caller and key, whatever the function makes of a retry:
//! if the key has created an order, its stored answer takes precedence over a refusal of the body's
//! extractor and over an error of the function. The answer has the order's id, version and times, and
//! its address as `Location`. The id is derived from caller and key; an id of another form comes from
//! [`OrderLock::with_new_id`](crate::OrderLock::with_new_id).

mod handler;
mod service;

pub use handler::CreateHandler;
pub use service::{CreatingHandler, ViaCreation};
