//! Creations: by a route of their own, and as an application makes them by itself.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use axum::extract::{Extension, State};
use axum::http::StatusCode;
use axum::response::IntoResponse;
use axum::routing::post;
use axum::{Json, Router};
use orderlock::{
    Caller, JsonAnswers, OrderId, OrderLock, OrderLockError, Problem, Rejection, RequestKey,
};
use orderlock_testkit::faults::{Fault, Verb};
use orderlock_testkit::fixtures::ids;
use serde_json::json;

use crate::client::Ask;
use crate::world::{Door, HANDLER, Order, World};

fn order(count: u64) -> Order {
    Order {
        count,
        filling: String::new(),
    }
}

/// A creation, as a service of one's own would write it.
async fn create_by_hand(
    State(orders): State<OrderLock<Order>>,
    RequestKey(key): RequestKey,
) -> Result<impl IntoResponse, OrderLockError> {
    orders.create(&Caller::single(), key, None, order(0)).await
}

/// The handler of the route: today it takes orders up to the bound alone.
async fn create(
    Extension(caller): Extension<Caller>,
    State(bound): State<Arc<AtomicU64>>,
    Json(new): Json<Order>,
) -> Result<Order, Rejection> {
    match new.count {
        404 => std::future::pending().await,
        500 => panic!("a fault in the program"),
        count if count > bound.load(Ordering::Relaxed) => {
            Err(Problem::new(422, "too-many", "Too many").into())
        }
        count => Ok(Order {
            count,
            filling: caller.principal.to_string(),
        }),
    }
}

async fn shop(
    change: impl FnOnce(OrderLock<Order>) -> OrderLock<Order>,
) -> (World, Arc<AtomicU64>) {
    let bound = Arc::new(AtomicU64::new(1_000));
    let state = Arc::clone(&bound);
    let world = World::app(|orders| {
        let orders = change(orders.clone());
        let orders = Router::new().route("/orders", orders.create_route(create));
        Router::new().nest("/shop", orders).with_state(state)
    });
    (world.await, bound)
}

fn ask(key: &str, count: u64) -> Ask {
    Ask::new("POST", "/shop/orders")
        .header("idempotency-key", key)
        .header("content-type", "application/json")
        .body(&format!(r#"{{"count":{count},"filling":""}}"#))
}

#[tokio::test]
async fn a_created_order_is_named_once_and_for_all_retries() {
    let (world, bound) = shop(|orders| orders).await;
    let first = world.ask(&ask("k", 3)).await.success();
    assert_eq!((first.status, first.header("etag")), (201, Some("\"1\"")));
    let body = first.json();
    let id = body["id"].as_str().unwrap();
    assert_eq!(
        first.header("location"),
        Some(&*format!("/shop/orders/{id}"))
    );
    assert_eq!(
        (&body["version"], &body["result"]),
        (&json!(1), &json!({"count": 3, "filling": "-"}))
    );
    assert_eq!(body["createdAt"], body["updatedAt"]);
    let caller = Caller::single();
    let read = world
        .orders
        .read(&caller, &OrderId::parse(id).unwrap())
        .await
        .unwrap();
    assert_eq!(
        (read.order.count, body["createdAt"].as_str()),
        (3, Some(&*read.times.created.to_string()))
    );
    // What would be refused today, by the function or by its body's extractor, was taken then.
    bound.store(0, Ordering::Relaxed);
    let again = world.ask(&ask("k", 3)).await.success();
    assert_eq!((again.replayed(), &again.body), (true, &first.body));
    assert_eq!(again.header("location"), first.header("location"));
    let reused = world.ask(&ask("k", 4)).await;
    reused.expect(422, "idempotency-key-reused");
    world.ask(&ask("l", 4)).await.expect(422, "too-many");
    // Another principal has keys of its own.
    bound.store(9, Ordering::Relaxed);
    let other = world
        .ask(&ask("k", 3).header("x-principal", "ann"))
        .await
        .success();
    assert_ne!(other.json()["id"], id);
    assert_eq!(other.json()["result"]["filling"], "ann");
}

#[tokio::test]
async fn what_the_path_asks_for_is_part_of_what_the_key_belongs_to() {
    let state = Arc::new(AtomicU64::new(1_000));
    let world = World::app(|orders| {
        let route = orders.create_route(create);
        let orders = Router::new().route("/hotels/{hotel}/orders", route);
        orders.with_state(state)
    })
    .await;
    let at = |hotel: &str| {
        Ask::new("POST", &format!("/hotels/{hotel}/orders"))
            .header("idempotency-key", "k")
            .header("content-type", "application/json")
            .body(r#"{"count":1,"filling":""}"#)
    };
    world.ask(&at("ritz")).await.success();
    let other = world.ask(&at("savoy")).await;
    other.expect(422, "idempotency-key-reused");
    assert!(world.ask(&at("ritz")).await.success().replayed());
}

#[tokio::test]
async fn a_creation_that_is_refused_creates_nothing_and_its_key_stays_free() {
    let (world, _) = shop(|orders| orders).await;
    let path = || Ask::new("POST", "/shop/orders");
    world
        .ask(&path())
        .await
        .expect(400, "idempotency-key-missing");
    let nobody = ask("k", 1).header("x-principal", "nobody");
    world.ask(&nobody).await.expect(401, "unauthenticated");
    world.ask(&ask("k", 2_000)).await.expect(422, "too-many");
    let filling = format!(r#"{{"count":1,"filling":"{}"}}"#, "x".repeat(1_024));
    world
        .ask(&path().header("idempotency-key", "k").body(&filling))
        .await
        .expect(413, "body-too-large");
    let malformed = path()
        .header("idempotency-key", "k")
        .header("content-type", "application/json");
    assert_eq!(world.ask(&malformed.body("{")).await.status, 400);
    world
        .ask(&ask("k", 500))
        .await
        .expect(500, "handler-failed");
    let late = world.start(&ask("k", 404));
    // The node's two keepers sleep, and the handler's time runs.
    world.runtime.sleeping(3).await;
    world.runtime.advance(HANDLER);
    late.await.unwrap().expect(504, "handler-timeout");
    world.store.fail_next(Verb::Create, Fault::FailBefore);
    let failed = world
        .ask(&ask("k", 1))
        .await
        .expect(503, "store-unavailable");
    assert_eq!(failed.json()["retryable"], true);
    world.store.fail_next(Verb::Lookup, Fault::FailBefore);
    // Whether the key has created an order is not known, so the refusal might mislead.
    world
        .ask(&ask("k", 2_000))
        .await
        .expect(503, "store-unavailable");
    let first = world.ask(&ask("k", 1)).await.success();
    assert!(!first.replayed());
}

#[tokio::test]
async fn an_order_may_be_named_by_a_function_of_its_key() {
    let (world, bound) = shop(|orders| {
        orders.with_new_id(|_, key| {
            let id = OrderId::parse(&format!("S/{}", key.as_str()));
            id.map_err(|_| orderlock::problems::IDEMPOTENCY_KEY_INVALID.described())
        })
    })
    .await;
    let first = world.ask(&ask("17", 1)).await.success();
    assert_eq!(first.json()["id"], "S/17");
    assert_eq!(first.header("location"), Some("/shop/orders/S%2F17"));
    bound.store(0, Ordering::Relaxed);
    assert!(world.ask(&ask("17", 1)).await.success().replayed());
    bound.store(9, Ordering::Relaxed);
    let other = ask("17", 1).header("x-principal", "ann");
    world.ask(&other).await.expect(409, "order-exists");
    let long = "k".repeat(127);
    world
        .ask(&ask(&long, 1))
        .await
        .expect(400, "idempotency-key-invalid");
    // The answer goes with its retention, and the order stays.
    world.runtime.advance(Duration::from_secs(25 * 3600));
    let expired = world
        .ask(&ask("17", 1))
        .await
        .expect(410, "idempotency-key-expired");
    assert_eq!(expired.json()["order"], "S/17");
    assert_eq!(expired.header("location"), Some("/shop/orders/S%2F17"));
}

#[tokio::test]
async fn an_error_that_is_a_success_is_a_mistake() {
    let world = World::app(|orders| {
        let wrong = async || Err::<Order, _>(StatusCode::OK);
        Router::new().route("/orders", orders.create_route(wrong))
    });
    let ask = Ask::new("POST", "/orders").header("idempotency-key", "k");
    world.await.ask(&ask).await.expect(500, "outcome-missing");
}

#[tokio::test]
async fn the_envelope_is_part_of_the_order_where_it_is_asked_for() {
    let (world, _) = shop(|orders| {
        let answers = JsonAnswers::new()
            .with_envelope()
            .with_location_prefix("/o/");
        orders.with_answers(answers)
    })
    .await;
    let first = world.ask(&ask("k", 1)).await.success();
    let body = first.json();
    let id = body["result"]["id"].as_str().unwrap();
    assert_eq!(first.header("location"), Some(&*format!("/o/{id}")));
    assert_eq!(
        (&body["result"]["version"], body.get("id")),
        (&json!(1), None)
    );
    assert_eq!(body["result"]["count"], 1);
}

#[tokio::test]
async fn a_creation_is_answered_like_any_operation() {
    let world = World::app(|orders| {
        let answers = JsonAnswers::new().with_location_prefix("/orders/");
        let orders = orders.clone().with_answers(answers);
        Router::new()
            .route("/orders", post(create_by_hand))
            .with_state(orders)
    })
    .await;
    let missing = world.ask(&Ask::new("POST", "/orders")).await;
    missing.expect(400, "idempotency-key-missing");
    let ask = Ask::new("POST", "/orders").header("idempotency-key", "c");
    let first = world.ask(&ask).await.success();
    assert_eq!((first.status, first.header("etag")), (201, Some("\"1\"")));
    let location = first.header("location").unwrap();
    assert!(location.starts_with("/orders/ord_"), "{location}");
    let again = world.ask(&ask).await.success();
    assert_eq!(
        (again.status, again.header("location")),
        (201, Some(location))
    );
    assert_eq!((again.replayed(), &again.body), (true, &first.body));
}

#[tokio::test]
async fn a_creation_with_an_id_of_ones_own_is_one_effect_for_its_key() {
    let world = World::new(Door::Adapter).await;
    let create = async |id: &'static str, count: u64| {
        let (key, id) = (ids::key("own"), Some(ids::order(id)));
        let order = order(count);
        world.orders.create(&Caller::single(), key, id, order).await
    };
    let first = create("BK-1", 0).await.unwrap();
    assert_eq!((first.replayed, first.order.as_str()), (false, "BK-1"));
    // The id is drawn anew on the retry, as everybody would.
    let again = create("BK-2", 0).await.unwrap();
    assert_eq!((again.replayed, again.order.as_str()), (true, "BK-1"));
    let other = create("BK-1", 1).await.unwrap_err();
    assert_eq!(other.problem().kind(), "idempotency-key-reused");
    assert!(!other.is_retryable());
}

#[tokio::test]
async fn a_creation_that_fails_says_so_and_may_be_repeated() {
    let world = World::new(Door::Adapter).await;
    let create = async || {
        let (key, id) = (ids::key("k"), Some(ids::order("o-2")));
        let orders = &world.orders;
        orders.create(&Caller::single(), key, id, order(3)).await
    };
    world.store.fail_next(Verb::Create, Fault::FailBefore);
    let error = create().await.unwrap_err();
    assert_eq!(error.problem().kind(), "store-unavailable");
    assert!(
        error.is_retryable() && error.to_string().contains("same key"),
        "{error}"
    );
    let settled = create().await.unwrap();
    let read = world
        .orders
        .read(&Caller::single(), &settled.order)
        .await
        .unwrap();
    assert_eq!(
        (read.id.as_str(), read.version.0, read.order.count),
        ("o-2", 1, 3)
    );
    assert_eq!(read.times.created, read.times.updated);
    let shown = serde_json::to_value(&read).unwrap();
    assert_eq!(shown["order"]["count"], 3);
    assert_eq!(
        (&shown["id"], &shown["version"]),
        (&"o-2".into(), &1.into())
    );
    assert_eq!(shown["createdAt"], read.times.created.to_string());
    let missing = world
        .orders
        .read(&Caller::single(), &ids::order("o-9"))
        .await;
    assert_eq!(missing.unwrap_err().problem().kind(), "order-not-found");
}
