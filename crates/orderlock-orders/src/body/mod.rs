//! The bodies of requests: read strictly, with every error at once, each with its JSON pointer.
//!
//! Reading is by hand and not by a derive, because a derive stops at the first error, rounds
//! numbers and lets the second of two equal members win in silence.

mod error;
mod field;
mod json;
mod metadata;
mod operation;
mod order;

pub use error::{BodyError, FieldError, Invalid};
pub(crate) use metadata::excess;
pub use operation::{LineQuantity, LinesBody, PaymentBody, ReasonBody};
pub(crate) use operation::{not_on_an_order, read_empty, read_lines, read_payment, read_reason};
pub(crate) use order::read_patch;
pub use order::{NewLine, NewOrder, OrderPatch, PatchLine};
