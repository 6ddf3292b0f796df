//! Making an order and editing it.

use serde_json::{Map, Value};

use super::{Done, guard};
use crate::body::{NewLine, NewOrder, OrderPatch, PatchLine, excess};
use crate::check::total;
use crate::model::Line;
use crate::process::ProcessConfig;
use crate::{Amount, Order, Payment, Refusal, Status};

pub(super) fn create(new: NewOrder) -> Order {
    let lines: Vec<Line> = (1..)
        .zip(new.lines)
        .map(|(number, content)| line(number, content))
        .collect();
    Order {
        status: if new.submit {
            Status::Pending
        } else {
            Status::Draft
        },
        customer: new.customer,
        currency: new.currency,
        total: total_of(&lines),
        lines,
        payment: Payment::default(),
        metadata: new.metadata,
        hold: None,
        cancel_reason: None,
        last_line: None,
    }
}

fn line(number: u32, content: NewLine) -> Line {
    Line {
        line: number,
        sku: content.sku,
        name: content.name,
        quantity: content.quantity,
        unit_price: content.unit_price,
        fulfilled: 0,
        returned: 0,
        cancelled: 0,
    }
}

/// The total of lines whose body was read: reading refuses a total that is too large.
fn total_of(lines: &[Line]) -> Amount {
    total(lines.iter().map(|line| (line.quantity, line.unit_price))).unwrap_or(Amount::MAX)
}

/// Applies a merge patch to the editable part of a draft or pending order, in which nothing has
/// been delivered yet.
pub(super) fn edit(order: &Order, patch: OrderPatch) -> Result<Done, Refusal> {
    let mut edited = order.clone();
    if let Some(customer) = patch.customer {
        edited.customer = customer;
    }
    if let Some(lines) = patch.lines {
        replace_lines(&mut edited, lines)?;
    }
    if let Some(patch) = patch.metadata {
        edited.metadata = merge(edited.metadata, &patch)?;
    }
    if edited.status == Status::Pending {
        guard::complete(&edited, &ProcessConfig::default())?;
    }
    if edited == *order {
        return Ok(Done::Unchanged);
    }
    check_money(order, &edited)?;
    Ok(Done::Changed(Box::new(edited)))
}

/// Puts the new lines in the place of all old ones. A line that names its number keeps it; a new
/// line gets a number that no line of this order ever had.
fn replace_lines(order: &mut Order, lines: Vec<PatchLine>) -> Result<(), Refusal> {
    let mut highest = order.highest_line();
    let mut replaced = Vec::with_capacity(lines.len());
    for new in lines {
        let number = match new.line {
            Some(number) if order.lines.iter().any(|line| line.line == number) => number,
            Some(number) => return Err(Refusal::LineUnknown { line: number }),
            None => {
                let bound = "lineNumbers";
                highest = highest
                    .checked_add(1)
                    .ok_or(Refusal::OrderTooLarge { bound })?;
                highest
            }
        };
        let content = NewLine {
            sku: new.sku,
            name: new.name,
            quantity: new.quantity,
            unit_price: new.unit_price,
        };
        replaced.push(line(number, content));
    }
    order.lines = replaced;
    order.total = total_of(&order.lines);
    let present = order.lines.iter().map(|line| line.line).max();
    order.last_line = (present.unwrap_or(0) < highest).then_some(highest);
    let records = std::mem::take(&mut order.payment.records);
    // The sums do not depend on the total, and they were good before.
    order.payment = Payment::of(order.total, records).unwrap_or_default();
    Ok(())
}

/// An edit must not leave more paid than the order costs. Nor may the total rise once money went
/// back: captures are counted whole, so the refunded part would look paid.
fn check_money(before: &Order, after: &Order) -> Result<(), Refusal> {
    let (payment, currency) = (&after.payment, after.currency);
    let (paid, total) = (payment.paid(), after.total);
    if paid > total {
        return Err(Refusal::PaidExceedsTotal {
            paid,
            total,
            currency,
        });
    }
    let refunded = payment.refunded;
    if !refunded.is_zero() && total > before.total {
        return Err(Refusal::TotalRaisedAfterRefund { refunded, currency });
    }
    Ok(())
}

fn merge(metadata: Map<String, Value>, patch: &Value) -> Result<Map<String, Value>, Refusal> {
    let mut merged = Value::Object(metadata);
    json_patch::merge(&mut merged, patch);
    match merged {
        Value::Object(merged) if excess(&merged).is_none() => Ok(merged),
        // `null` in the place of the whole metadata empties it.
        Value::Null => Ok(Map::new()),
        _ => Err(Refusal::OrderTooLarge { bound: "metadata" }),
    }
}
