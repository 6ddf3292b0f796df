//! Files that may not grow: the write fails, and not the process.

use serde_json::json;
use tempfile::tempdir;

use super::server::{Server, post};

/// In blocks of 512 bytes: the empty database and its log need less.
const LIMIT: &str = "ulimit -f 4000; exec \"$0\" \"$@\"";
const CREATIONS_MAX: usize = 1_000;

#[tokio::test]
async fn a_limit_on_the_size_of_files_is_a_disk_that_is_full() {
    let folder = tempdir().unwrap();
    let mut program = std::process::Command::new("sh");
    program.args(["-c", LIMIT, env!("CARGO_BIN_EXE_orderlock")]);
    let server = Server::start_by(folder.path(), &["--log-level", "warn"], program).await;
    let body = json!({
        "customer": "cus_42", "currency": "EUR", "submit": true,
        "metadata": {"note": "x".repeat(8_000)},
        "lines": [{"sku": "TEA-250", "name": "Green tea", "quantity": 1, "unitPrice": 1_000}],
    });
    let mut created = 0;
    let refused = loop {
        let (url, key) = (server.url("/v1/orders"), format!("create-{created}"));
        let answer = post(&server.client, &url, &key, &body).await;
        let answer = answer.expect("the process is alive");
        if answer.status() != 201 {
            break answer;
        }
        created += 1;
        assert!(created < CREATIONS_MAX, "the limit holds");
    };
    println!("{created} orders, then {}", refused.status());
    assert_eq!(refused.status(), 503);
    let ready = server
        .client
        .get(server.url("/readyz"))
        .send()
        .await
        .unwrap();
    assert_eq!(ready.status(), 503);
    let ready = ready.text().await.unwrap();
    println!("{ready}");
    assert!(
        ready.contains("could not be written") || ready.contains("full"),
        "{ready}"
    );
}
