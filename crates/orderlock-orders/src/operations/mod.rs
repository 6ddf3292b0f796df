//! The operations: total, pure functions from an order and a command to an order or a refusal.

mod edit;
mod fulfilment;
pub(crate) mod guard;
mod payments;
mod state;

use orderlock_core::Outcome;

use crate::body::{self, BodyError, LinesBody, NewOrder, OrderPatch, PaymentBody, ReasonBody};
use crate::process::ProcessConfig;
use crate::room::{self, Room};
use crate::{Order, OrderOperation, PaymentKind, Refusal};

/// An operation with its body, read and found good: ready to run on an order.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
#[allow(missing_docs, reason = "each is the operation of the same name")]
pub enum Command {
    Edit(OrderPatch),
    Submit,
    Confirm,
    Cancel(ReasonBody),
    Expire,
    Hold(ReasonBody),
    Resume,
    AuthorizePayment(PaymentBody),
    CapturePayment(PaymentBody),
    Refund(PaymentBody),
    Fulfill(LinesBody),
    Return(LinesBody),
    Complete,
    Reopen,
}

/// What became of an order that took an operation.
#[derive(Clone, Debug, PartialEq)]
pub enum Done {
    /// The order after the operation.
    Changed(Box<Order>),
    /// It already was as asked.
    Unchanged,
}

impl Command {
    /// Reads the body of an operation on an order; an empty body counts as `{}`.
    ///
    /// # Errors
    /// [`BodyError`] with everything that is wrong with the body; for `create` always, because it
    /// starts from no order: its body is read by [`NewOrder::read`].
    pub fn read(operation: OrderOperation, body: &[u8]) -> Result<Self, BodyError> {
        use OrderOperation as O;
        let empty = |command| body::read_empty(body).map(|()| command);
        match operation {
            O::Create => Err(body::not_on_an_order()),
            O::Edit => body::read_patch(body).map(Self::Edit),
            O::Submit => empty(Self::Submit),
            O::Confirm => empty(Self::Confirm),
            O::Cancel => body::read_reason(body).map(Self::Cancel),
            O::Expire => empty(Self::Expire),
            O::Hold => body::read_reason(body).map(Self::Hold),
            O::Resume => empty(Self::Resume),
            O::AuthorizePayment => body::read_payment(body).map(Self::AuthorizePayment),
            O::CapturePayment => body::read_payment(body).map(Self::CapturePayment),
            O::Refund => body::read_payment(body).map(Self::Refund),
            O::Fulfill => body::read_lines(body).map(Self::Fulfill),
            O::Return => body::read_lines(body).map(Self::Return),
            O::Complete => empty(Self::Complete),
            O::Reopen => empty(Self::Reopen),
        }
    }

    /// The operation of this command.
    #[must_use]
    pub fn operation(&self) -> OrderOperation {
        match self {
            Self::Edit(_) => OrderOperation::Edit,
            Self::Submit => OrderOperation::Submit,
            Self::Confirm => OrderOperation::Confirm,
            Self::Cancel(_) => OrderOperation::Cancel,
            Self::Expire => OrderOperation::Expire,
            Self::Hold(_) => OrderOperation::Hold,
            Self::Resume => OrderOperation::Resume,
            Self::AuthorizePayment(_) => OrderOperation::AuthorizePayment,
            Self::CapturePayment(_) => OrderOperation::CapturePayment,
            Self::Refund(_) => OrderOperation::Refund,
            Self::Fulfill(_) => OrderOperation::Fulfill,
            Self::Return(_) => OrderOperation::Return,
            Self::Complete => OrderOperation::Complete,
            Self::Reopen => OrderOperation::Reopen,
        }
    }

    /// The reason that the body gives, for the journal.
    #[must_use]
    pub fn reason(&self) -> Option<&str> {
        match self {
            Self::Cancel(body) | Self::Hold(body) => body.reason.as_deref(),
            _ => None,
        }
    }
}

/// Runs an operation on an order and says it in the words of the lifecycle: what a handler returns.
pub fn decide(order: Order, command: Command, config: &ProcessConfig) -> Outcome<Order> {
    run(order, command, config).map_or_else(Into::into, Into::into)
}

/// Makes an order.
///
/// # Errors
/// [`Refusal`] if the order would be larger than this installation takes. There is no order then
/// under which the refusal could be stored: the same key may be used again.
pub fn create(new: NewOrder, config: &ProcessConfig) -> Result<Order, Refusal> {
    let order = edit::create(new);
    Room::Content.admits(0, &order, config)?;
    Ok(order)
}

/// Runs an operation on an order: all of it or, with a refusal, nothing of it.
///
/// # Errors
/// [`Refusal`] if the order does not allow the operation now.
pub fn run(order: Order, command: Command, config: &ProcessConfig) -> Result<Done, Refusal> {
    let row = command.operation().row();
    if row.done_in == Some(order.status) {
        return Ok(Done::Unchanged);
    }
    row.admits(&order, config)?;
    let before = room::size_before(&order, config);
    let changed = match command {
        Command::Edit(patch) => match edit::edit(&order, patch)? {
            Done::Changed(edited) => *edited,
            Done::Unchanged => return Ok(Done::Unchanged),
        },
        Command::Submit => state::submit(order),
        Command::Confirm => state::confirm(order),
        Command::Cancel(body) => state::cancel(order, body),
        Command::Expire => state::expire(order),
        Command::Hold(body) => state::hold(order, body),
        Command::Resume => state::resume(order),
        Command::AuthorizePayment(body) => {
            payments::record(order, PaymentKind::Authorization, body)?
        }
        Command::CapturePayment(body) => payments::record(order, PaymentKind::Capture, body)?,
        Command::Refund(body) => payments::record(order, PaymentKind::Refund, body)?,
        Command::Fulfill(body) => fulfilment::fulfill(order, &body)?,
        Command::Return(body) => fulfilment::take_back(order, &body)?,
        Command::Complete => state::complete(order),
        Command::Reopen => state::reopen(order),
    };
    room::room(row.operation, &changed).admits(before, &changed, config)?;
    Ok(Done::Changed(Box::new(changed)))
}
