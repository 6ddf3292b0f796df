//! Many clients on one order.

use std::collections::BTreeSet;

use serde_json::{Value, json};
use tempfile::tempdir;

use super::server::{Server, is_replayed, post};

#[tokio::test(flavor = "multi_thread")]
async fn four_hundred_captures_by_thirty_two_clients_all_succeed() {
    let folder = tempdir().unwrap();
    let server = Server::start(folder.path(), &["--log-level", "warn"]).await;
    let order = server.order("order", 1_000_000).await;
    let url = server.url(&format!("/v1/orders/{order}/capture-payment"));
    let clients: Vec<_> = (0..32)
        .map(|client| {
            let (http, url) = (server.client.clone(), url.clone());
            tokio::spawn(async move {
                let mut versions = Vec::new();
                for number in (client..400).step_by(32) {
                    let body = json!({"amount": 1});
                    let answer = post(&http, &url, &format!("k{number}"), &body)
                        .await
                        .unwrap();
                    assert_eq!(answer.status(), 200);
                    assert!(!is_replayed(&answer));
                    let answer: Value = answer.json().await.unwrap();
                    versions.push(answer["result"]["version"].as_u64().unwrap());
                }
                versions
            })
        })
        .collect();
    let mut versions = BTreeSet::new();
    for client in clients {
        versions.extend(client.await.unwrap());
    }
    // Each capture has its own version: none was lost, none was applied twice.
    assert_eq!(versions, (2..=401).collect());
    let read = server.get(&format!("/v1/orders/{order}")).await;
    assert_eq!(read["result"]["payment"]["captured"], 400);
    assert_eq!(read["result"]["version"], 401);
}

#[tokio::test(flavor = "multi_thread")]
async fn sixty_four_equal_requests_are_one_effect_and_one_answer() {
    let folder = tempdir().unwrap();
    let server = Server::start(folder.path(), &["--log-level", "warn"]).await;
    let order = server.order("order", 1_000_000).await;
    let url = server.url(&format!("/v1/orders/{order}/capture-payment"));
    let clients: Vec<_> = (0..64)
        .map(|_| {
            let (http, url) = (server.client.clone(), url.clone());
            tokio::spawn(async move {
                let answer = post(&http, &url, "the-same", &json!({"amount": 7}))
                    .await
                    .unwrap();
                assert_eq!(answer.status(), 200);
                let replayed = is_replayed(&answer);
                (replayed, answer.bytes().await.unwrap())
            })
        })
        .collect();
    let (mut first, mut bodies) = (0, BTreeSet::new());
    for client in clients {
        let (replayed, body) = client.await.unwrap();
        first += usize::from(!replayed);
        bodies.insert(body);
    }
    assert_eq!((first, bodies.len()), (1, 1));
    let read = server.get(&format!("/v1/orders/{order}")).await;
    assert_eq!(read["result"]["payment"]["captured"], 7);
    assert_eq!(read["result"]["version"], 2);
}

/// Prints how many flushes an operation costs when many share one. The store's own figures stand in
/// the last line of its log.
#[tokio::test(flavor = "multi_thread")]
async fn many_operations_share_a_flush() {
    let folder = tempdir().unwrap();
    let server = Server::start(
        folder.path(),
        &[
            "--log-format",
            "json",
            "--log-level",
            "warn,orderlock_server::opened=debug",
        ],
    )
    .await;
    let clients: Vec<_> = (0..64)
        .map(|client| {
            let (http, base) = (server.client.clone(), server.url("/v1/orders"));
            tokio::spawn(async move {
                let body = json!({"customer": "cus_42", "currency": "EUR", "submit": true,
                    "lines": [{"sku": "T", "name": "Tea", "quantity": 1, "unitPrice": 1000}]});
                let created = post(&http, &base, &format!("o{client}"), &body)
                    .await
                    .unwrap();
                let created: Value = created.json().await.unwrap();
                let url = format!(
                    "{base}/{}/capture-payment",
                    created["result"]["id"].as_str().unwrap()
                );
                for number in 0..20 {
                    let body = json!({"amount": 1});
                    let answer = post(&http, &url, &format!("k{number}"), &body)
                        .await
                        .unwrap();
                    assert_eq!(answer.status(), 200);
                }
            })
        })
        .collect();
    for client in clients {
        client.await.unwrap();
    }
    server.signal("-TERM");
    let (status, log) = server.ended().await;
    assert!(status.success(), "{log}");
    let mut lines = log
        .lines()
        .filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let written = lines
        .find(|line| line["message"] == "what the store has written")
        .unwrap();
    let (commits, settles) = (&written["commits"], &written["settles"]);
    let (commits, settles) = (commits.as_u64().unwrap(), settles.as_u64().unwrap());
    assert!(settles >= 64 * 20, "{settles}");
    println!(
        "flushes per operation at 64 clients: {commits}/{settles} = {:.3}",
        commits as f64 / settles as f64
    );
    assert!(commits < settles, "{commits} commits for {settles} settles");
}
