//! Two nodes that want one order, one of them with a line that never ends.

use std::sync::Arc;
use std::time::Instant;

use reqwest::Method;
use serde_json::json;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use super::super::load::orders;
use super::super::server::Server;
use super::place::Place;

const CLIENTS: usize = 16;
/// How many acknowledged operations go before the other node asks.
const BEFORE: u32 = 100;
/// How often it does.
const TURNS: u64 = 3;

/// A request at the other node gets its turn, and the line goes on behind it.
#[tokio::test(flavor = "multi_thread")]
async fn a_line_that_never_ends_lets_the_other_node_in() {
    let place = Place::new().await;
    let busy = Arc::new(place.node("busy", &[]).await);
    let other = place.node("other", &[]).await;
    let order = orders(&busy, 1).await[0].clone();
    let (done, stop) = (Arc::new(Semaphore::new(0)), CancellationToken::new());
    let clients = (0..CLIENTS).map(|client| {
        let (done, stop) = (Arc::clone(&done), stop.clone());
        tokio::spawn(edit(Arc::clone(&busy), order.clone(), client, done, stop))
    });
    let clients: Vec<_> = clients.collect();
    for turn in 0..TURNS {
        done.acquire_many(BEFORE).await.unwrap().forget();
        let (asked, before) = (Instant::now(), done.available_permits());
        let (key, cent) = (format!("other-{turn}"), json!({"amount": 1}));
        let captured = other.run(&order, "capture-payment", &key, &cent).await;
        assert_eq!(captured, 200, "it waits for half a minute, and in vain");
        let meanwhile = done.available_permits().saturating_sub(before);
        println!("let in after {:?} and {meanwhile} others", asked.elapsed());
    }
    stop.cancel();
    let mut edits = 0;
    for client in clients {
        edits += client.await.unwrap();
    }
    let read = other.get(&format!("/v1/orders/{order}")).await["result"].clone();
    assert_eq!(read["version"], 1 + edits + TURNS, "each moved it by one");
    assert_eq!(read["payment"]["captured"], TURNS);
    assert_eq!(other.get("/v1/locks").await["result"], json!([]));
}

/// Edits the order, one time after another, until it is stopped. An order has no bound on how often
/// it is edited. Returns how often it was.
async fn edit(
    server: Arc<Server>,
    order: String,
    client: usize,
    done: Arc<Semaphore>,
    stop: CancellationToken,
) -> u64 {
    let url = server.url(&format!("/v1/orders/{order}"));
    let mut edits = 0;
    while !stop.is_cancelled() {
        let key = format!("c{client}-{edits}");
        let request = server
            .client
            .request(Method::PATCH, &url)
            .header("idempotency-key", &key)
            .header("prefer", "wait=30")
            .json(&json!({"metadata": {"last": key}}));
        let answer = request.send().await.unwrap();
        let status = answer.status();
        assert_eq!(status, 200, "{}", answer.text().await.unwrap());
        edits += 1;
        done.add_permits(1);
    }
    edits
}
