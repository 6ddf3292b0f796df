//! The OpenAPI document is as strict as the checks of headers, queries and paths.

use http::Method;
use serde_json::{Value, json};

use crate::support::schema::{faults, operation};
use crate::support::{Call, World};

/// The schema of a parameter.
fn parameter(method: &Method, path: &str, name: &str) -> &'static Value {
    let described = operation(method, path).unwrap();
    let parameters = described["parameters"].as_array().unwrap();
    let found = parameters
        .iter()
        .find(|parameter| parameter["name"] == name);
    &found.unwrap_or_else(|| panic!("{path} has no parameter {name}"))["schema"]
}

#[tokio::test]
async fn the_schemas_of_headers_take_what_is_taken() {
    let world = World::new();
    let order = world.order(&[]).await;
    let path = format!("/v1/orders/{order}/hold");
    let long = "k".repeat(256);
    let quoted = format!("\"{}\"", "\\\"".repeat(255));
    let keys = [
        "k",
        "a,b;c",
        "\u{fc}",
        "a b",
        "\"a\"",
        "\"a",
        "a\"",
        "\"a\"b\"",
        "\"a\\\"b\"",
        "\"a\\b\"",
        "\"\"",
        "\"a b\"",
        "\\",
        &long[1..],
        &long,
        &quoted,
    ];
    let tags = [
        "*",
        "\"1\"",
        "W/\"1\"",
        "\"1\", \"7\"",
        "\"1\",W/\"7\"",
        "\"abc\"",
        "\"\"",
        "1",
        "if",
        ".c0e,v",
        "\"1",
        "\"1\" \"2\"",
        "*, \"1\"",
        "*,*",
        "w/\"1\"",
        "\"a b\"",
    ];
    for key in keys {
        let fits = faults(
            parameter(&Method::POST, &path, "Idempotency-Key"),
            &json!(key),
        );
        let answer = world.send(Call::post(&path, &json!({})).key(key)).await;
        let taken = answer.status != 400;
        assert_eq!(fits.is_empty(), taken, "{key}: {fits:?} {}", answer.text);
    }
    for tag in tags {
        let fits = faults(parameter(&Method::POST, &path, "If-Match"), &json!(tag));
        let call = Call::post(&path, &json!({})).key(&world.new_key());
        let answer = world.send(call.header("if-match", tag)).await;
        let taken = answer.status != 400;
        assert_eq!(fits.is_empty(), taken, "{tag}: {fits:?} {}", answer.text);
    }
}

#[tokio::test]
async fn the_schemas_of_queries_and_paths_take_what_is_taken() {
    let world = World::new();
    let order = world.order(&[]).await;
    let customers = [
        "c", "%20c%20", "", "%20", "%C2%A0", "%00", "a%00b", "a%0Ab", "%7F", "%C3%BC", "%1B",
    ];
    let limits = ["1", "200", "0", "201", "-1", "1.5", "x", ""];
    let statuses = ["pending", "PENDING", "", "lost"];
    let flags = ["true", "false", "1", ""];
    let cursors = ["", "%00", "%C3%BC", "a%20b"];
    let cases = [
        ("customer", &customers[..]),
        ("limit", &limits),
        ("status", &statuses),
        ("locked", &flags),
        ("cursor", &cursors),
    ];
    for (name, values) in cases {
        for value in values {
            let schema = parameter(&Method::GET, "/v1/orders", name);
            let text = percent(value);
            let read = match (name, text.parse::<f64>()) {
                ("limit", Ok(number)) if number.fract() == 0.0 => json!(number),
                ("locked", _) => text.parse().map_or(json!(text), |flag: bool| json!(flag)),
                _ => json!(text),
            };
            let fits = faults(schema, &read);
            let answer = world.get(&format!("/v1/orders?{name}={value}")).await;
            let taken = answer.status != 400;
            assert_eq!(
                fits.is_empty(),
                taken,
                "{name}={value}: {fits:?} {}",
                answer.text
            );
        }
    }
    // A cursor that could be one is still only one if the store has made it.
    let foreign = world.get("/v1/orders?cursor=x").await;
    assert_eq!(foreign.problem(), "cursor-invalid");
    for key in ["k", "a%20b", "%C3%BC", "%00", "%22a%22"] {
        let path = format!("/v1/orders/{order}/operations/{key}");
        let fits = faults(parameter(&Method::GET, &path, "key"), &json!(percent(key)));
        let answer = world.get(&path).await;
        assert_eq!(
            fits.is_empty(),
            answer.status == 404,
            "{key}: {}",
            answer.text
        );
    }
}

/// Text that is written with percent signs.
fn percent(text: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = text.as_bytes();
    while let [first, after @ ..] = rest {
        rest = after;
        match (first, after) {
            (b'%', [high, low, after @ ..]) => {
                let digits = [*high, *low];
                let digits = std::str::from_utf8(&digits).unwrap();
                bytes.push(u8::from_str_radix(digits, 16).unwrap());
                rest = after;
            }
            _ => bytes.push(*first),
        }
    }
    String::from_utf8(bytes).unwrap()
}
