//! What every request passes first: its id, its span, its line in the log, the check of its head,
//! the bounds of its body and its answer, and the handling of panics.

mod bodies;
mod head;
mod path;

use std::any::Any;
use std::sync::Arc;
use std::time::Instant;

use axum::Router;
use axum::extract::{MatchedPath, Request};
use axum::middleware::{Next, from_fn};
use axum::response::{IntoResponse, Response};
use http::{HeaderMap, HeaderName, HeaderValue, header};
use orderlock::answer::ReplyProblem;
use orderlock::problems::{IDEMPOTENCY_KEY_IN_PROGRESS, SHUTTING_DOWN};
use orderlock::{Runtime as _, TokioRuntime};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower::ServiceBuilder;
use tower_http::catch_panic::CatchPanicLayer;
use tracing::{Instrument as _, Span};

use super::memory::Memory;
use super::problems::{INTERNAL_ERROR, SERVER_BUSY};
use super::reply::Refused;
use crate::config::Origins;
use crate::connections::Client;

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// The longest request id that is taken over from a client.
const REQUEST_ID_MAX: usize = 128;

/// How many letters of a method are logged. The longest registered method has 17.
const METHOD_MAX: usize = 20;

const PROBLEM_JSON: &str = "application/problem+json";

/// Headers for browsers, on every answer: it is what its type says, no other page may frame it, it
/// loads nothing but our own style sheet, and it is kept nowhere.
const TOLD_BROWSERS: [(HeaderName, HeaderValue); 5] = [
    (
        header::X_CONTENT_TYPE_OPTIONS,
        HeaderValue::from_static("nosniff"),
    ),
    (
        header::CONTENT_SECURITY_POLICY,
        HeaderValue::from_static(
            "default-src 'none'; style-src 'self'; frame-ancestors 'none'; base-uri 'none'; \
             form-action 'none'",
        ),
    ),
    (
        HeaderName::from_static("cross-origin-resource-policy"),
        HeaderValue::from_static("same-origin"),
    ),
    (
        header::REFERRER_POLICY,
        HeaderValue::from_static("no-referrer"),
    ),
    (header::CACHE_CONTROL, HeaderValue::from_static("no-store")),
];

/// What the edge knows of the service.
#[derive(Clone, Debug)]
pub(crate) struct Edge {
    /// Counts the requests that are open.
    pub(crate) requests: TaskTracker,
    /// Cancelled when the node ends.
    pub(crate) ending: CancellationToken,
    /// What bodies and answers may take together.
    pub(crate) memory: Memory,
    /// The largest body that is taken.
    pub(crate) body_max: usize,
    /// Whose pages may change orders.
    pub(crate) origins: Origins,
}

/// Puts the edge round the routes.
pub(crate) fn around(router: Router, edge: Edge) -> Router {
    let edge = Arc::new(edge);
    let counted = move |request: Request, next: Next| {
        let open = edge.requests.token();
        let edge = Arc::clone(&edge);
        async move {
            let response = observe(&edge, request, next).await;
            drop(open);
            response
        }
    };
    // Together they are one layer: each that is put on by itself boxes every route once more, and
    // each request clones the boxes.
    let layers = ServiceBuilder::new()
        .layer(from_fn(counted))
        .layer(CatchPanicLayer::custom(panicked));
    router.layer(layers)
}

/// One span and one line for each request. Never a key, never a body, and of the path only the
/// route: the order's id comes from the lifecycle's own line, in the same span, or is recorded by
/// the routes that only read.
async fn observe(edge: &Edge, request: Request, next: Next) -> Response {
    let id = request_id(request.headers());
    let route = request.extensions().get::<MatchedPath>().cloned();
    let method = request.method().as_str();
    let span = tracing::info_span!(
        "request",
        method = &method[..method.len().min(METHOD_MAX)],
        route = route.as_ref().map_or("-", MatchedPath::as_str),
        request_id = id.to_str().unwrap_or_default(),
        order = tracing::field::Empty,
    );
    let uri = request.uri().clone();
    let reads = request.method().is_safe();
    let started = Instant::now();
    async move {
        let mut response = answer(edge, request, next).await;
        let status = response.status();
        if status.is_server_error() {
            response = told(response);
            if let (Some(order), false) = (path::order(uri.path()), reads) {
                Span::current().record("order", order);
            }
        }
        let response = dressed(response, id);
        let unknown = route.is_none().then(|| path::shown(uri.path()));
        tracing::info!(
            status = status.as_u16(),
            problem = response
                .extensions()
                .get::<ReplyProblem>()
                .map(ReplyProblem::kind),
            path = unknown,
            microseconds = u64::try_from(started.elapsed().as_micros()).unwrap_or(u64::MAX),
            "answered"
        );
        response
    }
    .instrument(span)
    .await
}

/// The route's answer, within the bounds of what lies in memory, if the request is one for this
/// service.
async fn answer(edge: &Edge, request: Request, next: Next) -> Response {
    let client = request.extensions().get::<Client>().cloned();
    let (request, arrival) = bodies::arriving(edge, request, client.clone());
    if let Err(refused) = head::check(&request, &edge.origins) {
        return refused.into_response();
    }
    let waits = client.filter(|_| head::may_wait(request.headers()));
    let Some(arrival) = arrival else {
        let answering = next.run(request);
        let response = match waits {
            None => answering.await,
            Some(client) => unless(answering, client.gone(), has_gone).await,
        };
        return bodies::held(&edge.memory, response);
    };
    if !arrival.has_room(request.headers()) {
        return busy();
    }
    let answering = async {
        let answering = next.run(request);
        match waits {
            None => answering.await,
            Some(client) => unless(answering, client.gone(), has_gone).await,
        }
    };
    let ending = async {
        edge.ending.cancelled().await;
        arrival.is_late().await;
    };
    let response = unless(answering, ending, shutting_down).await;
    if arrival.was_refused() {
        return busy();
    }
    bodies::held(&edge.memory, response)
}

/// An answer, unless something else happens first.
async fn unless(
    answering: impl Future<Output = Response>,
    other: impl Future<Output = ()>,
    instead: fn() -> Response,
) -> Response {
    tokio::select! {
        biased;
        response = answering => response,
        () = other => instead(),
    }
}

/// For a client that waits in line and closes its side: most that do so have gone, and leave the
/// line. A client that still listens gets advice on what to do.
fn has_gone() -> Response {
    Refused(IDEMPOTENCY_KEY_IN_PROGRESS.described()).into_response()
}

/// For a request whose body has not come when the node stops: nothing was done for it.
fn shutting_down() -> Response {
    last(Refused(SHUTTING_DOWN.described()).into_response())
}

/// For a request whose body or answer finds no room.
fn busy() -> Response {
    Refused(SERVER_BUSY.problem()).into_response()
}

/// For a connection that gets no place among those that are at work.
pub(crate) fn crowded(headers: &HeaderMap) -> Response {
    dressed(last(busy()), request_id(headers))
}

/// The last answer of its connection.
fn last(mut response: Response) -> Response {
    let close = HeaderValue::from_static("close");
    response.headers_mut().insert(header::CONNECTION, close);
    response
}

/// Turns any fault into a problem: its other text is not meant for clients.
fn told(response: Response) -> Response {
    let content_type = response.headers().get(header::CONTENT_TYPE);
    if content_type.is_some_and(|value| value == PROBLEM_JSON) {
        return response;
    }
    tracing::error!("an internal error was answered without a problem document");
    Refused(INTERNAL_ERROR.problem()).into_response()
}

/// An answer with what all answers carry.
fn dressed(mut response: Response, id: HeaderValue) -> Response {
    let headers = response.headers_mut();
    headers.insert(REQUEST_ID, id);
    for (name, value) in &TOLD_BROWSERS {
        headers.entry(name).or_insert_with(|| value.clone());
    }
    response
}

/// The client's id for the request, if it sent one that can be shown; otherwise a new one.
fn request_id(headers: &HeaderMap) -> HeaderValue {
    let mut values = headers.get_all(REQUEST_ID).iter();
    let given = values.next().filter(|value| {
        let text = value.as_bytes();
        !text.is_empty() && text.len() <= REQUEST_ID_MAX && text.iter().all(u8::is_ascii_graphic)
    });
    match (given, values.next()) {
        (Some(given), None) => given.clone(),
        _ => {
            let text = format!("req_{:032x}", TokioRuntime.random());
            HeaderValue::from_str(&text).unwrap_or(HeaderValue::from_static("req_unknown"))
        }
    }
}

/// A panic outside of any operation: handlers of operations have a net of their own.
#[allow(clippy::needless_pass_by_value, reason = "the layer gives it away")]
fn panicked(_: Box<dyn Any + Send>) -> Response {
    tracing::error!("a request panicked");
    Refused(INTERNAL_ERROR.problem()).into_response()
}

#[cfg(test)]
mod tests;
