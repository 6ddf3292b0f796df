//! What each operation does to an order, and why it refuses.

#![allow(
    clippy::needless_pass_by_value,
    clippy::panic,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a test may fail loudly, and its helpers are parts of it"
)]

mod support;

use orderlock_core::{Document, OrderType, Outcome};
use orderlock_orders::{
    Amount, Done, OrderOperation, PaymentStatus, Refusal, Status, available, decide, run,
};
use serde_json::json;
use support::{FREE, PAID_FIRST, after, command, draft, in_state, make, refused, try_run};

fn amount(units: u64) -> Amount {
    Amount::new(units).unwrap()
}

fn pay(units: u64) -> serde_json::Value {
    json!({"amount": units, "reference": format!("ch_{units}")})
}

#[test]
fn a_new_order_looks_like_the_contracts_example() {
    let order = make(json!({
        "customer": "cus_42", "currency": "EUR", "submit": true, "metadata": {"channel": "web"},
        "lines": [{"sku": "TEA-250", "name": "Green tea", "quantity": 2, "unitPrice": 1299}]
    }));
    let text = serde_json::to_string(&order).unwrap();
    assert_eq!(
        text,
        r#"{"status":"pending","customer":"cus_42","currency":"EUR","lines":[{"line":1,"sku":"TEA-250","name":"Green tea","quantity":2,"unitPrice":1299,"fulfilled":0,"returned":0}],"total":2598,"payment":{"status":"none","authorized":0,"captured":0,"refunded":0},"metadata":{"channel":"web"}}"#
    );
    assert_eq!(order.index().status, Some("pending"));
    assert_eq!(order.index().customer, Some("cus_42"));
    let document = Document::encode(&order).unwrap();
    assert_eq!(document.decode::<orderlock_orders::Order>().unwrap(), order);
}

#[test]
fn a_draft_may_lack_what_submitting_needs() {
    let order = make(json!({"currency": "JPY"}));
    assert_eq!(
        (order.status(), order.total()),
        (Status::Draft, Amount::ZERO)
    );
    assert_eq!(order.index().customer, None);
    let missing = vec!["customer", "lines"];
    assert_eq!(
        refused(&order, "submit", json!({})),
        Refusal::OrderIncomplete { missing }
    );
    assert!(!available(&order, &FREE).contains(&OrderOperation::Submit));
}

#[test]
fn a_draft_that_was_cancelled_incomplete_is_not_reopened_as_pending() {
    let cancelled = after(&make(json!({"currency": "EUR"})), "cancel", json!({}));
    let refusal = refused(&cancelled, "reopen", json!({}));
    assert!(
        matches!(refusal, Refusal::OrderIncomplete { .. }),
        "{refusal}"
    );
}

#[test]
fn lines_are_replaced_whole_and_keep_their_numbers() {
    let order = after(
        &draft(),
        "edit",
        json!({"lines": [
            {"sku": "POT", "name": "Pot", "quantity": 1, "unitPrice": 5000},
            {"line": 1, "sku": "TEA-250", "name": "Green tea", "quantity": 3, "unitPrice": 1299}
        ]}),
    );
    let numbers: Vec<u32> = order.lines().iter().map(|line| line.line).collect();
    assert_eq!(numbers, [3, 1]);
    assert_eq!(order.total(), amount(8897));
}

#[test]
fn a_line_number_is_never_given_twice() {
    let emptied = after(&draft(), "edit", json!({"lines": null}));
    assert_eq!((emptied.lines().len(), emptied.total()), (0, Amount::ZERO));
    let stored = serde_json::to_vec(&emptied).unwrap();
    let emptied = serde_json::from_slice(&stored).unwrap();
    let order = after(&emptied, "edit", json!({"lines": support::lines()}));
    let numbers: Vec<u32> = order.lines().iter().map(|line| line.line).collect();
    assert_eq!(numbers, [3, 4]);
    let gone = json!({"lines": [
        {"line": 2, "sku": "CUP", "name": "Cup", "quantity": 1, "unitPrice": 400}]});
    assert_eq!(
        refused(&order, "edit", gone),
        Refusal::LineUnknown { line: 2 }
    );
}

#[test]
fn metadata_is_merged_and_the_customer_taken_away_by_null() {
    let order = after(
        &draft(),
        "edit",
        json!({"metadata": {"a": {"b": 1, "c": 2}, "d": [1]}}),
    );
    let order = after(
        &order,
        "edit",
        json!({"customer": null, "metadata": {"a": {"b": null}, "d": [2]}}),
    );
    assert_eq!(order.customer(), None);
    assert_eq!(json!(order.metadata()), json!({"a": {"c": 2}, "d": [2]}));
    assert!(
        after(&order, "edit", json!({"metadata": null}))
            .metadata()
            .is_empty()
    );
}

#[test]
fn metadata_that_grows_past_its_bound_by_merging_is_refused() {
    let half = "x".repeat(orderlock_orders::bounds::METADATA_BYTES_MAX / 2);
    let order = after(&draft(), "edit", json!({"metadata": {"a": half}}));
    let refusal = refused(&order, "edit", json!({"metadata": {"b": half}}));
    assert_eq!(refusal, Refusal::OrderTooLarge { bound: "metadata" });
}

#[test]
fn a_pending_order_stays_complete() {
    let order = in_state(Status::Pending);
    let missing = vec!["customer"];
    let refusal = refused(&order, "edit", json!({"customer": null}));
    assert_eq!(refusal, Refusal::OrderIncomplete { missing });
    let refusal = refused(&order, "edit", json!({"lines": []}));
    assert!(matches!(refusal, Refusal::OrderIncomplete { .. }));
}

#[test]
fn an_edit_that_changes_nothing_is_no_change() {
    let order = draft();
    for body in [
        json!({}),
        json!({"customer": "cus_42"}),
        json!({"metadata": {"x": null}}),
    ] {
        assert_eq!(
            try_run(&order, "edit", &body),
            Ok(Done::Unchanged),
            "{body}"
        );
    }
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
fn cancelling_cancels_what_is_open_and_reopening_takes_it_back() {
    let pending = in_state(Status::Pending);
    let cancelled = after(&pending, "cancel", json!({"reason": "changed my mind"}));
    assert_eq!(cancelled.cancel_reason(), Some("changed my mind"));
    let open: Vec<_> = cancelled
        .lines()
        .iter()
        .map(|l| (l.cancelled, l.open()))
        .collect();
    assert_eq!(open, [(2, 0), (1, 0)]);
    assert_eq!(after(&cancelled, "reopen", json!({})), pending);
}

#[test]
fn an_order_of_which_something_was_delivered_is_not_cancelled() {
    let held = after(&in_state(Status::PartiallyFulfilled), "hold", json!({}));
    assert_eq!(refused(&held, "cancel", json!({})), Refusal::LinesFulfilled);
    assert!(!available(&held, &FREE).contains(&OrderOperation::Cancel));
}

#[test]
fn a_hold_remembers_where_the_order_stood() {
    for status in [
        Status::Pending,
        Status::Confirmed,
        Status::PartiallyFulfilled,
    ] {
        let order = in_state(status);
        let held = after(&order, "hold", json!({"reason": "address\nunclear"}));
        let hold = held.hold().unwrap();
        assert_eq!(
            (hold.from, hold.reason.as_deref()),
            (status, Some("address\nunclear"))
        );
        assert_eq!(after(&held, "resume", json!({})), order);
    }
    let cancelled = after(&in_state(Status::OnHold), "cancel", json!({}));
    assert_eq!(cancelled.hold(), None);
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
    for _ in 0..orderlock_orders::bounds::PAYMENTS_MAX {
        order = after(&order, "capture-payment", pay(1));
    }
    let refusal = refused(&order, "capture-payment", pay(1));
    assert_eq!(refusal, Refusal::OrderTooLarge { bound: "payments" });
}

#[test]
fn deliveries_are_counted_line_by_line() {
    let order = in_state(Status::Confirmed);
    let fulfill = |lines| json!({"lines": lines});
    let order = after(
        &order,
        "fulfill",
        fulfill(json!([{"line": 2, "quantity": 1}])),
    );
    assert_eq!(order.status(), Status::PartiallyFulfilled);
    let too_many = fulfill(json!([{"line": 1, "quantity": 1}, {"line": 2, "quantity": 1}]));
    let refusal = refused(&order, "fulfill", too_many);
    assert_eq!(
        refusal,
        Refusal::QuantityExceedsOrdered {
            line: 2,
            available: 0
        }
    );
    let unknown = fulfill(json!([{"line": 3, "quantity": 1}]));
    assert_eq!(
        refused(&order, "fulfill", unknown),
        Refusal::LineUnknown { line: 3 }
    );
    let order = after(
        &order,
        "fulfill",
        fulfill(json!([{"line": 1, "quantity": 2}])),
    );
    assert_eq!(order.status(), Status::Fulfilled);
}

#[test]
fn returns_stay_within_what_was_delivered() {
    let order = in_state(Status::Fulfilled);
    let back = |line, quantity| json!({"lines": [{"line": line, "quantity": quantity}]});
    let refusal = refused(&order, "return", back(2, 2));
    assert_eq!(
        refusal,
        Refusal::QuantityExceedsFulfilled {
            line: 2,
            available: 1
        }
    );
    let order = after(&order, "return", back(2, 1));
    assert_eq!(order.status(), Status::PartiallyReturned);
    let order = after(&order, "return", back(1, 2));
    assert_eq!(order.status(), Status::Returned);
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

#[test]
fn a_decision_is_an_outcome_of_the_lifecycle() {
    let pending = in_state(Status::Pending);
    let decide = |name: &str| decide(pending.clone(), command(name, &json!({})), &FREE);
    assert!(matches!(decide("confirm"), Outcome::Applied(order)
        if order.status() == Status::Confirmed));
    assert!(matches!(decide("submit"), Outcome::Unchanged));
    assert!(matches!(decide("resume"), Outcome::Refused(problem) if problem.status() == 409));
}
