//! The operations of the process by name, and what the table says of each.

use std::fmt;

use serde::{Serialize, Serializer};

use crate::problems::TRANSITION_NOT_ALLOWED;
use crate::process::{ProcessConfig, available};
use crate::{Order, ProcessProblem, Refusal, Room, Status};

macro_rules! operations {
    ($($(#[$doc:meta])* $variant:ident = $name:literal;)*) => {
        /// An operation of the process.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum OrderOperation { $($(#[$doc])* $variant),* }

        impl OrderOperation {
            /// Every operation, in the order of the table.
            pub const ALL: &[Self] = &[$(Self::$variant),*];

            /// Its name in routes, answers and the journal.
            #[must_use]
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $name),* }
            }
        }
    };
}

operations! {
    /// Creates an order.
    Create = "create";
    /// Changes lines, customer or metadata.
    Edit = "edit";
    /// Turns a draft into a pending order.
    Submit = "submit";
    /// Turns a pending order into a confirmed one.
    Confirm = "confirm";
    /// Cancels an order: goods that are not delivered never will be.
    Cancel = "cancel";
    /// Ends a pending order without any recorded payment.
    Expire = "expire";
    /// Puts an order on hold.
    Hold = "hold";
    /// Returns an order from hold to the state before.
    Resume = "resume";
    /// Records a payment provider's authorization.
    AuthorizePayment = "authorize-payment";
    /// Records captured money, from an authorization or directly.
    CapturePayment = "capture-payment";
    /// Records refunded money.
    Refund = "refund";
    /// Records delivered pieces.
    Fulfill = "fulfill";
    /// Records returned pieces.
    Return = "return";
    /// Ends an order that is delivered and paid.
    Complete = "complete";
    /// Turns a cancelled order into a pending one.
    Reopen = "reopen";
}

impl OrderOperation {
    /// The operation with this name, such as `capture-payment`.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL
            .iter()
            .copied()
            .find(|operation| operation.as_str() == name)
    }

    /// The operation's row in [`TABLE`](crate::TABLE).
    #[must_use]
    pub fn row(self) -> &'static OperationRow {
        crate::process::row(self)
    }

    /// What the lifecycle is to know of it: its name, and that it touches nothing but the order.
    #[must_use]
    pub fn to_core(self) -> orderlock_core::Operation {
        orderlock_core::Operation::named(self.as_str()).pure()
    }
}

impl fmt::Display for OrderOperation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Serialize for OrderOperation {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

/// The state of the order after an operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum To {
    /// One of these states; the lines or the body decide which.
    OneOf(&'static [Status]),
    /// The state before the operation.
    Same,
    /// The state before the hold.
    BeforeHold,
}

/// What an operation takes as its body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BodyShape {
    /// A new order: see [`NewOrder`](crate::NewOrder).
    NewOrder,
    /// A JSON merge patch: see [`OrderPatch`](crate::OrderPatch).
    Patch,
    /// `{}` or no body at all.
    Empty,
    /// An optional reason: see [`ReasonBody`](crate::ReasonBody).
    Reason,
    /// An amount and a reference: see [`PaymentBody`](crate::PaymentBody).
    Payment,
    /// Quantities of lines: see [`LinesBody`](crate::LinesBody).
    Lines,
}

impl BodyShape {
    /// Its members; those that may be left out end in `?`.
    #[must_use]
    pub fn members(self) -> &'static [&'static str] {
        match self {
            Self::NewOrder => &["currency", "customer?", "lines?", "metadata?", "submit?"],
            Self::Patch => &["customer?", "lines?", "metadata?"],
            Self::Empty => &[],
            Self::Reason => &["reason?"],
            Self::Payment => &["amount", "reference?"],
            Self::Lines => &["lines"],
        }
    }
}

/// One operation of the process.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct OperationRow {
    /// The operation of this row.
    pub operation: OrderOperation,
    /// The text of a button for the operation, such as `Confirm`.
    pub label: &'static str,
    /// The text of the operation in a history, such as `Confirmed`.
    pub done: &'static str,
    /// What it does, in a sentence.
    pub summary: &'static str,
    /// The states that it starts from; none for `create`.
    pub from: &'static [Status],
    /// The state after the operation.
    pub to: To,
    /// The body that the operation takes.
    pub body: BodyShape,
    /// What it does to the order's size.
    pub room: Room,
    /// The state in which it finds its work done: it answers success and changes nothing.
    pub done_in: Option<Status>,
    /// When it is refused although the state is right; empty for never.
    pub refused_when: &'static str,
    /// How it is refused although the state is right.
    pub(crate) refusals: &'static [&'static ProcessProblem],
    /// Whether the order allows the operation at all, apart from its state and the body.
    pub(crate) guard: fn(&Order, &ProcessConfig) -> Result<(), Refusal>,
}

impl OperationRow {
    /// The method and the path of its route.
    #[must_use]
    pub fn route(&self) -> (&'static str, String) {
        match self.operation {
            OrderOperation::Create => ("POST", "/v1/orders".to_owned()),
            OrderOperation::Edit => ("PATCH", "/v1/orders/{id}".to_owned()),
            operation => ("POST", format!("/v1/orders/{{id}}/{operation}")),
        }
    }

    /// Every kind of problem that an order can refuse the operation with.
    pub fn problems(&self) -> impl Iterator<Item = &'static ProcessProblem> + use<> {
        let anywhere =
            self.operation == OrderOperation::Create || self.from.len() == Status::ALL.len();
        let state = (!anywhere).then_some(&TRANSITION_NOT_ALLOWED);
        state.into_iter().chain(self.refusals.iter().copied())
    }

    /// Refuses the operation if the order cannot allow it, with any body.
    pub(crate) fn admits(&self, order: &Order, config: &ProcessConfig) -> Result<(), Refusal> {
        if self.from.contains(&order.status) {
            return (self.guard)(order, config);
        }
        Err(Refusal::TransitionNotAllowed {
            operation: self.operation,
            from: order.status,
            allowed: available(order, config),
        })
    }
}
