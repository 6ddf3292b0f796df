//! What the log holds, and what it must not.

use serde_json::json;

use super::place::Place;

/// Texts that only the order has.
const MARKS: [&str; 4] = ["cus_secret", "TEA-SECRET", "Secret tea", "hidden-reason"];

/// The driver logs each statement with its values, in which the installation's secret, customers
/// and documents are: as the bytes that they are sent as.
#[tokio::test(flavor = "multi_thread")]
async fn not_even_the_most_verbose_log_holds_secrets_or_documents() {
    let place = Place::new().await;
    for (level, named) in [
        ("debug", false),
        ("trace", false),
        ("info,tokio_postgres=debug", true),
    ] {
        let node = place.node("a", &["--log-level", level]).await;
        let body = json!({
            "customer": MARKS[0], "currency": "EUR", "submit": true,
            "lines": [{"sku": MARKS[1], "name": MARKS[2], "quantity": 1, "unitPrice": 1}],
        });
        let create = node.client.post(node.url("/v1/orders"));
        let create = create.header("idempotency-key", format!("secret-key-{level}"));
        let created = create.json(&body).send().await.unwrap();
        assert_eq!(created.status(), 201);
        let created: serde_json::Value = created.json().await.unwrap();
        let order = created["result"]["id"].as_str().unwrap();
        let reason = json!({"reason": MARKS[3]});
        let key = format!("secret-key-too-{level}");
        let cancelled = node.run(order, "cancel", &key, &reason);
        assert_eq!(cancelled.await, 200);
        node.signal("-TERM");
        let (status, log) = node.ended().await;
        assert_eq!(status.code(), Some(0), "{log}");
        assert_eq!(log.contains("tokio_postgres::"), named, "{log}");
        assert!(!log.contains("secret-key"), "{log}");
        if named {
            continue;
        }
        for mark in MARKS {
            let bytes: Vec<_> = mark.bytes().map(|byte| byte.to_string()).collect();
            let bytes = bytes.join(", ");
            assert!(
                !log.contains(mark) && !log.contains(&bytes),
                "{mark}: {log}"
            );
        }
    }
}

/// Two processes under one name end each other's sessions again and again, and say why.
#[tokio::test(flavor = "multi_thread")]
async fn a_name_that_two_nodes_share_is_named_in_the_log() {
    let place = Place::new().await;
    let short = ["--session-length", "1s"];
    let mut first = place.node("twin", &short).await;
    let _second = place.node("twin", &short).await;
    first
        .logged("does another process run under the node name twin?")
        .await;
}
