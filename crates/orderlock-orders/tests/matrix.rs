//! Every pair of a state and an operation, against the picture of the design and against the table.

#![allow(
    clippy::needless_pass_by_value,
    clippy::panic,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a test may fail loudly, and its helpers are parts of it"
)]

mod support;

use orderlock_core::Problem;
use orderlock_orders::{
    Done, OperationRow, Order, OrderOperation, Refusal, Status, TABLE, To, allowed, available,
};
use serde_json::json;
use support::{FREE, body, in_state, try_run};

/// `>` changes the order, `=` finds its work done, `x` starts from here but is refused by what this
/// order is, `.` is not allowed here.
const EXPECTED: &str = "\
state              edit subm conf canc expi hold resu auth capt refu fulf retu comp reop
draft              >    >    .    >    .    .    .    .    .    x    .    .    .    .
pending            >    =    >    >    >    >    .    >    >    x    .    .    .    .
confirmed          .    .    =    >    .    >    .    >    >    x    >    .    .    .
partiallyFulfilled .    .    .    .    .    >    .    >    >    x    >    >    .    .
fulfilled          .    .    .    .    .    .    .    x    x    >    .    >    >    .
completed          .    .    .    .    .    .    .    .    .    >    .    >    =    .
onHold             .    .    .    >    .    =    >    .    .    x    .    .    .    .
cancelled          .    .    .    =    .    .    .    .    .    x    .    .    .    >
expired            .    .    .    .    =    .    .    .    .    x    .    .    .    .
partiallyReturned  .    .    .    .    .    .    .    .    .    >    .    >    .    .
returned           .    .    .    .    .    .    .    .    .    >    .    .    .    .
";

/// The operations on an order.
fn operations() -> impl Iterator<Item = &'static OperationRow> {
    TABLE
        .iter()
        .filter(|row| row.operation != OrderOperation::Create)
}

#[test]
fn every_pair_does_what_the_design_says() {
    let mut text = format!("{:18}", "state");
    for row in operations() {
        text += &format!(" {}", &row.operation.as_str()[..4]);
    }
    text.push('\n');
    for status in Status::ALL {
        let order = in_state(status);
        text += &format!("{:18}", status.as_str());
        for row in operations() {
            text += &format!(" {:4}", outcome(&order, row));
        }
        text.truncate(text.trim_end().len());
        text.push('\n');
    }
    println!("{text}");
    assert_eq!(text, EXPECTED);
}

/// One letter of the picture. On the way it holds the result against the table.
fn outcome(order: &Order, row: &OperationRow) -> char {
    let status = order.status();
    let result = try_run(order, row.operation.as_str(), &body(row.operation));
    match result {
        Ok(Done::Changed(changed)) => {
            assert!(row.from.contains(&status), "{status} {}", row.operation);
            assert!(available(order, &FREE).contains(&row.operation));
            match row.to {
                To::OneOf(states) => assert!(states.contains(&changed.status())),
                To::Same => assert_eq!(changed.status(), status),
                To::BeforeHold => assert_eq!(changed.status(), order.hold().unwrap().from),
            }
            '>'
        }
        Ok(Done::Unchanged) => {
            assert_eq!(row.done_in, Some(status));
            '='
        }
        Err(Refusal::TransitionNotAllowed {
            operation,
            from,
            allowed,
        }) => {
            assert!(!row.from.contains(&status));
            assert_eq!((operation, from), (row.operation, status));
            assert_eq!(allowed, available(order, &FREE));
            '.'
        }
        Err(refusal) => {
            assert!(row.from.contains(&status), "{refusal:?}");
            assert!(!available(order, &FREE).contains(&row.operation));
            assert!(!row.refused_when.is_empty(), "{refusal:?}");
            'x'
        }
    }
}

#[test]
fn the_rows_stand_in_the_order_of_the_names_and_no_state_is_both_start_and_end() {
    let rows: Vec<_> = TABLE.iter().map(|row| row.operation).collect();
    assert_eq!(rows, OrderOperation::ALL);
    for row in TABLE {
        assert_eq!(
            OrderOperation::parse(row.operation.as_str()),
            Some(row.operation)
        );
        assert_eq!(row.operation.row().operation, row.operation);
        assert!(row.done_in.is_none_or(|status| !row.from.contains(&status)));
        // The name is one that the lifecycle takes.
        assert_eq!(
            row.operation.to_core().name().as_str(),
            row.operation.as_str()
        );
    }
    assert_eq!(OrderOperation::parse("destroy"), None);
}

#[test]
fn what_starts_from_a_state_follows_from_the_table() {
    use OrderOperation as O;
    assert_eq!(allowed(Status::Cancelled), [O::Refund, O::Reopen]);
    // Nothing was captured, so no refund is offered.
    assert_eq!(available(&in_state(Status::Cancelled), &FREE), [O::Reopen]);
    assert_eq!(allowed(Status::Expired), [O::Refund]);
}

#[test]
fn a_refusal_by_state_names_state_operation_and_what_is_allowed() {
    let refusal = support::refused(&in_state(Status::Cancelled), "confirm", json!({}));
    let problem = serde_json::to_value(Problem::from(refusal)).unwrap();
    assert_eq!(
        problem,
        json!({
            "type": "/problems/transition-not-allowed",
            "title": "The order's state does not allow this",
            "status": 409,
            "detail": "`confirm` is not allowed in the state `cancelled`. Read the order. `allowed` lists the operations that are possible now; send \
                       one of them under a new key: `edit` as `PATCH /v1/orders/{id}`, the others \
                       as `POST /v1/orders/{id}/{operation}`.",
            "retryable": false, "applied": "none",
            "from": "cancelled", "operation": "confirm", "allowed": ["reopen"]
        })
    );
}

#[test]
fn routes_follow_from_the_table() {
    let routes: Vec<String> = TABLE
        .iter()
        .map(|row| row.route())
        .map(|(method, path)| format!("{method} {path}"))
        .collect();
    println!("{routes:#?}");
    assert_eq!(routes[0], "POST /v1/orders");
    assert_eq!(routes[1], "PATCH /v1/orders/{id}");
    assert_eq!(routes[9], "POST /v1/orders/{id}/capture-payment");
}
