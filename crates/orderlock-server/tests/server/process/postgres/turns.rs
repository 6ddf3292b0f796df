//! Two nodes that want one order, one of them with a line that never ends.

use std::sync::Arc;
use std::time::Instant;

use serde_json::json;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use super::super::load::{Books, Clients, orders};
use super::place::Place;

const CLIENTS: usize = 16;
/// How many acknowledged operations go before the other node asks.
const BEFORE: u32 = 100;

/// Whoever comes to the other node has its turn, and the line goes on behind it.
#[tokio::test(flavor = "multi_thread")]
async fn a_line_that_never_ends_lets_the_other_node_in() {
    let place = Place::new().await;
    let busy = place.node("busy", &[]).await;
    let other = place.node("other", &[]).await;
    let orders = orders(&busy, 1).await;
    let (done, stop) = (Arc::new(Semaphore::new(0)), CancellationToken::new());
    let names = (0..CLIENTS).map(|number| format!("c{number}"));
    let clients = Clients::start(&busy, names, &orders, &done, &stop);
    let mut books = Books::default();
    for turn in 0..3 {
        done.acquire_many(BEFORE).await.unwrap().forget();
        let (asked, before) = (Instant::now(), done.available_permits());
        let (key, cent) = (format!("other-{turn}"), json!({"amount": 1}));
        let captured = other.run(&orders[0], "capture-payment", &key, &cent).await;
        assert_eq!(captured, 200, "it waits for half a minute, and in vain");
        let meanwhile = done.available_permits().saturating_sub(before);
        println!("let in after {:?} and {meanwhile} others", asked.elapsed());
        *books.applied.entry(0).or_default() += 1;
    }
    stop.cancel();
    let told = clients.ended().await;
    books.count(&told);
    books.check(&other, &orders, &told).await;
}
