//! Killed under load, again and again: what was acknowledged is there, what was not is there once
//! or not at all, and nothing stays locked.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::{Value, json};
use tempfile::tempdir;
use tokio::sync::Semaphore;

use super::server::{Server, is_replayed, post};

const ROUNDS: usize = 5;
const CLIENTS: usize = 16;
const ORDERS: usize = 20;
/// How many acknowledged operations a round lasts.
const ROUND: u32 = 300;

/// What one client knows when its server has died.
struct Told {
    /// For each acknowledged operation: its order, its key and its answer.
    acknowledged: Vec<(usize, String, String)>,
    /// The operation whose answer never came.
    unanswered: (usize, String),
}

/// What is known of all orders: how many operations each has.
#[derive(Default)]
struct Books {
    applied: BTreeMap<usize, u64>,
}

async fn client(
    http: reqwest::Client,
    base: String,
    orders: Arc<Vec<String>>,
    name: String,
    done: Arc<Semaphore>,
) -> Told {
    let mut acknowledged = Vec::new();
    for number in 0_usize.. {
        let at = (number * 7 + name.len() + usize::from(name.as_bytes()[name.len() - 1])) % ORDERS;
        let key = format!("{name}-{number}");
        let url = format!("{base}/{}/capture-payment", orders[at]);
        let answered = match post(&http, &url, &key, &json!({"amount": 1})).await {
            Ok(answer) => {
                assert_eq!(answer.status(), 200);
                answer.text().await
            }
            Err(error) => Err(error),
        };
        match answered {
            Ok(text) => acknowledged.push((at, key, text)),
            Err(_) => {
                return Told {
                    acknowledged,
                    unanswered: (at, key),
                };
            }
        }
        done.add_permits(1);
    }
    unreachable!("the server is killed before")
}

async fn round(server: Server, orders: &Arc<Vec<String>>, round: usize) -> Vec<Told> {
    let done = Arc::new(Semaphore::new(0));
    let clients: Vec<_> = (0..CLIENTS)
        .map(|number| {
            let name = format!("r{round}-c{number}");
            let (http, base) = (server.client.clone(), server.url("/v1/orders"));
            tokio::spawn(client(
                http,
                base,
                Arc::clone(orders),
                name,
                Arc::clone(&done),
            ))
        })
        .collect();
    done.acquire_many(ROUND).await.unwrap().forget();
    server.signal("-KILL");
    let (status, _) = server.ended().await;
    assert!(!status.success());
    let mut told = Vec::new();
    for client in clients {
        told.push(client.await.unwrap());
    }
    told
}

/// Every order has what was acknowledged, and of the rest at most what is unanswered.
async fn check(server: &Server, orders: &[String], books: &Books, told: &[Told]) {
    for (at, order) in orders.iter().enumerate() {
        let read = server.get(&format!("/v1/orders/{order}")).await["result"].clone();
        let captured = read["payment"]["captured"].as_u64().unwrap();
        let unanswered = told.iter().filter(|told| told.unanswered.0 == at).count() as u64;
        let least = books.applied.get(&at).copied().unwrap_or_default();
        assert!(
            (least..=least + unanswered).contains(&captured),
            "{captured}, not {least}"
        );
        assert_eq!(read["version"], captured + 1);
        assert_eq!(read["lock"], Value::Null, "{order} is locked");
    }
    let locks = server.get("/v1/locks").await;
    assert_eq!(locks["result"], json!([]));
}

/// The same keys again: the unanswered take effect once, the acknowledged are told the same.
async fn retry(server: &Server, orders: &[String], books: &mut Books, told: &[Told]) -> usize {
    let mut had_settled = 0;
    let send = async |at: usize, key: &str| {
        let url = server.url(&format!("/v1/orders/{}/capture-payment", orders[at]));
        let answer = post(&server.client, &url, key, &json!({"amount": 1}))
            .await
            .unwrap();
        assert_eq!(answer.status(), 200);
        (is_replayed(&answer), answer.text().await.unwrap())
    };
    for Told {
        acknowledged,
        unanswered: (at, key),
    } in told
    {
        let (replayed, _) = send(*at, key).await;
        had_settled += usize::from(replayed);
        *books.applied.entry(*at).or_default() += 1;
        if let Some((at, key, text)) = acknowledged.last() {
            assert_eq!(send(*at, key).await, (true, text.clone()));
        }
    }
    had_settled
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_server_has_lost_nothing_and_doubled_nothing() {
    let folder = tempdir().unwrap();
    let arguments = ["--log-level", "warn"];
    let mut server = Server::start(folder.path(), &arguments).await;
    let mut orders = Vec::new();
    for number in 0..ORDERS {
        orders.push(server.order(&format!("order-{number}"), 1_000_000).await);
    }
    let orders = Arc::new(orders);
    let mut books = Books::default();
    for number in 0..ROUNDS {
        let told = round(server, &orders, number).await;
        for (at, ..) in told.iter().flat_map(|told| &told.acknowledged) {
            *books.applied.entry(*at).or_default() += 1;
        }
        server = Server::start(folder.path(), &arguments).await;
        check(&server, &orders, &books, &told).await;
        let had_settled = retry(&server, &orders, &mut books, &told).await;
        check(&server, &orders, &books, &[]).await;
        let sum: u64 = books.applied.values().sum();
        println!(
            "round {number}: {sum} applied in all; of {CLIENTS} unanswered {had_settled} had settled"
        );
    }
}
