//! The order process: one table. Routes, refusals, OpenAPI, documents and buttons are derived from
//! it, so that none of them says what another denies.

use crate::bounds::ORDER_BYTES_DEFAULT;
use crate::operation::{BodyShape, OperationRow, To};
use crate::operations::guard;
use crate::{Order, OrderOperation, Room, Status};

use crate::problems as P;
use OrderOperation as O;
use Status::{
    Cancelled, Completed, Confirmed, Draft, Expired, Fulfilled, OnHold, PartiallyFulfilled,
    PartiallyReturned, Pending, Returned,
};

/// What an installation may choose about the process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProcessConfig {
    /// Whether `confirm` needs the whole total authorized or paid.
    pub confirm_needs_payment: bool,
    /// The most bytes that an order's document may have. Edits stop at three quarters of it, and
    /// news of payments and deliveries at seven eighths, so that what ends an order finds room in
    /// what is left: see [`Room`]. That holds from
    /// [`ORDER_BYTES_LEAST`](crate::bounds::ORDER_BYTES_LEAST) on.
    pub order_bytes_max: usize,
}

impl Default for ProcessConfig {
    fn default() -> Self {
        Self {
            confirm_needs_payment: false,
            order_bytes_max: ORDER_BYTES_DEFAULT,
        }
    }
}

const PAYABLE: &[Status] = &[Pending, Confirmed, PartiallyFulfilled, Fulfilled];

/// Every operation of the process, one row each, `create` first.
pub const TABLE: &[OperationRow] = &[
    OperationRow {
        operation: O::Create,
        label: "Create",
        done: "Created",
        summary: "Creates an order, as a draft or submitted at once.",
        from: &[],
        to: To::OneOf(&[Draft, Pending]),
        body: BodyShape::NewOrder,
        room: Room::Content,
        done_in: None,
        refused_when: "the body is not valid",
        refusals: &[&P::ORDER_TOO_LARGE],
        guard: guard::nothing,
    },
    OperationRow {
        operation: O::Edit,
        label: "Edit",
        done: "Edited",
        summary: "Changes lines, customer and metadata by a JSON merge patch.",
        from: &[Draft, Pending],
        to: To::Same,
        body: BodyShape::Patch,
        room: Room::Content,
        done_in: None,
        refused_when: "more is paid than the new total; the total would rise after a refund; \
                       a pending order would lose its customer or its last line",
        refusals: &[
            &P::ORDER_INCOMPLETE,
            &P::PAID_EXCEEDS_TOTAL,
            &P::TOTAL_RAISED_AFTER_REFUND,
            &P::LINE_UNKNOWN,
            &P::ORDER_TOO_LARGE,
        ],
        guard: guard::nothing,
    },
    OperationRow {
        operation: O::Submit,
        label: "Submit",
        done: "Submitted",
        summary: "Submits a draft.",
        from: &[Draft],
        to: To::OneOf(&[Pending]),
        body: BodyShape::Empty,
        room: Room::Step,
        done_in: Some(Pending),
        refused_when: "it has no lines or no customer",
        refusals: &[&P::ORDER_INCOMPLETE],
        guard: guard::complete,
    },
    OperationRow {
        operation: O::Confirm,
        label: "Confirm",
        done: "Confirmed",
        summary: "Confirms a pending order.",
        from: &[Pending],
        to: To::OneOf(&[Confirmed]),
        body: BodyShape::Empty,
        room: Room::Step,
        done_in: Some(Confirmed),
        refused_when: "payment is required by configuration and not authorized",
        refusals: &[&P::PAYMENT_NOT_AUTHORIZED],
        guard: guard::secured,
    },
    OperationRow {
        operation: O::Cancel,
        label: "Cancel",
        done: "Cancelled",
        summary: "Cancels an order. Nothing more will be delivered.",
        from: &[Draft, Pending, Confirmed, OnHold],
        to: To::OneOf(&[Cancelled]),
        body: BodyShape::Reason,
        room: Room::Step,
        done_in: Some(Cancelled),
        refused_when: "anything is fulfilled",
        refusals: &[&P::LINES_FULFILLED],
        guard: guard::unfulfilled,
    },
    OperationRow {
        operation: O::Expire,
        label: "Expire",
        done: "Expired",
        summary: "Ends a pending order that has no payment.",
        from: &[Pending],
        to: To::OneOf(&[Expired]),
        body: BodyShape::Empty,
        room: Room::Step,
        done_in: Some(Expired),
        refused_when: "a payment is recorded",
        refusals: &[&P::PAYMENT_RECORDED],
        guard: guard::without_payment,
    },
    OperationRow {
        operation: O::Hold,
        label: "Hold",
        done: "Put on hold",
        summary: "Puts an order on hold.",
        from: &[Pending, Confirmed, PartiallyFulfilled],
        to: To::OneOf(&[OnHold]),
        body: BodyShape::Reason,
        room: Room::Step,
        done_in: Some(OnHold),
        refused_when: "",
        refusals: &[],
        guard: guard::nothing,
    },
    OperationRow {
        operation: O::Resume,
        label: "Resume",
        done: "Resumed",
        summary: "Returns an order from hold to its state before.",
        from: &[OnHold],
        to: To::BeforeHold,
        body: BodyShape::Empty,
        room: Room::Step,
        done_in: None,
        refused_when: "",
        refusals: &[],
        guard: guard::nothing,
    },
    OperationRow {
        operation: O::AuthorizePayment,
        label: "Authorize payment",
        done: "Payment authorized",
        summary: "Records a payment provider's authorization.",
        from: PAYABLE,
        to: To::Same,
        body: BodyShape::Payment,
        room: Room::News,
        done_in: None,
        refused_when: "over the total",
        refusals: &[&P::AMOUNT_EXCEEDS_TOTAL, &P::ORDER_TOO_LARGE],
        guard: guard::authorizable,
    },
    OperationRow {
        operation: O::CapturePayment,
        label: "Capture payment",
        done: "Payment captured",
        summary: "Records captured money, from an authorization or directly.",
        from: PAYABLE,
        to: To::Same,
        body: BodyShape::Payment,
        room: Room::News,
        done_in: None,
        refused_when: "over the total, or over the authorization where there is one",
        refusals: &[
            &P::AMOUNT_EXCEEDS_TOTAL,
            &P::AMOUNT_EXCEEDS_AUTHORIZATION,
            &P::ORDER_TOO_LARGE,
        ],
        guard: guard::capturable,
    },
    OperationRow {
        operation: O::Refund,
        label: "Refund",
        done: "Payment refunded",
        summary: "Records refunded money.",
        from: &Status::ALL,
        to: To::Same,
        body: BodyShape::Payment,
        room: Room::News,
        done_in: None,
        refused_when: "over the captured amount",
        refusals: &[&P::AMOUNT_EXCEEDS_CAPTURED, &P::ORDER_TOO_LARGE],
        guard: guard::refundable,
    },
    OperationRow {
        operation: O::Fulfill,
        label: "Fulfill",
        done: "Delivered",
        summary: "Records a delivery.",
        from: &[Confirmed, PartiallyFulfilled],
        to: To::OneOf(&[PartiallyFulfilled, Fulfilled]),
        body: BodyShape::Lines,
        room: Room::News,
        done_in: None,
        refused_when: "over the ordered quantity",
        refusals: &[
            &P::LINE_UNKNOWN,
            &P::QUANTITY_EXCEEDS_ORDERED,
            &P::ORDER_TOO_LARGE,
        ],
        guard: guard::nothing,
    },
    OperationRow {
        operation: O::Return,
        label: "Return",
        done: "Returned",
        summary: "Records returned goods.",
        from: &[PartiallyFulfilled, Fulfilled, Completed, PartiallyReturned],
        to: To::OneOf(&[PartiallyReturned, Returned]),
        body: BodyShape::Lines,
        room: Room::News,
        done_in: None,
        refused_when: "over the fulfilled quantity",
        refusals: &[
            &P::LINE_UNKNOWN,
            &P::QUANTITY_EXCEEDS_FULFILLED,
            &P::ORDER_TOO_LARGE,
        ],
        guard: guard::nothing,
    },
    OperationRow {
        operation: O::Complete,
        label: "Complete",
        done: "Completed",
        summary: "Completes an order that is delivered and paid.",
        from: &[Fulfilled],
        to: To::OneOf(&[Completed]),
        body: BodyShape::Empty,
        room: Room::Step,
        done_in: Some(Completed),
        refused_when: "a balance is unpaid",
        refusals: &[&P::BALANCE_UNPAID],
        guard: guard::paid,
    },
    OperationRow {
        operation: O::Reopen,
        label: "Reopen",
        done: "Reopened",
        summary: "Reopens a cancelled order as pending.",
        from: &[Cancelled],
        to: To::OneOf(&[Pending]),
        body: BodyShape::Empty,
        room: Room::Step,
        done_in: None,
        refused_when: "money was refunded, or it has no lines or no customer",
        refusals: &[&P::ORDER_INCOMPLETE, &P::PAYMENT_REFUNDED],
        guard: guard::reopenable,
    },
];

/// The row of an operation.
pub(crate) const fn row(operation: OrderOperation) -> &'static OperationRow {
    // The rows are in the order of the names; a test compares them.
    &TABLE[operation as usize]
}

/// The operations that start from a state, in the order of the table. [`available`] also asks
/// whether a certain order takes them.
#[must_use]
pub fn allowed(status: Status) -> Vec<OrderOperation> {
    let starts = TABLE.iter().filter(|row| row.from.contains(&status));
    starts.map(|row| row.operation).collect()
}

/// The operations that an order takes now, in the order of the table: what a refusal lists as
/// `allowed`, and which buttons are shown. Only a wrong body can still make one of them fail.
#[must_use]
pub fn available(order: &Order, config: &ProcessConfig) -> Vec<OrderOperation> {
    let taken = TABLE
        .iter()
        .filter(|row| row.from.contains(&order.status) && (row.guard)(order, config).is_ok());
    taken.map(|row| row.operation).collect()
}
