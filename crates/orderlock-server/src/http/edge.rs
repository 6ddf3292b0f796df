//! What every request passes first: its id, its span, its line in the log, the check of its host,
//! and the last net under a panic.

use std::any::Any;
use std::time::Instant;

use axum::Router;
use axum::extract::{MatchedPath, Request};
use axum::middleware::{Next, from_fn};
use axum::response::{IntoResponse, Response};
use http::{HeaderMap, HeaderName, HeaderValue};
use orderlock::{Runtime as _, TokioRuntime};
use tokio_util::task::TaskTracker;
use tower::ServiceBuilder;
use tower_http::catch_panic::CatchPanicLayer;
use tracing::Instrument as _;

use super::host::only_this_machine;
use super::problems::INTERNAL_ERROR;
use super::reply::Refused;

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// The longest request id that is taken over from a client.
const REQUEST_ID_MAX: usize = 128;

/// Puts the edge round the routes. `requests` counts those that are open.
pub(crate) fn around(router: Router, requests: TaskTracker) -> Router {
    let counted = move |request: Request, next: Next| {
        let open = requests.token();
        async move {
            let response = observe(request, next).await;
            drop(open);
            response
        }
    };
    // Together they are one layer: each that is put on by itself boxes every route once more, and
    // each request clones the boxes.
    let edge = ServiceBuilder::new()
        .layer(from_fn(counted))
        .layer(CatchPanicLayer::custom(panicked));
    router.layer(edge)
}

/// One span and one line for each request. Never a key, never a body, and of the path only the
/// route: the order's id comes from the lifecycle's own line, in the same span.
async fn observe(request: Request, next: Next) -> Response {
    let id = request_id(request.headers());
    let route = request.extensions().get::<MatchedPath>();
    let span = tracing::info_span!(
        "request",
        method = %request.method(),
        route = route.map_or("-", MatchedPath::as_str),
        request_id = id.to_str().unwrap_or_default(),
    );
    let started = Instant::now();
    async move {
        let mut response = answer(request, next).await;
        response.headers_mut().insert(REQUEST_ID, id);
        tracing::info!(
            status = response.status().as_u16(),
            microseconds = u64::try_from(started.elapsed().as_micros()).unwrap_or(u64::MAX),
            "answered"
        );
        response
    }
    .instrument(span)
    .await
}

/// The route's answer, if this service is the one that the request is for.
async fn answer(request: Request, next: Next) -> Response {
    match only_this_machine(&request) {
        Ok(()) => next.run(request).await,
        Err(refused) => refused.into_response(),
    }
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
mod tests {
    use super::*;

    fn taken(values: &[&str]) -> bool {
        let pairs = values
            .iter()
            .map(|value| (REQUEST_ID, HeaderValue::from_str(value).unwrap()));
        let headers: HeaderMap = pairs.collect();
        values
            .first()
            .is_some_and(|first| request_id(&headers) == *first)
    }

    #[tokio::test]
    async fn a_panic_is_answered_with_a_problem() {
        let faulty = async || -> &'static str { panic!("on purpose") };
        let router = Router::new().route("/", axum::routing::get(faulty));
        let router = around(router, TaskTracker::new());
        let request = Request::new(axum::body::Body::empty());
        let response = tower::ServiceExt::oneshot(router, request).await.unwrap();
        assert_eq!(response.status(), 500);
        assert!(response.headers().contains_key(REQUEST_ID));
        let body = axum::body::to_bytes(response.into_body(), 10_000)
            .await
            .unwrap();
        let problem: serde_json::Value = serde_json::from_slice(&body).unwrap();
        assert_eq!(problem["type"], "/problems/internal-error");
    }

    #[test]
    fn a_request_id_is_taken_over_only_if_it_can_be_shown() {
        assert!(taken(&["abc-1"]));
        assert!(taken(&[&"a".repeat(REQUEST_ID_MAX)]));
        let long = "a".repeat(REQUEST_ID_MAX + 1);
        for values in [&[][..], &[""], &["a b"], &["a", "a"], &[&long]] {
            assert!(!taken(values), "{values:?}");
        }
    }
}
