//! Orders for the tests, made through the public door alone.
#![allow(dead_code, reason = "each test file uses a part of it")]

pub(crate) mod steps;

use orderlock_orders::bounds::ORDER_BYTES_DEFAULT;
use orderlock_orders::{
    Command, Done, NewOrder, Order, OrderOperation, ProcessConfig, Refusal, Status, create, run,
};
use serde_json::{Value, json};

pub(crate) const FREE: ProcessConfig = ProcessConfig {
    confirm_needs_payment: false,
    order_bytes_max: ORDER_BYTES_DEFAULT,
};
pub(crate) const PAID_FIRST: ProcessConfig = ProcessConfig {
    confirm_needs_payment: true,
    ..FREE
};

/// Two pieces at 1299 and one at 400: 2998 in all.
pub(crate) fn lines() -> Value {
    json!([
        {"sku": "TEA-250", "name": "Green tea", "quantity": 2, "unitPrice": 1299},
        {"sku": "CUP", "name": "Cup", "quantity": 1, "unitPrice": 400}
    ])
}

pub(crate) fn draft() -> Order {
    make(json!({"customer": "cus_42", "currency": "EUR", "lines": lines()}))
}

pub(crate) fn make(body: Value) -> Order {
    create(NewOrder::read(body.to_string().as_bytes()).unwrap(), &FREE).unwrap()
}

pub(crate) fn command(operation: &str, body: &Value) -> Command {
    let operation = OrderOperation::parse(operation).unwrap();
    Command::read(operation, body.to_string().as_bytes()).unwrap()
}

pub(crate) fn try_run(order: &Order, operation: &str, body: &Value) -> Result<Done, Refusal> {
    run(order.clone(), command(operation, body), &FREE)
}

/// Runs an operation that must change the order.
pub(crate) fn after(order: &Order, operation: &str, body: Value) -> Order {
    match try_run(order, operation, &body) {
        Ok(Done::Changed(order)) => *order,
        other => panic!("{operation} {body}: {other:?}"),
    }
}

pub(crate) fn refused(order: &Order, operation: &str, body: Value) -> Refusal {
    try_run(order, operation, &body).unwrap_err()
}

/// A body with which the operation can succeed on an order from [`in_state`].
pub(crate) fn body(operation: OrderOperation) -> Value {
    use OrderOperation as O;
    match operation {
        O::AuthorizePayment | O::CapturePayment | O::Refund => {
            json!({"amount": 1, "reference": "ch_1"})
        }
        O::Fulfill | O::Return => json!({"lines": [{"line": 1, "quantity": 1}]}),
        O::Edit => json!({"metadata": {"note": "edited"}}),
        O::Cancel | O::Hold => json!({"reason": "asked for"}),
        _ => json!({}),
    }
}

/// An order in a state, brought there by the process itself.
pub(crate) fn in_state(status: Status) -> Order {
    let all = json!({"lines": [{"line": 1, "quantity": 2}, {"line": 2, "quantity": 1}]});
    let one = json!({"lines": [{"line": 1, "quantity": 1}]});
    let none = || json!({});
    let order = match status {
        Status::Draft => draft(),
        Status::Pending => after(&draft(), "submit", none()),
        Status::Confirmed => after(&in_state(Status::Pending), "confirm", none()),
        Status::PartiallyFulfilled => after(&in_state(Status::Confirmed), "fulfill", one),
        Status::Fulfilled => {
            let paid = json!({"amount": 2998, "reference": "ch_0"});
            let order = after(&in_state(Status::Confirmed), "capture-payment", paid);
            after(&order, "fulfill", all)
        }
        Status::Completed => after(&in_state(Status::Fulfilled), "complete", none()),
        Status::OnHold => after(&in_state(Status::Pending), "hold", none()),
        Status::Cancelled => after(&in_state(Status::Pending), "cancel", none()),
        Status::Expired => after(&in_state(Status::Pending), "expire", none()),
        Status::PartiallyReturned => after(&in_state(Status::Fulfilled), "return", one),
        Status::Returned => after(&in_state(Status::Fulfilled), "return", all),
    };
    assert_eq!(order.status(), status);
    order
}
