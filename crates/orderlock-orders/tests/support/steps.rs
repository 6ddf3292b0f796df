//! Random steps of an order's history: most of them ones that the order takes, some that it does
//! not.

use std::collections::BTreeSet;

use orderlock_orders::{Line, Order, OrderOperation, ProcessConfig, available};
use proptest::prelude::*;
use serde_json::{Value, json};

/// A line of an edit: its number if it names one, quantity and price.
type EditedLine = (Option<u32>, u32, u64);

/// Choices that become an operation and a body when the order is known.
#[derive(Clone, Debug)]
pub(crate) struct Step {
    /// Whether the order's state is ignored when the operation is chosen.
    stray: bool,
    choice: prop::sample::Index,
    /// Whether everything that is left is taken: of money or of pieces.
    whole: bool,
    amount: u64,
    pieces: Vec<(u32, u32)>,
    lines: Option<Vec<EditedLine>>,
}

pub(crate) fn step() -> impl Strategy<Value = Step> {
    let line = (prop::option::of(1_u32..4), 1_u32..4, 0_u64..500);
    (
        prop::bool::weighted(0.2),
        any::<prop::sample::Index>(),
        any::<bool>(),
        1_u64..300,
        prop::collection::btree_map(1_u32..4, 1_u32..3, 1..3),
        prop::option::of(prop::collection::vec(line, 0..4)),
    )
        .prop_map(|(stray, choice, whole, amount, pieces, lines)| Step {
            stray,
            choice,
            whole,
            amount,
            pieces: pieces.into_iter().collect(),
            lines,
        })
}

impl Step {
    /// The operation and the body for this order.
    pub(crate) fn resolve(&self, order: &Order, config: &ProcessConfig) -> (OrderOperation, Value) {
        use OrderOperation as O;
        let taken = available(order, config);
        let mut offered = if self.stray {
            O::ALL[1..].to_vec()
        } else {
            taken
        };
        if !self.stray && offered.len() > 3 {
            // What ends an order early is rare, or few would be delivered.
            offered.retain(|operation| !matches!(operation, O::Cancel | O::Expire));
        }
        let Some(operation) = offered
            .get(self.choice.index(offered.len().max(1)))
            .copied()
        else {
            return (O::Submit, json!({}));
        };
        let body = match operation {
            O::AuthorizePayment | O::CapturePayment | O::Refund => {
                json!({"amount": self.amount(order, operation)})
            }
            O::Fulfill => self.pieces(order, Line::open),
            O::Return => self.pieces(order, Line::returnable),
            O::Edit => self.edit(),
            O::Cancel | O::Hold => json!({"reason": "asked for"}),
            _ => json!({}),
        };
        (operation, body)
    }

    fn amount(&self, order: &Order, operation: OrderOperation) -> u64 {
        let payment = order.payment();
        let left = match operation {
            OrderOperation::Refund => payment.paid(),
            OrderOperation::CapturePayment => order.balance(),
            _ => payment.authorizable(order.total()),
        };
        if self.whole {
            left.minor_units().max(1)
        } else {
            self.amount
        }
    }

    fn pieces(&self, order: &Order, left: fn(&Line) -> u32) -> Value {
        let whole = order.lines().iter().map(|line| (line.line, left(line)));
        let whole: Vec<_> = whole.filter(|(_, quantity)| *quantity > 0).collect();
        let pieces = if self.whole && !whole.is_empty() {
            &whole
        } else {
            &self.pieces
        };
        let pieces = pieces.iter();
        let pieces = pieces.map(|(line, quantity)| json!({"line": line, "quantity": quantity}));
        json!({"lines": pieces.collect::<Vec<_>>()})
    }

    fn edit(&self) -> Value {
        let Some(lines) = &self.lines else {
            return json!({"metadata": {"salt": self.amount}});
        };
        let mut seen = BTreeSet::new();
        let line = |(number, quantity, price): &EditedLine| {
            let mut line =
                json!({"sku": "S", "name": "n", "quantity": quantity, "unitPrice": price});
            if let Some(number) = number.filter(|number| seen.insert(*number)) {
                line["line"] = json!(number);
            }
            line
        };
        json!({"lines": lines.iter().map(line).collect::<Vec<_>>()})
    }
}
