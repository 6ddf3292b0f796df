use axum::body::{Body, Bytes, to_bytes};
use http::StatusCode;
use tower::ServiceExt as _;

use super::*;
use crate::http::memory::FREE;

fn edge(memory: usize) -> Edge {
    Edge {
        requests: TaskTracker::new(),
        ending: CancellationToken::new(),
        memory: Memory::new(memory),
        body_max: 1024 * 1024,
        origins: Origins::default(),
    }
}

fn request(method: &str, path: &str, body: impl Into<Body>) -> Request {
    let request = Request::builder().method(method).uri(path);
    let request = request.header("host", "localhost");
    request.body(body.into()).unwrap()
}

async fn send(router: &Router, request: Request) -> Response {
    router.clone().oneshot(request).await.unwrap()
}

async fn kind(response: Response) -> String {
    let body = to_bytes(response.into_body(), 10_000).await.unwrap();
    let problem: serde_json::Value = serde_json::from_slice(&body).unwrap();
    problem["type"].as_str().unwrap().to_owned()
}

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
    let response = send(&around(router, edge(0)), request("GET", "/", "")).await;
    assert_eq!(response.status(), 500);
    assert!(response.headers().contains_key(REQUEST_ID));
    assert_eq!(kind(response).await, "/problems/internal-error");
}

#[tokio::test]
async fn a_fault_is_a_problem_whoever_answers_it() {
    let faulty = async || (StatusCode::BAD_GATEWAY, "the parser's own words");
    let router = Router::new().route("/", axum::routing::get(faulty));
    let response = send(&around(router, edge(0)), request("GET", "/", "")).await;
    assert_eq!(response.status(), 500);
    assert_eq!(kind(response).await, "/problems/internal-error");
}

#[tokio::test]
async fn every_answer_tells_browsers_what_it_is() {
    let router = around(Router::new(), edge(0));
    for path in ["/", "/v1/orders"] {
        let response = send(&router, request("GET", path, "")).await;
        for (name, value) in TOLD_BROWSERS {
            assert_eq!(response.headers().get(&name), Some(&value), "{path} {name}");
        }
    }
}

/// Answers with as many bytes as the path says, once the body is read.
fn sized() -> Router {
    let sized = async |axum::extract::Path(size): axum::extract::Path<usize>, body: Bytes| {
        assert!(body.len() <= size);
        vec![b'x'; size]
    };
    Router::new().route("/{size}", axum::routing::any(sized))
}

#[tokio::test]
async fn answers_share_what_memory_they_may_take() {
    let router = around(sized(), edge(10 * FREE));
    let ask = |size: usize| send(&router, request("GET", &format!("/{size}"), ""));
    let first = ask(6 * FREE).await;
    assert_eq!(first.status(), 200);
    let second = ask(6 * FREE).await;
    assert_eq!(second.status(), 503);
    assert_eq!(second.headers()["retry-after"], "1");
    assert_eq!(kind(second).await, "/problems/server-busy");
    // Small ones find room whatever the others take.
    assert_eq!(ask(FREE).await.status(), 200);
    // It counts for as long as any part of the program holds its bytes.
    let bytes = to_bytes(first.into_body(), usize::MAX).await.unwrap();
    assert_eq!(ask(6 * FREE).await.status(), 503);
    drop(bytes);
    assert_eq!(ask(6 * FREE).await.status(), 200);
}

#[tokio::test]
async fn bodies_share_it_too() {
    let edge = edge(10 * FREE);
    let memory = edge.memory.clone();
    let router = around(sized(), edge);
    let ask = |size: usize, declared: bool| {
        let path = format!("/{size}");
        let body = if declared {
            Body::from(vec![b'x'; size])
        } else {
            let parts = vec![b'x'; size];
            let parts: Vec<_> = parts.chunks(1_000).map(Bytes::copy_from_slice).collect();
            let parts = parts.into_iter().map(Ok::<_, std::io::Error>);
            Body::from_stream(futures_util::stream::iter(parts))
        };
        let mut asked = request("POST", &path, body);
        if declared {
            let length = HeaderValue::from(size);
            asked.headers_mut().insert(header::CONTENT_LENGTH, length);
        }
        send(&router, asked)
    };
    let others = memory.hold(9 * FREE).unwrap();
    for declared in [true, false] {
        let response = ask(2 * FREE, declared).await;
        assert_eq!(response.status(), 503, "declared: {declared}");
        assert_eq!(kind(response).await, "/problems/server-busy");
        assert_eq!(ask(FREE, declared).await.status(), 200);
    }
    drop(others);
    for declared in [true, false] {
        assert_eq!(ask(2 * FREE, declared).await.status(), 200);
    }
    assert!(memory.hold(10 * FREE).is_some(), "all of it came back");
}

#[tokio::test]
async fn a_body_that_has_not_come_is_not_waited_for_at_the_end() {
    let edge = edge(0);
    let ending = edge.ending.clone();
    let router = around(sized(), edge);
    let endless = futures_util::stream::pending::<Result<Bytes, std::io::Error>>();
    let asked = request("POST", "/0", Body::from_stream(endless));
    let answered = tokio::spawn(async move { send(&router, asked).await });
    tokio::task::yield_now().await;
    assert!(!answered.is_finished());
    ending.cancel();
    let response = answered.await.unwrap();
    assert_eq!(response.headers()["connection"], "close");
    assert_eq!(kind(response).await, "/problems/shutting-down");
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
