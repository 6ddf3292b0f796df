//! The operations that only move an order from state to state. The table and its guards have
//! decided before that they may.

use crate::body::ReasonBody;
use crate::model::Hold;
use crate::{Order, Status};

pub(super) fn submit(mut order: Order) -> Order {
    order.status = Status::Pending;
    order
}

pub(super) fn confirm(mut order: Order) -> Order {
    order.status = Status::Confirmed;
    order
}

/// Calls the order off: everything that is not delivered is cancelled, line by line.
pub(super) fn cancel(mut order: Order, body: ReasonBody) -> Order {
    for line in &mut order.lines {
        line.cancelled = line.cancelled.saturating_add(line.open());
    }
    order.status = Status::Cancelled;
    order.hold = None;
    order.cancel_reason = body.reason;
    order
}

pub(super) fn expire(mut order: Order) -> Order {
    order.status = Status::Expired;
    order
}

pub(super) fn hold(mut order: Order, body: ReasonBody) -> Order {
    order.hold = Some(Hold {
        from: order.status,
        reason: body.reason,
    });
    order.status = Status::OnHold;
    order
}

pub(super) fn resume(mut order: Order) -> Order {
    // An order on hold always says what it was before: reading it checks that.
    if let Some(hold) = order.hold.take() {
        order.status = hold.from;
    }
    order
}

pub(super) fn complete(mut order: Order) -> Order {
    order.status = Status::Completed;
    order
}

/// Takes a cancellation back: what it cancelled is open again.
pub(super) fn reopen(mut order: Order) -> Order {
    for line in &mut order.lines {
        line.cancelled = 0;
    }
    order.status = Status::Pending;
    order.cancel_reason = None;
    order
}
