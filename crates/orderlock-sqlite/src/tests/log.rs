//! How long the log gets.

use std::fs;

use orderlock_core::{Document, OrderStore as _};
use serde_json::json;

use super::{Bench, accepted};

/// It is copied into the file when nobody waits, begins anew, and is copied again.
#[tokio::test]
async fn the_log_stays_short() {
    let bench = Bench::new().await;
    bench.order("o").await;
    let text = "x".repeat(512 * 1024);
    for number in 0..16 {
        let mut settle = bench.held("o", &format!("k{number}")).await;
        let document = json!({ "count": number, "text": text });
        settle.change.as_mut().unwrap().after = Document::encode(&document).unwrap();
        accepted(bench.store.settle(settle).await.unwrap());
    }
    // The last answer comes before the moment that nobody waits in.
    drop(bench.stop().await.go().await);
    let log = fs::metadata(bench.folder.path().join("orders.db-wal")).unwrap();
    let checkpoints = bench.store.statistics().checkpoints;
    println!("{} bytes, {checkpoints} checkpoints", log.len());
    assert!(log.len() < 8 * 1024 * 1024, "16 MiB were written");
    assert!(checkpoints >= 2, "{checkpoints}");
}
