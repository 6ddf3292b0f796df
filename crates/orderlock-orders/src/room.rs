//! How large an order may become. Edits reach their limit first, records of payments and deliveries
//! later, and operations that move or end an order always have room: an order that is full can
//! still be cancelled, and its money can go back.

use std::io::{self, Write};

use crate::bounds::{PAYMENTS_MAX, STEP_BYTES_MAX};
use crate::{Order, OrderOperation, ProcessConfig, Refusal};

/// What an operation does to the size of its order: a column of the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Room {
    /// It says what the order is made of: up to three quarters of the bounds.
    Content,
    /// It records what has happened: up to seven eighths.
    News,
    /// It moves the order, ends it, or gives all of its money back: always.
    Step,
}

impl Room {
    /// The most bytes that an operation of this kind may bring an order to.
    fn bytes(self, before: usize, config: &ProcessConfig) -> usize {
        let whole = config.order_bytes_max;
        match self {
            Self::Content => whole / 4 * 3,
            Self::News => whole / 8 * 7,
            // An order that was stored under a higher limit can be ended too.
            Self::Step => whole.max(before.saturating_add(STEP_BYTES_MAX)),
        }
    }

    /// Refuses an order that would have grown beyond what operations of this kind may bring it to.
    /// One that was larger before may change as long as it does not grow.
    pub(crate) fn admits(
        self,
        before: usize,
        after: &Order,
        config: &ProcessConfig,
    ) -> Result<(), Refusal> {
        let most = self.bytes(before, config);
        // Nothing but an edit adds more than this.
        if self != Self::Content && before.saturating_add(STEP_BYTES_MAX) <= most {
            return Ok(());
        }
        let size = size(after);
        if size <= most.max(before) {
            return Ok(());
        }
        Err(Refusal::DocumentTooLarge { size, most })
    }

    /// Refuses news that could not be recorded however short it is.
    pub(crate) fn admits_news(order: &Order, config: &ProcessConfig) -> Result<(), Refusal> {
        let (size, most) = (size(order), Self::News.bytes(0, config));
        if size < most {
            return Ok(());
        }
        Err(Refusal::DocumentTooLarge { size, most })
    }
}

/// The most payments that may be recorded before the one that gives all of the money back.
pub(crate) const PAYMENTS_NEWS_MAX: usize = PAYMENTS_MAX / 8 * 7;

/// What kind an operation is for this order as it leaves it: the refund of all that is left ends
/// the money's part of it, and always finds room.
pub(crate) fn room(operation: OrderOperation, after: &Order) -> Room {
    if operation == OrderOperation::Refund && after.payment.paid().is_zero() {
        return Room::Step;
    }
    operation.row().room
}

/// How many bytes the order's document has.
pub(crate) fn size(order: &Order) -> usize {
    let mut counted = Counted(0);
    // An order can always be written; if one could not, it is the lifecycle that says so.
    match serde_json::to_writer(&mut counted, order) {
        Ok(()) => counted.0,
        Err(_) => 0,
    }
}

/// Counts what is written to it.
struct Counted(usize);

impl Write for Counted {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0 = self.0.saturating_add(bytes.len());
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
