//! Creating and reading orders without a route.

use std::error::Error;

use bytes::Bytes;
use http::HeaderMap;
use orderlock_core::store::Read;
use orderlock_core::{
    Body, Caller, CreateRequest, Denied, Document, Ended, Failed, Fingerprint, IdempotencyKey,
    Operation, OrderId, OrderType, Problem,
};

use crate::answer::{self, Asked, store_problem};
use crate::explain::{denied_problem, failure_problem, log_failure};
use crate::header;
use crate::lock::OrderLock;
use crate::request::Entrance;
use crate::settled::{OrderLockError, ReadOrder, SettledOrder};

/// What the entry of a creation calls it.
pub(crate) const CREATE: &str = "create";

impl<T> OrderLock<T> {
    /// Creates an order, at most once for each caller and key.
    ///
    /// Without an `order_id`, the id is derived from caller and key. With an `order_id` of your own, a
    /// retry may pass another one: the order keeps the id of the first request, which is that of the
    /// result. The operation is called `create`, and the order is its body.
    ///
    /// The order and its first journal entry are inserted in one write, which is durable when this
    /// function returns.
    ///
    /// # Errors
    /// That nothing is known to be created, and why. If it is
    /// [retryable](OrderLockError::is_retryable), the same call may succeed later; in the case of
    /// `settle-unknown` it tells what happened.
    ///
    /// ```
    /// use orderlock::{Caller, IdempotencyKey, OrderId, OrderLock, OrderLockError};
    /// # #[derive(serde::Serialize, serde::Deserialize)]
    /// # struct Order { open: bool }
    /// # impl orderlock::OrderType for Order {}
    ///
    /// async fn import(orders: &OrderLock<Order>, key: IdempotencyKey) -> Result<OrderId, OrderLockError> {
    ///     let settled = orders.create(&Caller::single(), key, None, Order { open: true }).await?;
    ///     let read = orders.read(&Caller::single(), &settled.order).await?;
    ///     assert!(read.order.open || read.version.0 > 1);
    ///     Ok(read.id)
    /// }
    /// ```
    pub async fn create(
        &self,
        caller: &Caller,
        key: IdempotencyKey,
        order_id: Option<OrderId>,
        order: T,
    ) -> Result<SettledOrder, OrderLockError>
    where
        T: OrderType,
    {
        let operation = Operation::named(CREATE).name().clone();
        let asked = Asked {
            order: order_id.as_ref().map(|order| caller.target(order)),
            operation: operation.clone(),
            recovery: None,
            wait: None,
        };
        let ended = match Document::encode_indexed(&order) {
            Err(error) => Ended::Failed {
                failure: Failed::Unwritable(error.to_string()),
                partial: None,
                marked: false,
            },
            Ok(document) => {
                let request = CreateRequest {
                    caller: caller.clone(),
                    // Not of the id: it may be another one on each retry.
                    fingerprint: Fingerprint::of(&operation, None, Body::Json(document.as_bytes())),
                    order: order_id,
                    key,
                    operation,
                };
                self.lifecycle().create(request, document).await
            }
        };
        answer::result(&**self.lifecycle().answers(), &asked, ended)
    }

    /// Reads an order of the caller's tenant, without its lock: the state that was committed last.
    ///
    /// # Errors
    /// `order-not-found` if there is none, `store-unavailable` if the store did not answer in time,
    /// and `handler-failed` if the stored order is no `T`.
    pub async fn read(
        &self,
        caller: &Caller,
        order: &OrderId,
    ) -> Result<ReadOrder<T>, OrderLockError>
    where
        T: OrderType,
    {
        let target = caller.target(order);
        let read = Read {
            target: target.clone(),
        };
        let refuse = |problem| OrderLockError::new(&**self.lifecycle().answers(), problem);
        let view = self.lifecycle().read(read).await;
        let view = view.map_err(|error| refuse(store_problem(Some(&target), &error)))?;
        let missing = || refuse(denied_problem(Some(&target), &Denied::NotFound));
        let view = view.ok_or_else(missing)?;
        let order = view.document.decode().map_err(|error| {
            let failure = Failed::<Problem>::Unreadable(error.to_string());
            log_failure(Some(&target), &failure);
            refuse(failure_problem(Some(&target), &failure))
        })?;
        Ok(ReadOrder {
            id: view.target.order,
            version: view.version,
            times: view.times,
            order,
            lease: view.lease,
        })
    }

    /// Reads the body of a request that does not run under the lock, a creation for example, within
    /// the limits of this lock. A body with a `Content-Encoding` is refused, and one whose
    /// `Content-Length` is too large is refused at once.
    ///
    /// # Errors
    /// `body-too-large`, `body-too-slow`, `body-malformed` or `media-type-unsupported`.
    pub async fn read_body<B>(&self, headers: &HeaderMap, body: B) -> Result<Bytes, Problem>
    where
        B: http_body::Body,
        B::Error: Into<Box<dyn Error + Send + Sync>>,
    {
        let Entrance {
            lifecycle,
            body: limits,
            ..
        } = &self.entrance;
        limits.check_declared(headers)?;
        header::check_content(headers)?;
        limits.read(body, &**lifecycle.runtime()).await
    }
}
