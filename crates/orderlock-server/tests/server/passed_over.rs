//! What could be passed over and is not: conditions, queries, encodings; and what is said in several
//! ways and means the same.

use std::time::Duration;

use http::Method;
use orderlock::{Limits, Retention};
use serde_json::json;

use crate::support::{Call, JSON, Setup, World, operation_call, pending};

#[tokio::test]
async fn conditions_that_are_not_compared_are_refused_and_not_passed_over() {
    let world = World::new();
    let order = world.order(&[]).await;
    let others = ["if-none-match", "if-modified-since", "if-unmodified-since"];
    for name in others {
        let hold = operation_call(&order, "hold", &json!({})).key("k");
        let refused = world.send(hold.header(name, "\"1\"")).await;
        assert_eq!(refused.problem(), "precondition-unsupported");
        assert!(refused.text.contains(name), "{}", refused.text);
        assert!(refused.json().get("applied").is_none());
    }
    let create = || Call::post("/v1/orders", &pending()).key("c");
    for name in [&others[..], &["if-match"]].concat() {
        let refused = world.send(create().header(name, "\"1\"")).await;
        assert_eq!(refused.problem(), "precondition-unsupported", "{name}");
    }
    let refused = world.send(unlock().header("if-match", "*")).await;
    assert_eq!(refused.problem(), "precondition-unsupported");
    // A preference is one: what has no line to wait in passes over it, as RFC 7240 wants it.
    let created = world.send(create().header("prefer", "wait=5")).await;
    assert_eq!(created.status, 201, "{}", created.text);
    assert_eq!(created.header("preference-applied"), None);
    let held = world.run(&order, "hold", &json!({})).await;
    assert_eq!(
        held.json()["result"]["version"],
        2,
        "nothing was done before"
    );
}

/// A request to break a lock that is none.
fn unlock() -> Call {
    Call {
        method: Method::DELETE,
        ..Call::post("/v1/locks/lck_1", &json!({"reason": "x"}))
    }
}

#[tokio::test]
async fn a_query_where_none_is_read_is_refused_and_not_passed_over() {
    let world = World::new();
    let order = world.order(&[]).await;
    let with_query = |call: Call, query: &str| Call {
        path: format!("{}?{query}", call.path),
        ..call
    };
    let decision = json!({"decision": "runAgain", "mark": "mrk_1-1-1", "reason": "x"});
    let calls = [
        operation_call(&order, "hold", &json!({})),
        operation_call(&order, "edit", &json!({})),
        Call::post("/v1/orders", &pending()),
        Call::post(&format!("/v1/orders/{order}/resolution"), &decision),
        unlock(),
    ];
    for call in calls {
        let shown = format!("{} {}", call.method, call.path);
        let refused = world.send(with_query(call.key("k"), "dryRun=true")).await;
        assert_eq!(refused.problem(), "query-invalid", "{shown}");
        assert_eq!(refused.json()["parameter"], "dryRun");
        assert!(refused.json().get("applied").is_none());
    }
    // An empty query asks for nothing.
    let held = operation_call(&order, "hold", &json!({})).key("k");
    assert_eq!(world.send(with_query(held, "")).await.status, 200);
    let again = operation_call(&order, "hold", &json!({})).key("k");
    assert!(world.send(again).await.is_replayed());
}

#[tokio::test]
async fn bodies_that_must_be_decoded_first_are_refused() {
    let world = World::new();
    let order = world.order(&[]).await;
    let calls = || {
        [
            operation_call(&order, "hold", &json!({})).key("k"),
            Call::post("/v1/orders", &pending()).key("k"),
        ]
    };
    for value in ["gzip", "identity, br"] {
        for call in calls().into_iter().chain([unlock()]) {
            let refused = world.send(call.header("content-encoding", value)).await;
            assert_eq!(refused.problem(), "media-type-unsupported", "{value}");
            assert_eq!(refused.header("accept-encoding"), Some("identity"));
        }
    }
    for charset in ["utf-16", "\"latin1\""] {
        for mut call in calls() {
            let media_type = format!("application/json; charset={charset}");
            call.headers.retain(|(name, _)| name != "content-type");
            let refused = world.send(call.header("content-type", media_type)).await;
            assert_eq!(refused.problem(), "media-type-unsupported", "{charset}");
        }
    }
    for call in calls() {
        let taken = world
            .send(call.header("content-encoding", "identity"))
            .await;
        assert!(
            taken.status.is_success() && !taken.is_replayed(),
            "{}",
            taken.text
        );
    }
}

#[tokio::test]
async fn no_body_is_the_same_however_it_is_said() {
    let world = World::new();
    let order = world.order(&[]).await;
    let bare = || Call::new(Method::POST, &format!("/v1/orders/{order}/hold")).key("k");
    let first = world.send(bare()).await;
    assert_eq!(first.status, 200, "{}", first.text);
    for again in [
        bare().header("content-type", "application/x-www-form-urlencoded"),
        bare().header("content-type", JSON),
        bare().body("{}"),
        bare().header("content-type", JSON).body(" { } "),
    ] {
        let again = world.send(again).await;
        assert!(again.is_replayed() && again.text == first.text, "{again:?}");
    }
}

#[tokio::test]
async fn a_creation_whose_answer_is_gone_names_the_order() {
    let retention = Retention {
        answer: Duration::ZERO,
        tombstone: Duration::from_secs(3_600),
    };
    let world = World::with(Setup {
        limits: Limits {
            retention,
            ..Limits::default()
        },
        ..Setup::default()
    });
    let create = || Call::post("/v1/orders", &pending()).key("k");
    let created = world.send(create()).await;
    assert_eq!(created.status, 201);
    let gone = world.send(create()).await;
    assert_eq!(gone.problem(), "idempotency-key-expired");
    assert_eq!(gone.header("location"), created.header("location"));
    assert_eq!(gone.json()["order"], created.json()["result"]["id"]);
    let read = world.get(gone.header("location").unwrap()).await;
    assert_eq!(read.status, 200);
    // Also where today's rules would refuse the body.
    let refused = Call::post("/v1/orders", &json!({"currency": "none"})).key("k");
    let reused = world.send(refused).await;
    assert_eq!(reused.problem(), "idempotency-key-reused");
}

/// What is no text is not repaired: the filter would find orders that do not match it.
#[tokio::test]
async fn a_query_that_is_no_text_is_refused_and_not_repaired() {
    let world = World::new();
    let body = json!({"customer": "\u{fffd}", "currency": "EUR"});
    let created = world.send(Call::post("/v1/orders", &body).key("k")).await;
    assert_eq!(created.status, 201, "{}", created.text);
    for customer in ["%ff", "%C3", "a%e9b", "%ed%a0%80"] {
        let path = format!("/v1/orders?customer={customer}");
        let answer = world.get(&path).await;
        assert_eq!(answer.problem(), "query-invalid", "{customer}");
    }
    for customer in ["%EF%BF%BD", "\u{fffd}"] {
        let found = world.get(&format!("/v1/orders?customer={customer}")).await;
        assert_eq!(found.json()["result"].as_array().unwrap().len(), 1);
    }
}
