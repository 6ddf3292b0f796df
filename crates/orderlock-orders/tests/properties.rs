//! What holds for every order, whatever is asked of it.

#![allow(
    clippy::needless_pass_by_value,
    clippy::panic,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a test may fail loudly, and its helpers are parts of it"
)]

mod support;

use orderlock_core::{Document, Outcome, Problem};
use orderlock_orders::{
    Command, Done, NewOrder, Order, OrderOperation, PROBLEMS, PaymentKind, PaymentStatus,
    ProcessConfig, Status, TABLE, available, create, decide, run,
};
use proptest::prelude::*;
use proptest::strategy::ValueTree as _;
use serde_json::{Map, Value, json};
use support::steps::step;

/// As many cases as take a second or two. Nothing is written beside the sources.
fn configuration() -> ProptestConfig {
    ProptestConfig {
        cases: 500,
        failure_persistence: None,
        ..ProptestConfig::default()
    }
}

/// An order to begin a history with.
fn start(submit: bool) -> Order {
    let lines = json!([
        {"sku": "A", "name": "a", "quantity": 3, "unitPrice": 100},
        {"sku": "B", "name": "b", "quantity": 1, "unitPrice": 250}
    ]);
    support::make(json!({
        "customer": "c", "currency": "EUR", "lines": lines, "submit": submit
    }))
}

/// Everything that must hold for an order by itself, computed here once more from its records.
fn check(order: &Order) {
    let sum = |kind: PaymentKind| -> u64 {
        let records = order.payment().records.iter();
        let of_kind = records.filter(|record| record.kind == kind);
        of_kind.map(|record| record.amount.minor_units()).sum()
    };
    let (authorized, captured) = (sum(PaymentKind::Authorization), sum(PaymentKind::Capture));
    let refunded = sum(PaymentKind::Refund);
    let payment = order.payment();
    assert_eq!(payment.authorized.minor_units(), authorized);
    assert_eq!(payment.captured.minor_units(), captured);
    assert_eq!(payment.refunded.minor_units(), refunded);
    let total: u64 = order
        .lines()
        .iter()
        .map(|line| u64::from(line.quantity) * line.unit_price.minor_units())
        .sum();
    assert_eq!(order.total().minor_units(), total);

    assert!(refunded <= captured);
    assert!(
        captured - refunded <= total,
        "more is paid than the order costs"
    );
    let expected = match (refunded, captured, authorized) {
        (0, 0, 0) => PaymentStatus::None,
        (0, 0, _) => PaymentStatus::Authorized,
        (0, captured, _) if captured >= total => PaymentStatus::Paid,
        (0, _, _) => PaymentStatus::PartiallyPaid,
        (refunded, captured, _) if refunded == captured => PaymentStatus::Refunded,
        _ => PaymentStatus::PartiallyRefunded,
    };
    assert_eq!(payment.status, expected);
    check_lines(order);
}

fn check_lines(order: &Order) {
    let lines = order.lines();
    for line in lines {
        assert!(line.fulfilled + line.cancelled <= line.quantity);
        assert!(line.returned <= line.fulfilled);
    }
    let any_fulfilled = lines.iter().any(|line| line.fulfilled > 0);
    let all_fulfilled = lines.iter().all(|line| line.fulfilled == line.quantity);
    let all_returned = lines.iter().all(|line| line.returned == line.fulfilled);
    match order.status() {
        Status::Draft | Status::Pending | Status::Confirmed | Status::Expired => {
            assert!(lines.iter().all(|line| line.open() == line.quantity));
        }
        Status::PartiallyFulfilled => assert!(any_fulfilled && !all_fulfilled),
        Status::Fulfilled => assert!(any_fulfilled && all_fulfilled),
        Status::Completed => assert!(all_fulfilled && order.balance().is_zero()),
        Status::OnHold => assert!(order.hold().is_some() && !all_fulfilled),
        Status::Cancelled => {
            assert!(lines.iter().all(|line| line.cancelled == line.quantity));
        }
        Status::PartiallyReturned => assert!(any_fulfilled && !all_returned),
        Status::Returned => assert!(any_fulfilled && all_returned),
    }
    if !matches!(order.status(), Status::Draft | Status::Cancelled) {
        assert!(order.customer().is_some() && !lines.is_empty());
    }
}

/// Writing and reading an order leaves order and text as they are.
fn check_round_trip(order: &Order) {
    let document = Document::encode(order).unwrap();
    let again: Order = document.decode().unwrap();
    assert_eq!(&again, order);
    assert_eq!(Document::encode(&again).unwrap(), document);
}

/// Operations that need no body succeed exactly when they are offered.
fn check_buttons(order: &Order, config: &ProcessConfig) {
    use OrderOperation as O;
    let offered = available(order, config);
    for operation in OrderOperation::ALL[1..].iter().copied() {
        let smallest = match operation {
            O::AuthorizePayment | O::CapturePayment | O::Refund => json!({"amount": 1}),
            O::Edit => json!({"metadata": {"button": true}}),
            O::Fulfill | O::Return => {
                let movable = order.lines().iter().find(|line| {
                    let available = if operation == O::Fulfill {
                        line.open()
                    } else {
                        line.returnable()
                    };
                    available > 0
                });
                let line = movable.map_or(1, |line| line.line);
                json!({"lines": [{"line": line, "quantity": 1}]})
            }
            _ => json!({}),
        };
        let result = run(
            order.clone(),
            support::command(operation.as_str(), &smallest),
            config,
        );
        let changed = matches!(result, Ok(Done::Changed(_)));
        assert_eq!(
            changed,
            offered.contains(&operation),
            "{operation}: {result:?}"
        );
    }
}

proptest! {
    #![proptest_config(configuration())]

    #[test]
    fn every_history_keeps_every_rule(
        steps in prop::collection::vec(step(), 1..40), submit: bool, confirm_needs_payment: bool,
    ) {
        let config = ProcessConfig { confirm_needs_payment, ..support::FREE };
        let mut order = start(submit);
        check(&order);
        let mut numbers: std::collections::BTreeSet<u32> = [1, 2].into();
        for step in steps {
            let (operation, body) = step.resolve(&order, &config);
            let command = support::command(operation.as_str(), &body);
            match run(order.clone(), command.clone(), &config) {
                Ok(Done::Changed(changed)) => {
                    prop_assert_ne!(&*changed, &order);
                    prop_assert!(operation.row().from.contains(&order.status()));
                    check(&changed);
                    check_round_trip(&changed);
                    check_buttons(&changed, &config);
                    for line in changed.lines() {
                        let kept = order.lines().iter().any(|old| old.line == line.line);
                        prop_assert!(kept || numbers.insert(line.line), "a number given twice");
                    }
                    // Records are only added to.
                    let (old, new) = (&order.payment().records, &changed.payment().records);
                    prop_assert_eq!(&new[..old.len()], &old[..]);
                    order = *changed;
                }
                Ok(Done::Unchanged) => {
                    let row = operation.row();
                    prop_assert!(row.done_in == Some(order.status()) || operation == OrderOperation::Edit);
                }
                Err(refusal) => {
                    let kind = refusal.kind();
                    prop_assert!(PROBLEMS.contains(kind));
                    prop_assert!(operation.row().problems().any(|known| known == kind));
                    let problem = Problem::from(refusal);
                    prop_assert_eq!((problem.status(), problem.kind()), (409, kind.kind));
                    prop_assert!(problem.detail().is_some_and(|detail| detail.ends_with('.')));
                }
            }
        }
    }

    #[test]
    fn no_json_makes_it_panic(value in any_json(), bytes: Vec<u8>) {
        for body in [value.to_string().into_bytes(), bytes] {
            if let Ok(new) = NewOrder::read(&body) {
                let order = create(new, &support::FREE).unwrap();
                check(&order);
                check_round_trip(&order);
            }
            for operation in OrderOperation::ALL {
                if let Ok(command) = Command::read(*operation, &body) {
                    for status in [Status::Draft, Status::Pending, Status::Fulfilled] {
                        let outcome = decide(support::in_state(status), command.clone(), &support::FREE);
                        if let Outcome::Applied(order) = outcome {
                            check_round_trip(&order);
                        }
                    }
                }
            }
            // A damaged document is an error, never a panic.
            let _ = serde_json::from_slice::<Order>(&body);
        }
    }

    #[test]
    fn a_damaged_document_is_refused_or_agrees_with_itself(
        pointer in prop::sample::select(POINTERS), value in any_json(),
    ) {
        let mut document = serde_json::to_value(support::in_state(Status::PartiallyReturned)).unwrap();
        *document.pointer_mut(pointer).unwrap() = value;
        if let Ok(order) = serde_json::from_value::<Order>(document) {
            check_round_trip(&order);
            for operation in OrderOperation::ALL[1..].iter().copied() {
                let body = support::body(operation);
                let command = support::command(operation.as_str(), &body);
                if let Ok(Done::Changed(changed)) = run(order.clone(), command, &support::FREE) {
                    check_round_trip(&changed);
                }
            }
        }
    }
}

/// The rules above are worth what the histories reach: every state, and every kind of refusal that
/// a few hundred steps can meet.
#[test]
fn the_histories_reach_every_state_and_most_refusals() {
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    let config = support::PAID_FIRST;
    let mut states = std::collections::BTreeMap::new();
    let mut refusals = std::collections::BTreeMap::new();
    for history in 0..1_000 {
        let mut order = start(history % 2 == 0);
        let config = if history % 3 == 0 {
            config
        } else {
            support::FREE
        };
        for _ in 0..40 {
            let step = step().new_tree(&mut runner).unwrap().current();
            let (operation, body) = step.resolve(&order, &config);
            let command = support::command(operation.as_str(), &body);
            match run(order.clone(), command, &config) {
                Ok(Done::Changed(changed)) => {
                    *states.entry(changed.status().as_str()).or_insert(0) += 1;
                    order = *changed;
                }
                Ok(Done::Unchanged) => {}
                Err(refusal) => {
                    let kind = refusal.kind().kind;
                    *refusals.entry((operation.as_str(), kind)).or_insert(0) += 1;
                }
            }
        }
    }
    println!("{states:#?}\n{refusals:#?}");
    assert_eq!(states.len(), Status::ALL.len());
    // What the table says that an operation can be refused with, it is refused with. No history of
    // this length and with these bodies fills an order.
    for row in TABLE {
        for kind in row.problems().filter(|kind| kind.kind != "order-too-large") {
            let met = refusals.contains_key(&(row.operation.as_str(), kind.kind));
            assert!(met, "{} {}", row.operation, kind.kind);
        }
    }
}

const POINTERS: &[&str] = &[
    "/status",
    "/customer",
    "/lines",
    "/lines/0",
    "/lines/0/line",
    "/lines/0/quantity",
    "/lines/1/fulfilled",
    "/lines/1/returned",
    "/total",
    "/payment",
    "/payment/records",
    "/payment/records/0/amount",
    "/payment/records/0/kind",
    "/metadata",
];

/// JSON that often hits the names and values that bodies are made of.
fn any_json() -> impl Strategy<Value = Value> {
    let names = prop::sample::select(vec![
        "customer",
        "currency",
        "lines",
        "line",
        "sku",
        "name",
        "quantity",
        "unitPrice",
        "metadata",
        "submit",
        "amount",
        "reference",
        "reason",
        "status",
        "fulfilled",
        "x",
        "",
    ]);
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        (0_u64..5).prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        prop::sample::select(vec![
            "EUR", "JPY", "draft", "onHold", "capture", "refund", "\0", ""
        ])
        .prop_map(Value::from),
        ".{0,12}".prop_map(Value::from),
    ];
    leaf.prop_recursive(5, 64, 8, move |inner| {
        let object = prop::collection::vec((names.clone(), inner.clone()), 0..8);
        prop_oneof![
            prop::collection::vec(inner, 0..4).prop_map(Value::from),
            object.prop_map(|members| {
                let members = members.into_iter();
                Value::Object(
                    members
                        .map(|(name, v)| (name.to_owned(), v))
                        .collect::<Map<_, _>>(),
                )
            }),
        ]
    })
}
