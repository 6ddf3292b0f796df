//! Why an order does not allow an operation now.

use orderlock_core::{AppliedPart, Outcome, Problem};
use serde_json::{Value, json};

use crate::operations::Done;
use crate::problems::{self, ProcessProblem};
use crate::{Amount, BodyError, Currency, Order, OrderOperation, Status};

/// An operation that the order does not take. Nothing was changed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}", self.detail())]
#[non_exhaustive]
pub enum Refusal {
    /// The operation does not start from the order's state.
    TransitionNotAllowed {
        /// The operation that was refused.
        operation: OrderOperation,
        /// The order's state.
        from: Status,
        /// The operations that the order allows in its state.
        allowed: Vec<OrderOperation>,
    },
    /// The order lacks a customer or lines.
    OrderIncomplete {
        /// The names of the members that it lacks.
        missing: Vec<&'static str>,
    },
    /// The whole total must be authorized or paid before the order is confirmed.
    PaymentNotAuthorized {
        /// The part of the total that is neither authorized nor paid.
        missing: Amount,
        /// The order's currency.
        currency: Currency,
    },
    /// A part of the order was delivered, so it cannot be cancelled.
    LinesFulfilled,
    /// A payment is recorded, so the order cannot expire.
    PaymentRecorded,
    /// The total would be exceeded.
    AmountExceedsTotal {
        /// What is left of it.
        available: Amount,
        /// The order's currency.
        currency: Currency,
    },
    /// The authorization would be exceeded.
    AmountExceedsAuthorization {
        /// What is left of it.
        available: Amount,
        /// The order's currency.
        currency: Currency,
    },
    /// The captured money would be exceeded.
    AmountExceedsCaptured {
        /// What is left of it.
        available: Amount,
        /// The order's currency.
        currency: Currency,
    },
    /// More would be paid than the order costs.
    PaidExceedsTotal {
        /// The captured money, less refunds.
        paid: Amount,
        /// The total after the edit.
        total: Amount,
        /// The order's currency.
        currency: Currency,
    },
    /// The total would rise on an order with refunded money.
    TotalRaisedAfterRefund {
        /// The refunded money.
        refunded: Amount,
        /// The order's currency.
        currency: Currency,
    },
    /// The order has no line of this number.
    LineUnknown {
        /// The line's number in the request.
        line: u32,
    },
    /// More of a line would be delivered than was ordered.
    QuantityExceedsOrdered {
        /// The number of the line.
        line: u32,
        /// What is still to be delivered of it.
        available: u32,
    },
    /// More of a line would come back than was delivered.
    QuantityExceedsFulfilled {
        /// The number of the line.
        line: u32,
        /// What can still come back of it.
        available: u32,
    },
    /// The total has not been captured.
    BalanceUnpaid {
        /// The part of the total that was not captured.
        balance: Amount,
        /// The order's currency.
        currency: Currency,
    },
    /// Money was refunded, so the order cannot be reopened.
    PaymentRefunded,
    /// A bound would be exceeded.
    OrderTooLarge {
        /// Which: `metadata`, `payments` or `lineNumbers`.
        bound: &'static str,
    },
    /// The order's document would have more bytes than the operation may bring it to.
    DocumentTooLarge {
        /// How many it would have.
        size: usize,
        /// How many it may have after such an operation.
        most: usize,
    },
}

impl Refusal {
    /// What kind of problem it is.
    #[must_use]
    pub fn kind(&self) -> &'static ProcessProblem {
        match self {
            Self::TransitionNotAllowed { .. } => &problems::TRANSITION_NOT_ALLOWED,
            Self::OrderIncomplete { .. } => &problems::ORDER_INCOMPLETE,
            Self::PaymentNotAuthorized { .. } => &problems::PAYMENT_NOT_AUTHORIZED,
            Self::LinesFulfilled => &problems::LINES_FULFILLED,
            Self::PaymentRecorded => &problems::PAYMENT_RECORDED,
            Self::AmountExceedsTotal { .. } => &problems::AMOUNT_EXCEEDS_TOTAL,
            Self::AmountExceedsAuthorization { .. } => &problems::AMOUNT_EXCEEDS_AUTHORIZATION,
            Self::AmountExceedsCaptured { .. } => &problems::AMOUNT_EXCEEDS_CAPTURED,
            Self::PaidExceedsTotal { .. } => &problems::PAID_EXCEEDS_TOTAL,
            Self::TotalRaisedAfterRefund { .. } => &problems::TOTAL_RAISED_AFTER_REFUND,
            Self::LineUnknown { .. } => &problems::LINE_UNKNOWN,
            Self::QuantityExceedsOrdered { .. } => &problems::QUANTITY_EXCEEDS_ORDERED,
            Self::QuantityExceedsFulfilled { .. } => &problems::QUANTITY_EXCEEDS_FULFILLED,
            Self::BalanceUnpaid { .. } => &problems::BALANCE_UNPAID,
            Self::PaymentRefunded => &problems::PAYMENT_REFUNDED,
            Self::OrderTooLarge { .. } | Self::DocumentTooLarge { .. } => {
                &problems::ORDER_TOO_LARGE
            }
        }
    }

    /// What happened to this order, in a sentence. The kind's advice says what to do.
    fn detail(&self) -> String {
        match self {
            Self::TransitionNotAllowed {
                operation, from, ..
            } => {
                format!("`{operation}` is not allowed in the state `{from}`.")
            }
            Self::OrderIncomplete { missing } => {
                format!("The order lacks: {}.", missing.join(", "))
            }
            Self::PaymentNotAuthorized { missing, currency } => format!(
                "{} of the total is neither authorized nor paid.",
                currency.show(*missing)
            ),
            Self::LinesFulfilled => "A part of the order was delivered.".to_owned(),
            Self::PaymentRecorded => "The order has a recorded payment.".to_owned(),
            Self::AmountExceedsTotal {
                available,
                currency,
            } => {
                format!("{} is left of the total.", currency.show(*available))
            }
            Self::AmountExceedsAuthorization {
                available,
                currency,
            } => {
                format!(
                    "{} is left of the authorization.",
                    currency.show(*available)
                )
            }
            Self::AmountExceedsCaptured {
                available,
                currency,
            } => format!(
                "{} is left of the captured money.",
                currency.show(*available)
            ),
            Self::PaidExceedsTotal {
                paid,
                total,
                currency,
            } => format!(
                "{} is paid, and the new total would be {}.",
                currency.show(*paid),
                currency.show(*total)
            ),
            Self::TotalRaisedAfterRefund { refunded, currency } => {
                format!("{} was refunded on this order.", currency.show(*refunded))
            }
            Self::LineUnknown { line } => format!("The order has no line {line}."),
            Self::QuantityExceedsOrdered { line, available } => {
                format!("At most {available} pieces of line {line} can be delivered.")
            }
            Self::QuantityExceedsFulfilled { line, available } => {
                format!("At most {available} pieces of line {line} can be returned.")
            }
            Self::BalanceUnpaid { balance, currency } => {
                format!("{} was never captured.", currency.show(*balance))
            }
            Self::PaymentRefunded => "Captured money of the order was refunded.".to_owned(),
            Self::OrderTooLarge { bound } => format!("The limit on its {bound} is reached."),
            Self::DocumentTooLarge { size, most } => {
                format!("It would have {size} bytes, and the limit for this operation is {most}.")
            }
        }
    }

    /// The members that the problem has of its own.
    fn members(&self) -> Vec<(&'static str, Value)> {
        match self {
            Self::TransitionNotAllowed {
                operation,
                from,
                allowed,
            } => vec![
                ("from", json!(from)),
                ("operation", json!(operation)),
                ("allowed", json!(allowed)),
            ],
            Self::OrderIncomplete { missing } => vec![("missing", json!(missing))],
            Self::PaymentNotAuthorized { missing, .. } => vec![("missing", json!(missing))],
            Self::AmountExceedsTotal { available, .. }
            | Self::AmountExceedsAuthorization { available, .. }
            | Self::AmountExceedsCaptured { available, .. } => {
                vec![("available", json!(available))]
            }
            Self::PaidExceedsTotal { paid, total, .. } => {
                vec![("paid", json!(paid)), ("total", json!(total))]
            }
            Self::TotalRaisedAfterRefund { refunded, .. } => vec![("refunded", json!(refunded))],
            Self::LineUnknown { line } => vec![("line", json!(line))],
            Self::QuantityExceedsOrdered { line, available }
            | Self::QuantityExceedsFulfilled { line, available } => {
                vec![("line", json!(line)), ("available", json!(available))]
            }
            Self::BalanceUnpaid { balance, .. } => vec![("balance", json!(balance))],
            Self::OrderTooLarge { bound } => vec![("bound", json!(bound))],
            Self::DocumentTooLarge { size, most } => vec![
                ("bound", json!("document")),
                ("size", json!(size)),
                ("most", json!(most)),
            ],
            Self::LinesFulfilled | Self::PaymentRecorded | Self::PaymentRefunded => Vec::new(),
        }
    }
}

impl ProcessProblem {
    fn problem(&self, detail: &str) -> Problem {
        Problem::new(self.status, self.kind, self.title)
            .with_detail(format!("{detail} {}", self.advice))
            .applied(AppliedPart::None)
    }
}

impl From<Refusal> for Problem {
    fn from(refusal: Refusal) -> Self {
        let problem = refusal.kind().problem(&refusal.detail());
        let members = refusal.members().into_iter();
        members.fold(problem, |problem, (name, value)| {
            problem.with_member(name, value)
        })
    }
}

impl From<BodyError> for Problem {
    fn from(error: BodyError) -> Self {
        match error {
            BodyError::Malformed(place) => {
                problems::BODY_MALFORMED.problem(&format!("The text is not JSON: {place}."))
            }
            BodyError::Invalid(invalid) => {
                let detail = match invalid.errors.len() {
                    1 => "The body has one error; `errors` says where.".to_owned(),
                    count => format!("The body has {count} errors; `errors` lists them."),
                };
                problems::BODY_INVALID
                    .problem(&detail)
                    .with_member("errors", json!(invalid.errors))
            }
        }
    }
}

impl From<Done> for Outcome<Order> {
    fn from(done: Done) -> Self {
        match done {
            Done::Changed(order) => Self::Applied(*order),
            Done::Unchanged => Self::Unchanged,
        }
    }
}

impl From<Refusal> for Outcome<Order> {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal.into())
    }
}
