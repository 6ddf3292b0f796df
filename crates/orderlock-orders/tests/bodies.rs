//! Bodies: what is taken, and every error of what is not.

#![allow(
    clippy::needless_pass_by_value,
    clippy::panic,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a test may fail loudly, and its helpers are parts of it"
)]

mod support;

use orderlock_core::Problem;
use orderlock_orders::{BodyError, Command, NewOrder, OrderOperation, bounds};
use serde_json::{Value, json};

fn errors(read: Result<(), BodyError>) -> Vec<String> {
    match read {
        Ok(()) => Vec::new(),
        Err(BodyError::Invalid(invalid)) => {
            println!("{:#?}", invalid.errors);
            invalid
                .errors
                .into_iter()
                .map(|error| error.pointer)
                .collect()
        }
        Err(malformed) => panic!("{malformed}"),
    }
}

fn create(body: &str) -> Vec<String> {
    errors(NewOrder::read(body.as_bytes()).map(|_| ()))
}

fn operation(name: &str, body: &str) -> Vec<String> {
    let operation = OrderOperation::parse(name).unwrap();
    errors(Command::read(operation, body.as_bytes()).map(|_| ()))
}

#[test]
fn every_error_is_listed_at_once_with_its_place() {
    let body = json!({
        "customer": "", "currency": "eur", "submit": "yes", "metadata": [], "status": "paid",
        "discount": 5,
        "lines": [
            {"sku": "A", "name": "a", "quantity": 0, "unitPrice": -1},
            {"sku": 7, "quantity": "2", "unitPrice": 1.5, "fulfilled": 2},
            "tea"
        ]
    });
    assert_eq!(
        create(&body.to_string()),
        [
            "/customer",
            "/currency",
            "/submit",
            "/lines/0/quantity",
            "/lines/0/unitPrice",
            "/lines/1/sku",
            "/lines/1/name",
            "/lines/1/quantity",
            "/lines/1/unitPrice",
            "/lines/1/fulfilled",
            "/lines/2",
            "/metadata",
            "/discount",
            "/status",
        ]
    );
}

#[test]
fn only_whole_numbers_are_amounts_and_quantities() {
    let refused = [
        "12.0",
        "1e3",
        "\"12\"",
        "-1",
        "0",
        "null",
        "true",
        "[]",
        "1E2",
        "0.5",
        "9007199254740992",
        "9007199254740993",
        "18446744073709551616",
        "1e400",
        "-9223372036854775809",
    ];
    for number in refused {
        let amount = operation("refund", &format!(r#"{{"amount": {number}}}"#));
        assert_eq!(amount, ["/amount"], "{number}");
        let body = format!(r#"{{"lines": [{{"line": 1, "quantity": {number}}}]}}"#);
        assert_eq!(
            operation("fulfill", &body),
            ["/lines/0/quantity"],
            "{number}"
        );
    }
    assert!(operation("refund", r#"{"amount": 9007199254740991}"#).is_empty());
    let body = r#"{"lines": [{"line": 1, "quantity": 1000001}]}"#;
    assert_eq!(operation("fulfill", body), ["/lines/0/quantity"]);
}

#[test]
fn a_total_that_is_too_large_is_an_error_of_the_body() {
    let line =
        |price: u64| json!({"sku": "A", "name": "a", "quantity": 1_000_000, "unitPrice": price});
    let body = |lines: Value| json!({"currency": "EUR", "lines": lines}).to_string();
    assert!(create(&body(json!([line(9_007_199_254)]))).is_empty());
    assert_eq!(create(&body(json!([line(9_007_199_255)]))), ["/lines"]);
    let half = line(4_503_599_628);
    assert_eq!(create(&body(json!([half, half]))), ["/lines"]);
    assert_eq!(
        operation("edit", &json!({"lines": [half, half]}).to_string()),
        ["/lines"]
    );
}

#[test]
fn submitting_at_once_needs_what_submitting_needs() {
    assert_eq!(
        create(r#"{"currency": "EUR", "submit": true}"#),
        ["/customer", "/lines"]
    );
    assert_eq!(create(""), ["/currency"]);
}

#[test]
fn operations_without_a_body_take_an_empty_one_and_nothing_else() {
    for name in [
        "submit", "confirm", "expire", "resume", "complete", "reopen",
    ] {
        assert!(operation(name, "").is_empty());
        assert!(operation(name, " {} \n").is_empty());
        assert_eq!(operation(name, r#"{"force": true}"#), ["/force"]);
        assert_eq!(operation(name, "[]"), [""]);
    }
    // An order is not made on an order.
    assert_eq!(operation("create", "{}"), [""]);
}

#[test]
fn reasons_and_references_are_optional_texts_of_bounded_length() {
    for name in ["cancel", "hold"] {
        assert!(operation(name, "").is_empty());
        assert!(operation(name, r#"{"reason": "two\nlines"}"#).is_empty());
        assert_eq!(operation(name, r#"{"reason": null}"#), ["/reason"]);
        assert_eq!(operation(name, r#"{"reason": "\u0007"}"#), ["/reason"]);
        let text = |count| json!({"reason": "ä".repeat(count)}).to_string();
        assert!(operation(name, &text(bounds::REASON_MAX)).is_empty());
        assert_eq!(operation(name, &text(bounds::REASON_MAX + 1)), ["/reason"]);
    }
    assert!(operation("refund", r#"{"amount": 1}"#).is_empty());
    assert_eq!(
        operation("refund", r#"{"amount": 1, "reference": " "}"#),
        ["/reference"]
    );
    assert_eq!(
        operation("refund", r#"{"amount": 1, "reference": "a\nb"}"#),
        ["/reference"]
    );
}

#[test]
fn a_line_is_named_once() {
    let body = r#"{"lines": [{"line": 1, "quantity": 1}, {"line": 1, "quantity": 1}]}"#;
    assert_eq!(operation("return", body), ["/lines/1/line"]);
    assert_eq!(operation("return", r#"{"lines": []}"#), ["/lines"]);
    assert_eq!(operation("return", "{}"), ["/lines"]);
    let line = json!({"line": 1, "sku": "A", "name": "a", "quantity": 1, "unitPrice": 1});
    let twice = json!({"lines": [line, line]}).to_string();
    assert_eq!(operation("edit", &twice), ["/lines/1/line"]);
}

#[test]
fn an_edit_sets_only_what_is_editable() {
    let line = json!({"line": 1, "sku": "A", "name": "a", "quantity": 1, "unitPrice": 1,
        "fulfilled": 1, "returned": 0, "cancelled": 1});
    let body = json!({"status": "completed", "total": 1, "payment": {}, "id": "ord_1",
        "currency": "USD", "note": "x", "lines": [line]});
    assert_eq!(
        operation("edit", &body.to_string()),
        [
            "/lines/0/cancelled",
            "/lines/0/fulfilled",
            "/lines/0/returned",
            "/currency",
            "/id",
            "/note",
            "/payment",
            "/status",
            "/total",
        ]
    );
    assert_eq!(operation("edit", r#"{"metadata": 5}"#), ["/metadata"]);
}

#[test]
fn a_member_named_twice_is_not_decided_by_chance() {
    let body = r#"{"amount": 1, "amount": 2}"#;
    assert_eq!(operation("refund", body), ["/amount"]);
}

#[test]
fn the_bounds_of_lines_and_errors_hold() {
    let line = json!({"sku": "A", "name": "a", "quantity": 1, "unitPrice": 1});
    let body = |count| json!({"currency": "EUR", "lines": vec![line.clone(); count]}).to_string();
    assert!(create(&body(bounds::LINES_MAX)).is_empty());
    assert_eq!(create(&body(bounds::LINES_MAX + 1)), ["/lines"]);
    let wrong = json!({"currency": "EUR", "lines": vec![json!({}); bounds::LINES_MAX]});
    assert_eq!(create(&wrong.to_string()).len(), bounds::ERRORS_MAX);
}

#[test]
fn numbers_in_metadata_come_back_as_they_were() {
    let numbers = r#"{"a":[0.1,1.7976931348623e300,-9007199254740991,2.5e-8,123456789012.345]}"#;
    let body = format!(r#"{{"currency": "EUR", "metadata": {numbers}}}"#);
    let order =
        orderlock_orders::create(NewOrder::read(body.as_bytes()).unwrap(), &support::FREE).unwrap();
    let stored = serde_json::to_string(&order).unwrap();
    let again: orderlock_orders::Order = serde_json::from_str(&stored).unwrap();
    assert_eq!(again, order);
    assert_eq!(serde_json::to_string(&again).unwrap(), stored);
    let rounded = r#"{"currency": "EUR", "metadata": {"a": 9007199254740993}}"#;
    assert_eq!(create(rounded), ["/metadata/a"]);
}

#[test]
fn errors_become_problems() {
    let problem = |body: &[u8]| {
        let error = Command::read(OrderOperation::Refund, body).unwrap_err();
        serde_json::to_value(Problem::from(error)).unwrap()
    };
    let malformed = problem(b"{");
    assert_eq!(
        (&malformed["status"], &malformed["type"]),
        (&json!(400), &json!("/problems/body-malformed"))
    );
    let invalid = problem(br#"{"amount": "a secret"}"#);
    assert_eq!(
        (&invalid["status"], &invalid["type"]),
        (&json!(422), &json!("/problems/body-invalid"))
    );
    assert_eq!(invalid["errors"][0]["pointer"], "/amount");
    assert!(!invalid.to_string().contains("secret"), "{invalid}");
}
