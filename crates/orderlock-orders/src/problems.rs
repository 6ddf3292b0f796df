//! Every kind of problem that the order process answers with: one list, from which answers and
//! the pages that explain them are made.

/// A kind of problem, with the texts that are the same for every order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ProcessProblem {
    /// The last part of the problem's `type`.
    pub kind: &'static str,
    /// The HTTP status, from 400 to 499.
    pub status: u16,
    /// The title, the same each time.
    pub title: &'static str,
    /// The cause, in one or two sentences.
    pub happened: &'static str,
    /// What the client can do, in one or two sentences.
    pub advice: &'static str,
}

macro_rules! problems {
    ($($name:ident = $status:literal $kind:literal, $title:literal, $happened:literal, $advice:literal;)*) => {
        $(pub(crate) const $name: ProcessProblem = ProcessProblem {
            kind: $kind, status: $status, title: $title, happened: $happened, advice: $advice,
        };)*

        /// Every kind of problem of the order process. 422 says that the body is wrong for any
        /// order, 409 that this order does not allow the operation now.
        pub const PROBLEMS: &[ProcessProblem] = &[$($name),*];
    };
}

problems! {
    BODY_MALFORMED = 400 "body-malformed", "The body is not JSON",
        "The body is not valid JSON. Nothing was changed.",
        "Send one JSON value in UTF-8. You may use the same key again.";
    BODY_INVALID = 422 "body-invalid", "The body is not valid",
        "The body is JSON, but does not match the operation. `errors` lists each mistake with a \
         JSON pointer. Nothing was changed.",
        "Correct each mistake in `errors`. You may use the same key again.";
    TRANSITION_NOT_ALLOWED = 409 "transition-not-allowed", "The order's state does not allow this",
        "The operation is not allowed in the order's state. Nothing was changed.",
        "Read the order. `allowed` lists the operations that are possible now; send one of them \
         under a new key: `edit` as `PATCH /v1/orders/{id}`, the others as `POST \
         /v1/orders/{id}/{operation}`.";
    ORDER_INCOMPLETE = 409 "order-incomplete", "The order is not complete",
        "A submitted order needs a customer and at least one line. `missing` lists what this \
         order lacks. Nothing was changed.",
        "Edit the order, then send the operation again under a new key.";
    PAYMENT_NOT_AUTHORIZED = 409 "payment-not-authorized", "The payment is not authorized",
        "This installation confirms an order only when its whole total is authorized or paid. \
         `missing` is the amount that is not. Nothing was changed.",
        "Record the authorization or the payment, then confirm again under a new key.";
    LINES_FULFILLED = 409 "lines-fulfilled", "Part of the order was delivered",
        "An order cannot be cancelled after a part of it was delivered. Nothing was changed.",
        "Resume the order if it is on hold, and record returned goods with `return`.";
    PAYMENT_RECORDED = 409 "payment-recorded", "A payment was attempted",
        "An order with a recorded payment cannot expire. Nothing was changed.",
        "Confirm the order, or cancel it and refund what was captured.";
    AMOUNT_EXCEEDS_TOTAL = 409 "amount-exceeds-total", "The amount exceeds the order's total",
        "The recorded payments would exceed the order's total. `available` is the most that is \
         allowed. Nothing was changed.",
        "Read the order, then send an amount of at most `available` under a new key.";
    AMOUNT_EXCEEDS_AUTHORIZATION = 409 "amount-exceeds-authorization",
        "The amount exceeds the authorization",
        "The capture would exceed the order's authorization. `available` is the most that is \
         allowed. Nothing was changed.",
        "Authorize more, or send an amount of at most `available`, under a new key.";
    AMOUNT_EXCEEDS_CAPTURED = 409 "amount-exceeds-captured", "The amount exceeds what was captured",
        "The refunds would exceed the captured money. `available` is what was captured and not \
         yet refunded. Nothing was changed.",
        "Read the order, then send an amount of at most `available` under a new key.";
    PAID_EXCEEDS_TOTAL = 409 "paid-exceeds-total", "More is paid than the new total",
        "After this edit, more money would be paid than the order costs: `paid` against `total`. \
         Nothing was changed.",
        "Refund the difference first, then send the edit again under a new key.";
    TOTAL_RAISED_AFTER_REFUND = 409 "total-raised-after-refund",
        "The total cannot rise after a refund",
        "Money was refunded on this order, so its total can no longer rise: the difference could \
         not be distinguished from the refund. Nothing was changed.",
        "Create a new order for the additional goods.";
    LINE_UNKNOWN = 409 "line-unknown", "The order has no such line",
        "The order has no line with the number `line`. Nothing was changed.",
        "Read the order, and use the numbers in its `line` members.";
    QUANTITY_EXCEEDS_ORDERED = 409 "quantity-exceeds-ordered",
        "The quantity exceeds what was ordered",
        "More of `line` would be delivered than was ordered. `available` is the quantity that is \
         not yet delivered. Nothing was changed.",
        "Read the order, then send a quantity of at most `available` under a new key.";
    QUANTITY_EXCEEDS_FULFILLED = 409 "quantity-exceeds-fulfilled",
        "The quantity exceeds what was delivered",
        "More of `line` would be returned than was delivered. `available` is the quantity that \
         was delivered and not yet returned. Nothing was changed.",
        "Read the order, then send a quantity of at most `available` under a new key.";
    BALANCE_UNPAID = 409 "balance-unpaid", "The order is not paid",
        "An order can be completed only after its total was captured. `balance` is the amount \
         that is missing. Nothing was changed.",
        "Record the capture, then complete the order under a new key.";
    PAYMENT_REFUNDED = 409 "payment-refunded", "Money was refunded",
        "A cancelled order cannot be reopened after money was refunded. Nothing was changed.",
        "Create a new order.";
    ORDER_TOO_LARGE = 409 "order-too-large", "The order would exceed a limit",
        "The order would exceed the limit that `bound` names; `document` is the size of the whole \
         order. Edits may fill three quarters of a limit, payments and deliveries seven eighths; \
         the rest is reserved for operations that end an order. Nothing was changed.",
        "Send less, remove lines or metadata while the order can be edited, or create another \
         order. The operator can raise the limit of the document (`order_limit`).";
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_are_lower_case_words_and_differ() {
        let mut kinds: Vec<_> = PROBLEMS.iter().map(|problem| problem.kind).collect();
        for kind in &kinds {
            assert!(
                kind.chars().all(|c| c.is_ascii_lowercase() || c == '-'),
                "{kind}"
            );
        }
        let count = kinds.len();
        kinds.sort_unstable();
        kinds.dedup();
        assert_eq!(kinds.len(), count);
    }
}
