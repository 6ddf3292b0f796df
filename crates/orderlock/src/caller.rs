//! The caller and the order of a request: the two things that only the application knows.

use std::fmt;
use std::future::Future;
use std::marker::PhantomData;

use axum::extract::rejection::RawPathParamsRejection;
use axum::extract::{FromRequestParts, RawPathParams};
use axum::response::{IntoResponse, Response};
use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use http::request::Parts;
use orderlock_core::{Caller, OrderId, Problem};

use crate::answer::Rejection;
use crate::problems;

/// Names the caller of a request: a stable identity such as a user's id, never a credential. The
/// caller is part of every key's scope. The source is asked for each request, replays included, so
/// that withdrawn rights take effect at once; its answer must come within
/// [`Limits::store`](crate::Limits::store), otherwise the client gets 503 `store-unavailable`.
///
/// Extractors of the route find the caller as `Extension<Caller>`.
///
/// It is implemented for [`SingleTenant`], for an axum extractor as [`ExtractedCaller`], and for async
/// functions of `&Parts`:
///
/// ```
/// use axum::http::request::Parts;
/// use orderlock::{Caller, OrderLock, OrderStore, OrderType, Problem, problems};
/// # #[derive(Clone)]
/// # struct Account(Caller);
///
/// async fn caller(parts: &Parts) -> Result<Caller, Problem> {
///     // A middleware in front has checked the credential and left the account here.
///     let account = parts.extensions.get::<Account>();
///     account.map(|account| account.0.clone()).ok_or_else(|| problems::UNAUTHENTICATED.described())
/// }
///
/// fn lock<T: OrderType>(store: impl OrderStore) -> OrderLock<T> {
///     OrderLock::new(store, caller)
/// }
/// ```
///
/// A source that needs something of its own, such as a pool of connections, is a type:
///
/// ```
/// use axum::http::{header::AUTHORIZATION, request::Parts};
/// use orderlock::{Caller, CallerRefused, CallerSource, problems};
/// # struct Tokens;
/// # impl Tokens { async fn owner(&self, _: &str) -> Option<Caller> { None } }
///
/// impl CallerSource for Tokens {
///     async fn caller(&self, parts: &mut Parts) -> Result<Caller, CallerRefused> {
///         let token = parts.headers.get(AUTHORIZATION).and_then(|value| value.to_str().ok());
///         let token = token.and_then(|text| text.strip_prefix("Bearer "));
///         let owner = self.owner(token.unwrap_or_default()).await;
///         Ok(owner.ok_or_else(|| problems::UNAUTHENTICATED.described())?)
///     }
/// }
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` does not name the caller of a request",
    note = "give an `async fn(&Parts) -> Result<Caller, Problem>`, an `ExtractedCaller`, or write out `SingleTenant`"
)]
pub trait CallerSource: Send + Sync + 'static {
    /// The caller of a request.
    ///
    /// # Errors
    /// What the client is answered: nothing is looked up or run for it.
    fn caller(
        &self,
        parts: &mut Parts,
    ) -> impl Future<Output = Result<Caller, CallerRefused>> + Send;
}

/// What a client is answered that is no caller: a problem, or a response of the application's own.
pub struct CallerRefused(pub(crate) Refusal);

/// Boxed, since most requests have a caller.
pub(crate) enum Refusal {
    Problem(Box<Problem>),
    Response(Box<Response>),
}

impl CallerRefused {
    /// Refuses with a response of the application's own, a redirection to its sign-in for example. A
    /// success is no refusal: the client gets 500 `outcome-missing` in its place.
    #[must_use]
    pub fn with_response(response: impl IntoResponse) -> Self {
        Self(Refusal::Response(Box::new(response.into_response())))
    }
}

impl From<Problem> for CallerRefused {
    fn from(problem: Problem) -> Self {
        Self(Refusal::Problem(Box::new(problem)))
    }
}

impl From<Rejection> for CallerRefused {
    fn from(Rejection(problem): Rejection) -> Self {
        problem.into()
    }
}

impl fmt::Debug for CallerRefused {
    /// Shows the status alone: a response may repeat what the client sent.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let status = match &self.0 {
            Refusal::Problem(problem) => problem.status(),
            Refusal::Response(response) => response.status().as_u16(),
        };
        write!(f, "CallerRefused({status})")
    }
}

/// All requests have the same caller: for a service with one tenant behind another service that has
/// authenticated the client. All clients share all keys and all orders.
#[derive(Clone, Copy, Debug, Default)]
pub struct SingleTenant;

impl CallerSource for SingleTenant {
    async fn caller(&self, _: &mut Parts) -> Result<Caller, CallerRefused> {
        Ok(Caller::single())
    }
}

/// An async function of a request's parts, whose future may borrow them.
#[doc(hidden)]
pub trait CallerFunction<'a>: Send + Sync + 'static {
    type Error: Into<CallerRefused>;
    type Future: Future<Output = Result<Caller, Self::Error>> + Send;

    fn call(&self, parts: &'a Parts) -> Self::Future;
}

impl<'a, F, Fut, E> CallerFunction<'a> for F
where
    F: Fn(&'a Parts) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Result<Caller, E>> + Send,
    E: Into<CallerRefused>,
{
    type Error = E;
    type Future = Fut;

    fn call(&self, parts: &'a Parts) -> Fut {
        self(parts)
    }
}

impl<F> CallerSource for F
where
    F: for<'a> CallerFunction<'a>,
{
    async fn caller(&self, parts: &mut Parts) -> Result<Caller, CallerRefused> {
        self.call(parts).await.map_err(Into::into)
    }
}

/// An axum extractor as the source of callers, for an application that has one already. A request
/// that it rejects gets its rejection.
///
/// ```
/// use axum::extract::FromRequestParts;
/// use axum::http::{StatusCode, request::Parts};
/// use orderlock::{Caller, ExtractedCaller, OrderLock, OrderStore, OrderType};
///
/// struct User(Caller);
///
/// impl<S: Sync> FromRequestParts<S> for User {
///     type Rejection = StatusCode;
///
///     async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, StatusCode> {
/// #       let _ = parts;
///         Err(StatusCode::UNAUTHORIZED)
///     }
/// }
///
/// impl From<User> for Caller {
///     fn from(User(caller): User) -> Self {
///         caller
///     }
/// }
///
/// fn lock<T: OrderType>(store: impl OrderStore) -> OrderLock<T> {
///     OrderLock::new(store, ExtractedCaller::<User>::new())
/// }
/// ```
pub struct ExtractedCaller<E, S = ()> {
    state: S,
    extractor: PhantomData<fn() -> E>,
}

impl<E> ExtractedCaller<E> {
    /// An extractor that needs no state.
    #[must_use]
    pub fn new() -> Self {
        Self::with_state(())
    }
}

impl<E> Default for ExtractedCaller<E> {
    fn default() -> Self {
        Self::new()
    }
}

impl<E, S> ExtractedCaller<E, S> {
    /// An extractor of the application's state.
    #[must_use]
    pub fn with_state(state: S) -> Self {
        Self {
            state,
            extractor: PhantomData,
        }
    }
}

impl<E, S> fmt::Debug for ExtractedCaller<E, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ExtractedCaller({:?})", TypeName::<E>::new())
    }
}

impl<E, S> CallerSource for ExtractedCaller<E, S>
where
    E: FromRequestParts<S> + Into<Caller> + 'static,
    S: Send + Sync + 'static,
{
    async fn caller(&self, parts: &mut Parts) -> Result<Caller, CallerRefused> {
        match E::from_request_parts(parts, &self.state).await {
            Ok(extracted) => Ok(extracted.into()),
            Err(rejection) => Err(CallerRefused::with_response(rejection)),
        }
    }
}

/// Any source of callers.
pub(crate) trait AnyCallerSource: Send + Sync {
    fn caller<'a>(&'a self, parts: &'a mut Parts) -> BoxFuture<'a, Result<Caller, CallerRefused>>;
}

impl<C: CallerSource> AnyCallerSource for C {
    fn caller<'a>(&'a self, parts: &'a mut Parts) -> BoxFuture<'a, Result<Caller, CallerRefused>> {
        Box::pin(CallerSource::caller(self, parts))
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

/// A parameter of the path; none if it is not Unicode text.
pub(crate) fn path_param(parts: &mut Parts, name: &str) -> Option<String> {
    // The extractor is async by its trait only: it never waits.
    let params = RawPathParams::from_request_parts(parts, &())
        .now_or_never()?
        .ok()?;
    let (_, value) = params.iter().find(|(known, _)| *known == name)?;
    Some(value.to_owned())
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
