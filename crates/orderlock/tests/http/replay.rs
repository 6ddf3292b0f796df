//! Keys: replays, equal requests at the same time, scopes, and what beats a replay.

use axum::extract::{FromRequestParts, Json};
use axum::http::StatusCode;
use axum::http::request::Parts;
use axum::routing::post;
use axum::{Router, middleware};
use orderlock::{Failure, LockedOrder, Outcome};
use serde::Deserialize;

use crate::client::Ask;
use crate::world::{Door, Lock, Order, Seen, World};

#[tokio::test(flavor = "multi_thread")]
async fn equal_requests_at_the_same_time_are_one_effect_and_one_answer() {
    for door in Door::BOTH {
        let world = World::new(door).await;
        let ask = Ask::act("act", "k-1", "apply").wait(20);
        let asks: Vec<_> = (0..64).map(|_| world.start(&ask)).collect();
        let mut told = Vec::new();
        for ask in asks {
            told.push(ask.await.unwrap().success());
        }
        let first_hand = told.iter().filter(|told| !told.replayed()).count();
        println!("{door:?}: {first_hand} first-hand of {}", told.len());
        assert_eq!(first_hand, 1);
        assert!(told.iter().all(|each| each.body == told[0].body));
        assert_eq!(world.probe.runs(), 1);
        assert_eq!(world.seen().await, Seen::new(1, &["applied"], Lock::Free));
    }
}

#[tokio::test]
async fn a_request_that_is_attached_gets_the_end_of_the_attempt() {
    for (door, status) in [(Door::Adapter, 502), (Door::Layer, 502)] {
        let world = World::new(door).await;
        let ask = Ask::act("act", "k-1", "waitAndFail").wait(20);
        let first = world.start(&ask);
        world.probe.started(1).await;
        let second = world.start(&ask);
        while world.orders.lifecycle().in_flight() < 2 {
            tokio::task::yield_now().await;
        }
        world.probe.go();
        let (first, second) = (first.await.unwrap(), second.await.unwrap());
        assert_eq!((first.status, second.status), (status, status));
        assert_eq!(world.probe.runs(), 1, "an attached request runs nothing");
        assert_eq!(first.body, second.body, "{door:?}");
        let media_type = first.header("content-type");
        assert_eq!(media_type, second.header("content-type"));
    }
}

#[tokio::test]
async fn a_key_belongs_to_its_caller_its_order_and_its_request() {
    for door in Door::BOTH {
        let world = World::new(door).await;
        world.ask(&Ask::act("act", "k-1", "apply")).await.success();
        let of_another = Ask::act("act", "k-1", "apply").header("x-principal", "ann");
        assert!(!world.ask(&of_another).await.success().replayed());
        let other_body = Ask::act("act", "k-1", "refuse");
        world
            .ask(&other_body)
            .await
            .expect(422, "idempotency-key-reused");
        let other_operation = Ask::act("note", "k-1", "apply");
        world
            .ask(&other_operation)
            .await
            .expect(422, "idempotency-key-reused");
        let spelled = Ask::act("act", "k-1", "apply").body("{ \"act\":\"appl\\u0079\" }");
        assert!(world.ask(&spelled).await.success().replayed());
        let mut with_query = Ask::new("POST", "/orders/o-1/act?force=true");
        with_query = with_query
            .header("idempotency-key", "k-1")
            .body(r#"{"act":"apply"}"#);
        world
            .ask(&with_query)
            .await
            .expect(422, "idempotency-key-reused");
        let nobody = Ask::act("act", "k-1", "apply").header("x-principal", "nobody");
        world.ask(&nobody).await.expect(401, "unauthenticated");
        assert_eq!(world.probe.runs(), 2);
    }
}

/// Who may do it: a head extractor.
struct Clerk;

impl<S: Send + Sync> FromRequestParts<S> for Clerk {
    type Rejection = (StatusCode, &'static str);

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Self::Rejection> {
        match parts.headers.get("x-role") {
            Some(role) if role == "clerk" => Ok(Self),
            _ => Err((StatusCode::FORBIDDEN, "only clerks")),
        }
    }
}

async fn count_as_clerk(
    order: LockedOrder<Order>,
    _: Clerk,
    _body: axum::body::Bytes,
) -> Result<Outcome<Order>, Failure> {
    let count = order.count + 1;
    Ok(Outcome::Applied(Order {
        count,
        ..order.split().0
    }))
}

#[tokio::test]
async fn a_right_that_was_withdrawn_beats_the_replay() {
    let world = World::app(|orders| {
        let guard = |request: axum::extract::Request, next: middleware::Next| async move {
            let (mut parts, body) = request.into_parts();
            if let Err(refused) = Clerk::from_request_parts(&mut parts, &()).await {
                return axum::response::IntoResponse::into_response(refused);
            }
            next.run(axum::extract::Request::from_parts(parts, body))
                .await
        };
        let under = || post(count_as_clerk).layer(orders.layer("count"));
        Router::new()
            .route("/adapter/{id}", orders.post("count", count_as_clerk))
            .route("/layer/{id}", under())
            .route("/guarded/{id}", under().layer(middleware::from_fn(guard)))
    })
    .await;
    let ask = |path: &str| {
        let path = format!("/{path}/o-1");
        Ask::new("POST", &path).header("idempotency-key", &path)
    };
    for path in ["adapter", "layer", "guarded"] {
        world
            .ask(&ask(path).header("x-role", "clerk"))
            .await
            .success();
    }
    let before = world.seen().await;
    assert_eq!(world.ask(&ask("adapter")).await.status, 403);
    assert_eq!(world.ask(&ask("guarded")).await.status, 403);
    // Inside a layer a replay never reaches the handler, as the layer's documentation says.
    assert!(world.ask(&ask("layer")).await.success().replayed());
    assert_eq!(world.seen().await, before);
}

#[derive(Deserialize)]
#[allow(dead_code, reason = "only its form counts")]
struct Narrow {
    amount: u8,
}

async fn wide(
    order: LockedOrder<Order>,
    _: Json<serde_json::Value>,
) -> Result<Outcome<Order>, Failure> {
    let count = order.count + 1;
    Ok(Outcome::Applied(Order {
        count,
        ..order.split().0
    }))
}

async fn narrow(order: LockedOrder<Order>, _: Json<Narrow>) -> Result<Outcome<Order>, Failure> {
    let count = order.count + 1;
    Ok(Outcome::Applied(Order {
        count,
        ..order.split().0
    }))
}

#[tokio::test]
async fn a_stored_answer_beats_a_body_that_is_refused_today() {
    let world = World::app(|orders| {
        Router::new()
            .route("/old/{id}", orders.post("count", wide))
            .route("/new/{id}", orders.post("count", narrow))
    })
    .await;
    let ask = |path: &str, key: &str| {
        Ask::new("POST", path)
            .header("idempotency-key", key)
            .header("content-type", "application/json")
            .body(r#"{"amount":1000}"#)
    };
    let first = world.ask(&ask("/old/o-1", "k-1")).await.success();
    let again = world.ask(&ask("/new/o-1", "k-1")).await.success();
    assert_eq!((again.replayed(), &again.body), (true, &first.body));
    assert_eq!(world.ask(&ask("/new/o-1", "k-2")).await.status, 422);
    let other = ask("/new/o-1", "k-1").body(r#"{"amount":2000}"#);
    world
        .ask(&other)
        .await
        .expect(422, "idempotency-key-reused");
    assert_eq!(world.seen().await, Seen::new(1, &["applied"], Lock::Free));
}
