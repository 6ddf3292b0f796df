//! The caller and the order of a request: the two things that only the application knows.

use std::fmt;

use axum::extract::rejection::RawPathParamsRejection;
use axum::extract::{FromRequestParts as _, RawPathParams};
use futures_util::FutureExt as _;
use http::request::Parts;
use orderlock_core::{Caller, OrderId, Problem};

use crate::problems;

/// Names the caller of a request: a stable identity such as a user's id, never a credential. The
/// caller is part of every key's scope. The source is called for each request, replays included, so
/// that withdrawn rights take effect at once.
///
/// It is implemented for [`SingleTenant`] and for functions
/// `Fn(&Parts) -> Result<Caller, Problem>`. What needs to wait, a look-up in a session store for
/// example, belongs into a middleware in front that leaves its result in the request's extensions.
#[diagnostic::on_unimplemented(
    message = "`{Self}` does not name the caller of a request",
    note = "give a function `|parts: &Parts| -> Result<Caller, Problem>`, or write out `SingleTenant`"
)]
pub trait CallerSource: Send + Sync + 'static {
    /// The caller of a request.
    ///
    /// # Errors
    /// The problem that the client is answered: nothing is looked up or run for it.
    fn caller(&self, parts: &Parts) -> Result<Caller, Problem>;
}

/// All requests have the same caller: for a service with one tenant behind another service that has
/// authenticated the client. All clients share all keys and all orders.
#[derive(Clone, Copy, Debug, Default)]
pub struct SingleTenant;

impl CallerSource for SingleTenant {
    fn caller(&self, _: &Parts) -> Result<Caller, Problem> {
        Ok(Caller::single())
    }
}

impl<F> CallerSource for F
where
    F: Fn(&Parts) -> Result<Caller, Problem> + Send + Sync + 'static,
{
    fn caller(&self, parts: &Parts) -> Result<Caller, Problem> {
        self(parts)
    }
}

/// Says which order a request is for.
///
/// It is implemented for [`PathParam`] and for functions
/// `Fn(&Parts) -> Result<OrderId, Problem>`.
#[diagnostic::on_unimplemented(
    message = "`{Self}` does not say which order a request is for",
    note = "give `PathParam(\"name\")`, or a function `|parts: &Parts| -> Result<OrderId, Problem>`"
)]
pub trait OrderIdSource: Send + Sync + 'static {
    /// The order that a request is for.
    ///
    /// # Errors
    /// The problem that the client is answered: nothing is looked up or run for it.
    fn order_id(&self, parts: &mut Parts) -> Result<OrderId, Problem>;
}

/// The order's id is a parameter of the route's path. The default is `PathParam("id")`, for
/// routes like `/orders/{id}/confirm`.
///
/// It is known under `MethodRouter::layer`, `Router::route_layer` and in nested routers, but not
/// under a layer round a whole `Router` from outside, where no route has been chosen yet.
#[derive(Clone, Copy, Debug)]
pub struct PathParam(pub &'static str);

impl OrderIdSource for PathParam {
    fn order_id(&self, parts: &mut Parts) -> Result<OrderId, Problem> {
        // The extractor is async by its trait only: it never waits.
        let params = match RawPathParams::from_request_parts(parts, &()).now_or_never() {
            Some(Ok(params)) => Some(params),
            // What is no text names no order either.
            Some(Err(RawPathParamsRejection::InvalidUtf8InPathParam(_))) => {
                return Err(problems::ORDER_NOT_FOUND.described());
            }
            Some(Err(_)) | None => None,
        };
        let value = params.as_ref().and_then(|params| {
            let named = |(name, _): &(&str, &str)| *name == self.0;
            params.iter().find(named).map(|(_, value)| value)
        });
        match value {
            // What can be no order's id names no order.
            Some(value) => OrderId::parse(value).map_err(|_| problems::ORDER_NOT_FOUND.described()),
            None => Err(problems::ORDER_ID_MISSING.problem().with_detail(format!(
                "The route has no path parameter `{}`. {}",
                self.0,
                problems::ORDER_ID_MISSING.next
            ))),
        }
    }
}

impl<F> OrderIdSource for F
where
    F: Fn(&Parts) -> Result<OrderId, Problem> + Send + Sync + 'static,
{
    fn order_id(&self, parts: &mut Parts) -> Result<OrderId, Problem> {
        self(parts)
    }
}

/// The name of a type that need not be `Debug`.
pub(crate) struct TypeName<T: ?Sized>(std::marker::PhantomData<fn() -> T>);

impl<T: ?Sized> TypeName<T> {
    pub(crate) fn new() -> Self {
        Self(std::marker::PhantomData)
    }
}

impl<T: ?Sized> fmt::Debug for TypeName<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(std::any::type_name::<T>())
    }
}
