//! The rules that every stored order must meet, also one that another program wrote.
//!
//! Only contradictions are looked for. A bound that is lowered one day must not make the orders of
//! yesterday unreadable.

use std::collections::BTreeSet;

use crate::model::Order;
use crate::process::row;
use crate::{Amount, OrderOperation, Status};

/// The sum of quantity times unit price; `None` if it is beyond the largest amount.
pub(crate) fn total(prices: impl IntoIterator<Item = (u32, Amount)>) -> Option<Amount> {
    prices
        .into_iter()
        .try_fold(Amount::ZERO, |sum, (quantity, price)| {
            sum.plus(price.times(quantity)?)
        })
}

/// Finds the first contradiction in an order.
pub(crate) fn check(order: &Order) -> Result<(), &'static str> {
    let mut numbers = BTreeSet::new();
    for line in &order.lines {
        if line.line == 0 || !numbers.insert(line.line) {
            return Err("a line number is zero or given twice");
        }
        if u64::from(line.fulfilled) + u64::from(line.cancelled) > u64::from(line.quantity) {
            return Err("more pieces of a line are fulfilled and cancelled than were ordered");
        }
        if line.returned > line.fulfilled {
            return Err("more pieces of a line are returned than were fulfilled");
        }
    }
    let last_present = numbers.last().copied().unwrap_or(0);
    if order.last_line.is_some_and(|last| last <= last_present) {
        return Err("the last line number is lower than that of a line");
    }
    let lines = order.lines.iter();
    if total(lines.map(|line| (line.quantity, line.unit_price))) != Some(order.total) {
        return Err("the total is not the sum of the lines");
    }
    if !order.payment.agrees(order.total) {
        return Err("the payment's sums do not match its records");
    }
    let may_hold = row(OrderOperation::Hold).from;
    match (&order.hold, order.status) {
        (Some(hold), Status::OnHold) if may_hold.contains(&hold.from) => Ok(()),
        (None, status) if status != Status::OnHold => Ok(()),
        _ => Err("an order is on hold exactly if it has its state before the hold"),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use crate::Order;

    fn stored() -> Value {
        json!({
            "status": "onHold", "customer": "cus_42", "currency": "EUR",
            "lines": [{"line": 1, "sku": "TEA-250", "name": "Green tea", "quantity": 3,
                       "unitPrice": 1299, "fulfilled": 2, "returned": 1, "cancelled": 1}],
            "total": 3897,
            "payment": {"status": "partiallyPaid", "authorized": 0, "captured": 100, "refunded": 0,
                        "records": [{"kind": "capture", "amount": 100, "reference": "ch_1"}]},
            "metadata": {}, "hold": {"from": "partiallyFulfilled"}, "lastLine": 2
        })
    }

    #[test]
    fn an_order_that_agrees_with_itself_is_read() {
        let order: Order = serde_json::from_value(stored()).unwrap();
        assert_eq!(serde_json::to_value(&order).unwrap(), stored());
    }

    #[test]
    fn a_contradiction_is_found() {
        let damages = [
            ("/total", json!(3896)),
            ("/total", json!(9_007_199_254_740_992_u64)),
            ("/lines/0/line", json!(0)),
            ("/lines/0/fulfilled", json!(3)),
            ("/lines/0/returned", json!(3)),
            ("/lines/0/cancelled", json!(u32::MAX)),
            ("/lines/0/quantity", json!(4)),
            ("/lines/0/unitPrice", json!(9_007_199_254_740_991_u64)),
            ("/payment/status", json!("paid")),
            ("/payment/captured", json!(99)),
            ("/payment/records/0/kind", json!("refund")),
            ("/status", json!("pending")),
            ("/hold/from", json!("cancelled")),
            ("/lastLine", json!(1)),
            ("/currency", json!("ABC")),
        ];
        for (pointer, value) in damages {
            let mut document = stored();
            *document.pointer_mut(pointer).unwrap() = value;
            let error = serde_json::from_value::<Order>(document).unwrap_err();
            println!("{pointer}: {error}");
        }
    }

    #[test]
    fn an_unknown_member_is_not_dropped_in_silence() {
        let mut document = stored();
        document["discount"] = json!(5);
        assert!(serde_json::from_value::<Order>(document).is_err());
    }
}
