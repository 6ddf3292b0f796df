//! What the log holds, and what it must not.

use serde_json::json;

use super::place::Place;

/// The driver logs each command with its documents.
#[tokio::test]
async fn not_even_the_most_verbose_log_holds_documents() {
    let place = Place::new();
    let node = place.node("a", &["--log-level", "trace"]).await;
    let order = node.order("secret-key", 1_000).await;
    let reason = json!({"reason": "hidden-reason"});
    assert_eq!(node.run(&order, "cancel", "secret-too", &reason).await, 200);
    node.signal("-TERM");
    let (status, log) = node.ended().await;
    assert_eq!(status.code(), Some(0), "{log}");
    for mark in [
        "cus_42",
        "TEA-250",
        "Green tea",
        "hidden-reason",
        "secret-",
        "mongodb::",
    ] {
        assert!(!log.contains(mark), "{mark}: {log}");
    }
}
