//! Payments: what may be recorded, what follows from it, and what waits for it.

#![allow(
    clippy::needless_pass_by_value,
    clippy::panic,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a test may fail loudly, and its helpers are parts of it"
)]

mod support;

use orderlock_orders::{
    Amount, Done, OrderOperation, PaymentStatus, Refusal, Status, available, run,
};
use serde_json::json;
use support::{FREE, PAID_FIRST, after, command, in_state, make, refused};

fn amount(units: u64) -> Amount {
    Amount::new(units).unwrap()
}

fn pay(units: u64) -> serde_json::Value {
    json!({"amount": units, "reference": format!("ch_{units}")})
}

#[test]
fn an_edit_never_leaves_more_paid_than_the_order_costs() {
    let order = after(&in_state(Status::Pending), "capture-payment", pay(2998));
    let cheaper = json!({"lines": [
        {"line": 2, "sku": "CUP", "name": "Cup", "quantity": 1, "unitPrice": 400}]});
    let refusal = refused(&order, "edit", cheaper.clone());
    assert!(
        matches!(refusal, Refusal::PaidExceedsTotal { .. }),
        "{refusal}"
    );

    let refunded = after(&order, "refund", pay(2598));
    let edited = after(&refunded, "edit", cheaper);
    assert_eq!(edited.total(), amount(400));
    // Now 400 are paid. With the old lines back, 2998 would look paid.
    let refusal = refused(&edited, "edit", json!({"lines": support::lines()}));
    assert!(
        matches!(refusal, Refusal::TotalRaisedAfterRefund { .. }),
        "{refusal}"
    );
}

#[test]
fn the_payment_status_follows_an_edited_total() {
    let order = after(&in_state(Status::Pending), "capture-payment", pay(400));
    assert_eq!(order.payment().status, PaymentStatus::PartiallyPaid);
    let cheaper = json!({"lines": [
        {"line": 2, "sku": "CUP", "name": "Cup", "quantity": 1, "unitPrice": 400}]});
    let order = after(&order, "edit", cheaper);
    assert_eq!(order.payment().status, PaymentStatus::Paid);
    let order = after(&order, "edit", json!({"lines": support::lines()}));
    assert_eq!(order.payment().status, PaymentStatus::PartiallyPaid);
}

#[test]
fn confirming_waits_for_the_payment_where_that_is_asked_for() {
    let pending = in_state(Status::Pending);
    let confirm = || command("confirm", &json!({}));
    let missing = |order| match run(order, confirm(), &PAID_FIRST) {
        Err(Refusal::PaymentNotAuthorized { missing, .. }) => missing.minor_units(),
        other => panic!("{other:?}"),
    };
    assert_eq!(missing(pending.clone()), 2998);
    assert!(!available(&pending, &PAID_FIRST).contains(&OrderOperation::Confirm));

    let partly = after(&pending, "capture-payment", pay(998));
    assert_eq!(missing(partly.clone()), 2000);
    let secured = after(&partly, "authorize-payment", pay(2000));
    assert!(run(secured.clone(), confirm(), &PAID_FIRST).is_ok());
    assert_eq!(missing(after(&secured, "refund", pay(98))), 98);

    assert!(run(pending, confirm(), &FREE).is_ok());
}

#[test]
fn an_order_with_a_payment_attempt_does_not_expire() {
    let order = after(&in_state(Status::Pending), "authorize-payment", pay(1));
    assert_eq!(
        refused(&order, "expire", json!({})),
        Refusal::PaymentRecorded
    );
}

#[test]
fn direct_payments_go_up_to_the_total() {
    let order = in_state(Status::Pending);
    let refusal = refused(&order, "capture-payment", pay(2999));
    assert!(
        matches!(refusal, Refusal::AmountExceedsTotal { available, .. }
        if available == amount(2998))
    );
    let order = after(&order, "capture-payment", pay(1000));
    assert_eq!(order.payment().status, PaymentStatus::PartiallyPaid);
    let order = after(&order, "capture-payment", pay(1998));
    assert_eq!(order.payment().status, PaymentStatus::Paid);
    let refusal = refused(&order, "capture-payment", pay(1));
    assert!(
        matches!(refusal, Refusal::AmountExceedsTotal { available, .. }
        if available.is_zero())
    );
}

#[test]
fn captures_stay_within_the_authorization() {
    let order = after(&in_state(Status::Pending), "authorize-payment", pay(1500));
    assert_eq!(order.payment().status, PaymentStatus::Authorized);
    let refusal = refused(&order, "capture-payment", pay(1501));
    assert!(
        matches!(refusal, Refusal::AmountExceedsAuthorization { available, .. }
        if available == amount(1500))
    );
    let order = after(&order, "capture-payment", pay(1500));
    let refusal = refused(&order, "authorize-payment", pay(1499));
    assert!(
        matches!(refusal, Refusal::AmountExceedsTotal { available, .. }
        if available == amount(1498))
    );
    let order = after(&order, "authorize-payment", pay(1498));
    let order = after(&order, "capture-payment", pay(1498));
    assert_eq!(order.payment().status, PaymentStatus::Paid);
}

#[test]
fn refunds_add_up_to_what_was_captured_and_no_further() {
    let order = after(&in_state(Status::Confirmed), "capture-payment", pay(2998));
    let order = after(&order, "refund", pay(998));
    assert_eq!(order.payment().status, PaymentStatus::PartiallyRefunded);
    let refusal = refused(&order, "refund", pay(2001));
    assert!(
        matches!(refusal, Refusal::AmountExceedsCaptured { available, .. }
        if available == amount(2000))
    );
    // A second refund with the same reference is one of its own: the key tells intents apart.
    let order = after(&order, "refund", pay(1000));
    let order = after(&order, "refund", pay(1000));
    assert_eq!(order.payment().status, PaymentStatus::Refunded);
    assert_eq!(order.payment().records.len(), 4);
}

#[test]
fn the_list_of_payments_is_bounded() {
    let mut order = in_state(Status::Confirmed);
    for _ in 0..orderlock_orders::bounds::PAYMENTS_MAX / 8 * 7 {
        order = after(&order, "capture-payment", pay(1));
    }
    let refusal = refused(&order, "capture-payment", pay(1));
    assert_eq!(refusal, Refusal::OrderTooLarge { bound: "payments" });
}

#[test]
fn completing_needs_the_whole_payment_and_no_refund_undoes_it() {
    let all = json!({"lines": [{"line": 1, "quantity": 2}, {"line": 2, "quantity": 1}]});
    let order = after(&in_state(Status::Confirmed), "fulfill", all);
    let refusal = refused(&order, "complete", json!({}));
    assert!(matches!(refusal, Refusal::BalanceUnpaid { balance, .. } if balance == amount(2998)));
    let order = after(&order, "capture-payment", pay(2998));
    // A part of the price is given up for a dented tin: the customer does not owe it again.
    let order = after(&order, "refund", pay(300));
    assert_eq!(
        after(&order, "complete", json!({})).status(),
        Status::Completed
    );
}

#[test]
fn a_refunded_order_is_not_reopened() {
    let order = after(&in_state(Status::Pending), "capture-payment", pay(10));
    let cancelled = after(&order, "cancel", json!({}));
    assert_eq!(after(&cancelled, "reopen", json!({})), order);
    let refunded = after(&cancelled, "refund", pay(10));
    assert_eq!(
        refused(&refunded, "reopen", json!({})),
        Refusal::PaymentRefunded
    );
}

#[test]
fn an_order_that_costs_nothing_goes_the_whole_way() {
    let free = json!([{"sku": "GIFT", "name": "Gift", "quantity": 1, "unitPrice": 0}]);
    let order = make(json!({"customer": "c", "currency": "EUR", "submit": true, "lines": free}));
    let done = run(order, command("confirm", &json!({})), &PAID_FIRST).unwrap();
    let Done::Changed(order) = done else {
        panic!("nothing is missing")
    };
    let order = after(
        &order,
        "fulfill",
        json!({"lines": [{"line": 1, "quantity": 1}]}),
    );
    assert_eq!(
        after(&order, "complete", json!({})).status(),
        Status::Completed
    );
}
