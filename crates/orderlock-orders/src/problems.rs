//! Every kind of problem that the order process answers with: one list, from which answers and
//! the pages that explain them are made.

/// A kind of problem: the same each time, whatever the order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ProblemKind {
    /// The last part of the problem's `type`.
    pub kind: &'static str,
    /// The HTTP status.
    pub status: u16,
    /// The problem's title.
    pub title: &'static str,
    /// What has happened.
    pub happened: &'static str,
    /// What to do now.
    pub advice: &'static str,
}

macro_rules! problems {
    ($($name:ident = $status:literal $kind:literal, $title:literal, $happened:literal, $advice:literal;)*) => {
        $(pub(crate) const $name: ProblemKind = ProblemKind {
            kind: $kind, status: $status, title: $title, happened: $happened, advice: $advice,
        };)*

        /// Every kind of problem of the order process. 422 says that the body is wrong for any
        /// order, 409 that this order, as it stands, does not allow what was asked.
        pub const PROBLEMS: &[ProblemKind] = &[$($name),*];
    };
}

problems! {
    BODY_MALFORMED = 400 "body-malformed", "The body is not JSON",
        "The body could not be read as JSON. Nothing was done.",
        "Send one JSON value in UTF-8. The same key may be used again.";
    BODY_INVALID = 422 "body-invalid", "The body is not valid",
        "The body is JSON, but not what the operation takes. `errors` lists what is wrong, each \
         with a JSON pointer. Nothing was done.",
        "Correct every part that `errors` names. The same key may be used again.";
    TRANSITION_NOT_ALLOWED = 409 "transition-not-allowed", "The order's state does not allow this",
        "The operation does not start from the state that the order is in. Nothing was changed.",
        "Read the order. `allowed` names the operations that it takes now; send one of them under \
         a new key: `edit` is `PATCH /v1/orders/{id}`, every other one \
         `POST /v1/orders/{id}/{operation}`.";
    ORDER_INCOMPLETE = 409 "order-incomplete", "The order is not complete",
        "An order needs a customer and at least one line from its submission on. `missing` names \
         what it lacks. Nothing was changed.",
        "Edit the order, then send the operation again under a new key.";
    PAYMENT_NOT_AUTHORIZED = 409 "payment-not-authorized", "The payment is not authorized",
        "This installation confirms an order only when its whole total is authorized or paid. \
         `missing` is the part that is not. Nothing was changed.",
        "Record the authorization or the payment, then confirm again under a new key.";
    LINES_FULFILLED = 409 "lines-fulfilled", "Something was delivered already",
        "An order of which something was delivered cannot be cancelled. Nothing was changed.",
        "Resume the order and record what comes back with `return`.";
    PAYMENT_RECORDED = 409 "payment-recorded", "A payment was attempted",
        "An order with a recorded payment does not expire. Nothing was changed.",
        "Confirm the order, or cancel it and refund what was captured.";
    AMOUNT_EXCEEDS_TOTAL = 409 "amount-exceeds-total", "The amount exceeds the order's total",
        "Recorded payments would exceed the order's total. `available` is what is left of it. \
         Nothing was changed.",
        "Read the order, then send an amount of at most `available` under a new key.";
    AMOUNT_EXCEEDS_AUTHORIZATION = 409 "amount-exceeds-authorization",
        "The amount exceeds the authorization",
        "A capture from an order with an authorization may not exceed it. `available` is what is \
         left of it. Nothing was changed.",
        "Authorize more, or send an amount of at most `available`, under a new key.";
    AMOUNT_EXCEEDS_CAPTURED = 409 "amount-exceeds-captured", "The amount exceeds what was captured",
        "Refunds would exceed the captured money. `available` is what was captured and not yet \
         refunded. Nothing was changed.",
        "Read the order, then send an amount of at most `available` under a new key.";
    PAID_EXCEEDS_TOTAL = 409 "paid-exceeds-total", "More is paid than the new total",
        "After this edit more money would be paid than the order costs. `paid` and `total` say how \
         much. Nothing was changed.",
        "Refund the difference first, then send the edit again under a new key.";
    TOTAL_RAISED_AFTER_REFUND = 409 "total-raised-after-refund",
        "The total cannot rise after a refund",
        "Money was refunded on this order. A higher total could no longer be told apart from the \
         refund. Nothing was changed.",
        "Make a new order for what is added.";
    LINE_UNKNOWN = 409 "line-unknown", "The order has no such line",
        "The body names a line that this order does not have. `line` is its number. Nothing was \
         changed.",
        "Read the order and name its lines by their `line`.";
    QUANTITY_EXCEEDS_ORDERED = 409 "quantity-exceeds-ordered",
        "The quantity exceeds what was ordered",
        "More pieces of a line would be delivered than were ordered. `available` is what is still \
         to be delivered of `line`. Nothing was changed.",
        "Read the order, then send a quantity of at most `available` under a new key.";
    QUANTITY_EXCEEDS_FULFILLED = 409 "quantity-exceeds-fulfilled",
        "The quantity exceeds what was delivered",
        "More pieces of a line would come back than were delivered. `available` is what was \
         delivered and did not come back of `line`. Nothing was changed.",
        "Read the order, then send a quantity of at most `available` under a new key.";
    BALANCE_UNPAID = 409 "balance-unpaid", "The order is not paid",
        "An order is completed only when its total has been captured. `balance` is what is \
         missing. Nothing was changed.",
        "Record the capture, then complete the order under a new key.";
    PAYMENT_REFUNDED = 409 "payment-refunded", "Money was refunded",
        "A cancelled order with refunded money cannot be opened again. Nothing was changed.",
        "Make a new order.";
    ORDER_TOO_LARGE = 409 "order-too-large", "The order would exceed a bound",
        "The order would have more than a bound allows. `bound` names it: `document` is the \
         order as a whole. Edits stop at three quarters of what an order may have and news of \
         payments and deliveries at seven eighths, so that what ends an order always finds room. \
         Nothing was changed.",
        "Send less, take lines or metadata away while the order can be edited, or make another \
         order. The operator can raise the bound of the document (`order_limit`).";
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
