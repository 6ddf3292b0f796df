//! Orders at the bound of their size, through the routes: refused with a stored problem, and never
//! too full for what ends them.

use axum::body::Body;
use bytes::Bytes;
use http::Method;
use orderlock_orders::ProcessConfig;
use orderlock_orders::bounds::{LINES_MAX, NAME_MAX, ORDER_BYTES_LEAST, REASON_MAX, REFERENCE_MAX};
use serde_json::{Value, json};

use crate::support::{Call, JSON, Setup, World, operation_call};

/// A character of four bytes.
const WIDE: &str = "\u{1F375}";

fn body(lines: usize) -> Value {
    let line = |at| {
        json!({"sku": format!("s{at}"), "name": WIDE.repeat(NAME_MAX), "quantity": 2,
               "unitPrice": 100})
    };
    let lines: Vec<_> = (0..lines).map(line).collect();
    json!({"customer": "c", "currency": "EUR", "submit": true, "lines": lines})
}

fn world() -> World {
    World::with(Setup {
        process: ProcessConfig {
            order_bytes_max: ORDER_BYTES_LEAST,
            ..ProcessConfig::default()
        },
        body: orderlock_server::BodyLimits {
            bytes: 4 * 1024 * 1024,
            ..Default::default()
        },
        ..Setup::default()
    })
}

/// The largest order that is taken, and then as much metadata as an edit may add.
async fn filled(world: &World) -> String {
    let all = world
        .send(Call::post("/v1/orders", &body(LINES_MAX)).key("k"))
        .await;
    assert_eq!(
        (all.status.as_u16(), all.problem().as_str()),
        (409, "order-too-large")
    );
    assert_eq!(all.json()["bound"], "document");
    assert_eq!(all.json()["most"], ORDER_BYTES_LEAST / 4 * 3);
    // There is no order under which that could be stored: the key is free.
    let mut lines = ORDER_BYTES_LEAST / (4 * NAME_MAX);
    let created = loop {
        lines -= 1;
        let created = world
            .send(Call::post("/v1/orders", &body(lines)).key("k"))
            .await;
        if created.status != 409 {
            break created;
        }
    };
    assert_eq!(created.status, 201, "{}", created.text);
    let id = created.json()["result"]["id"].as_str().unwrap().to_owned();
    let mut filling = 0;
    for step in [2_048, 1_024, 512, 256, 128, 64, 32, 16, 8, 4, 2, 1] {
        let edit = json!({"metadata": {"a": "x".repeat(filling + step)}});
        let edited = world.run(&id, "edit", &edit).await;
        if edited.status == 200 {
            filling += step;
        } else {
            assert_eq!(edited.problem(), "order-too-large");
        }
    }
    id
}

#[tokio::test]
async fn an_order_at_its_bound_is_paid_held_and_cancelled() {
    let world = world();
    let order = filled(&world).await;
    let reference = WIDE.repeat(REFERENCE_MAX);
    let amount = |amount: u64| json!({"amount": amount, "reference": reference});
    for (operation, body) in [
        ("authorize-payment", amount(100)),
        ("capture-payment", amount(100)),
        ("hold", json!({"reason": WIDE.repeat(REASON_MAX)})),
        ("resume", json!({})),
        ("confirm", json!({})),
        ("cancel", json!({"reason": WIDE.repeat(REASON_MAX)})),
        ("refund", amount(100)),
    ] {
        let done = world.run(&order, operation, &body).await;
        assert_eq!(done.status, 200, "{operation}: {}", done.text);
    }
}

#[tokio::test]
async fn what_is_too_large_is_refused_and_the_refusal_is_stored() {
    let world = world();
    let order = filled(&world).await;
    let reference = WIDE.repeat(REFERENCE_MAX);
    let capture = |key: &str| {
        let body = json!({"amount": 1, "reference": reference});
        operation_call(&order, "capture-payment", &body).key(key)
    };
    let mut captured = 0_u64;
    let refused = loop {
        let key = format!("capture-{captured}");
        let answer = world.send(capture(&key)).await;
        if answer.status != 200 {
            break (key, answer);
        }
        captured += 1;
    };
    let (key, refused) = refused;
    assert_eq!(refused.problem(), "order-too-large", "after {captured}");
    assert_eq!(
        (
            &refused.json()["applied"],
            refused.json()["retryable"].as_bool()
        ),
        (&json!("none"), Some(false))
    );
    let again = world.send(capture(&key)).await;
    assert!(
        again.is_replayed() && again.text == refused.text,
        "{again:?}"
    );
    // The money that is in can go back, and the order can be called off.
    let refund = json!({"amount": captured, "reference": reference});
    assert_eq!(world.run(&order, "refund", &refund).await.status, 200);
    let cancel = json!({"reason": WIDE.repeat(REASON_MAX)});
    assert_eq!(world.run(&order, "cancel", &cancel).await.status, 200);
}

#[tokio::test]
async fn a_store_that_takes_less_than_the_setting_bounds_the_order_model() {
    let store = orderlock::sqlite::SqliteOptions::default().with_document_bytes_max(40_000);
    let world = World::with(Setup {
        store,
        ..Setup::default()
    });
    let refused = world
        .send(Call::post("/v1/orders", &body(20)).key("k"))
        .await;
    assert_eq!(refused.problem(), "order-too-large");
}

/// What says itself that it is too large is refused before any of it has come.
#[tokio::test]
async fn a_body_that_is_declared_too_large_is_not_waited_for() {
    let world = World::new();
    let order = world.order(&[]).await;
    for (method, path) in [
        (Method::POST, "/v1/orders".to_owned()),
        (Method::PATCH, format!("/v1/orders/{order}")),
        (Method::POST, format!("/v1/orders/{order}/confirm")),
        (Method::POST, format!("/v1/orders/{order}/resolution")),
        (Method::DELETE, "/v1/locks/l".to_owned()),
    ] {
        let never = futures_util::stream::pending::<Result<Bytes, std::io::Error>>();
        let call = Call::new(method, &path)
            .key("k")
            .header("content-type", JSON);
        let call = call
            .header("content-length", "1048577")
            .body(Body::from_stream(never));
        let answer = world.send(call).await;
        assert_eq!(answer.problem(), "body-too-large", "{path}");
    }
}
