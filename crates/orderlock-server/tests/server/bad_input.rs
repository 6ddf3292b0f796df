//! Bad input is answered with a problem. It never panics, is never a 500, and changes nothing.

use http::Method;
use serde_json::{Value, json};

use crate::support::{Call, JSON, World, operation_call};

/// Bodies that no operation takes, with the status that says so.
fn bodies() -> Vec<(Vec<u8>, u16)> {
    let deep = |depth: usize| ("[".repeat(depth) + &"]".repeat(depth)).into_bytes();
    let mut bodies: Vec<(Vec<u8>, u16)> = [
        "{",
        "nul",
        "{} {}",
        "'a'",
        "{\"a\":}",
        "\u{feff}{}",
        "{\"amount\":01}",
        "{\"amount\":1,}",
        "NaN",
        "{amount:1}",
    ]
    .map(|text| (text.as_bytes().to_vec(), 400))
    .to_vec();
    bodies.push((b"\xff\xfe".to_vec(), 400));
    bodies.push((b"{\"reference\":\"\xc3\x28\"}".to_vec(), 400));
    let invalid = [
        "[]",
        "null",
        "true",
        "7",
        "\"text\"",
        "{\"amount\":1,\"amount\":2}",
        "{\"amount\":99999999999999999999999999}",
        "{\"amount\":1e400}",
        "{\"amount\":-1}",
        "{\"amount\":1.5}",
        "{\"amount\":\"1\"}",
        "{\"amount\":1,\"unknown\":{}}",
        "{\"amount\":1,\"reference\":\"\\u0000\"}",
        "{\"amount\":1,\"reference\":\"\\ud800\"}",
    ];
    bodies.extend(invalid.map(|text| (text.as_bytes().to_vec(), 422)));
    bodies.push((deep(20), 422));
    bodies.push((deep(100_000), 422));
    bodies
}

#[tokio::test]
async fn bad_bodies_are_refused_and_change_nothing() {
    let world = World::new();
    let order = world.order(&[]).await;
    let path = format!("/v1/orders/{order}");
    let before = world.get(&path).await.text;
    let targets = [
        (Method::POST, "/v1/orders".to_owned()),
        (Method::PATCH, path.clone()),
        (Method::POST, format!("{path}/capture-payment")),
    ];
    for (body, status) in bodies() {
        for (method, path) in &targets {
            let call = Call::new(method.clone(), path).header("content-type", JSON);
            let answer = world
                .send(call.key(&world.new_key()).body(body.clone()))
                .await;
            let shown = String::from_utf8_lossy(&body[..body.len().min(40)]).into_owned();
            assert_eq!(
                answer.status, status,
                "{method} {path} {shown}: {}",
                answer.text
            );
            let kind = if status == 400 {
                "body-malformed"
            } else {
                "body-invalid"
            };
            assert_eq!(answer.problem(), kind);
            if status == 422 {
                let errors = answer.json()["errors"].clone();
                assert!(errors[0]["pointer"].is_string() && errors[0]["detail"].is_string());
            }
        }
    }
    assert_eq!(world.get(&path).await.text, before);
    let orders = world.get("/v1/orders").await.json();
    assert_eq!(orders["result"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn a_refused_body_leaves_its_key_free() {
    let world = World::new();
    let order = world.order(&[]).await;
    let call = |body: Value| operation_call(&order, "capture-payment", &body).key("k");
    assert_eq!(world.send(call(json!({"amount": 0}))).await.status, 422);
    let taken = world.send(call(json!({"amount": 1}))).await;
    assert!(taken.status == 200 && !taken.is_replayed(), "{taken:?}");
}

#[tokio::test]
async fn odd_ids_name_no_order() {
    let world = World::new();
    world.order(&[]).await;
    let long = "a".repeat(129);
    let ids = [
        "%FF",
        "%00",
        "%20",
        "a%2Fb",
        "..",
        "%E2%82%AC",
        "ord_%0a",
        "%F0%9F%98%80",
        "'or'1'='1",
        long.as_str(),
    ];
    for id in ids {
        for path in [
            format!("/v1/orders/{id}"),
            format!("/v1/orders/{id}/history"),
        ] {
            let answer = world.get(&path).await;
            assert_eq!(answer.problem(), "order-not-found", "{path}");
        }
        let operation = operation_call(id, "confirm", &json!({})).key("k");
        assert_eq!(
            world.send(operation).await.problem(),
            "order-not-found",
            "{id}"
        );
        let key = world.get(&format!("/v1/orders/{id}/operations/k")).await;
        assert!(
            ["order-not-found", "key-not-found"].contains(&key.problem().as_str()),
            "{id}"
        );
        let lock = Call::post(&format!("/v1/locks/{id}"), &json!({"reason": "odd"}));
        let lock = world
            .send(Call {
                method: Method::DELETE,
                ..lock
            })
            .await;
        assert_eq!(lock.problem(), "lock-not-found", "{id}");
    }
}

#[tokio::test]
async fn odd_keys_are_refused() {
    let world = World::new();
    let order = world.order(&[]).await;
    let long = "k".repeat(256);
    for key in ["", "a b", "\"", "\"a", "é", long.as_str()] {
        let answer = world
            .send(operation_call(&order, "confirm", &json!({})).key(key))
            .await;
        assert_eq!(answer.problem(), "idempotency-key-invalid", "{key}");
    }
    let twice = operation_call(&order, "confirm", &json!({}))
        .key("k")
        .key("k");
    assert_eq!(world.send(twice).await.problem(), "idempotency-key-invalid");
    let raw = operation_call(&order, "confirm", &json!({})).header("idempotency-key", b"\xff");
    assert_eq!(world.send(raw).await.problem(), "idempotency-key-invalid");
    for path in ["a%20b", "%C3%A9", long.as_str()] {
        let answer = world
            .get(&format!("/v1/orders/{order}/operations/{path}"))
            .await;
        assert_eq!(answer.problem(), "idempotency-key-invalid", "{path}");
    }
}

#[tokio::test]
async fn odd_headers_are_refused_or_ignored() {
    let world = World::new();
    let order = world.order(&[]).await;
    for value in ["1", "W/1", "\"1", "\"1\" \"2\"", "*, \"1\"", ","] {
        let call = operation_call(&order, "confirm", &json!({})).key(&world.new_key());
        let answer = world.send(call.header("if-match", value)).await;
        assert_eq!(answer.problem(), "if-match-invalid", "{value}");
    }
    let types = [
        "text/plain",
        "application/x-www-form-urlencoded",
        "json",
        "application/jsonx",
        "application/json; charset=utf-16",
        "",
    ];
    for value in types {
        let call = Call::new(Method::POST, &format!("/v1/orders/{order}/cancel"));
        let call = call
            .key(&world.new_key())
            .header("content-type", value)
            .body("{}");
        assert_eq!(
            world.send(call).await.problem(),
            "media-type-unsupported",
            "{value}"
        );
    }
    let gzip = operation_call(&order, "cancel", &json!({})).key(&world.new_key());
    let gzip = world.send(gzip.header("content-encoding", "gzip")).await;
    assert_eq!(gzip.problem(), "media-type-unsupported");
    assert_eq!(gzip.header("accept-encoding"), Some("identity"));
    let utf_8 = Call::new(Method::POST, &format!("/v1/orders/{order}/confirm"));
    let utf_8 = utf_8.header("content-type", "application/json; charset=\"UTF-8\"");
    let utf_8 = world.send(utf_8.key(&world.new_key()).body("{}")).await;
    assert_eq!(utf_8.status, 200, "{}", utf_8.text);
    for value in ["wait", "wait=-1", "wait=abc", "respond-async", "é"] {
        let call = operation_call(&order, "confirm", &json!({})).key(&world.new_key());
        let answer = world.send(call.header("prefer", value)).await;
        assert_eq!(answer.status, 200, "{value}: {}", answer.text);
    }
}

#[tokio::test]
async fn bad_queries_name_their_parameter() {
    let world = World::new();
    let order = world.order(&[]).await;
    let history = format!("/v1/orders/{order}/history");
    let cases = [
        ("/v1/orders?limit=0", "limit"),
        ("/v1/orders?limit=201", "limit"),
        ("/v1/orders?limit=-1", "limit"),
        ("/v1/orders?limit=%2B5", "limit"),
        ("/v1/orders?limit=99999999999999999999", "limit"),
        ("/v1/orders?limit=", "limit"),
        ("/v1/orders?limit=1&limit=2", "limit"),
        ("/v1/orders?status=unknown", "status"),
        ("/v1/orders?status=", "status"),
        ("/v1/orders?customer=", "customer"),
        ("/v1/orders?locked=maybe", "locked"),
        ("/v1/orders?colour=red", "colour"),
        ("/v1/orders?cursor=", "cursor"),
        ("/v1/orders?cursor=%00%FF", "cursor"),
        ("/v1/orders?cursor=%00", "cursor"),
        ("/v1/orders?cursor=a%20b", "cursor"),
        ("/v1/locks?cursor=%00", "cursor"),
        ("/v1/orders?customer=%00", "customer"),
        ("/v1/orders?customer=a%00b", "customer"),
        ("/v1/orders?customer=%C2%85", "customer"),
        ("/v1/orders?customer=%20", "customer"),
        ("/v1/orders?status=%00", "status"),
        ("/v1/orders?locked=%00", "locked"),
        ("/v1/orders?%00=1", "\0"),
        ("/v1/orders?cursor=-1", "cursor"),
        ("/v1/locks?status=pending", "status"),
        ("/v1/locks?cursor=x", "cursor"),
    ];
    let of_history = [
        ("limit=x", "limit"),
        ("cursor=x", "cursor"),
        ("customer=a", "customer"),
    ];
    let of_history = of_history.map(|(query, name)| (format!("{history}?{query}"), name));
    let cases = cases
        .map(|(path, name)| (path.to_owned(), name))
        .into_iter()
        .chain(of_history);
    for (path, parameter) in cases {
        let answer = world.get(&path).await;
        assert!(
            [400, 422].contains(&answer.status.as_u16()),
            "{path}: {}",
            answer.text
        );
        assert!(["query-invalid", "cursor-invalid"].contains(&answer.problem().as_str()));
        assert_eq!(answer.json()["parameter"], parameter, "{path}");
    }
    let one = world.get(&format!("/v1/orders/{order}?verbose=1")).await;
    assert_eq!(one.problem(), "query-invalid");
    // An operation that took a parameter for granted would run without it.
    for path in [
        format!("/v1/orders/{order}/cancel?dryRun=true"),
        "/v1/orders?dryRun=true".to_owned(),
    ] {
        let call = Call::post(&path, &json!({})).key(&world.new_key());
        let refused = world.send(call).await;
        assert_eq!(refused.problem(), "query-invalid", "{path}");
        assert_eq!(refused.json()["parameter"], "dryRun");
    }
    let unknown = world.get("/v1/orders?colour=red").await;
    assert!(unknown.text.contains("`customer`"), "{}", unknown.text);
}

#[tokio::test]
async fn unknown_addresses_and_methods_are_problems() {
    let world = World::new();
    let order = world.order(&[]).await;
    let unknown = [
        "/v1",
        "/v1/orders/",
        "/v1/order",
        "/v1/orders/a/b/c",
        "//",
        "/problems/",
    ];
    for path in unknown {
        assert_eq!(world.get(path).await.problem(), "route-not-found", "{path}");
    }
    let ship = operation_call(&order, "ship", &json!({})).key("k");
    assert_eq!(world.send(ship).await.problem(), "route-not-found");
    let edit = Call::post(&format!("/v1/orders/{order}/edit"), &json!({})).key("k");
    assert_eq!(world.send(edit).await.problem(), "route-not-found");
    for method in ["DELETE", "OPTIONS", "TRACE", "PROPFIND"] {
        let call = Call::new(method.parse().unwrap(), &format!("/v1/orders/{order}"));
        let answer = world.send(call).await;
        assert_eq!(answer.problem(), "method-not-allowed", "{method}");
        assert!(answer.header("allow").unwrap().contains("PATCH"));
    }
}

#[tokio::test]
async fn a_refusal_says_what_would_do() {
    let world = World::new();
    let order = world.order(&[]).await;
    let path = format!("/v1/orders/{order}");
    let xml = || {
        Call::new(Method::PATCH, &path)
            .key("k")
            .header("content-type", "text/xml")
    };
    let patched = world.send(xml().body("<a/>")).await;
    assert_eq!(patched.problem(), "media-type-unsupported");
    assert_eq!(
        patched.header("accept-patch"),
        Some("application/merge-patch+json, application/json")
    );
    let asked = world.get(&format!("{path}/operations/a%20b")).await;
    assert_eq!(asked.problem(), "idempotency-key-invalid");
    let detail = asked.json()["detail"].to_string();
    assert!(detail.contains("The key in the path"), "{detail}");
    assert!(!detail.contains("header"), "{detail}");

    let large = Call::new(Method::POST, "/v1/orders").key("k");
    let large = world.send(large.body(" ".repeat(1024 * 1024 + 1))).await;
    let detail = large.json()["detail"].to_string();
    assert!(detail.contains("1048576 bytes"), "{detail}");

    for (body, count) in [
        (json!({"amount": 0}), "one error;"),
        (json!({"amount": 0, "x": 1}), "2 errors;"),
    ] {
        let refused = world.run(&order, "refund", &body).await;
        let detail = refused.json()["detail"].to_string();
        assert!(detail.contains(count), "{detail}");
    }
    // The key of a creation, where there is no order yet that a problem could name.
    let create = |name: &str| {
        let line = json!({"sku": "T", "name": name, "quantity": 1, "unitPrice": 1});
        let body = json!({"customer": "c", "currency": "EUR", "lines": [line]});
        Call::post("/v1/orders", &body).key("create")
    };
    assert_eq!(world.send(create("Tea")).await.status, 201);
    let reused = world.send(create("Cup")).await;
    assert_eq!(reused.problem(), "idempotency-key-reused");
    assert_eq!(reused.json()["applied"], "none");
    let detail = reused.json()["detail"].to_string();
    assert!(detail.starts_with("\"The same key"), "{detail}");
    // `edit` is no part of a path.
    let refused = world.run(&order, "resume", &json!({})).await;
    assert_eq!(refused.problem(), "transition-not-allowed");
    assert!(
        refused.text.contains("`PATCH /v1/orders/{id}`"),
        "{}",
        refused.text
    );
}
