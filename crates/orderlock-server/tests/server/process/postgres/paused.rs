//! A node that stands still for longer than its session.

use serde_json::{Value, json};

use super::super::server::{Server, post};
use super::place::Place;

/// Waits until the order is held.
pub(super) async fn held(node: &Server, order: &str) {
    loop {
        let read = node.get(&format!("/v1/orders/{order}")).await;
        if read["result"]["lock"]["state"] == "held" {
            return;
        }
        tokio::task::yield_now().await;
    }
}

/// It settles nothing, its client gets `lease-lost`, and it serves again.
#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_stood_still_settles_nothing_and_serves_again() {
    let place = Place::new().await;
    let patient = ["--store-limit", "60s"];
    let session = ["--session-length", "1s"];
    let other = place
        .node("other", &[&patient[..], &session].concat())
        .await;
    let node = place.node("node", &[&patient[..], &session].concat()).await;
    let order = node.order("order", 1_000).await;

    // Its settle waits at the journal, where the test holds it up; grants do not touch that.
    let blocker = place.connect().await;
    let blocked = "BEGIN; LOCK TABLE entries IN SHARE MODE";
    blocker.batch_execute(blocked).await.unwrap();
    let url = node.url(&format!("/v1/orders/{order}/confirm"));
    let http = node.client.clone();
    let told = tokio::spawn(async move { post(&http, &url, "confirm", &json!({})).await });
    held(&node, &order).await;
    node.signal("-STOP");
    // The other ends its session, and the order is free.
    while other.get(&format!("/v1/orders/{order}")).await["result"]["lock"] != Value::Null {
        tokio::task::yield_now().await;
    }
    blocker.batch_execute("COMMIT").await.unwrap();
    let reason = json!({"reason": "typo"});
    assert_eq!(other.run(&order, "cancel", "cancel", &reason).await, 200);

    node.signal("-CONT");
    let told = told.await.unwrap().unwrap();
    assert_eq!(told.status(), 503);
    let told: Value = told.json().await.unwrap();
    assert_eq!(told["type"], "/problems/lease-lost", "{told}");
    assert_eq!(told["applied"], "none");
    let read = node.get(&format!("/v1/orders/{order}")).await;
    assert_eq!(read["result"]["status"], "cancelled", "{read}");

    // It has joined again, under another session.
    let nothing = json!({});
    assert_eq!(node.run(&order, "reopen", "reopen", &nothing).await, 200);
    assert_eq!(node.run(&order, "confirm", "confirm", &nothing).await, 200);
}
