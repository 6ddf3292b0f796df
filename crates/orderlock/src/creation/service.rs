//! One request on its way to a new order.

use std::convert::Infallible;
use std::fmt;
use std::marker::PhantomData;
use std::panic::AssertUnwindSafe;
use std::pin::pin;
use std::sync::Arc;

use axum::body::Body as RequestBody;
use axum::extract::{DefaultBodyLimit, OriginalUri, Request};
use axum::handler::Handler;
use axum::response::{IntoResponse, Response};
use futures_util::FutureExt as _;
use futures_util::future::{BoxFuture, Either, select};
use http::request::Parts;
use orderlock_core::{
    Answer, Body, Caller, CreateRequest, Denied, Ended, IdempotencyKey, Operation, OperationName,
    OrderId, OrderType, SettledView,
};

use super::CreateHandler;
use crate::answer::{Asked, located};
use crate::buffered::buffered;
use crate::caller::TypeName;
use crate::explain::denied_problem;
use crate::header::{self, idempotency_key};
use crate::orders::CREATE;
use crate::problems::{HANDLER_FAILED, HANDLER_TIMEOUT};
use crate::request::{Entrance, also_asked, fingerprint};

/// Marks [`CreatingHandler`] among axum's handlers.
#[derive(Debug)]
pub struct ViaCreation;

/// Only the type's own; it holds none of them.
type Marker<T, M, S> = PhantomData<fn() -> (T, M, S)>;

/// A function that makes new orders, as an axum handler. Made by
/// [`OrderLock::create_handler`](crate::OrderLock::create_handler).
pub struct CreatingHandler<T, H, M, S> {
    entrance: Entrance,
    handler: H,
    marker: Marker<T, M, S>,
}

impl<T, H, M, S> CreatingHandler<T, H, M, S> {
    pub(crate) fn new(entrance: Entrance, handler: H) -> Self {
        Self {
            entrance,
            handler,
            marker: PhantomData,
        }
    }
}

impl<T, H: Clone, M, S> Clone for CreatingHandler<T, H, M, S> {
    fn clone(&self) -> Self {
        Self::new(self.entrance.clone(), self.handler.clone())
    }
}

impl<T, H, M, S> fmt::Debug for CreatingHandler<T, H, M, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CreatingHandler")
            .field("handler", &TypeName::<H>::new())
            .finish_non_exhaustive()
    }
}

impl<T, H, M, S> Handler<ViaCreation, S> for CreatingHandler<T, H, M, S>
where
    H: CreateHandler<T, M, S>,
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

/// What the head of a request says.
struct Head {
    caller: Caller,
    key: IdempotencyKey,
    /// The id, where the application gives it.
    order: Option<OrderId>,
    operation: OperationName,
    json: bool,
    /// What is asked beside operation and body.
    also: Option<Box<str>>,
    /// The path of all orders, as the client sent it.
    collection: String,
}

impl<T, H, M, S> CreatingHandler<T, H, M, S>
where
    H: CreateHandler<T, M, S>,
    T: OrderType,
    S: Sync,
{
    async fn serve(self, request: Request, state: &S) -> Result<Response, Response> {
        let Self {
            entrance, handler, ..
        } = self;
        let (mut parts, body) = request.into_parts();
        let head = head_of(&entrance, &mut parts).await?;
        let arguments = H::extract_head(&mut parts, state).await?;
        let runtime = &**entrance.lifecycle.runtime();
        let body = entrance.body.read(body, runtime).await;
        let body = body.map_err(|problem| entrance.refuse(&problem).into_response())?;
        let canonical = match head.json {
            true => Body::Json(&body),
            false => Body::Bytes(&body),
        };
        let asked = CreateRequest {
            caller: head.caller.clone(),
            fingerprint: fingerprint(&head.operation, None, head.also.as_deref(), canonical),
            order: head.order.clone(),
            key: head.key.clone(),
            operation: head.operation.clone(),
        };
        let mut request = Request::from_parts(parts, RequestBody::from(body));
        // The body is within this lock's own limit.
        DefaultBodyLimit::disable().apply(&mut request);
        let made = match H::extract_body(arguments, request, state).await {
            Ok(arguments) => made(&entrance, handler.call(arguments)).await,
            Err(refusal) => Err(refusal),
        };
        let ended = created(&entrance, &head, asked, made).await?;
        Ok(answered(&entrance, &head, ended).await)
    }
}

/// The key is looked at before what the body's length says: so a request without a key is refused for
/// that, whatever its body is.
async fn head_of(entrance: &Entrance, parts: &mut Parts) -> Result<Head, Response> {
    let refuse = |problem| entrance.refuse(&problem).into_response();
    let caller = entrance.who(&*entrance.caller, parts).await;
    let caller = caller.map_err(IntoResponse::into_response)?;
    let key = idempotency_key(&parts.headers).map_err(refuse)?;
    entrance.check(parts).map_err(refuse)?;
    let new_id = entrance.new_id.as_ref();
    let order = new_id.map(|new_id| new_id(&caller, &key)).transpose();
    let also = also_asked(parts, None);
    let original = parts.extensions.get::<OriginalUri>();
    let path = original.map_or(parts.uri.path(), |OriginalUri(uri)| uri.path());
    Ok(Head {
        caller,
        key,
        order: order.map_err(refuse)?,
        operation: Operation::named(CREATE).name().clone(),
        json: header::is_json(&parts.headers),
        also,
        collection: format!("{}/", path.trim_end_matches('/')),
    })
}

/// Runs the function, within the time that any handler has.
async fn made<T, E: IntoResponse>(
    entrance: &Entrance,
    call: impl Future<Output = Result<T, E>>,
) -> Result<T, Response> {
    let lifecycle = &entrance.lifecycle;
    let over = lifecycle.runtime().sleep(lifecycle.limits().handler);
    let caught = pin!(AssertUnwindSafe(call).catch_unwind());
    let problem = match select(caught, over).await {
        Either::Left((Ok(Ok(order)), _)) => return Ok(order),
        Either::Left((Ok(Err(error)), _)) => {
            let (reply, _) = buffered(error.into_response(), &**lifecycle.answers()).await;
            return Err(reply.into_response());
        }
        Either::Left((Err(_), _)) => {
            tracing::error!("the handler of a creation panicked");
            HANDLER_FAILED.described()
        }
        Either::Right(_) => HANDLER_TIMEOUT.described(),
    };
    Err(entrance.refuse(&problem).into_response())
}

/// Inserts the order, or finds what the key has made before today's rules refused its request.
async fn created<T: OrderType>(
    entrance: &Entrance,
    head: &Head,
    request: CreateRequest,
    made: Result<T, Response>,
) -> Result<Ended<Infallible>, Response> {
    let lifecycle = &entrance.lifecycle;
    let refusal = match made {
        Ok(order) => {
            let (answers, collection) = (Arc::clone(lifecycle.answers()), head.collection.clone());
            let render = move |settled: SettledView<'_>| {
                let answer = answers.answer(settled);
                let location = answer.location;
                let location =
                    location.or_else(|| Some(located(&collection, &settled.target.order)));
                Answer { location, ..answer }
            };
            return Ok(lifecycle.create_rendered(request, order, render).await);
        }
        Err(refusal) => refusal,
    };
    let (caller, key, fingerprint) = (&head.caller, &head.key, request.fingerprint);
    match lifecycle.stored(caller, None, key, fingerprint).await {
        Ok(None) => Err(refusal),
        Ok(Some(ended)) => Ok(ended),
        // Whether the key was settled is not known, so the refusal might mislead.
        Err(denied) => Ok(Ended::Denied(denied)),
    }
}

async fn answered(entrance: &Entrance, head: &Head, ended: Ended<Infallible>) -> Response {
    if let Ended::Denied(Denied::KeyExpired) = &ended {
        return expired(entrance, head).await;
    }
    let asked = Asked {
        order: None,
        operation: head.operation.clone(),
        recovery: None,
        wait: None,
    };
    let Ok(reply) = entrance.answer(&asked, ended);
    reply.into_response()
}

/// The key has made an order, and its answer is gone: the order is not, and only this service can
/// say which it is.
async fn expired(entrance: &Entrance, head: &Head) -> Response {
    let order = match &head.order {
        Some(order) => Ok(order.clone()),
        None => entrance.lifecycle.order_id(&head.caller, &head.key).await,
    };
    let order = match order {
        Ok(order) => order,
        Err(denied) => {
            return entrance
                .refuse(&denied_problem(None, &denied))
                .into_response();
        }
    };
    let problem = denied_problem(Some(&head.caller.target(&order)), &Denied::KeyExpired);
    let mut reply = entrance.refuse(&problem.with_member("order", order.as_str()));
    if let Some(location) = header::value(&located(&head.collection, &order)) {
        reply.headers_mut().insert(http::header::LOCATION, location);
    }
    reply.into_response()
}
