//! The layer.

use orderlock_core::Operation;
use tower_layer::Layer;

use super::OrderLockService;
use crate::request::Entrance;

/// Runs a service under the lock of the order that its requests name, for one operation. Made by
/// [`OrderLock::layer`](crate::OrderLock::layer).
///
/// The service's handlers take [`LockedOrder<T>`](crate::LockedOrder) and return
/// [`Outcome<T>`](crate::Outcome), both through the request's and the response's extensions, so
/// that any middleware may be in between. The response decides what happens:
///
/// | what the service answers | what happens |
/// | --- | --- |
/// | an outcome | it is settled, as under the adapter |
/// | no outcome, and not a 2xx status | unlock; the response passes and may stream; nothing is stored |
/// | no outcome, and a 2xx status | 500 `outcome-missing`; nothing is applied |
/// | an outcome, though the order was never taken | 500 `order-not-taken`; nothing is applied |
/// | an error of the service | unlock; the error passes |
///
/// A handler that does not fit is found at its first request, and not by the compiler. Under a
/// layer, a **replay never reaches the service**: what it must pass every time (who you are, what
/// you may do) belongs into a layer outside this one. An order's type is not checked either: the
/// service's handlers must agree on it.
///
/// `GET`, `HEAD` and `OPTIONS` pass through untouched.
///
/// ```
/// use axum::{Router, routing::post};
/// use orderlock::{LockedOrder, OrderLock, OrderType, Outcome, SingleTenant};
/// # use serde::{Deserialize, Serialize};
/// # #[derive(Serialize, Deserialize)]
/// # struct Order { open: bool }
/// # impl OrderType for Order {}
/// async fn close(order: LockedOrder<Order>) -> Outcome<Order> {
///     if order.open { Outcome::Applied(Order { open: false }) } else { Outcome::Unchanged }
/// }
///
/// # fn app(store: impl orderlock::OrderStore) -> Router {
/// let orders = OrderLock::<Order>::new(store, SingleTenant);
/// Router::new().route("/orders/{id}/close", post(close).layer(orders.layer("close")))
/// # }
/// ```
#[derive(Clone, Debug)]
#[must_use = "a layer locks nothing before it is added to a route"]
pub struct OrderLockLayer {
    entrance: Entrance,
    operation: Operation,
}

impl OrderLockLayer {
    pub(crate) fn new(entrance: Entrance, operation: Operation) -> Self {
        Self {
            entrance,
            operation,
        }
    }
}

impl<S> Layer<S> for OrderLockLayer {
    type Service = OrderLockService<S>;

    fn layer(&self, inner: S) -> Self::Service {
        OrderLockService::new(inner, self.entrance.clone(), self.operation.clone())
    }
}
