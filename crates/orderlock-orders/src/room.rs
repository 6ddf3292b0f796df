//! How large an order may become. Edits reach their limit first, records of payments and deliveries
//! later, and operations that move or end an order always have room: an order that is full can
//! still be cancelled, and its money can go back.

use std::io::{self, Write};

use crate::bounds::{METADATA_BYTES_MAX, PAYMENTS_MAX, STEP_BYTES_MAX};
use crate::model::Line;
use crate::{Order, OrderOperation, PaymentRecord, ProcessConfig, Refusal};

/// What an operation does to the size of its order: a column of the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Room {
    /// It says what the order is made of: up to three quarters of the bounds.
    Content,
    /// It records what has happened: up to seven eighths.
    News,
    /// It moves the order, ends it, or gives all of its money back: always.
    Step,
}

impl Room {
    /// The most bytes that an operation of this kind may bring an order to.
    fn bytes(self, before: usize, config: &ProcessConfig) -> usize {
        let whole = config.order_bytes_max;
        match self {
            Self::Content => whole / 4 * 3,
            Self::News => whole / 8 * 7,
            // An order that was stored under a higher limit can be ended too.
            Self::Step => whole.max(before.saturating_add(STEP_BYTES_MAX)),
        }
    }

    /// Refuses an order that would have grown beyond what operations of this kind may bring it to.
    /// One that was larger before may change as long as it does not grow.
    pub(crate) fn admits(
        self,
        before: usize,
        after: &Order,
        config: &ProcessConfig,
    ) -> Result<(), Refusal> {
        let most = self.bytes(before, config);
        // Nothing but an edit adds more than this.
        if self != Self::Content && before.saturating_add(STEP_BYTES_MAX) <= most {
            return Ok(());
        }
        if ceiling(after) <= most {
            return Ok(());
        }
        let size = size(after);
        if size <= most.max(before) {
            return Ok(());
        }
        Err(Refusal::DocumentTooLarge { size, most })
    }

    /// Refuses news that could not be recorded however short it is.
    pub(crate) fn admits_news(order: &Order, config: &ProcessConfig) -> Result<(), Refusal> {
        let most = Self::News.bytes(0, config);
        if ceiling(order) < most {
            return Ok(());
        }
        let size = size(order);
        if size < most {
            return Ok(());
        }
        Err(Refusal::DocumentTooLarge { size, most })
    }
}

/// The most payments that may be recorded before the one that gives all of the money back.
pub(crate) const PAYMENTS_NEWS_MAX: usize = PAYMENTS_MAX / 8 * 7;

/// What kind an operation is for this order as it leaves it: the refund of all that is left ends
/// the money's part of it, and always finds room.
pub(crate) fn room(operation: OrderOperation, after: &Order) -> Room {
    if operation == OrderOperation::Refund && after.payment.paid().is_zero() {
        return Room::Step;
    }
    operation.row().room
}

/// What an order's size before an operation counts for. One that is certainly within the bound of
/// edits counts as empty: no operation is refused, and none is admitted, because of it.
pub(crate) fn size_before(order: &Order, config: &ProcessConfig) -> usize {
    if ceiling(order) <= Room::Content.bytes(0, config) {
        return 0;
    }
    size(order)
}

/// At least as many bytes as the order's document has. Most orders are far below every bound: this
/// shows it without writing them.
fn ceiling(order: &Order) -> usize {
    let hold = order.hold.as_ref().and_then(|hold| hold.reason.as_deref());
    let texts = [
        order.customer.as_deref(),
        order.cancel_reason.as_deref(),
        hold,
    ];
    let texts = texts.into_iter().flatten().map(text_ceiling).sum::<usize>();
    let lines = order.lines.iter().map(line_ceiling).sum::<usize>();
    let records = &order.payment.records;
    let payments = records.iter().map(payment_ceiling).sum::<usize>();
    PART_BYTES_MAX + METADATA_BYTES_MAX + texts + lines + payments
}

/// More than the names, numbers and fixed words of a line, a payment, or the order itself take.
const PART_BYTES_MAX: usize = 512;

fn line_ceiling(line: &Line) -> usize {
    PART_BYTES_MAX + text_ceiling(&line.sku) + text_ceiling(&line.name)
}

fn payment_ceiling(payment: &PaymentRecord) -> usize {
    PART_BYTES_MAX + payment.reference.as_deref().map_or(0, text_ceiling)
}

/// An escape in JSON takes at most six bytes for one.
fn text_ceiling(text: &str) -> usize {
    6 * text.len()
}

/// How many bytes the order's document has.
fn size(order: &Order) -> usize {
    let mut counted = Counted(0);
    // An order can always be written; if one could not, it is the lifecycle that says so.
    match serde_json::to_writer(&mut counted, order) {
        Ok(()) => counted.0,
        Err(_) => 0,
    }
}

/// Counts what is written to it.
struct Counted(usize);

impl Write for Counted {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0 = self.0.saturating_add(bytes.len());
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::bounds::{CUSTOMER_MAX, LINES_MAX, NAME_MAX, REASON_MAX, REFERENCE_MAX, SKU_MAX};
    use crate::model::Hold;
    use crate::{Command, Done, NewOrder, create, run};

    const CONFIG: ProcessConfig = ProcessConfig {
        confirm_needs_payment: false,
        order_bytes_max: usize::MAX,
    };

    fn new(lines: usize, text: &str) -> Order {
        let line = json!({
            "sku": text.repeat(SKU_MAX), "name": text.repeat(NAME_MAX),
            "quantity": 1_000_000, "unitPrice": 9_000,
        });
        let body = json!({
            "customer": text.repeat(CUSTOMER_MAX), "currency": "EUR", "submit": true,
            "lines": vec![line; lines],
            "metadata": {"a": "x".repeat(METADATA_BYTES_MAX - 8)},
        });
        create(
            NewOrder::read(body.to_string().as_bytes()).unwrap(),
            &CONFIG,
        )
        .unwrap()
    }

    /// Everything that an order can have, each as large as it may be.
    fn full(lines: usize, text: &str) -> Order {
        let mut order = new(lines, text);
        for kind in ["authorize-payment", "capture-payment"] {
            let body = json!({"amount": 1_000_000, "reference": text.repeat(REFERENCE_MAX)});
            let operation = OrderOperation::parse(kind).unwrap();
            let command = Command::read(operation, body.to_string().as_bytes()).unwrap();
            match run(order.clone(), command, &CONFIG) {
                Ok(Done::Changed(paid)) => order = *paid,
                other => panic!("{kind}: {other:?}"),
            }
        }
        for line in &mut order.lines {
            (line.fulfilled, line.returned, line.cancelled) = (1_000_000, 1_000_000, 1_000_000);
        }
        let reason = text.repeat(REASON_MAX);
        order.cancel_reason = Some(reason.clone());
        order.hold = Some(Hold {
            from: order.status,
            reason: Some(reason),
        });
        order.last_line = Some(u32::MAX);
        order
    }

    #[test]
    fn no_order_is_larger_than_its_ceiling() {
        for lines in [1, 3, LINES_MAX] {
            for text in ["x", "\"", "\u{1F375}"] {
                let order = full(lines, text);
                let (size, ceiling) = (size(&order), ceiling(&order));
                println!("{lines} lines of {text:?}: {size} bytes, at most {ceiling}");
                assert!(size <= ceiling);
            }
        }
    }

    #[test]
    fn an_order_that_counts_as_empty_is_one_that_no_bound_is_near_to() {
        let config = ProcessConfig {
            order_bytes_max: crate::bounds::ORDER_BYTES_LEAST,
            ..CONFIG
        };
        let counted = |lines| {
            (
                size_before(&new(lines, "x"), &config),
                size(&new(lines, "x")),
            )
        };
        assert_eq!(counted(1).0, 0);
        let (before, size) = counted(LINES_MAX);
        assert_eq!(before, size);
        for room in [Room::Content, Room::News, Room::Step] {
            let most = room.bytes(0, &config);
            let nearest = Room::Content.bytes(0, &config);
            assert_eq!(room.bytes(nearest, &config), most, "{room:?}");
            assert!(
                nearest.max(most) == most
                    && (room == Room::Content || nearest + STEP_BYTES_MAX <= most)
            );
        }
    }
}
