//! Ready routes that only read: an order, a page of orders, an order's history, and what became of a
//! key. None of them waits for a lock. Beside them are the routes of operators, behind a guard: see
//! [`OrderLock::operator_router`].
//!
//! ```
//! use axum::{Router, body::{Body, to_bytes}, http::Request};
//! use orderlock::sqlite::{SqliteOptions, SqliteStore};
//! use orderlock::{Failure, JsonAnswers, LockedOrder, OrderLock, OrderType, Outcome, SingleTenant};
//! use serde::{Deserialize, Serialize};
//! use tower::ServiceExt as _;
//!
//! #[derive(Serialize, Deserialize)]
//! struct Order { open: bool }
//!
//! impl OrderType for Order {}
//!
//! async fn create() -> Result<Order, Failure> {
//!     Ok(Order { open: true })
//! }
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
//! let orders = OrderLock::<Order>::new(store, SingleTenant)
//!     // Answers show an order as these routes do.
//!     .with_answers(JsonAnswers::new().with_envelope());
//! let app: Router = orders
//!     .router()
//!     .route("/orders", orders.create_route(create))
//!     .route("/orders/{id}/close", orders.post("close", close));
//! let app = Router::new().nest("/shop", app);
//!
//! let request = Request::post("/shop/orders").header("idempotency-key", "a").body(Body::empty())?;
//! let created = app.clone().oneshot(request).await?;
//! let order = created.headers()["location"].to_str()?.to_owned();
//! for path in [order.clone(), format!("{order}/history"), format!("{order}/operations/a"), "/shop/orders".into()] {
//!     let response = app.clone().oneshot(Request::get(&path).body(Body::empty())?).await?;
//!     assert_eq!(response.status(), 200, "{path}");
//!     let body = to_bytes(response.into_body(), 10_000).await?;
//!     assert!(std::str::from_utf8(&body)?.starts_with(r#"{"status":20"#));
//! }
//! # Ok(())
//! # }
//! ```
//!
//! An order is shown in its [envelope](crate::envelope), with the lock that is on it. So its own members
//! must not be called `id`, `version`, `createdAt`, `updatedAt` or `lock`; a type that has one of them
//! is read by a route of your own, with [`OrderLock::read`].

mod history;
mod key;
mod locks;
mod operator;
mod orders;
mod query;
mod reply;

use axum::Router;
use axum::extract::{FromRequestParts, Request, State};
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodRouter, get};
use http::request::Parts;

pub use history::HistoryItem;
pub use key::Unsettled;
pub use locks::{BreakReason, LockItem};
pub use orders::OrderLockView;
pub use query::{
    CURSOR_MAX, ListQuery, NoQuery, PAGE_DEFAULT, PAGE_MAX, PageQuery, Paging, QueryParams,
};
pub use reply::{Success, unread};

use crate::lock::OrderLock;

impl<T> OrderLock<T> {
    /// The routes of this module: `/orders`, `/orders/{id}`, `/orders/{id}/history` and
    /// `/orders/{id}/operations/{key}`, each on `GET`, to nest and to add to. See
    /// [`views`](crate::views) for an example. To leave one out or to replace it, mount the others one
    /// by one.
    ///
    /// The order's id is the path parameter `id`, as everywhere without
    /// [`with_order_id`](Self::with_order_id).
    pub fn router<S>(&self) -> Router<S>
    where
        S: Clone + Send + Sync + 'static,
    {
        Router::new()
            .route("/orders", self.list_route::<ListQuery, S>())
            .route("/orders/{id}", self.read_route())
            .route("/orders/{id}/history", self.history_route::<PageQuery, S>())
            .route("/orders/{id}/operations/{key}", self.key_route())
    }

    /// A route that shows, on `GET`, the committed state of the order that the path names, and its
    /// lock. The key that holds it is never shown.
    pub fn read_route<S>(&self) -> MethodRouter<S>
    where
        S: Clone + Send + Sync + 'static,
    {
        let entrance = self.entrance.clone();
        get(async move |request: Request| {
            let (mut parts, _) = request.into_parts();
            either(orders::one(&entrance, &mut parts).await)
        })
    }

    /// A route that shows, on `GET`, a page of the orders of the caller's tenant, newest first. `Q` reads
    /// the query: [`ListQuery`], or an extractor of your own with other filters.
    pub fn list_route<Q, S>(&self) -> MethodRouter<S>
    where
        Q: FromRequestParts<S> + Into<ListQuery> + 'static,
        S: Clone + Send + Sync + 'static,
    {
        let entrance = self.entrance.clone();
        get(async move |State(state): State<S>, request: Request| {
            let (mut parts, _) = request.into_parts();
            let caller = match entrance.who(&*entrance.caller, &mut parts).await {
                Ok(caller) => caller,
                Err(refused) => return refused.into_response(),
            };
            match read::<Q, ListQuery, S>(&mut parts, &state).await {
                Ok(query) => either(orders::list(&entrance, caller.tenant, query).await),
                Err(rejection) => rejection,
            }
        })
    }

    /// A route that shows, on `GET`, a page of the history of the order that the path names, oldest
    /// first. `Q` reads the query: [`PageQuery`], or an extractor of your own.
    pub fn history_route<Q, S>(&self) -> MethodRouter<S>
    where
        Q: FromRequestParts<S> + Into<Paging> + 'static,
        S: Clone + Send + Sync + 'static,
    {
        let entrance = self.entrance.clone();
        get(async move |State(state): State<S>, request: Request| {
            let (mut parts, _) = request.into_parts();
            let target = match entrance.seen(&mut parts).await {
                Ok((_, target)) => target,
                Err(refused) => return refused,
            };
            match read::<Q, Paging, S>(&mut parts, &state).await {
                Ok(paging) => either(history::history(&entrance, target, paging).await),
                Err(rejection) => rejection,
            }
        })
    }

    /// A route that says, on `GET`, what became of a key of the caller: the path names the order and,
    /// as the parameter `key`, the key. The stored answer comes with status 200, even if its own status
    /// is another; an operation that is not settled yet gets 202.
    pub fn key_route<S>(&self) -> MethodRouter<S>
    where
        S: Clone + Send + Sync + 'static,
    {
        let entrance = self.entrance.clone();
        get(async move |request: Request| {
            let (mut parts, _) = request.into_parts();
            either(key::status(&entrance, &mut parts).await)
        })
    }
}

async fn read<Q, R, S>(parts: &mut Parts, state: &S) -> Result<R, Response>
where
    Q: FromRequestParts<S> + Into<R>,
    S: Send + Sync,
{
    match Q::from_request_parts(parts, state).await {
        Ok(query) => Ok(query.into()),
        Err(rejection) => Err(rejection.into_response()),
    }
}

fn either<R: IntoResponse>(result: Result<R, Response>) -> Response {
    result.map_or_else(|refused| refused, IntoResponse::into_response)
}
