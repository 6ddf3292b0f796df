//! The lock as an application holds it: one store, one caller source, and the doors to it.

use std::convert::Infallible;
use std::error::Error;
use std::marker::PhantomData;
use std::sync::Arc;
use std::time::Duration;

use axum::routing::{self, MethodFilter, MethodRouter};
use bytes::Bytes;
use http::HeaderMap;
use orderlock_core::{
    Answers, Body, Caller, CreateRequest, Document, Ended, Failed, Fingerprint, IdempotencyKey,
    Lifecycle, LifecycleBuilder, Limits, Operation, OrderId, OrderStore, OrderType, Problem,
    Runtime, StoreError,
};

use crate::adapter::{LockedHandler, OrderHandler};
use crate::body::BodyLimits;
use crate::caller::{CallerSource, OrderIdSource, PathParam};
use crate::header;
use crate::json::JsonAnswers;
use crate::layer::OrderLockLayer;
use crate::request::Entrance;
use crate::resolution::ResolutionHandler;

/// Locks orders, hands them to handlers, applies what the handlers return and unlocks, in one
/// atomic write.
///
/// It is made once and cloned freely: clones share one node. The `with_..` methods that say so
/// make a new node over the same store, so that they belong before the first route.
#[derive(Debug)]
pub struct OrderLock<T> {
    entrance: Entrance,
    /// Kept apart, since a node that is made again takes no other node's name by itself.
    name: Option<String>,
    order: PhantomData<fn() -> T>,
}

impl<T> Clone for OrderLock<T> {
    fn clone(&self) -> Self {
        Self {
            entrance: self.entrance.clone(),
            name: self.name.clone(),
            order: PhantomData,
        }
    }
}

impl<T> OrderLock<T> {
    /// A lock over a store, with the default limits, answers and Tokio. Nothing is asked of the
    /// store before the first request.
    ///
    /// The caller source is part of every key's scope, so that there is no default for it.
    #[must_use]
    pub fn new(store: impl OrderStore, caller: impl CallerSource) -> Self
    where
        T: OrderType,
    {
        Self::over(
            Lifecycle::builder(store, JsonAnswers::new()).build(),
            caller,
        )
    }

    /// A lock over a lifecycle that is there already, for several order types or callers on one
    /// node.
    ///
    /// A `with_..` method that makes a new node makes one beside that of the lifecycle.
    #[must_use]
    pub fn from_lifecycle(lifecycle: Lifecycle, caller: impl CallerSource) -> Self
    where
        T: OrderType,
    {
        Self::over(lifecycle, caller)
    }

    fn over(lifecycle: Lifecycle, caller: impl CallerSource) -> Self {
        let entrance = Entrance {
            lifecycle,
            caller: Arc::new(caller),
            order_id: Arc::new(PathParam("id")),
            body: BodyLimits::default(),
        };
        Self {
            entrance,
            name: None,
            order: PhantomData,
        }
    }

    fn rebuilt(mut self, change: impl FnOnce(LifecycleBuilder) -> LifecycleBuilder) -> Self {
        let mut builder = change(self.entrance.lifecycle.to_builder());
        if let Some(name) = &self.name {
            builder = builder.node_name(name);
        }
        self.entrance.lifecycle = builder.build();
        self
    }

    /// Other bounds than the defaults. Makes a new node.
    #[must_use]
    pub fn with_limits(self, limits: Limits) -> Self {
        self.rebuilt(|node| node.limits(limits))
    }

    /// Other answers than [`JsonAnswers`]. Makes a new node.
    #[must_use]
    pub fn with_answers(self, answers: impl Answers) -> Self {
        self.rebuilt(|node| node.answers(answers))
    }

    /// The node's lasting name: see
    /// [`LifecycleBuilder::node_name`](orderlock_core::LifecycleBuilder::node_name). Makes a new
    /// node.
    #[must_use]
    pub fn with_node_name(mut self, name: impl Into<String>) -> Self {
        self.name = Some(name.into());
        self.rebuilt(|node| node)
    }

    /// Another source of tasks, time and randomness than Tokio. Makes a new node.
    #[must_use]
    pub fn with_runtime(self, runtime: Arc<dyn Runtime>) -> Self {
        self.rebuilt(|node| node.runtime(runtime))
    }

    /// Where requests say which order they are for; otherwise [`PathParam`]`("id")`.
    #[must_use]
    pub fn with_order_id(mut self, order_id: impl OrderIdSource) -> Self {
        self.entrance.order_id = Arc::new(order_id);
        self
    }

    /// The most bytes that a request's body may have, otherwise 1 MiB: more gets 413
    /// `body-too-large`. It is the only limit: extractors under the lock have no other.
    #[must_use]
    pub fn with_body_limit(mut self, bytes: usize) -> Self {
        self.entrance.body.bytes = bytes;
        self
    }

    /// How long a request's body may take to arrive, otherwise 10 s: longer gets 408
    /// `body-too-slow`.
    #[must_use]
    pub fn with_body_time(mut self, time: Duration) -> Self {
        self.entrance.body.time = time;
        self
    }

    /// A route that runs an operation on `POST`, under the lock of the order that the path names.
    ///
    /// The handler's first argument is [`LockedOrder<T>`](crate::LockedOrder) and its result
    /// `Result<Outcome<T>, E>`; the other arguments are extractors, as in any axum handler. They
    /// run before the lock is asked for.
    pub fn post<H, M, S>(&self, operation: impl Into<Operation>, handler: H) -> MethodRouter<S>
    where
        H: OrderHandler<T, M, S>,
        T: OrderType,
        M: 'static,
        S: Clone + Send + Sync + 'static,
    {
        self.on(MethodFilter::POST, operation, handler)
    }

    /// Like [`post`](Self::post), for `PUT`.
    pub fn put<H, M, S>(&self, operation: impl Into<Operation>, handler: H) -> MethodRouter<S>
    where
        H: OrderHandler<T, M, S>,
        T: OrderType,
        M: 'static,
        S: Clone + Send + Sync + 'static,
    {
        self.on(MethodFilter::PUT, operation, handler)
    }

    /// Like [`post`](Self::post), for `PATCH`.
    pub fn patch<H, M, S>(&self, operation: impl Into<Operation>, handler: H) -> MethodRouter<S>
    where
        H: OrderHandler<T, M, S>,
        T: OrderType,
        M: 'static,
        S: Clone + Send + Sync + 'static,
    {
        self.on(MethodFilter::PATCH, operation, handler)
    }

    /// Like [`post`](Self::post), for `DELETE`.
    pub fn delete<H, M, S>(&self, operation: impl Into<Operation>, handler: H) -> MethodRouter<S>
    where
        H: OrderHandler<T, M, S>,
        T: OrderType,
        M: 'static,
        S: Clone + Send + Sync + 'static,
    {
        self.on(MethodFilter::DELETE, operation, handler)
    }

    fn on<H, M, S>(
        &self,
        method: MethodFilter,
        operation: impl Into<Operation>,
        handler: H,
    ) -> MethodRouter<S>
    where
        H: OrderHandler<T, M, S>,
        T: OrderType,
        M: 'static,
        S: Clone + Send + Sync + 'static,
    {
        routing::on(method, self.handler(operation, handler))
    }

    /// The same as an axum handler, to stand beside others: `get(read).post(orders.handler(..))`.
    pub fn handler<H, M, S>(
        &self,
        operation: impl Into<Operation>,
        handler: H,
    ) -> LockedHandler<T, H, M, S>
    where
        H: OrderHandler<T, M, S>,
        T: OrderType,
    {
        LockedHandler::new(self.entrance.clone(), operation.into(), handler)
    }

    /// A route that ends open marks on `POST`: external operations of unknown outcome that nobody
    /// attends to. See [`resolution`](crate::resolution).
    ///
    /// Whoever may do that decides about other people's operations, so that there is no default
    /// for `authorize`: it gives the operator who stands in the order's history, and whose tenant
    /// the order belongs to, or the problem that the request is refused with.
    pub fn resolution<S>(&self, authorize: impl CallerSource) -> MethodRouter<S>
    where
        T: OrderType,
        S: Clone + Send + Sync + 'static,
    {
        routing::post(ResolutionHandler::<T>::new(
            self.entrance.clone(),
            authorize,
        ))
    }

    /// The same lifecycle as a tower layer, for any tower service. See [`OrderLockLayer`].
    pub fn layer(&self, operation: impl Into<Operation>) -> OrderLockLayer {
        OrderLockLayer::new(self.entrance.clone(), operation.into())
    }

    /// The same lock without HTTP: for message consumers, gRPC services and tests.
    #[must_use]
    pub fn lifecycle(&self) -> &Lifecycle {
        &self.entrance.lifecycle
    }

    /// Reads the body of a request that is not run under the lock, a creation for example, as those
    /// are read that are: within the same limits, and only if it can be read as it stands. A body
    /// that says itself that it is too large is not waited for.
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

    /// Creates an order, at most once for each caller and key, whatever its id. The id is derived
    /// from both if none is given; one of your own may be drawn anew on each retry, since the key's
    /// order keeps the id of the first. The operation is called `create`, and the order is its body.
    ///
    /// The order is inserted with its first entry in one write; what is returned is durable.
    pub async fn create(
        &self,
        caller: &Caller,
        key: IdempotencyKey,
        order_id: Option<OrderId>,
        order: T,
    ) -> Ended<Infallible>
    where
        T: OrderType,
    {
        let document = match Document::encode_indexed(&order) {
            Ok(document) => document,
            Err(error) => {
                return Ended::Failed {
                    failure: Failed::Unwritable(error.to_string()),
                    partial: None,
                    marked: false,
                };
            }
        };
        let operation = Operation::named("create").name().clone();
        let body = Body::Json(document.as_bytes());
        let request = CreateRequest {
            caller: caller.clone(),
            // Not of the id: it may be another one on each retry.
            fingerprint: Fingerprint::of(&operation, None, body),
            order: order_id,
            key,
            operation,
        };
        self.lifecycle().create(request, document).await
    }

    /// Ends the node's work: see [`Lifecycle::drain`].
    ///
    /// # Errors
    /// [`StoreError`] if the node's session could not be ended: it lapses by itself.
    pub async fn drain(&self, limit: Duration) -> Result<(), StoreError> {
        self.lifecycle().drain(limit).await
    }
}
