//! The operations of the process by name, and what the table says of each.

use std::fmt;

use serde::{Serialize, Serializer};

use crate::problems::TRANSITION_NOT_ALLOWED;
use crate::process::{ProcessConfig, available};
use crate::{Order, ProblemKind, Refusal, Room, Status};

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
    /// Makes an order.
    Create = "create";
    /// Changes lines, customer or metadata.
    Edit = "edit";
    /// Hands a draft in.
    Submit = "submit";
    /// Accepts a pending order.
    Confirm = "confirm";
    /// Calls an order off.
    Cancel = "cancel";
    /// Gives up on an order that was never paid.
    Expire = "expire";
    /// Sets an order aside.
    Hold = "hold";
    /// Goes on where the order stood.
    Resume = "resume";
    /// Records that money is kept ready.
    AuthorizePayment = "authorize-payment";
    /// Records that money was taken.
    CapturePayment = "capture-payment";
    /// Records that money went back.
    Refund = "refund";
    /// Records a delivery.
    Fulfill = "fulfill";
    /// Records that pieces came back.
    Return = "return";
    /// Closes an order that is delivered and paid.
    Complete = "complete";
    /// Takes a cancellation back.
    Reopen = "reopen";
}

impl OrderOperation {
    /// The operation of a name.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL
            .iter()
            .copied()
            .find(|operation| operation.as_str() == name)
    }

    /// Its row of the table.
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

/// Where an operation leads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum To {
    /// To one of these states; the lines or the body decide which.
    OneOf(&'static [Status]),
    /// Nowhere: the state stays.
    Same,
    /// To the state before the hold.
    BeforeHold,
}

/// What an operation takes as its body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BodyShape {
    /// A new order.
    NewOrder,
    /// A JSON merge patch.
    Patch,
    /// `{}` or no body at all.
    Empty,
    /// A reason.
    Reason,
    /// An amount and a reference.
    Payment,
    /// Pieces of lines.
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
    /// Which.
    pub operation: OrderOperation,
    /// What a button says.
    pub label: &'static str,
    /// What the history says.
    pub done: &'static str,
    /// What it does, in a sentence.
    pub summary: &'static str,
    /// The states that it starts from; none for `create`.
    pub from: &'static [Status],
    /// Where it leads.
    pub to: To,
    /// What it takes.
    pub body: BodyShape,
    /// What it does to the order's size.
    pub room: Room,
    /// The state in which it finds its work done: it answers success and changes nothing.
    pub done_in: Option<Status>,
    /// When it is refused although the state is right; empty for never.
    pub refused_when: &'static str,
    /// How it is refused although the state is right.
    pub(crate) refusals: &'static [&'static ProblemKind],
    /// Whether the order, in a right state, takes it at all, whatever the body.
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
    pub fn problems(&self) -> impl Iterator<Item = &'static ProblemKind> + use<> {
        let anywhere =
            self.operation == OrderOperation::Create || self.from.len() == Status::ALL.len();
        let state = (!anywhere).then_some(&TRANSITION_NOT_ALLOWED);
        state.into_iter().chain(self.refusals.iter().copied())
    }

    /// Refuses the operation if the order, as it stands, refuses it whatever the body says.
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
