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
use orderlock_orders::{Amount, Done, OrderOperation, Refusal, Status, available, decide};
use serde_json::json;
use support::{FREE, after, command, draft, in_state, make, refused, try_run};

fn amount(units: u64) -> Amount {
    Amount::new(units).unwrap()
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
fn a_decision_is_an_outcome_of_the_lifecycle() {
    let pending = in_state(Status::Pending);
    let decide = |name: &str| decide(pending.clone(), command(name, &json!({})), &FREE);
    assert!(matches!(decide("confirm"), Outcome::Applied(order)
        if order.status() == Status::Confirmed));
    assert!(matches!(decide("submit"), Outcome::Unchanged));
    assert!(matches!(decide("resume"), Outcome::Refused(problem) if problem.status() == 409));
}
