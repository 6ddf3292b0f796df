//! The OpenAPI document is as strict as the checks: what its schemas refuse is refused, and what
//! they take is taken, but for what no schema can say.

use http::Method;
use orderlock_orders::bounds::{CUSTOMER_MAX, LINES_MAX, NAME_MAX, REASON_MAX};
use serde_json::{Value, json};

use crate::support::schema::{document, faults, operation};
use crate::support::{Call, World, operation_call};

fn line() -> Value {
    json!({"sku": "S", "name": "n", "quantity": 1, "unitPrice": 1})
}

fn with(mut value: Value, member: &str, content: Value) -> Value {
    value[member] = content;
    value
}

/// Texts that are taken where a line is asked for, and texts that are not.
fn texts(most: usize) -> Vec<Value> {
    let mut texts = vec![
        json!("a"),
        json!(" a b "),
        json!("\u{1F375}".repeat(most)),
        json!("a".repeat(most + 1)),
        json!(7),
        json!(null),
    ];
    let odd = [
        "",
        " ",
        "\u{a0}\u{3000}",
        "a\u{0}",
        "\u{1b}[31m",
        "a\u{7f}",
        "\u{85}b",
        "a\nb",
        "\t",
    ];
    texts.extend(odd.map(Value::from));
    texts
}

fn creations() -> Vec<Value> {
    let new = || json!({"currency": "EUR"});
    let of_line = |line: Value| with(new(), "lines", json!([line]));
    let mut bodies = vec![
        json!([]),
        json!(null),
        json!({}),
        new(),
        with(new(), "id", json!("mine")),
        with(new(), "total", json!(0)),
        with(new(), "submit", json!("yes")),
        with(new(), "submit", json!(false)),
        with(new(), "lines", json!([])),
        with(new(), "lines", json!(null)),
        with(new(), "lines", json!(vec![line(); LINES_MAX])),
        with(new(), "lines", json!(vec![line(); LINES_MAX + 1])),
        with(new(), "metadata", json!({"a": {"b": [1, null, "x"]}})),
        with(new(), "metadata", json!([])),
        of_line(json!({})),
        of_line(json!(7)),
        of_line(with(line(), "fulfilled", json!(0))),
        of_line(with(line(), "line", json!(1))),
    ];
    for currency in [
        json!("EUR"),
        json!("AAA"),
        json!("eur"),
        json!("XXX"),
        json!("HRK"),
        json!(5),
    ] {
        bodies.push(json!({"currency": currency}));
    }
    for number in [
        json!(0),
        json!(1),
        json!(1_000_000),
        json!(1_000_001),
        json!(-1),
        json!(1.5),
        json!("1"),
    ] {
        bodies.push(of_line(with(line(), "quantity", number.clone())));
        bodies.push(of_line(with(line(), "unitPrice", number)));
    }
    let beyond = 1_u64 << 53;
    bodies.push(of_line(with(line(), "unitPrice", json!(beyond - 1))));
    bodies.push(of_line(with(line(), "unitPrice", json!(beyond))));
    bodies.extend(
        texts(CUSTOMER_MAX)
            .into_iter()
            .map(|text| with(new(), "customer", text)),
    );
    bodies.extend(
        texts(NAME_MAX)
            .into_iter()
            .map(|text| of_line(with(line(), "name", text))),
    );
    bodies.extend(
        texts(128)
            .into_iter()
            .map(|text| of_line(with(line(), "sku", text))),
    );
    bodies
}

fn edits() -> Vec<Value> {
    let of_line = |line: Value| json!({"lines": [line]});
    let mut bodies = vec![
        json!({}),
        json!({"customer": null}),
        json!({"lines": null}),
        json!({"metadata": null}),
        json!({"metadata": {"a": null}}),
        json!({"metadata": 5}),
        json!({"currency": "EUR"}),
        json!({"submit": true}),
        of_line(line()),
        of_line(with(line(), "line", json!(1))),
        of_line(with(line(), "line", json!(0))),
        of_line(with(line(), "line", json!(null))),
        of_line(with(line(), "line", json!(u64::from(u32::MAX) + 1))),
    ];
    let texts = texts(CUSTOMER_MAX).into_iter();
    bodies.extend(texts.map(|text| json!({"customer": text})));
    bodies
}

fn payments() -> Vec<Value> {
    let mut bodies = vec![
        json!({}),
        json!({"amount": 0}),
        json!({"amount": 1}),
        json!({"amount": "1"}),
        json!({"amount": 0.5}),
        json!({"amount": 1_u64 << 53}),
        json!({"amount": 1, "currency": "EUR"}),
    ];
    let texts = texts(255).into_iter();
    bodies.extend(texts.map(|text| json!({"amount": 1, "reference": text})));
    bodies
}

fn reasons() -> Vec<Value> {
    let texts = texts(REASON_MAX).into_iter();
    let reasons = texts.map(|text| json!({"reason": text}));
    let others = [
        json!({}),
        json!([]),
        json!({"why": "x"}),
        json!({"reason": "a\r\n\tb"}),
    ];
    others.into_iter().chain(reasons).collect()
}

fn pieces() -> Vec<Value> {
    let of =
        |line: Value, quantity: Value| json!({"lines": [{"line": line, "quantity": quantity}]});
    vec![
        json!({}),
        json!({"lines": []}),
        of(json!(1), json!(1)),
        of(json!(0), json!(1)),
        of(json!(1), json!(0)),
        of(json!(1), json!(1_000_000)),
        of(json!(1), json!(1_000_001)),
        of(json!("1"), json!(1)),
        of(json!(u64::from(u32::MAX) + 1), json!(1)),
        json!({"lines": [{"line": 1}]}),
        json!({"lines": [{"line": 1, "quantity": 1, "name": "x"}]}),
    ]
}

fn decisions() -> Vec<Value> {
    let decision = |more: Value| {
        let mut body = json!({"mark": "mrk_1-1-1", "reason": "because"});
        body.as_object_mut()
            .unwrap()
            .extend(more.as_object().unwrap().clone());
        body
    };
    let refused = |problem: Value| {
        decision(json!({"decision": "settle", "outcome": "refused", "problem": problem}))
    };
    let problem = || json!({"status": 402, "type": "declined", "title": "Declined"});
    vec![
        json!({}),
        decision(json!({})),
        decision(json!({"decision": "maybe"})),
        decision(json!({"decision": "runAgain"})),
        decision(json!({"decision": "runAgain", "outcome": "unchanged"})),
        decision(json!({"decision": "runAgain", "reason": ""})),
        decision(json!({"decision": "runAgain", "reason": "a\u{1}"})),
        decision(json!({"decision": "runAgain", "mark": " "})),
        decision(json!({"decision": "settle"})),
        decision(json!({"decision": "settle", "outcome": "unchanged"})),
        decision(json!({"decision": "settle", "outcome": "applied"})),
        refused(problem()),
        refused(with(problem(), "status", json!(200))),
        refused(with(problem(), "title", json!(""))),
        refused(with(problem(), "detail", json!("why"))),
        refused(with(problem(), "more", json!(1))),
    ]
}

/// Holds schema and service against each other, for each body.
async fn compare(world: &World, call: impl Fn(&Value) -> Call, bodies: Vec<Value>) {
    for body in bodies {
        let call = call(&body).key(&world.new_key());
        let described = operation(&call.method, &call.path).unwrap();
        let content = &described["requestBody"]["content"]["application/json"];
        let faults = faults(&content["schema"], &body);
        let shown = format!("{} {} {body:.200}", call.method, call.path);
        let answer = world.send(call).await;
        let taken = answer.status != 422;
        assert_eq!(
            faults.is_empty(),
            taken,
            "{shown}: {faults:?} {}",
            answer.text
        );
    }
}

#[tokio::test]
async fn the_schemas_of_bodies_take_what_is_taken() {
    let world = World::new();
    compare(&world, |body| Call::post("/v1/orders", body), creations()).await;
    let order = world.order(&[]).await;
    let on = |operation: &'static str| {
        let order = order.clone();
        move |body: &Value| operation_call(&order, operation, body)
    };
    compare(&world, on("edit"), edits()).await;
    for operation in ["authorize-payment", "capture-payment", "refund"] {
        compare(&world, on(operation), payments()).await;
    }
    for operation in ["fulfill", "return"] {
        compare(&world, on(operation), pieces()).await;
    }
    compare(&world, on("resolution"), decisions()).await;
    for operation in ["hold", "cancel"] {
        compare(&world, on(operation), reasons()).await;
    }
    let nothing = [json!({}), json!([]), json!({"reason": "x"}), json!(null)];
    for operation in [
        "submit", "confirm", "expire", "resume", "complete", "reopen",
    ] {
        compare(&world, on(operation), nothing.to_vec()).await;
    }
    let unlock = |body: &Value| Call {
        method: Method::DELETE,
        ..Call::post("/v1/locks/lck_none", body)
    };
    compare(&world, unlock, reasons()).await;
}

/// What no schema can say is refused all the same, and named here.
#[tokio::test]
async fn what_no_schema_can_say_is_refused_too() {
    let world = World::new();
    let wide =
        json!({"quantity": 1_000_000, "unitPrice": (1_u64 << 53) - 1, "sku": "S", "name": "n"});
    let deep = (0..9).fold(json!(1), |inner, _| json!({"a": inner}));
    let bodies = [
        // A number with a fraction of nothing is an integer to a schema.
        r#"{"currency":"EUR","lines":[{"sku":"S","name":"n","quantity":1.0,"unitPrice":1}]}"#
            .to_owned(),
        r#"{"currency":"EUR","currency":"EUR"}"#.to_owned(),
        json!({"currency": "EUR", "submit": true}).to_string(),
        json!({"currency": "EUR", "lines": [wide]}).to_string(),
        json!({"currency": "EUR", "metadata": deep}).to_string(),
        json!({"currency": "EUR", "metadata": {"a": "x".repeat(17_000)}}).to_string(),
    ];
    for body in bodies {
        let value: Value = serde_json::from_str(&body).unwrap();
        let content = &document()["paths"]["/v1/orders"]["post"]["requestBody"]["content"];
        let faults = faults(&content["application/json"]["schema"], &value);
        assert!(faults.is_empty(), "the schema can say it: {faults:?}");
        let call = Call::new(Method::POST, "/v1/orders").key(&world.new_key());
        let answer = world.send(call.body(body.clone())).await;
        assert_eq!(answer.status, 422, "{body:.200}");
    }
}
