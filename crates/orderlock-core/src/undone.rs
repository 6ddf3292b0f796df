//! How a handler fails: with any error, or with one that says that nothing happened outside.

use std::fmt::Debug;

/// A handler's error, with the handler's word on whether anything happened outside.
///
/// A handler of an external operation that fails leaves its mark: nobody knows what it did. One
/// that can prove that nothing happened says so about *that failure*, and the declaration travels
/// with it: the mark ends if, and only if, it is this failure that the handler returns. By returning
/// it the handler speaks of its whole run; of an earlier run of the same key it says nothing, and a
/// mark that one left stands again.
///
/// A handler that makes such declarations returns `Result<Outcome<T>, Undone<E>>`; every other error
/// becomes one without a declaration by `?`.
///
/// ```
/// use orderlock_core::{LockedOrder, Outcome, Undone};
/// # use serde::{Deserialize, Serialize};
/// # #[derive(Clone, Serialize, Deserialize)]
/// # struct Order { paid: bool }
/// # impl orderlock_core::OrderType for Order {}
/// # #[derive(Debug)]
/// # struct Refused;
/// # #[derive(Debug)]
/// # struct TimedOut;
/// # #[derive(Debug)]
/// # enum Down { Refused, TimedOut }
/// # impl From<Refused> for Down { fn from(_: Refused) -> Self { Self::Refused } }
/// # impl From<TimedOut> for Down { fn from(_: TimedOut) -> Self { Self::TimedOut } }
/// # async fn connect() -> Result<(), Refused> { Ok(()) }
/// # async fn capture(key: &str) -> Result<(), TimedOut> { Ok(()) }
/// async fn pay(order: LockedOrder<Order>) -> Result<Outcome<Order>, Undone<Down>> {
///     // Nothing was sent: the mark goes, and a retry begins afresh.
///     connect().await.map_err(|refused| order.without_effect(refused))?;
///     // Perhaps the money has moved: the mark stays.
///     capture(&order.key().derive("capture")).await?;
///     Ok(Outcome::Applied(Order { paid: true }))
/// }
/// ```
#[allow(
    missing_debug_implementations,
    reason = "that it has none tells it apart from every plain error, which `?` may turn into it"
)]
pub struct Undone<E> {
    error: E,
    without_effect: bool,
}

impl<E> Undone<E> {
    /// Declares that this failure had no effect outside, where no order is at hand; otherwise see
    /// [`LockedOrder::without_effect`](crate::LockedOrder::without_effect).
    pub fn without_effect(error: E) -> Self {
        Self {
            error,
            without_effect: true,
        }
    }

    /// Nothing is declared of this failure: what it did outside is not known. `?` says so of every
    /// plain error.
    pub fn with_unknown_effect(error: E) -> Self {
        Self {
            error,
            without_effect: false,
        }
    }

    /// The error, whatever was declared of it.
    pub fn into_error(self) -> E {
        self.error
    }

    /// The error, whatever was declared of it.
    pub fn error(&self) -> &E {
        &self.error
    }
}

/// Nothing was declared: what happened outside is not known.
impl<X: Into<E> + Debug, E> From<X> for Undone<E> {
    fn from(error: X) -> Self {
        Self::with_unknown_effect(error.into())
    }
}

/// What a handler under [`Lifecycle::run`](crate::Lifecycle::run) may fail with: any error that has
/// `Debug`, or an [`Undone`] one.
#[diagnostic::on_unimplemented(
    message = "a handler cannot fail with `{Self}`",
    note = "a handler's error needs `Debug` and `Send`, or is an `Undone<E>`"
)]
pub trait HandlerError: Send + 'static {
    /// Whether the handler has declared that this failure had no effect outside.
    fn is_without_effect(&self) -> bool;
}

impl<E: Debug + Send + 'static> HandlerError for E {
    fn is_without_effect(&self) -> bool {
        false
    }
}

impl<E: Send + 'static> HandlerError for Undone<E> {
    fn is_without_effect(&self) -> bool {
        self.without_effect
    }
}
