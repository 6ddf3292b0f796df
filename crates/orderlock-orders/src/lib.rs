//! The order manager's order model and its process: pure functions, no I/O.
//!
//! An [`Order`] is the stored document. A [`Command`] is an operation with its body; unknown members
//! are refused. [`run`] takes both and returns the changed order, or that nothing is left to do, or a
//! refusal. The repository's `docs/order-manager.md` shows the states, and `docs/glossary.md` explains the
//! special words.
//! Which operation is allowed in which state is defined in one table, [`TABLE`].
//!
//! ```
//! use orderlock_core::Outcome;
//! use orderlock_orders::{Command, NewOrder, Order, OrderOperation, ProcessConfig, Status};
//!
//! let body = br#"{"customer": "cus_42", "currency": "EUR", "submit": true,
//!     "lines": [{"sku": "TEA-250", "name": "Green tea", "quantity": 2, "unitPrice": 1299}]}"#;
//! let config = ProcessConfig::default();
//! let order = orderlock_orders::create(NewOrder::read(body)?, &config)?;
//! assert_eq!(order.total().minor_units(), 2598);
//!
//! // Two deliveries of one piece each.
//! let confirm = Command::read(OrderOperation::Confirm, b"")?;
//! let fulfill = Command::read(OrderOperation::Fulfill, br#"{"lines": [{"line": 1, "quantity": 1}]}"#)?;
//! let mut order = order;
//! for command in [confirm, fulfill.clone(), fulfill.clone()] {
//!     if let Outcome::Applied(changed) = orderlock_orders::decide(order.clone(), command, &config) {
//!         order = changed;
//!     }
//! }
//! assert_eq!(order.status(), Status::Fulfilled);
//!
//! // A third delivery is refused, with a list of the allowed operations.
//! let Outcome::Refused(problem) = orderlock_orders::decide(order, fulfill, &config) else {
//!     panic!("nothing is left to deliver");
//! };
//! assert_eq!((problem.status(), problem.kind()), (409, "transition-not-allowed"));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod body;
pub mod bounds;
mod check;
mod model;
mod money;
#[cfg(feature = "openapi")]
pub mod openapi;
mod operation;
mod operations;
mod payment;
mod problems;
mod process;
mod refusal;
mod render;
mod room;
mod status;

pub use body::{
    BodyError, FieldError, Invalid, LineQuantity, LinesBody, NewLine, NewOrder, OrderPatch,
    PatchLine, PaymentBody, ReasonBody,
};
pub use model::{Hold, Line, Order};
pub use money::{Amount, Currency, InvalidCurrency};
pub use operation::{BodyShape, OperationRow, OrderOperation, To};
pub use operations::{Command, Done, create, decide, run};
pub use payment::{Payment, PaymentKind, PaymentRecord};
pub use problems::{PROBLEMS, ProcessProblem};
pub use process::{ProcessConfig, TABLE, allowed, available};
pub use refusal::Refusal;
pub use render::markdown;
pub use room::Room;
pub use status::{PaymentStatus, Status};
