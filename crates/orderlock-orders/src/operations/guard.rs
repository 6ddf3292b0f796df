//! Whether an order allows an operation at all, apart from its state and the body. The table names
//! these, so that a button is shown exactly when its operation can succeed.

use super::payments;
use crate::process::ProcessConfig;
use crate::{Order, PaymentKind, Refusal};

pub(crate) fn nothing(_: &Order, _: &ProcessConfig) -> Result<(), Refusal> {
    Ok(())
}

/// The order has a customer and a line.
pub(crate) fn complete(order: &Order, _: &ProcessConfig) -> Result<(), Refusal> {
    let mut missing = Vec::new();
    if order.customer.is_none() {
        missing.push("customer");
    }
    if order.lines.is_empty() {
        missing.push("lines");
    }
    if missing.is_empty() {
        return Ok(());
    }
    Err(Refusal::OrderIncomplete { missing })
}

/// The total is authorized or paid, if the configuration requires that.
pub(crate) fn secured(order: &Order, config: &ProcessConfig) -> Result<(), Refusal> {
    let missing = order.payment.unsecured(order.total);
    if missing.is_zero() || !config.confirm_needs_payment {
        return Ok(());
    }
    Err(Refusal::PaymentNotAuthorized {
        missing,
        currency: order.currency,
    })
}

pub(crate) fn unfulfilled(order: &Order, _: &ProcessConfig) -> Result<(), Refusal> {
    if order.anything_fulfilled() {
        return Err(Refusal::LinesFulfilled);
    }
    Ok(())
}

pub(crate) fn without_payment(order: &Order, _: &ProcessConfig) -> Result<(), Refusal> {
    if order.payment.records.is_empty() {
        return Ok(());
    }
    Err(Refusal::PaymentRecorded)
}

pub(crate) fn authorizable(order: &Order, config: &ProcessConfig) -> Result<(), Refusal> {
    payments::recordable(order, PaymentKind::Authorization, config)
}

pub(crate) fn capturable(order: &Order, config: &ProcessConfig) -> Result<(), Refusal> {
    payments::recordable(order, PaymentKind::Capture, config)
}

pub(crate) fn refundable(order: &Order, config: &ProcessConfig) -> Result<(), Refusal> {
    payments::recordable(order, PaymentKind::Refund, config)
}

pub(crate) fn paid(order: &Order, _: &ProcessConfig) -> Result<(), Refusal> {
    let balance = order.balance();
    if balance.is_zero() {
        return Ok(());
    }
    Err(Refusal::BalanceUnpaid {
        balance,
        currency: order.currency,
    })
}

/// Nothing was refunded, and the order is fit to be pending: it may have been cancelled as a draft.
pub(crate) fn reopenable(order: &Order, config: &ProcessConfig) -> Result<(), Refusal> {
    if !order.payment.refunded.is_zero() {
        return Err(Refusal::PaymentRefunded);
    }
    complete(order, config)
}
