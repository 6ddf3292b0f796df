//! The contract, request by request.

use http::Method;
use orderlock::store::Read;
use orderlock::{Caller, OrderId, OrderStore as _};
use serde_json::json;

use crate::support::{Call, Setup, World, operation_call, pending};

#[tokio::test]
async fn creating_is_one_effect_for_each_key() {
    let world = World::new();
    let call = || Call::post("/v1/orders", &pending()).key("\"c1\"");
    let created = world.send(call()).await;
    assert_eq!(created.status, 201);
    let order = created.json()["result"].clone();
    let location = created.header("location").unwrap().to_owned();
    assert_eq!(
        location,
        format!("/v1/orders/{}", order["id"].as_str().unwrap())
    );
    assert_eq!(created.header("etag"), Some("\"1\""));
    assert_eq!(
        (&order["version"], &order["status"]),
        (&json!(1), &json!("pending"))
    );
    assert!(created.header("idempotency-expires").is_some());
    // The key is the same, quoted or bare; so is the body, however it is spelt.
    let spelt = serde_json::to_string_pretty(&pending()).unwrap();
    let again = Call::new(Method::POST, "/v1/orders").key("c1").body(spelt);
    let again = world.send(again).await;
    assert!(
        again.is_replayed() && again.text == created.text,
        "{again:?}"
    );
    assert_eq!(again.header("location"), Some(location.as_str()));
    let mut draft = pending();
    draft["submit"] = json!(false);
    let other = world.send(Call::post("/v1/orders", &draft).key("c1")).await;
    assert_eq!(other.problem(), "idempotency-key-reused");
    let read = world.get(&location).await;
    assert_eq!(read.json()["result"], order);
    assert_eq!(read.header("etag"), Some("\"1\""));
    let history = world.get(&format!("{location}/history")).await.json();
    assert_eq!(history["result"][0]["operation"], "create");
    assert_eq!(history["result"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn a_settled_key_replays_whatever_the_body_is_today() {
    // Settled under a body that this very service would refuse: the store is asked first.
    let world = World::new();
    let order = world.order(&[]).await;
    let cancel = || operation_call(&order, "cancel", &json!({"reason": "late"})).key("k");
    let first = world.send(cancel()).await;
    assert_eq!(first.json()["result"]["status"], "cancelled");
    // The same meaning in a media type that is refused: a body refusal yields to the answer.
    let refused = Call {
        headers: Vec::new(),
        ..cancel()
    }
    .key("k");
    let replay = world
        .send(refused.header("content-type", "application/vnd.other+json"))
        .await;
    assert!(
        replay.is_replayed() && replay.text == first.text,
        "{replay:?}"
    );
    // If-Match is no part of the request's meaning, and is compared at the grant only.
    let replay = world.send(cancel().header("if-match", "\"1\"")).await;
    assert!(replay.is_replayed(), "{replay:?}");
}

#[tokio::test]
async fn an_operation_on_an_order_that_is_there_already_is_a_stored_success() {
    let world = World::new();
    let order = world.order(&[("confirm", json!({}))]).await;
    let again = world.run(&order, "confirm", &json!({})).await.json();
    assert_eq!(
        (&again["status"], &again["noop"]),
        (&json!(200), &json!(true))
    );
    assert_eq!(again["result"]["version"], 2);
}

#[tokio::test]
async fn an_edit_is_a_merge_patch() {
    let world = World::new();
    let order = world.order(&[]).await;
    let path = format!("/v1/orders/{order}");
    let patch = Call::new(Method::PATCH, &path)
        .key("k")
        .header("content-type", "application/merge-patch+json")
        .header("if-match", "\"1\"")
        .body(r#"{"metadata": {"channel": null, "gift": true}}"#);
    let edited = world.send(patch).await;
    assert_eq!(edited.status, 200, "{}", edited.text);
    assert_eq!(edited.json()["result"]["metadata"], json!({"gift": true}));
    assert_eq!(edited.header("etag"), Some("\"2\""));
}

#[tokio::test]
async fn lists_are_newest_first_paged_and_filtered() {
    let world = World::new();
    let mut orders = Vec::new();
    for _ in 0..5 {
        orders.push(world.order(&[]).await);
    }
    assert_eq!(
        world.run(&orders[1], "cancel", &json!({})).await.status,
        200
    );
    let mut seen = Vec::new();
    let mut path = "/v1/orders?limit=2".to_owned();
    for _ in 0..4 {
        let page = world.get(&path).await.json();
        for order in page["result"].as_array().unwrap() {
            seen.push(order["id"].as_str().unwrap().to_owned());
        }
        let Some(next) = page["next"].as_str() else {
            break;
        };
        path = format!("/v1/orders?limit=2&cursor={next}");
    }
    seen.reverse();
    assert_eq!(seen, orders);
    let count = async |query: &str| {
        let page = world.get(&format!("/v1/orders?{query}")).await.json();
        page["result"].as_array().unwrap().len()
    };
    assert_eq!(count("status=cancelled").await, 1);
    assert_eq!(count("status=pending&customer=cus_42").await, 4);
    assert_eq!(count("customer=cus_43").await, 0);
    assert_eq!(count("locked=true").await, 0);
    world.hold(&orders[2], "theirs", None).await;
    assert_eq!(count("locked=true").await, 1);
    assert_eq!(count("locked=false&limit=200").await, 4);
}

#[tokio::test]
async fn who_holds_an_order_is_shown_and_its_key_is_not() {
    let world = World::new();
    let order = world.order(&[]).await;
    world.hold(&order, "very-secret-key", None).await;
    let read = world.get(&format!("/v1/orders/{order}")).await;
    let lock = &read.json()["result"]["lock"];
    assert_eq!(
        (&lock["operation"], &lock["attempt"]),
        (&json!("confirm"), &json!(1))
    );
    assert!(lock["since"].is_string());
    let locks = world.get("/v1/locks").await;
    assert_eq!(locks.json()["result"][0]["id"], lock["id"]);
    for answer in [read, locks] {
        assert!(!answer.text.contains("very-secret-key"), "{}", answer.text);
    }
    let path = format!("/v1/locks/{}", lock["id"].as_str().unwrap());
    let break_with = |body| Call {
        method: Method::DELETE,
        ..Call::post(&path, &body)
    };
    let refused = world.send(break_with(json!({}))).await;
    assert_eq!(refused.problem(), "body-invalid");
    assert_eq!(refused.json()["errors"][0]["pointer"], "/reason");
    let broken = world.send(break_with(json!({"reason": "gone"}))).await;
    assert_eq!(broken.status, 200, "{}", broken.text);
    let ended = world.send(break_with(json!({"reason": "gone"}))).await;
    assert_eq!(ended.problem(), "lock-not-found");
    assert_eq!(world.run(&order, "confirm", &json!({})).await.status, 200);
}

#[tokio::test]
async fn a_client_that_hangs_up_leaves_an_operation_that_settles() {
    let world = World::new();
    let order = world.order(&[]).await;
    let gate = world.delay_settle();
    let confirm = || operation_call(&order, "confirm", &json!({})).key("k");
    let client = tokio::spawn(world.sent(confirm()));
    gate.reached(1).await;
    let status = format!("/v1/orders/{order}/operations/k");
    let running = world.get(&status).await;
    assert_eq!(running.status, 202, "{}", running.text);
    let running = running.json();
    assert_eq!(
        (&running["status"], &running["state"]),
        (&json!(202), &json!("running"))
    );
    assert_eq!(running["operation"], "confirm");

    client.abort();
    assert!(client.await.unwrap_err().is_cancelled());
    // Another one waits for the same key, and gets the answer meant for the first.
    let waiting = tokio::spawn(world.sent(confirm().header("prefer", "wait=30")));
    gate.open();
    let told = waiting.await.unwrap();
    assert!(told.status == 200 && told.is_replayed(), "{told:?}");
    assert_eq!(told.header("preference-applied"), Some("wait=30"));
    let known = world.get(&status).await;
    assert_eq!((known.status.as_u16(), &known.text), (200, &told.text));
    assert!(known.is_replayed() && known.header("etag") == Some("\"2\""));
    let again = world.send(confirm()).await;
    assert!(again.is_replayed() && again.text == told.text, "{again:?}");
}

#[tokio::test]
async fn the_status_of_a_key_is_the_stored_answer_with_its_own_status_inside() {
    let world = World::new();
    let order = world.order(&[]).await;
    let refused = world
        .send(operation_call(&order, "reopen", &json!({})).key("a/b%"))
        .await;
    assert_eq!(refused.status, 409);
    let known = world
        .get(&format!("/v1/orders/{order}/operations/a%2Fb%25"))
        .await;
    assert_eq!(known.status, 200);
    assert_eq!(known.json()["status"], 409);
    assert_eq!(
        known.header("content-type"),
        Some("application/problem+json")
    );
    assert_eq!(known.text, refused.text);
}

#[tokio::test]
async fn those_who_wait_are_told_when_the_node_drains() {
    let world = World::with(Setup::default());
    let order = world.order(&[]).await;
    let gate = world.delay_settle();
    let confirm = operation_call(&order, "confirm", &json!({})).key("first");
    let first = tokio::spawn(world.sent(confirm));
    gate.reached(1).await;
    let waits = operation_call(&order, "hold", &json!({})).key("second");
    let second = tokio::spawn(world.sent(waits.header("prefer", "wait=30")));
    let status = format!("/v1/orders/{order}/operations/second");
    while world.get(&status).await.status != 202 {
        tokio::task::yield_now().await;
    }
    let orders = world.context.orders().clone();
    let drain = tokio::spawn(async move { orders.drain(std::time::Duration::from_secs(30)).await });
    assert_eq!(second.await.unwrap().problem(), "shutting-down");
    gate.open();
    assert_eq!(first.await.unwrap().status, 200);
    drain.await.unwrap().unwrap();
    let target = Caller::single().target(&OrderId::parse(&order).unwrap());
    let view = world.store().read(Read { target }).await.unwrap().unwrap();
    assert!(view.lease.is_none() && view.version.0 == 2, "{view:?}");
}

#[tokio::test]
async fn a_request_id_goes_through() {
    let world = World::new();
    let call = Call::new(Method::GET, "/healthz").header("x-request-id", "mine-1");
    assert_eq!(
        world.send(call).await.header("x-request-id"),
        Some("mine-1")
    );
    let call = Call::new(Method::GET, "/healthz").header("x-request-id", "a b");
    let given = world.send(call).await;
    assert!(given.header("x-request-id").unwrap().starts_with("req_"));
}
