//! The error of handlers that need no error type of their own.

use std::error::Error;
use std::fmt;

use axum::response::{IntoResponse, Response};

use crate::answer::Rejection;
use crate::problems::HANDLER_FAILED;

/// Any error, as a handler's `E`: `?` turns every error into it.
///
/// The client gets `handler-failed`; the error's text goes only to the log. Nothing is stored: a
/// retry runs again.
///
/// ```
/// use orderlock::{Failure, LockedOrder, Outcome, OrderType};
/// # use serde::{Deserialize, Serialize};
/// # #[derive(Serialize, Deserialize)]
/// # struct Order { total: u64 }
/// # impl OrderType for Order {}
/// async fn discount(order: LockedOrder<Order>) -> Result<Outcome<Order>, Failure> {
///     let percent: u64 = std::fs::read_to_string("discount")?.trim().parse()?;
///     Ok(Outcome::Applied(Order { total: order.total * (100 - percent) / 100 }))
/// }
/// ```
pub struct Failure(Box<dyn Error + Send + Sync>);

impl<E: Error + Send + Sync + 'static> From<E> for Failure {
    fn from(error: E) -> Self {
        Self(Box::new(error))
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)?;
        let mut below = self.0.source();
        while let Some(error) = below {
            write!(f, ": {error}")?;
            below = error.source();
        }
        Ok(())
    }
}

impl fmt::Debug for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Failure({self})")
    }
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        tracing::error!(error = %self, "a handler failed");
        Rejection(HANDLER_FAILED.described()).into_response()
    }
}
