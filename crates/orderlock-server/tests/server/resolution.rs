//! Ending the open mark of an operation that began outside.

use http::Method;
use orderlock::store::{MarkFate, Release};
use orderlock::{Caller, OrderId, OrderStore as _, Recovery};
use serde_json::{Value, json};

use crate::support::{Answer, Call, World, operation_call};

/// An order whose `confirm` under the key `theirs` has begun outside and has an open mark.
async fn marked(world: &World) -> (String, String) {
    let order = world.order(&[]).await;
    let fence = world
        .hold(&order, "theirs", Some(Recovery::Reconcile))
        .await;
    let release = Release {
        target: Caller::single().target(&OrderId::parse(&order).unwrap()),
        fence,
        mark: MarkFate::Keep,
        next: None,
    };
    assert!(world.store().release(release).await.unwrap().held);
    let lock = shown(world, &order).await["lock"].clone();
    assert_eq!(lock["state"], "marked", "{lock}");
    assert_eq!(
        (&lock["operation"], &lock["attempt"]),
        (&json!("confirm"), &json!(1))
    );
    let locks = world.get("/v1/locks").await.json();
    assert_eq!(locks["result"][0]["id"], lock["id"], "{locks}");
    let mark = lock["id"].as_str().unwrap().to_owned();
    (order, mark)
}

async fn shown(world: &World, order: &str) -> Value {
    world.get(&format!("/v1/orders/{order}")).await.json()["result"].clone()
}

async fn resolve(world: &World, order: &str, mark: &str, mut decision: Value) -> Answer {
    decision["mark"] = mark.into();
    decision["reason"] = "the provider was asked".into();
    let path = format!("/v1/orders/{order}/resolution");
    world.send(Call::post(&path, &decision).key("r-1")).await
}

async fn retry(world: &World, order: &str) -> Answer {
    world
        .send(operation_call(order, "confirm", &json!({})).key("theirs"))
        .await
}

/// The order's last entry.
async fn last_entry(world: &World, order: &str) -> Value {
    let history = world
        .get(&format!("/v1/orders/{order}/history"))
        .await
        .json();
    history["result"]
        .as_array()
        .unwrap()
        .last()
        .unwrap()
        .clone()
}

#[tokio::test]
async fn a_mark_that_is_cleared_lets_its_key_run_again() {
    let world = World::new();
    let (order, mark) = marked(&world).await;
    assert_eq!(retry(&world, &order).await.problem(), "outcome-unknown");
    let key = format!("/v1/orders/{order}/operations/theirs");
    assert_eq!(world.get(&key).await.problem(), "outcome-unknown");
    let decision = json!({"decision": "runAgain"});
    let told = resolve(&world, &order, &mark, decision.clone()).await;
    assert_eq!(told.status, 200, "{}", told.text);
    assert_eq!(told.header("etag"), Some("\"1\""));
    assert_eq!(told.json()["result"], shown(&world, &order).await);
    let entry = last_entry(&world, &order).await;
    assert_eq!(entry["outcome"], "markCleared", "{entry}");
    assert_eq!(entry["reason"], "the provider was asked");
    let again = resolve(&world, &order, &mark, decision).await;
    assert_eq!((again.status, again.text), (told.status, told.text));
    let run = retry(&world, &order).await;
    assert!(run.status == 200 && !run.is_replayed(), "{run:?}");
}

#[tokio::test]
async fn a_mark_that_is_settled_is_answered_to_its_key() {
    let world = World::new();
    let (order, mark) = marked(&world).await;
    let mut after = shown(&world, &order).await;
    let members = after.as_object_mut().unwrap();
    for envelope in ["id", "version", "createdAt", "updatedAt", "lock"] {
        assert!(members.remove(envelope).is_some(), "{envelope}");
    }
    after["status"] = "confirmed".into();
    let decision = json!({"decision": "settle", "outcome": "applied", "order": after});
    let told = resolve(&world, &order, &mark, decision).await;
    assert_eq!(told.status, 200, "{}", told.text);
    assert_eq!(told.header("etag"), Some("\"2\""));
    assert_eq!(told.json()["result"], shown(&world, &order).await);
    let run = retry(&world, &order).await;
    assert!(run.status == 200 && run.is_replayed(), "{run:?}");
    assert_eq!(run.json()["result"]["status"], "confirmed");

    let (order, mark) = marked(&world).await;
    let problem = json!({"status": 402, "type": "declined", "title": "Declined",
        "detail": "The provider says so."});
    let decision = json!({"decision": "settle", "outcome": "refused", "problem": problem});
    let told = resolve(&world, &order, &mark, decision).await;
    assert_eq!(
        (told.status.as_u16(), told.header("etag")),
        (200, Some("\"1\""))
    );
    let run = retry(&world, &order).await;
    assert!(run.status == 402 && run.is_replayed(), "{run:?}");
    assert_eq!(run.problem(), "declined");
}

#[tokio::test]
async fn an_order_that_contradicts_itself_is_not_taken() {
    let world = World::new();
    let (order, mark) = marked(&world).await;
    for wrong in [json!({"status": "confirmed"}), shown(&world, &order).await] {
        let decision = json!({"decision": "settle", "outcome": "applied", "order": wrong});
        let told = resolve(&world, &order, &mark, decision).await;
        assert_eq!(told.problem(), "body-invalid");
        assert_eq!(told.json()["errors"][0]["pointer"], "/order");
    }
    let broken = Call::new(Method::DELETE, &format!("/v1/locks/{mark}"));
    let broken = world
        .send(broken.body(r#"{"reason": "a mark is no lock"}"#))
        .await;
    assert_eq!(broken.problem(), "lock-not-found");
    assert_eq!(shown(&world, &order).await["lock"]["id"], mark);
}
