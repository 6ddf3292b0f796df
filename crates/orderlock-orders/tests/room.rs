//! An order that is full: what still changes it, and what never finds it too full.

#![allow(
    clippy::needless_pass_by_value,
    clippy::panic,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a test may fail loudly, and its helpers are parts of it"
)]

mod support;

use orderlock_core::{Document, Problem};
use orderlock_orders::bounds::{
    LINES_MAX, NAME_MAX, ORDER_BYTES_LEAST, REASON_MAX, REFERENCE_MAX, STEP_BYTES_MAX,
};
use orderlock_orders::{
    Command, Done, NewOrder, Order, OrderOperation, PaymentKind, ProcessConfig, Refusal, Room,
    Status, available, create, run,
};
use proptest::prelude::*;
use serde_json::{Value, json};
use support::steps::step;

/// A character of four bytes: a bound in characters is four times as many bytes.
const WIDE: &str = "\u{1F375}";

/// The smallest bound that an installation may choose.
const SMALL: ProcessConfig = ProcessConfig {
    order_bytes_max: ORDER_BYTES_LEAST,
    ..support::FREE
};

fn size(order: &Order) -> usize {
    Document::encode(order).unwrap().size()
}

/// An order of this many lines, whose metadata fill it up to the bound of edits or to their own.
fn filled(lines: usize, name: usize) -> Order {
    let name = WIDE.repeat(name);
    let line = |_| json!({"sku": "s", "name": name, "quantity": 1_000_000, "unitPrice": 1});
    let body = json!({
        "customer": "c", "currency": "EUR", "submit": true,
        "lines": (0..lines).map(line).collect::<Vec<_>>(),
    });
    let mut order = create(NewOrder::read(body.to_string().as_bytes()).unwrap(), &SMALL).unwrap();
    let mut filling = 0;
    for step in [
        8192, 4096, 2048, 1024, 512, 256, 128, 64, 32, 16, 8, 4, 2, 1,
    ] {
        if filling + step > 16_000 {
            continue;
        }
        let edit = json!({"metadata": {"a": "x".repeat(filling + step)}});
        match run(order.clone(), support::command("edit", &edit), &SMALL) {
            Ok(Done::Changed(edited)) => (order, filling) = (*edited, filling + step),
            other => assert!(matches!(other, Err(Refusal::DocumentTooLarge { .. }))),
        }
    }
    order
}

fn payment(amount: u64) -> Value {
    json!({"amount": amount, "reference": WIDE.repeat(REFERENCE_MAX)})
}

fn reason() -> Value {
    json!({"reason": WIDE.repeat(REASON_MAX)})
}

fn done(order: &Order, operation: &str, body: &Value) -> Order {
    match run(order.clone(), support::command(operation, body), &SMALL) {
        Ok(Done::Changed(changed)) => *changed,
        other => panic!("{operation}: {other:?}"),
    }
}

/// Everything that ends the order or stops it succeeds now, whatever it says.
fn check_exits(order: &Order) {
    let paid = order.payment().paid().minor_units();
    for operation in available(order, &SMALL) {
        let body = match operation {
            OrderOperation::Cancel | OrderOperation::Hold => reason(),
            OrderOperation::Refund => payment(paid),
            _ if operation.row().room == Room::Step => json!({}),
            _ => continue,
        };
        let ended = done(order, operation.as_str(), &body);
        let most = ORDER_BYTES_LEAST.max(size(order));
        assert!(size(&ended) <= most, "{operation}: {}", size(&ended));
        // One after another, too.
        for (then, body) in [("cancel", reason()), ("refund", payment(paid))] {
            let then = OrderOperation::parse(then).unwrap();
            if available(&ended, &SMALL).contains(&then) {
                let ended = done(&ended, then.as_str(), &body);
                assert!(
                    size(&ended) <= most,
                    "{operation}, {then}: {}",
                    size(&ended)
                );
            }
        }
    }
}

#[test]
fn an_order_at_its_bound_can_be_paid_held_cancelled_and_refunded() {
    // Many short lines, to each of which a cancellation adds, and few long ones.
    for (lines, name) in [(LINES_MAX, 15), (40, NAME_MAX)] {
        let order = filled(lines, name);
        println!("{lines} lines: {} bytes", size(&order));
        assert!(size(&order) > ORDER_BYTES_LEAST / 3 * 2);
        assert!(size(&order) <= ORDER_BYTES_LEAST / 4 * 3);
        check_exits(&order);
        let mut order = done(&order, "confirm", &json!({}));
        let refusal = loop {
            match run(
                order.clone(),
                support::command("capture-payment", &payment(1)),
                &SMALL,
            ) {
                Ok(Done::Changed(paid)) => order = *paid,
                Ok(Done::Unchanged) => panic!("a capture changes the order"),
                Err(refusal) => break refusal,
            }
            check_exits(&order);
        };
        assert!(
            matches!(refusal, Refusal::DocumentTooLarge { .. }),
            "{refusal:?}"
        );
        let problem = Problem::from(refusal);
        assert_eq!((problem.status(), problem.kind()), (409, "order-too-large"));
        assert_eq!(problem.member("bound"), Some(&json!("document")));
        assert!(order.payment().paid().minor_units() > 1);
        // The same is refused however often it is asked, and what ends it is not.
        let held = done(&order, "hold", &reason());
        check_exits(&held);
        let called_off = done(&held, "cancel", &reason());
        let rest = called_off.payment().paid().minor_units();
        let refunded = done(&called_off, "refund", &payment(rest));
        assert!(size(&refunded) <= ORDER_BYTES_LEAST);
    }
}

#[test]
fn an_order_beyond_the_bound_may_change_as_long_as_it_does_not_grow() {
    let roomy = ProcessConfig {
        order_bytes_max: 4 * ORDER_BYTES_LEAST,
        ..SMALL
    };
    let line = json!({"sku": "s", "name": WIDE.repeat(400), "quantity": 1, "unitPrice": 100});
    let body = json!({
        "customer": "c", "currency": "EUR", "submit": true, "lines": vec![line.clone(); 100],
        "metadata": {"a": "x"},
    });
    let order = create(NewOrder::read(body.to_string().as_bytes()).unwrap(), &roomy).unwrap();
    assert!(size(&order) > ORDER_BYTES_LEAST);
    let edit = |body: Value| run(order.clone(), support::command("edit", &body), &SMALL);
    let grown = edit(json!({"metadata": {"a": "xy"}}));
    assert!(matches!(grown, Err(Refusal::DocumentTooLarge { .. })));
    assert!(matches!(
        edit(json!({"metadata": {"a": "y"}})),
        Ok(Done::Changed(_))
    ));
    let fewer = json!({"lines": vec![line; 90]});
    assert!(matches!(edit(fewer), Ok(Done::Changed(_))));
    let capture = support::command("capture-payment", &payment(1));
    let paid = run(order.clone(), capture, &SMALL);
    assert!(matches!(paid, Err(Refusal::DocumentTooLarge { .. })));
    let offered = available(&order, &SMALL);
    assert!(!offered.contains(&OrderOperation::CapturePayment));
    for operation in [
        OrderOperation::Hold,
        OrderOperation::Cancel,
        OrderOperation::Confirm,
    ] {
        assert!(offered.contains(&operation));
        let body = if operation == OrderOperation::Confirm {
            json!({})
        } else {
            reason()
        };
        let after = done(&order, operation.as_str(), &body);
        assert!(size(&after) <= size(&order) + STEP_BYTES_MAX);
    }
}

#[test]
fn a_new_order_beyond_the_bound_is_refused() {
    let line = json!({"sku": "s", "name": WIDE.repeat(NAME_MAX), "quantity": 1, "unitPrice": 1});
    let body = json!({"currency": "EUR", "lines": vec![line; LINES_MAX]}).to_string();
    let new = NewOrder::read(body.as_bytes()).unwrap();
    let refused = create(new, &ProcessConfig::default()).unwrap_err();
    assert!(
        matches!(refused, Refusal::DocumentTooLarge { .. }),
        "{refused:?}"
    );
}

#[test]
fn a_full_list_of_payments_leaves_room_for_the_last_refund() {
    let mut order = support::in_state(Status::Pending);
    while let Ok(Done::Changed(more)) =
        support::try_run(&order, "authorize-payment", &json!({"amount": 1}))
    {
        order = *more;
    }
    assert!(order.payment().records.len() < orderlock_orders::bounds::PAYMENTS_MAX);
    let refusal = support::refused(&order, "capture-payment", json!({"amount": 1}));
    assert_eq!(refusal, Refusal::OrderTooLarge { bound: "payments" });

    let mut order = support::in_state(Status::Pending);
    order = support::after(&order, "capture-payment", json!({"amount": 2_000}));
    while let Ok(Done::Changed(more)) = support::try_run(&order, "refund", &json!({"amount": 1})) {
        order = *more;
    }
    let left = order.payment().paid().minor_units();
    assert!(left > 1);
    let refunded = support::after(&order, "refund", json!({"amount": left}));
    assert_eq!(
        refunded.payment().records.last().unwrap().kind,
        PaymentKind::Refund
    );
    assert!(refunded.payment().paid().is_zero());
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 6,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    /// Whatever comes before, however full it is: what ends an order is never refused for its size,
    /// and nothing brings an order beyond its bound.
    #[test]
    fn what_ends_an_order_always_finds_room(
        lines in 1_usize..LINES_MAX, captures in 0_u64..20,
        steps in prop::collection::vec(step(), 1..12),
    ) {
        let name = (ORDER_BYTES_LEAST / 2 / lines / 4).clamp(1, NAME_MAX).min(400);
        let lines = lines.min(ORDER_BYTES_LEAST * 3 / 4 / (4 * name + 110)).max(1);
        let mut order = filled(lines, name);
        for _ in 0..captures {
            let capture = support::command("capture-payment", &payment(2));
            if let Ok(Done::Changed(paid)) = run(order.clone(), capture, &SMALL) {
                order = *paid;
            }
        }
        check_exits(&order);
        for step in steps {
            let (operation, mut body) = step.resolve(&order, &SMALL);
            if let Some(reason) = body.get_mut("reason") {
                *reason = json!(WIDE.repeat(REASON_MAX));
            }
            let before = size(&order);
            let Ok(command) = Command::read(operation, body.to_string().as_bytes()) else {
                continue;
            };
            if let Ok(Done::Changed(changed)) = run(order.clone(), command, &SMALL) {
                prop_assert!(size(&changed) <= ORDER_BYTES_LEAST);
                let grown = size(&changed).saturating_sub(before);
                prop_assert!(operation == OrderOperation::Edit || grown <= STEP_BYTES_MAX);
                order = *changed;
                check_exits(&order);
            }
        }
    }
}
