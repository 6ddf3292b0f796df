//! A lock of the one as the other sees it: respected, and ended by its holder, by a session's end, or
//! by an operator.

use std::sync::Arc;

use serde_json::{Value, json};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use super::super::load::{Clients, orders};
use super::super::server::Server;
use super::holes::confirm;
use super::nodes::{break_it, capture, only_lock};
use super::place::Place;
use super::provider::Provider;
use super::service::Service;

/// Only an operator ends it, and the order's history shows that.
#[tokio::test(flavor = "multi_thread")]
async fn the_lock_of_a_killed_service_is_shown_respected_and_broken_by_an_operator() {
    let place = Place::new();
    let provider = Provider::start().await;
    let service = place.service_that_asks(&provider.url).await;
    let node = place.node("a", &["--session-length", "1s"]).await;
    let order = service.order(1_000).await;
    let told = confirm(&service, &order, "secret-key");
    let payment = provider.asked().await;
    service.kill().await;
    assert_eq!(told.await.unwrap(), None);

    let lock = only_lock(&node).await;
    assert_eq!(
        (&lock["order"], &lock["state"]),
        (&json!(order), &json!("foreign"))
    );
    assert!(!lock.to_string().contains("secret-key"), "{lock}");
    let (status, problem) = capture(&node, &order, "capture").await;
    assert_eq!(
        (status, &problem["type"]),
        (409, &json!("/problems/order-locked"))
    );
    let detail = problem["detail"].as_str().unwrap();
    assert!(detail.contains("operator breaks it"), "{problem}");
    // A new node, and the end of its session, change nothing about it.
    let next = place.node("b", &[]).await;
    assert_eq!(only_lock(&next).await, lock);

    assert_eq!(break_it(&next, &lock, "the service has died").await, 200);
    assert_eq!(break_it(&next, &lock, "the service has died").await, 404);
    assert_eq!(node.get("/v1/locks").await["result"], json!([]));
    assert_eq!(capture(&node, &order, "capture").await.0, 200);
    let history = node.get(&format!("/v1/orders/{order}/history")).await;
    let reasons = history["result"].as_array().unwrap().iter();
    let reasons: Vec<_> = reasons
        .filter_map(|entry| entry["reason"].as_str())
        .collect();
    assert_eq!(reasons, ["the service has died"], "{history}");
    drop(payment);
}

/// A holder that wakes up after that changes nothing.
#[tokio::test(flavor = "multi_thread")]
async fn a_service_whose_lock_was_broken_applies_nothing() {
    let place = Place::new();
    let provider = Provider::start().await;
    let service = place.service_that_asks(&provider.url).await;
    let node = place.node("a", &[]).await;
    let order = service.order(1_000).await;
    let told = confirm(&service, &order, "key");
    let payment = provider.asked().await;
    let lock = only_lock(&node).await;
    assert_eq!(break_it(&node, &lock, "it takes too long").await, 200);
    assert_eq!(capture(&node, &order, "capture").await.0, 200);

    payment.pay("ch_1").await;
    let (status, told) = told.await.unwrap().unwrap();
    assert_eq!((status, &told["result"]), (200, &Value::Null), "{told}");
    let read = node.get(&format!("/v1/orders/{order}")).await["result"].clone();
    assert_eq!(read["status"], "pending", "{read}");
    assert_eq!(read["payment"]["captured"], 1, "{read}");
}

/// The lock of a killed node keeps the service out until the node's session has ended, and no
/// longer.
#[tokio::test(flavor = "multi_thread")]
async fn the_lock_of_a_killed_node_is_respected_and_ends_with_its_session() {
    let place = Place::new();
    let service = place.service().await;
    let session = ["--session-length", "2s"];
    let (node, victim) = (
        place.node("a", &session).await,
        place.node("b", &session).await,
    );
    let orders = orders(&node, 4).await;
    let cent = json!({"amount": 1});
    for order in orders.iter() {
        let key = format!("first-{order}");
        assert_eq!(node.run(order, "capture-payment", &key, &cent).await, 200);
    }
    let (done, stop) = (Arc::new(Semaphore::new(0)), CancellationToken::new());
    let names = (0..8).map(|number| format!("b{number}"));
    let clients = Clients::start(&victim, names, &orders, &done, &stop);
    done.acquire_many(8).await.unwrap().forget();
    let held = stop_while_it_holds(&victim, &service, &orders).await;
    victim.signal("-KILL");
    clients.ended().await;

    let mut refused = 0;
    loop {
        let (status, told) = service.run(&held, "refund", "refund", &cent).await;
        if status == 200 {
            break;
        }
        let message = told["message"].as_str().unwrap_or_default();
        assert!(status == 409 && message.ends_with("is locked"), "{told}");
        refused += 1;
    }
    assert!(refused > 0, "the lock was not respected");
    println!("refused {refused} times until the dead node's session had ended");
    for order in orders.iter() {
        let key = format!("after-{order}");
        assert_eq!(node.run(order, "capture-payment", &key, &cent).await, 200);
    }
    assert_eq!(node.get("/v1/locks").await["result"], json!([]));
}

/// Stops the node at a moment at which it holds an order, which is returned.
async fn stop_while_it_holds(node: &Server, service: &Service, orders: &[String]) -> String {
    for _ in 0..1_000 {
        node.signal("-STOP");
        for order in orders {
            if holds(service, order).await {
                return order.clone();
            }
        }
        node.signal("-CONT");
    }
    panic!("it never held an order when it was stopped");
}

/// Whether the order is Orderlock's and stays it: a settle that was on its way when the node was
/// stopped arrives all the same.
async fn holds(service: &Service, order: &str) -> bool {
    for _ in 0..10 {
        let locked = service.read(order).await["locked"].clone();
        if !locked
            .as_str()
            .is_some_and(|lock| lock.starts_with("orderlock:"))
        {
            return false;
        }
    }
    true
}
