//! The layer round services that know nothing of axum: readiness, streams, errors, pass-through.

use std::sync::Arc;

use futures_util::FutureExt as _;
use futures_util::stream;
use http::{Method, Request, Response};
use http_body::Frame;
use http_body_util::{BodyExt as _, Either, Full, StreamBody};
use orderlock::layer::RequestBody;
use orderlock::store::Read;
use orderlock::{
    Caller, OrderId, OrderLock, OrderLockLayer, OrderStore as _, Problem, SingleTenant,
};
use orderlock_testkit::fixtures::ids;
use orderlock_testkit::{MemoryStore, TestRuntime};
use tower::{Layer as _, Service as _, ServiceExt as _, service_fn};
use tower_test::mock;

use crate::world::Order;

type Body = Full<bytes::Bytes>;

fn request(method: Method, key: &str) -> Request<Body> {
    let builder = Request::builder()
        .method(method)
        .uri("/o-1")
        .header("idempotency-key", key);
    builder.body(Body::from("hello")).unwrap()
}

#[allow(clippy::unnecessary_wraps, reason = "the form of an order id source")]
fn by_path(parts: &http::request::Parts) -> Result<OrderId, Problem> {
    Ok(ids::order(parts.uri.path().trim_start_matches('/')))
}

async fn lock() -> (MemoryStore, OrderLock<Order>, OrderLockLayer) {
    let runtime = TestRuntime::new();
    let store = MemoryStore::new(Arc::new(runtime.clone()));
    let orders = OrderLock::<Order>::new(store.clone(), SingleTenant)
        .with_runtime(Arc::new(runtime))
        .with_order_id(by_path);
    let order = Order {
        count: 0,
        filling: String::new(),
    };
    let id = Some(ids::order("o-1"));
    let created = orders
        .create(&Caller::single(), ids::key("first"), id, order)
        .await;
    assert!(created.is_ok(), "{created:?}");
    let layer = orders.layer("act");
    (store, orders, layer)
}

async fn is_held(store: &MemoryStore) -> bool {
    let target = ids::target("o-1");
    let view = store.read(Read { target }).await.unwrap();
    view.unwrap().lease.is_some()
}

#[tokio::test]
async fn an_inner_service_is_waited_for_only_under_the_lock() {
    let (store, _orders, layer) = lock().await;
    let (inner, mut handle) = mock::pair::<Request<RequestBody<Body>>, Response<Body>>();
    handle.allow(0);
    let mut service = layer.layer(inner);
    let ready = service.ready().now_or_never();
    assert!(ready.is_some(), "ready, though the inner service is not");

    let first = tokio::spawn(service.call(request(Method::POST, "k-1")));
    while !is_held(&store).await {
        tokio::task::yield_now().await;
    }
    let second = service.call(request(Method::POST, "k-2")).await.unwrap();
    assert_eq!(second.status(), 409, "the first holds the order and waits");

    // The clone that is waited for is the one that is called: its permit is not lost.
    handle.allow(1);
    let (given, answer) = handle.next_request().await.unwrap();
    assert!(
        matches!(given.body(), Either::Left(_)),
        "the body is buffered"
    );
    let gone = Response::builder().status(404).body(Body::from("mine"));
    answer.send_response(gone.unwrap());
    let told = first.await.unwrap().unwrap();
    assert_eq!(told.status(), 404);
    let body = told.into_body().collect().await.unwrap().to_bytes();
    assert_eq!(body, "mine");
    assert!(!is_held(&store).await);
}

#[tokio::test]
async fn what_changes_nothing_passes_by_the_lock() {
    let (_store, _orders, layer) = lock().await;
    for method in [Method::GET, Method::HEAD, Method::OPTIONS] {
        let (inner, mut handle) = mock::pair::<Request<RequestBody<Body>>, Response<Body>>();
        let mut service = layer.layer(inner);
        let told = tokio::spawn(service.call(request(method, "not looked at")));
        let (given, answer) = handle.next_request().await.unwrap();
        assert!(
            matches!(given.body(), Either::Right(_)),
            "the body is untouched"
        );
        answer.send_response(Response::new(Body::from("read")));
        assert_eq!(told.await.unwrap().unwrap().status(), 200);
    }
}

#[tokio::test]
async fn an_error_of_the_inner_service_passes_and_frees_the_order() {
    let (store, _orders, layer) = lock().await;
    let (inner, mut handle) = mock::pair::<Request<RequestBody<Body>>, Response<Body>>();
    let mut service = layer.layer(inner);
    let told = tokio::spawn(service.call(request(Method::POST, "k-1")));
    let (_, answer) = handle.next_request().await.unwrap();
    answer.send_error("the service has broken");
    let error = told.await.unwrap().unwrap_err();
    assert_eq!(error.to_string(), "the service has broken");
    assert!(!is_held(&store).await);
}

#[tokio::test]
async fn a_response_without_an_outcome_streams_after_the_order_is_free() {
    let (store, _orders, layer) = lock().await;
    let (send, chunk) = tokio::sync::oneshot::channel::<bytes::Bytes>();
    let chunk = Arc::new(std::sync::Mutex::new(Some(chunk)));
    let service = layer.layer(service_fn(move |_: Request<RequestBody<Body>>| {
        let chunk = chunk.lock().unwrap().take().unwrap();
        let frames =
            stream::once(async move { Ok::<_, std::io::Error>(Frame::data(chunk.await.unwrap())) });
        let response = Response::builder()
            .status(503)
            .body(StreamBody::new(frames));
        std::future::ready(Ok::<_, std::io::Error>(response.unwrap()))
    }));
    let told = service.oneshot(request(Method::POST, "k-1")).await.unwrap();
    assert_eq!(told.status(), 503);
    assert!(
        !is_held(&store).await,
        "free, though the body has not begun"
    );
    send.send(bytes::Bytes::from("late")).unwrap();
    let body = told.into_body().collect();
    assert_eq!(body.await.unwrap().to_bytes(), "late");
}
