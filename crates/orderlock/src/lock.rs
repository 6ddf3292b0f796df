//! The lock as an application uses it: one store, one caller source, and the routes and layers made
//! from it.

use std::marker::PhantomData;
use std::sync::Arc;
use std::time::Duration;

use axum::routing::{self, MethodFilter, MethodRouter};
use orderlock_core::{
    Answers, Caller, IdempotencyKey, Lifecycle, LifecycleBuilder, Limits, Operation, OrderId,
    OrderStore, OrderType, Problem, Runtime, StoreError,
};

use crate::adapter::{LockedHandler, OrderHandler};
use crate::body::BodyLimits;
use crate::caller::{CallerSource, OrderIdSource, PathParam};
use crate::creation::{CreateHandler, CreatingHandler};
use crate::json::JsonAnswers;
use crate::layer::OrderLockLayer;
use crate::request::Entrance;
use crate::resolution::ResolutionHandler;

/// Locks orders, calls handlers with them, saves what the handlers return and unlocks, in one atomic
/// write.
///
/// Make one and clone it: clones share one node. The `with_..` methods that say so make a new node
/// over the same store, so call them before you make the first route.
#[derive(Debug)]
pub struct OrderLock<T> {
    pub(crate) entrance: Entrance,
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
    /// The caller is part of every key's scope, so there is no default for its source: pass
    /// [`SingleTenant`](crate::SingleTenant) or a function.
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

    /// A lock over a lifecycle that is there already, for several sources of callers on one node.
    ///
    /// All orders of a tenant share one space of ids, whatever their type: an order that was made
    /// as another type is read as a `T` if its document fits, and what `T` does not know is gone with
    /// the next change. Keep order types apart by a tenant or a store for each, or have them
    /// refuse what they do not know, by `#[serde(deny_unknown_fields)]`.
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
            new_id: None,
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

    /// Sets the limits; otherwise [`Limits::default`]. Makes a new node.
    #[must_use]
    pub fn with_limits(self, limits: Limits) -> Self {
        self.rebuilt(|node| node.limits(limits))
    }

    /// Sets how answers are written; otherwise [`JsonAnswers`]. Makes a new node.
    #[must_use]
    pub fn with_answers(self, answers: impl Answers) -> Self {
        self.rebuilt(|node| node.answers(answers))
    }

    /// Sets the node's name, which is unique and survives restarts: see
    /// [`LifecycleBuilder::node_name`](orderlock_core::LifecycleBuilder::node_name). Makes a new
    /// node.
    #[must_use]
    pub fn with_node_name(mut self, name: impl Into<String>) -> Self {
        self.name = Some(name.into());
        self.rebuilt(|node| node)
    }

    /// Sets the source of tasks, time and randomness; otherwise Tokio and the system's. Makes a new
    /// node.
    #[must_use]
    pub fn with_runtime(self, runtime: Arc<dyn Runtime>) -> Self {
        self.rebuilt(|node| node.runtime(runtime))
    }

    /// Sets how the order's id is read from a request; otherwise [`PathParam`]`("id")`.
    #[must_use]
    pub fn with_order_id(mut self, order_id: impl OrderIdSource) -> Self {
        self.entrance.order_id = Arc::new(order_id);
        self
    }

    /// Sets how [`create_route`](Self::create_route) names new orders; otherwise the id is derived from
    /// caller and key. The order keeps the id that its key's first request got.
    ///
    /// The id must be another one for each caller and key: if the order exists, created under another
    /// key, the client gets 409 `order-exists`. It is no secret, so hash what only the client may know.
    ///
    /// ```
    /// use orderlock::{Caller, IdempotencyKey, OrderId, OrderLock, problems};
    ///
    /// // The client numbers its orders, and sends the number as the key.
    /// fn numbered<T>(orders: OrderLock<T>) -> OrderLock<T> {
    ///     orders.with_new_id(|_: &Caller, key: &IdempotencyKey| {
    ///         let id = OrderId::parse(&format!("shop-{}", key.as_str()));
    ///         id.map_err(|_| problems::IDEMPOTENCY_KEY_INVALID.described())
    ///     })
    /// }
    /// ```
    #[must_use]
    pub fn with_new_id(
        mut self,
        new_id: impl Fn(&Caller, &IdempotencyKey) -> Result<OrderId, Problem> + Send + Sync + 'static,
    ) -> Self {
        self.entrance.new_id = Some(Arc::new(new_id));
        self
    }

    /// Sets the largest body of a request, in bytes; otherwise 1 MiB. More gets 413 `body-too-large`.
    /// axum's own limit does not apply under the lock.
    #[must_use]
    pub fn with_body_limit(mut self, bytes: usize) -> Self {
        self.entrance.body.bytes = bytes;
        self
    }

    /// Sets how long a request's body may take to arrive; otherwise 10 s. Longer gets 408
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
    /// run before the lock is acquired. See [`adapter`](crate::adapter) for an example.
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

    /// The same as an axum handler, to combine with others: `get(read).post(orders.handler(..))`.
    ///
    /// # Panics
    /// If the operation is called `history`, `operations` or `resolution`: these are the names of
    /// routes. Names stand in the program, so this is found at its start.
    pub fn handler<H, M, S>(
        &self,
        operation: impl Into<Operation>,
        handler: H,
    ) -> LockedHandler<T, H, M, S>
    where
        H: OrderHandler<T, M, S>,
        T: OrderType,
    {
        LockedHandler::new(self.entrance.clone(), named(operation), handler)
    }

    /// A route that creates an order on `POST`, at most once for each caller and key.
    ///
    /// The handler's result is `Result<T, E>`; its arguments are extractors, as in any axum handler. See
    /// [`creation`](crate::creation) for an example.
    pub fn create_route<H, M, S>(&self, handler: H) -> MethodRouter<S>
    where
        H: CreateHandler<T, M, S>,
        T: OrderType,
        M: 'static,
        S: Clone + Send + Sync + 'static,
    {
        routing::post(self.create_handler(handler))
    }

    /// The same as an axum handler, to combine with others: `get(list).post(orders.create_handler(..))`.
    pub fn create_handler<H, M, S>(&self, handler: H) -> CreatingHandler<T, H, M, S>
    where
        H: CreateHandler<T, M, S>,
        T: OrderType,
    {
        CreatingHandler::new(self.entrance.clone(), handler)
    }

    /// A route by which an operator, on `POST`, ends the open mark of an external operation whose
    /// outcome is unknown. See [`resolution`](crate::resolution) for an example.
    ///
    /// Operators decide about other people's operations, so there is no default for `authorize`: it
    /// returns the operator, whose name the order's history shows and whose tenant owns the order, or
    /// the problem to refuse the request with.
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
        OrderLockLayer::new(self.entrance.clone(), named(operation))
    }

    /// The same lock without HTTP: for message consumers, gRPC services and tests.
    #[must_use]
    pub fn lifecycle(&self) -> &Lifecycle {
        &self.entrance.lifecycle
    }

    /// Ends the node's work: see [`Lifecycle::drain`].
    ///
    /// # Errors
    /// [`StoreError`] if the node's session could not be ended: it lapses by itself.
    pub async fn drain(&self, limit: Duration) -> Result<(), StoreError> {
        self.lifecycle().drain(limit).await
    }
}

/// What an operation must not be called: beside it there is a route of that name.
const RESERVED: [&str; 3] = ["history", "operations", "resolution"];

fn named(operation: impl Into<Operation>) -> Operation {
    let operation = operation.into();
    let name = operation.name().as_str();
    assert!(
        !RESERVED.contains(&name),
        "no operation may be called `{name}`: it is the name of a route"
    );
    operation
}
