//! Every refusal of the order process, provoked.

use orderlock_orders::ProcessConfig;
use serde_json::{Value, json};

use crate::status_table::Seen;
use crate::support::{Setup, World, operation_call};

/// An operation and its body.
type Step = (&'static str, Value);

/// What comes before, and the operation that is then refused.
type Case = (&'static str, Vec<Step>, Step);

fn amount(amount: u64) -> Value {
    json!({"amount": amount})
}

fn pieces(line: u32, quantity: u32) -> Value {
    json!({"lines": [{"line": line, "quantity": quantity}]})
}

fn one_line(quantity: u32) -> Value {
    let line =
        json!({"line": 1, "sku": "T", "name": "Tea", "quantity": quantity, "unitPrice": 1000});
    json!({"lines": [line]})
}

fn confirm() -> Step {
    ("confirm", json!({}))
}

fn capture(cents: u64) -> Step {
    ("capture-payment", amount(cents))
}

fn refund(cents: u64) -> Step {
    ("refund", amount(cents))
}

fn fulfill(line: u32, quantity: u32) -> Step {
    ("fulfill", pieces(line, quantity))
}

fn of_states() -> Vec<Case> {
    let large = |at: char| {
        (
            "edit",
            json!({"metadata": {at.to_string(): "x".repeat(10_000)}}),
        )
    };
    let set_aside = vec![confirm(), fulfill(1, 1), ("hold", json!({}))];
    let called_off = vec![capture(5), ("cancel", json!({})), refund(5)];
    let delivered = vec![confirm(), fulfill(1, 3), fulfill(2, 1)];
    vec![
        ("transition-not-allowed", vec![], fulfill(1, 1)),
        (
            "order-incomplete",
            vec![],
            ("edit", json!({"customer": null})),
        ),
        ("lines-fulfilled", set_aside, ("cancel", json!({}))),
        ("payment-recorded", vec![capture(1)], ("expire", json!({}))),
        ("balance-unpaid", delivered, ("complete", json!({}))),
        ("payment-refunded", called_off, ("reopen", json!({}))),
        ("order-too-large", vec![large('a')], large('b')),
    ]
}

fn of_money() -> Vec<Case> {
    let authorized = vec![("authorize-payment", amount(10))];
    let refunded = vec![capture(5), refund(5)];
    vec![
        ("amount-exceeds-total", vec![], capture(3_501)),
        ("amount-exceeds-authorization", authorized, capture(11)),
        ("amount-exceeds-captured", vec![capture(5)], refund(6)),
        (
            "paid-exceeds-total",
            vec![capture(3_500)],
            ("edit", one_line(1)),
        ),
        ("total-raised-after-refund", refunded, ("edit", one_line(9))),
    ]
}

fn of_lines() -> Vec<Case> {
    let returned = ("return", pieces(1, 2));
    vec![
        ("line-unknown", vec![confirm()], fulfill(7, 1)),
        ("quantity-exceeds-ordered", vec![confirm()], fulfill(1, 4)),
        (
            "quantity-exceeds-fulfilled",
            vec![confirm(), fulfill(1, 1)],
            returned,
        ),
    ]
}

/// Each is stored, so that a retry gets it byte for byte.
pub(crate) async fn provoke(seen: &mut Seen) {
    let world = World::new();
    let cases = [of_states(), of_money(), of_lines()].concat();
    for (kind, steps, (operation, body)) in cases {
        let order = world.order(&steps).await;
        let key = world.new_key();
        let call = || operation_call(&order, operation, &body).key(&key);
        let refused = world.send(call()).await;
        seen.note(kind, &refused);
        assert_eq!(refused.json()["applied"], "none");
        let again = world.send(call()).await;
        assert!(
            again.is_replayed() && again.text == refused.text,
            "{again:?}"
        );
    }
    let process = ProcessConfig {
        confirm_needs_payment: true,
        ..ProcessConfig::default()
    };
    let world = World::with(Setup {
        process,
        ..Setup::default()
    });
    let order = world.order(&[]).await;
    let refused = world.run(&order, "confirm", &json!({})).await;
    seen.note("payment-not-authorized", &refused);
}
