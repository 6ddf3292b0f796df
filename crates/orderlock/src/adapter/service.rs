//! One request on its way through the adapter.

use std::fmt;
use std::marker::PhantomData;

use axum::body::Body;
use axum::extract::{DefaultBodyLimit, Request};
use axum::handler::Handler;
use axum::response::{IntoResponse, Response};
use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use http::{HeaderValue, header};
use orderlock_core::axum::WithoutEffect;
use orderlock_core::{Answer, Ended, Lifecycle, LockedOrder, Operation, OrderType, Undone};

use super::OrderHandler;
use crate::answer::{Asked, Reply};
use crate::buffered::buffered;
use crate::caller::TypeName;
use crate::request::Entrance;

/// Marks [`LockedHandler`] among axum's handlers.
#[derive(Debug)]
pub struct ViaLock;

/// Only the type's own; it holds none of them.
type Marker<T, M, S> = PhantomData<fn() -> (T, M, S)>;

/// A function that runs under the lock of an order, as an axum handler. Made by
/// [`OrderLock::handler`](crate::OrderLock::handler).
pub struct LockedHandler<T, H, M, S> {
    entrance: Entrance,
    operation: Operation,
    handler: H,
    marker: Marker<T, M, S>,
}

impl<T, H, M, S> LockedHandler<T, H, M, S> {
    pub(crate) fn new(entrance: Entrance, operation: Operation, handler: H) -> Self {
        Self {
            entrance,
            operation,
            handler,
            marker: PhantomData,
        }
    }
}

impl<T, H: Clone, M, S> Clone for LockedHandler<T, H, M, S> {
    fn clone(&self) -> Self {
        Self::new(
            self.entrance.clone(),
            self.operation.clone(),
            self.handler.clone(),
        )
    }
}

impl<T, H, M, S> fmt::Debug for LockedHandler<T, H, M, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LockedHandler")
            .field("operation", &self.operation)
            .field("handler", &TypeName::<H>::new())
            .finish_non_exhaustive()
    }
}

impl<T, H, M, S> Handler<ViaLock, S> for LockedHandler<T, H, M, S>
where
    H: OrderHandler<T, M, S>,
    T: OrderType,
    M: 'static,
    S: Clone + Send + Sync + 'static,
{
    type Future = BoxFuture<'static, Response>;

    fn call(self, request: Request, state: S) -> Self::Future {
        async move {
            let served = self.serve(request, &state).await;
            served.unwrap_or_else(|refused| refused)
        }
        .boxed()
    }
}

impl<T, H, M, S> LockedHandler<T, H, M, S>
where
    H: OrderHandler<T, M, S>,
    T: OrderType,
    S: Sync,
{
    /// The answer, or a refusal from before the lock was acquired.
    async fn serve(self, request: Request, state: &S) -> Result<Response, Response> {
        let Self {
            entrance,
            operation,
            handler,
            ..
        } = self;
        let (mut parts, body) = request.into_parts();
        let head = entrance.head(&mut parts).await;
        let head = head.map_err(IntoResponse::into_response)?;
        let arguments = H::extract_head(&mut parts, state).await?;
        let body = entrance
            .body
            .read(body, &**entrance.lifecycle.runtime())
            .await;
        let body = body.map_err(|problem| entrance.refuse(&problem).into_response())?;

        let asked = head.asked(&operation);
        let wanted = head.into_wanted(operation, &body);
        let mut request = Request::from_parts(parts, Body::from(body));
        // The body is within this lock's own limit.
        DefaultBodyLimit::disable().apply(&mut request);
        let arguments = match H::extract_body(arguments, request, state).await {
            Ok(arguments) => arguments,
            Err(refusal) => {
                let wanted = &wanted.request;
                let stored = entrance.lifecycle.stored(
                    &wanted.caller,
                    Some(&wanted.order),
                    &wanted.key,
                    wanted.fingerprint,
                );
                let ended = match stored.await {
                    Ok(None) => return Err(refusal),
                    Ok(Some(ended)) => ended,
                    // Whether the key was settled is not known, so the refusal might mislead.
                    Err(denied) => Ended::Denied(denied),
                };
                let Ok(reply) = entrance.answer(&asked, ended);
                return Ok(reply.into_response());
            }
        };
        let work = {
            let lifecycle = entrance.lifecycle.clone();
            async move |order: LockedOrder<T>| match handler.call(order, arguments).await {
                Ok(outcome) => Ok(outcome),
                Err(error) => Err(Rendered::of(error, &lifecycle).await),
            }
        };
        let describe = |failed: &Undone<Rendered>| failed.error().answer();
        let ended = entrance.run(wanted, work, describe).await;
        let ended = ended.map_error(Undone::into_error);
        Ok(told(&entrance, &asked, ended))
    }
}

fn told(entrance: &Entrance, asked: &Asked, ended: Ended<Rendered>) -> Response {
    match entrance.answer(asked, ended) {
        Ok(reply) => reply.into_response(),
        Err(Rendered(reply, _)) => reply.into_response(),
    }
}

/// A handler's error as an answer, with its body: every request that waited for the attempt gets
/// the same.
struct Rendered(Reply, bytes::Bytes);

impl Rendered {
    /// The answer, with what the handler has declared of the error.
    async fn of(error: impl IntoResponse, lifecycle: &Lifecycle) -> Undone<Self> {
        let mut response = error.into_response();
        let declared = response.extensions_mut().remove::<WithoutEffect>();
        let (reply, body) = buffered(response, &**lifecycle.answers()).await;
        let rendered = Self(reply, body);
        match declared {
            Some(WithoutEffect) => Undone::without_effect(rendered),
            None => Undone::with_unknown_effect(rendered),
        }
    }

    fn answer(&self) -> Answer {
        let Self(reply, body) = self;
        let text = |value: &HeaderValue| value.to_str().ok().map(ToOwned::to_owned);
        let content_type = reply.headers().get(header::CONTENT_TYPE).and_then(text);
        Answer {
            status: reply.status().as_u16(),
            content_type: content_type.unwrap_or_else(|| "application/octet-stream".into()),
            location: None,
            version: None,
            body: body.clone(),
        }
    }
}
