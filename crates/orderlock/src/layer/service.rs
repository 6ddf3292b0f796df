//! The service that the layer makes.

use std::error::Error;
use std::fmt;
use std::task::{Context, Poll};

use bytes::Bytes;
use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use http::{Method, Request, Response};
use http_body_util::{Either, Full};
use orderlock_core::axum::{CarriedLock, CarriedOutcome, WithoutEffect};
use orderlock_core::{Answer, Answers, Document, LockedOrder, Operation, Outcome, Problem, Undone};
use tower::ServiceExt as _;
use tower_service::Service;

use super::passed::{PassedBody, PassedResponse};
use crate::caller::TypeName;
use crate::problems::{self, ProblemKind};
use crate::request::Entrance;

/// What the inner service is given: the buffered body of an operation, or the untouched body of
/// what passes through.
pub type RequestBody<B> = Either<Full<Bytes>, B>;

/// What the client is given: an answer of the lock's own, or the inner service's response.
pub type ResponseBody<B> = Either<Full<Bytes>, PassedBody<B>>;

/// A service under the lock. See [`OrderLockLayer`](super::OrderLockLayer).
///
/// # Readiness
///
/// The service is always ready. A request waits for its order first, and only after the grant a
/// clone of the inner service is polled for readiness and called, the same clone for both. So a
/// request that waits in line holds no permit of an inner concurrency limit, and an inner service
/// that is not ready makes an operation wait under the lock, within the handler's time limit. What
/// bounds the waiting is the line, not the readiness of this service: a `load_shed` outside it
/// never sheds, and the line's own answer is 429 `order-queue-full`.
#[derive(Clone)]
pub struct OrderLockService<S> {
    inner: S,
    entrance: Entrance,
    operation: Operation,
}

impl<S> OrderLockService<S> {
    pub(crate) fn new(inner: S, entrance: Entrance, operation: Operation) -> Self {
        Self {
            inner,
            entrance,
            operation,
        }
    }
}

impl<S> fmt::Debug for OrderLockService<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OrderLockService")
            .field("operation", &self.operation)
            .field("inner", &TypeName::<S>::new())
            .finish_non_exhaustive()
    }
}

/// What passes by the lock: nothing is applied for it.
enum Passed<R: http_body::Body<Data = Bytes>, E> {
    /// The inner service's own answer.
    Response(PassedResponse<R>),
    /// The inner service's own error.
    Error(E),
    /// A handler that does not fit.
    Mistake(ProblemKind),
}

impl<S, B, R> Service<Request<B>> for OrderLockService<S>
where
    S: Service<Request<RequestBody<B>>, Response = Response<R>> + Clone + Send + 'static,
    S::Future: Send,
    S::Error: Send + 'static,
    B: http_body::Body + Send + 'static,
    B::Data: Send,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
    R: http_body::Body<Data = Bytes> + Send + 'static,
    R::Error: Send,
{
    type Response = Response<ResponseBody<R>>;
    type Error = S::Error;
    type Future = BoxFuture<'static, Result<Self::Response, Self::Error>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let inner = self.inner.clone();
        let passes = [Method::GET, Method::HEAD, Method::OPTIONS].contains(request.method());
        if passes {
            let response = inner.oneshot(request.map(Either::Right));
            return response
                .map(|result| Ok(result?.map(PassedBody::new).map(Either::Right)))
                .boxed();
        }
        let (entrance, operation) = (self.entrance.clone(), self.operation.clone());
        serve(inner, entrance, operation, request).boxed()
    }
}

async fn serve<S, B, R>(
    inner: S,
    entrance: Entrance,
    operation: Operation,
    request: Request<B>,
) -> Result<Response<ResponseBody<R>>, S::Error>
where
    S: Service<Request<RequestBody<B>>, Response = Response<R>> + Send + 'static,
    S::Future: Send,
    S::Error: Send + 'static,
    B: http_body::Body + Send + 'static,
    B::Data: Send,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
    R: http_body::Body<Data = Bytes> + Send + 'static,
    R::Error: Send,
{
    let refuse = |problem: Problem| Ok(entrance.refuse(&problem).map(Either::Left));
    let (mut parts, body) = request.into_parts();
    let head = match entrance.head(&mut parts).await {
        Ok(head) => head.at_its_path(&parts),
        Err(refused) => return Ok(refused.map(Either::Left)),
    };
    let body = match entrance
        .body
        .read(body, &**entrance.lifecycle.runtime())
        .await
    {
        Ok(body) => body,
        Err(problem) => return refuse(problem),
    };
    let asked = head.asked(&operation);
    let wanted = head.into_wanted(operation, &body);
    let request = Request::from_parts(parts, Either::Left(Full::new(body)));
    let work = move |order| locked(inner, request, order);
    let answers = std::sync::Arc::clone(entrance.lifecycle.answers());
    let describe = move |passed: &Undone<Passed<R, S::Error>>| passed.error().describe(&*answers);
    let ended = entrance.run(wanted, work, describe).await;
    match entrance.answer(&asked, ended.map_error(Undone::into_error)) {
        Ok(reply) => Ok(reply.map(Either::Left)),
        Err(Passed::Response(passed)) => Ok(passed.response.map(Either::Right)),
        Err(Passed::Error(error)) => Err(error),
        Err(Passed::Mistake(kind)) => refuse(kind.described()),
    }
}

/// The inner service's run under the lock.
async fn locked<S, B, R>(
    inner: S,
    mut request: Request<RequestBody<B>>,
    order: LockedOrder<Document>,
) -> Result<Outcome<Document>, Undone<Passed<R, S::Error>>>
where
    S: Service<Request<RequestBody<B>>, Response = Response<R>>,
    R: http_body::Body<Data = Bytes>,
{
    let lock = CarriedLock::new(order);
    request.extensions_mut().insert(lock.clone());
    let unknown = Undone::with_unknown_effect;
    let response = inner.oneshot(request).await;
    let mut response = response.map_err(|error| unknown(Passed::Error(error)))?;
    let carried = response.extensions_mut().remove::<CarriedOutcome>();
    let mistake = match carried.and_then(|carried| carried.take()) {
        Some(outcome) if lock.is_taken() => return Ok(outcome),
        Some(_) => problems::ORDER_NOT_TAKEN,
        None if response.status().is_success() => problems::OUTCOME_MISSING,
        None => {
            let declared = response.extensions_mut().remove::<WithoutEffect>();
            let passed = Passed::Response(PassedResponse::new(response));
            return Err(match declared {
                Some(WithoutEffect) => Undone::without_effect(passed),
                None => unknown(passed),
            });
        }
    };
    tracing::error!(kind = mistake.kind, "{}", mistake.what);
    Err(unknown(Passed::Mistake(mistake)))
}

impl<R: http_body::Body<Data = Bytes>, E> Passed<R, E> {
    /// The answer for requests that waited for the same attempt.
    fn describe(&self, answers: &dyn Answers) -> Answer {
        let kind = match self {
            Self::Response(passed) => return passed.describe(answers),
            Self::Mistake(kind) => kind,
            Self::Error(_) => &problems::HANDLER_FAILED,
        };
        answers.problem(&kind.described(), None)
    }
}
