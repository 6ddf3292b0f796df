//! The ready routes that read: what they show, to which caller, and what they refuse.

use axum::Router;
use axum::http::StatusCode;
use axum::http::request::Parts;
use orderlock::views::{ListQuery, PageQuery, Paging};
use orderlock::{Caller, OrderLock};
use orderlock_testkit::faults::{Fault, Gate, Verb};
use serde_json::json;

use crate::client::{Ask, Told};
use crate::handler::{Order, Probe, act};
use crate::world::World;

fn app(orders: &OrderLock<Order>) -> Router {
    let app = orders
        .router()
        .route("/orders/{id}/act", orders.post("act", act));
    Router::new().nest("/shop", app).with_state(Probe::new())
}

fn change(key: &str, act: &str) -> Ask {
    Ask::new("POST", "/shop/orders/o-1/act")
        .header("idempotency-key", key)
        .header("content-type", "application/json")
        .body(&format!(r#"{{"act":"{act}"}}"#))
}

async fn get(world: &World, path: &str) -> Told {
    world.ask(&Ask::new("GET", &format!("/shop{path}"))).await
}

#[tokio::test]
async fn an_order_its_list_its_history_and_its_keys_are_shown() {
    let world = World::app(app).await;
    let changed = world.ask(&change("k-1", "apply")).await.success();
    let read = get(&world, "/orders/o-1").await.success();
    assert_eq!(read.header("etag"), Some("\"2\""));
    let order = read.json()["result"].clone();
    assert_eq!(
        (&order["id"], &order["version"]),
        (&json!("o-1"), &json!(2))
    );
    assert_eq!(order["count"], 1);
    assert!(order["createdAt"].is_string() && order.get("lock").is_none());
    let list = get(&world, "/orders?limit=1&locked=false").await.success();
    assert_eq!(list.json()["result"], json!([order]));
    let history = get(&world, "/orders/o-1/history?limit=1").await.success();
    assert_eq!(history.json()["result"][0]["operation"], "create");
    let next = history.json()["next"].as_str().unwrap().to_owned();
    let next = format!("/orders/o-1/history?cursor={next}");
    let next = get(&world, &next).await.success();
    assert_eq!(next.json()["result"][0]["operation"], "act");
    let key = get(&world, "/orders/o-1/operations/k-1").await.success();
    assert_eq!((key.status, &key.body), (200, &changed.body));
    assert!(key.replayed());
}

#[tokio::test]
async fn a_running_operation_is_shown_without_its_key() {
    let world = World::app(app).await;
    let gate = Gate::new();
    let fault = Fault::DelayBefore(gate.clone());
    world.store.fail_next(Verb::Settle, fault);
    let running = world.start(&change("k-secret", "apply"));
    gate.reached(1).await;
    let lock = get(&world, "/orders/o-1").await.success();
    let lock = lock.json()["result"]["lock"].clone();
    assert_eq!(
        (&lock["state"], &lock["operation"]),
        (&json!("held"), &json!("act"))
    );
    assert!(!lock.to_string().contains("secret"));
    let key = get(&world, "/orders/o-1/operations/k-secret").await;
    assert_eq!((key.status, &key.json()["state"]), (202, &json!("running")));
    gate.open();
    running.await.unwrap().success();
}

#[tokio::test]
async fn what_does_not_belong_to_the_caller_or_is_malformed_is_refused() {
    let world = World::app(app).await;
    for (path, status, kind) in [
        ("/orders/o-9", 404, "order-not-found"),
        ("/orders/%ff", 404, "order-not-found"),
        ("/orders/o-9/history", 404, "order-not-found"),
        ("/orders/o-1/operations/k-9", 404, "key-not-found"),
        ("/orders/o-1/operations/%20", 400, "idempotency-key-invalid"),
        ("/orders?limit=0", 400, "query-invalid"),
        ("/orders?status=", 400, "query-invalid"),
        ("/orders?cursor=%20", 400, "query-invalid"),
        ("/orders?limit=1&limit=1", 400, "query-invalid"),
        ("/orders/o-1?limit=1", 400, "query-invalid"),
        ("/orders/o-1/history?locked=true", 400, "query-invalid"),
        ("/orders/o-1/operations/k?x", 400, "query-invalid"),
    ] {
        get(&world, path).await.expect(status, kind);
        let nobody = Ask::new("GET", &format!("/shop{path}")).header("x-principal", "nobody");
        let refused = world.ask(&nobody).await;
        assert_eq!(refused.status, 401, "who asks comes first: {path}");
    }
    for verb in [Verb::Read, Verb::List, Verb::History, Verb::Lookup] {
        world.store.fail_next(verb, Fault::FailBefore);
        let path = match verb {
            Verb::Read => "/orders/o-1",
            Verb::List => "/orders",
            Verb::History => "/orders/o-1/history",
            _ => "/orders/o-1/operations/k",
        };
        get(&world, path).await.expect(503, "store-unavailable");
    }
}

fn breaking(id: &str, body: &str) -> Ask {
    Ask::new("DELETE", &format!("/shop/locks/{id}"))
        .header("content-type", "application/json")
        .header("x-operator", "eve")
        .body(body)
}

#[tokio::test]
async fn operators_alone_list_and_break_locks() {
    let world = World::app(|orders| {
        let operators = orders.operator_router(crate::world::operator);
        app(orders).merge(Router::new().nest("/shop", operators))
    })
    .await;
    let gate = Gate::new();
    let fault = Fault::DelayBefore(gate.clone());
    world.store.fail_next(Verb::Settle, fault);
    let running = world.start(&change("k-secret", "apply"));
    gate.reached(1).await;
    let list = Ask::new("GET", "/shop/locks");
    world.ask(&list).await.expect(403, "forbidden");
    let locks = world.ask(&list.header("x-operator", "eve")).await.success();
    let lock = locks.json()["result"][0].clone();
    assert_eq!(
        (&lock["order"], &lock["state"]),
        (&json!("o-1"), &json!("held"))
    );
    let id = lock["id"].as_str().unwrap();
    let nobody = Ask::new("DELETE", &format!("/shop/locks/{id}"));
    world.ask(&nobody).await.expect(403, "forbidden");
    for (body, status, kind) in [
        ("{", 400, "body-malformed"),
        ("{}", 422, "body-invalid"),
        (r#"{"reason":""}"#, 422, "body-invalid"),
        (r#"{"reason":"stuck","more":1}"#, 422, "body-invalid"),
    ] {
        world.ask(&breaking(id, body)).await.expect(status, kind);
    }
    let reason = r#"{"reason":"stuck"}"#;
    let typed = breaking(id, reason).header("content-type", "text/plain");
    assert_eq!(world.ask(&typed).await.status, 415);
    let unknown = world.ask(&breaking("lck_1", reason)).await;
    unknown.expect(404, "lock-not-found");
    world.ask(&breaking(id, reason)).await.success();
    gate.open();
    let lost = running.await.unwrap().expect(503, "lease-lost");
    assert_eq!(lost.json()["applied"], "none");
    let history = get(&world, "/orders/o-1/history").await.success();
    let entry = history.json()["result"][1].clone();
    assert_eq!(
        (&entry["actor"], &entry["reason"]),
        (&json!("eve"), &json!("stuck"))
    );
    let resolution = Ask::new("POST", "/shop/orders/o-1/resolution");
    world.ask(&resolution).await.expect(403, "forbidden");
}

#[tokio::test]
async fn no_operation_has_the_name_of_a_route() {
    let world = World::app(app).await;
    for name in ["history", "operations", "resolution"] {
        let orders = world.orders.clone();
        let mounted = move || drop(orders.layer(name));
        let refused = std::panic::catch_unwind(std::panic::AssertUnwindSafe(mounted)).unwrap_err();
        let words = refused.downcast_ref::<String>().unwrap();
        assert!(words.contains(name), "{words}");
    }
}

/// Pages of one item, and only for those who may list.
struct Clerks(ListQuery);

impl<S: Send + Sync> axum::extract::FromRequestParts<S> for Clerks {
    type Rejection = StatusCode;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, StatusCode> {
        // The caller is known before the query is read.
        let caller = parts.extensions.get::<Caller>().cloned();
        let page = PageQuery::from_request_parts(parts, state).await;
        let PageQuery(paging) = page.map_err(|_| StatusCode::BAD_REQUEST)?;
        match caller {
            Some(caller) if caller.principal.as_str() == "clerk" => Ok(Self(ListQuery {
                filter: orderlock::store::Filter::default(),
                paging: Paging { limit: 1, ..paging },
            })),
            _ => Err(StatusCode::FORBIDDEN),
        }
    }
}

impl From<Clerks> for ListQuery {
    fn from(Clerks(query): Clerks) -> Self {
        query
    }
}

#[tokio::test]
async fn a_list_may_be_replaced_by_one_with_a_query_of_its_own() {
    let world =
        World::app(|orders| Router::new().route("/shop/orders", orders.list_route::<Clerks, ()>()))
            .await;
    let refused = get(&world, "/orders").await;
    assert_eq!((refused.status, refused.body.len()), (403, 0));
    let clerk = Ask::new("GET", "/shop/orders").header("x-principal", "clerk");
    let page = world.ask(&clerk).await.success();
    assert_eq!(page.json()["result"][0]["id"], "o-1");
}
