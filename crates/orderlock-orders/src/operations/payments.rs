//! Recording payments. What was recorded is never changed, only added to.

use crate::body::PaymentBody;
use crate::payment::CaptureBound;
use crate::room::{PAYMENTS_NEWS_MAX, Room};
use crate::{Amount, Order, Payment, PaymentKind, PaymentRecord, ProcessConfig, Refusal};

/// How much more of a kind may be recorded, and the refusal of more.
fn available(order: &Order, kind: PaymentKind) -> (Amount, Refusal) {
    let (payment, currency) = (&order.payment, order.currency);
    match kind {
        PaymentKind::Authorization => {
            let available = payment.authorizable(order.total);
            (
                available,
                Refusal::AmountExceedsTotal {
                    available,
                    currency,
                },
            )
        }
        PaymentKind::Capture => match payment.capturable(order.total) {
            (available, CaptureBound::Total) => (
                available,
                Refusal::AmountExceedsTotal {
                    available,
                    currency,
                },
            ),
            (available, CaptureBound::Authorization) => (
                available,
                Refusal::AmountExceedsAuthorization {
                    available,
                    currency,
                },
            ),
        },
        PaymentKind::Refund => {
            let available = payment.paid();
            (
                available,
                Refusal::AmountExceedsCaptured {
                    available,
                    currency,
                },
            )
        }
    }
}

/// Refuses a payment of which not even the smallest amount could be recorded. A refund of all that
/// is left always can be.
pub(super) fn recordable(
    order: &Order,
    kind: PaymentKind,
    config: &ProcessConfig,
) -> Result<(), Refusal> {
    let (available, refusal) = available(order, kind);
    if available.is_zero() {
        return Err(refusal);
    }
    if kind == PaymentKind::Refund {
        return Ok(());
    }
    countable(order)?;
    Room::admits_news(order, config)
}

/// Refuses one more record where only the last refund may still be added.
fn countable(order: &Order) -> Result<(), Refusal> {
    if order.payment.records.len() >= PAYMENTS_NEWS_MAX {
        return Err(Refusal::OrderTooLarge { bound: "payments" });
    }
    Ok(())
}

pub(super) fn record(
    mut order: Order,
    kind: PaymentKind,
    body: PaymentBody,
) -> Result<Order, Refusal> {
    let (available, refusal) = available(&order, kind);
    if body.amount > available {
        return Err(refusal);
    }
    let gives_all_back = kind == PaymentKind::Refund && body.amount == available;
    if !gives_all_back {
        countable(&order)?;
    }
    let mut records = std::mem::take(&mut order.payment.records);
    records.push(PaymentRecord {
        kind,
        amount: body.amount,
        reference: body.reference,
    });
    // Within what is available no sum exceeds the total or what was captured.
    order.payment = Payment::of(order.total, records).ok_or(refusal)?;
    Ok(order)
}
