//! Deliveries and returns: quantities of lines, and the state that follows from them.

use crate::body::LinesBody;
use crate::model::Line;
use crate::{Order, Refusal, Status};

pub(super) fn fulfill(mut order: Order, body: &LinesBody) -> Result<Order, Refusal> {
    move_pieces(
        &mut order,
        body,
        Line::open,
        |line, available| Refusal::QuantityExceedsOrdered { line, available },
        |line, pieces| line.fulfilled = line.fulfilled.saturating_add(pieces),
    )?;
    order.status = if order.lines.iter().all(|line| line.open() == 0) {
        Status::Fulfilled
    } else {
        Status::PartiallyFulfilled
    };
    Ok(order)
}

pub(super) fn take_back(mut order: Order, body: &LinesBody) -> Result<Order, Refusal> {
    move_pieces(
        &mut order,
        body,
        Line::returnable,
        |line, available| Refusal::QuantityExceedsFulfilled { line, available },
        |line, pieces| line.returned = line.returned.saturating_add(pieces),
    )?;
    order.status = if order.lines.iter().all(|line| line.returnable() == 0) {
        Status::Returned
    } else {
        Status::PartiallyReturned
    };
    Ok(order)
}

/// Moves pieces of the named lines, each line within its own bound.
fn move_pieces(
    order: &mut Order,
    body: &LinesBody,
    available: fn(&Line) -> u32,
    exceeded: fn(u32, u32) -> Refusal,
    apply: fn(&mut Line, u32),
) -> Result<(), Refusal> {
    for wanted in &body.lines {
        let number = wanted.line;
        let found = order.lines.iter_mut().find(|line| line.line == number);
        let line = found.ok_or(Refusal::LineUnknown { line: number })?;
        let available = available(line);
        if wanted.quantity > available {
            return Err(exceeded(number, available));
        }
        apply(line, wanted.quantity);
    }
    Ok(())
}
