//! Three nodes under load, of which one is killed.

use std::sync::Arc;
use std::time::Instant;

use serde_json::json;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use super::super::load::{Books, Clients, orders};
use super::super::server::post;
use super::place::Place;

const ORDERS: usize = 12;
const CLIENTS: usize = 4;
/// How many acknowledged operations go before the kill, and as many after it.
const ROUND: u32 = 300;

/// Nothing acknowledged is lost, nothing is applied twice, its orders are free again, and the others
/// serve on: each of their answers is a success.
#[tokio::test(flavor = "multi_thread")]
async fn the_others_go_on_when_a_node_is_killed() {
    let place = Place::new().await;
    let mut nodes = Vec::new();
    for name in ["a", "b", "c"] {
        nodes.push(place.node(name, &["--session-length", "2s"]).await);
    }
    let orders = orders(&nodes[0], ORDERS).await;
    let (done, stop) = (Arc::new(Semaphore::new(0)), CancellationToken::new());
    let mut clients: Vec<Clients> = nodes
        .iter()
        .zip(["a", "b", "c"])
        .map(|(node, name)| {
            let names = (0..CLIENTS).map(|number| format!("{name}{number}"));
            Clients::start(node, names, &orders, &done, &stop)
        })
        .collect();
    done.acquire_many(ROUND).await.unwrap().forget();

    let victim = nodes.remove(2);
    victim.signal("-KILL");
    assert!(!victim.ended().await.0.success());
    let died = Instant::now();
    let mut told = clients.remove(2).ended().await;
    done.acquire_many(ROUND).await.unwrap().forget();
    stop.cancel();
    for clients in clients {
        told.extend(clients.ended().await);
    }

    let mut books = Books::default();
    books.count(&told);
    // Whatever the dead node held comes free for one who waits for it.
    for (at, order) in orders.iter().enumerate() {
        let (key, cent) = (format!("after-{at}"), json!({"amount": 1}));
        let captured = nodes[0].run(order, "capture-payment", &key, &cent).await;
        assert_eq!(captured, 200);
        *books.applied.entry(at).or_default() += 1;
    }
    println!("every order was free {:?} after the kill", died.elapsed());
    books.check(&nodes[1], &orders, &told).await;
    let had_settled = books.retry(&nodes[1], &orders, &told).await;
    books.check(&nodes[0], &orders, &[]).await;
    let acknowledged: usize = told.iter().map(|told| told.acknowledged.len()).sum();
    println!(
        "{acknowledged} acknowledged by three nodes; of {CLIENTS} unanswered {had_settled} had settled"
    );
}

/// A node that starts again under its name frees at once what its last run held, however long the
/// session would have lasted.
#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_starts_again_frees_what_it_held() {
    let place = Place::new().await;
    let long = ["--session-length", "10m", "--store-limit", "10m"];
    let node = place.node("a", &long).await;
    let order = node.order("order", 1_000).await;
    let blocker = place.connect().await;
    // Settles wait at the journal, grants do not touch it.
    let blocked = "BEGIN; LOCK TABLE entries IN SHARE MODE";
    blocker.batch_execute(blocked).await.unwrap();
    let (http, url) = (
        node.client.clone(),
        node.url(&format!("/v1/orders/{order}/confirm")),
    );
    let lost = tokio::spawn(async move { post(&http, &url, "confirm", &json!({})).await });
    super::paused::held(&node, &order).await;
    node.signal("-KILL");
    assert!(lost.await.unwrap().is_err());

    let node = place.node("a", &long).await;
    let read = node.get(&format!("/v1/orders/{order}")).await;
    assert_eq!(read["result"].get("lock"), None, "{read}");
    blocker.batch_execute("COMMIT").await.unwrap();
    let again = node.run(&order, "confirm", "confirm", &json!({})).await;
    assert_eq!(again, 200);
    let history = node.get(&format!("/v1/orders/{order}/history")).await;
    assert_eq!(history["result"].as_array().unwrap().len(), 2, "{history}");
}
