//! Orders that the NestJS service has made, in the hands of Orderlock: what an operation takes away
//! is away, for both.

use serde_json::{Value, json};

use super::place::Place;

/// A member that an operation takes away is removed, although Orderlock did not write it alone.
#[tokio::test(flavor = "multi_thread")]
async fn what_an_operation_takes_away_is_away_for_both() {
    let place = Place::new();
    let service = place.service().await;
    let node = place.node("a", &[]).await;
    let order = service.order(1_000).await;
    let (nothing, reason) = (json!({}), json!({"reason": "typo"}));
    for round in 0..2 {
        let key = |operation: &str| format!("{operation}-{round}");
        assert_eq!(node.run(&order, "hold", &key("hold"), &reason).await, 200);
        assert_eq!(service.read(&order).await["hold"]["reason"], "typo");
        assert_eq!(
            node.run(&order, "resume", &key("resume"), &nothing).await,
            200
        );
        assert_eq!(service.read(&order).await.get("hold"), None);
    }
    // The service cancels, Orderlock takes that back.
    let cancelled = service.run(&order, "cancel", "cancel", &reason).await;
    assert_eq!(cancelled.1["result"]["cancelReason"], "typo");
    assert_eq!(node.run(&order, "reopen", "reopen", &nothing).await, 200);
    let read = service.read(&order).await;
    assert_eq!(
        (&read["status"], read.get("cancelReason")),
        (&json!("pending"), None),
        "{read}"
    );
    assert_eq!(read["lines"][0].get("cancelled"), None, "{read}");
    let read = node.get(&format!("/v1/orders/{order}")).await["result"].clone();
    assert_eq!(
        (&read["status"], &read["lock"]),
        (&json!("pending"), &Value::Null),
        "{read}"
    );
}
