//! Two nodes of Orderlock and the NestJS service on the same orders: captures are Orderlock's,
//! refunds are the service's. A node is killed in the middle.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use serde_json::{Value, json};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use super::super::load::{self, Books, Clients};
use super::super::server::Server;
use super::place::Place;
use super::refunds::{self, Refunds};
use super::service::Service;

const ORDERS: usize = 12;
/// For each node, and for the service.
const CLIENTS: usize = 3;
/// How many captures go before the kill, and as many after it.
const CAPTURES: u32 = 150;
/// How many refunds there are at least before the kill, and after it.
const REFUNDS: u32 = 50;
/// What there is to refund from the beginning.
const CAPTURED: u64 = 10_000;
const SESSION: [&str; 2] = ["--session-length", "2s"];

/// How often all of it is done, on a new database each time: one round takes some seconds.
fn rounds() -> usize {
    let rounds = std::env::var("ORDERLOCK_TEST_NESTJS_ROUNDS");
    rounds.map_or(1, |rounds| rounds.parse().unwrap())
}

/// No update is lost, each key has one effect, and no order is left locked.
#[tokio::test(flavor = "multi_thread")]
async fn two_kinds_of_writers_lose_nothing_and_leave_nothing_locked() {
    let begun = Instant::now();
    for number in 0..rounds() {
        round(number).await;
    }
    println!("{} rounds in {:.1?}", rounds(), begun.elapsed());
}

async fn round(number: usize) {
    let place = Place::new();
    let service = place.service().await;
    let node = place.node("a", &SESSION).await;
    let victim = place.node("b", &SESSION).await;
    let orders = orders(&node, &service).await;
    let (captured, refunded) = (Arc::new(Semaphore::new(0)), Arc::new(Semaphore::new(0)));
    let stop = CancellationToken::new();
    let captures = [(&node, "a"), (&victim, "b")].map(|(node, name)| {
        let names = (0..CLIENTS).map(|number| format!("{name}{number}"));
        Clients::start(node, names, &orders, &captured, &stop)
    });
    let refunds = Refunds::start(&service, CLIENTS, &orders, &refunded, &stop);
    captured.acquire_many(CAPTURES).await.unwrap().forget();
    refunded.acquire_many(REFUNDS).await.unwrap().forget();

    victim.signal("-KILL");
    assert!(!victim.ended().await.0.success());
    captured.acquire_many(CAPTURES).await.unwrap().forget();
    refunded.acquire_many(REFUNDS).await.unwrap().forget();
    stop.cancel();
    let mut told = Vec::new();
    for clients in captures {
        told.extend(clients.ended().await);
    }
    let refunds = refunds.ended().await;

    // What the dead node did not answer is asked of the other one. Until then each order is
    // unlocked, or until the dead node's session has ended.
    let mut books = Books::default();
    books.count(&told);
    let had_settled = books.retry(&node, &orders, &told).await;
    check(&node, &service, &orders, &books, &refunds).await;
    println!(
        "round {number}: {} captures by two nodes, of which one died; {} refunds by the service; \
         it was refused {} times; of {CLIENTS} unanswered {had_settled} had settled",
        books.applied.values().sum::<u64>(),
        refunds
            .iter()
            .map(|told| told.refunded.len())
            .sum::<usize>(),
        refunds.iter().map(|told| told.refused).sum::<usize>(),
    );
}

/// Orders that the one and the other made, with something to refund.
async fn orders(node: &Server, service: &Service) -> Arc<Vec<String>> {
    let mut orders = load::orders(node, ORDERS / 2).await.to_vec();
    for _ in orders.len()..ORDERS {
        orders.push(service.order(1_000_000).await);
    }
    let all = json!({"amount": CAPTURED});
    for (at, order) in orders.iter().enumerate() {
        let key = format!("first-{at}");
        let status = node.run(order, "capture-payment", &key, &all).await;
        assert_eq!(status, 200);
    }
    Arc::new(orders)
}

/// Each order has every capture and every refund once, and nothing else.
async fn check(
    node: &Server,
    service: &Service,
    orders: &[String],
    books: &Books,
    refunds: &[refunds::Told],
) {
    let mut expected: BTreeMap<usize, Vec<&str>> = BTreeMap::new();
    for (at, key) in refunds.iter().flat_map(|told| &told.refunded) {
        expected.entry(*at).or_default().push(key);
    }
    for (at, order) in orders.iter().enumerate() {
        let read = node.get(&format!("/v1/orders/{order}")).await["result"].clone();
        let captures = books.applied.get(&at).copied().unwrap_or_default();
        assert_eq!(read["payment"]["captured"], CAPTURED + captures, "{order}");
        let records = read["payment"]["records"].as_array().unwrap();
        let refunded = records.iter().filter(|record| record["kind"] == "refund");
        let mut refunded: Vec<&str> = refunded
            .map(|record| record["reference"].as_str().unwrap())
            .collect();
        let expected = expected.entry(at).or_default();
        expected.sort_unstable();
        refunded.sort_unstable();
        assert_eq!(refunded, *expected, "{order}");
        assert_eq!(read["lock"], Value::Null, "{order} is locked");
        // The service looks at no more than this member.
        assert_eq!(service.read(order).await["locked"], Value::Null, "{order}");
    }
    assert_eq!(node.get("/v1/locks").await["result"], json!([]));
}
