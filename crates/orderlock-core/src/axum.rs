//! The axum traits of [`LockedOrder`], [`Outcome`] and [`Undone`], for the tower layer.
//!
//! They stand here and not in the front crate because only the crate of a type may implement a
//! foreign trait for it. Nothing else of HTTP is known to this crate.

use std::sync::{Arc, Mutex, PoisonError};

use axum_core::extract::FromRequestParts;
use axum_core::response::{IntoResponse, Response};
use http::request::Parts;
use http::{HeaderValue, StatusCode, header};

use crate::{
    AppliedPart, Document, HandlerError as _, LockedOrder, OrderType, Outcome, Problem, Undone,
};

/// A locked order on its way through a request's extensions: it can be taken once.
#[derive(Clone, Debug)]
pub struct CarriedLock(Arc<Mutex<Option<LockedOrder<Document>>>>);

impl CarriedLock {
    /// Puts a lock in.
    #[must_use]
    pub fn new(order: LockedOrder<Document>) -> Self {
        Self(Arc::new(Mutex::new(Some(order))))
    }

    fn take(&self) -> Option<LockedOrder<Document>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// Whether a handler has taken the lock.
    #[must_use]
    pub fn is_taken(&self) -> bool {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .is_none()
    }
}

/// An outcome on its way back through a response's extensions.
#[derive(Clone, Debug)]
pub struct CarriedOutcome(Arc<Mutex<Option<Outcome<Document>>>>);

impl CarriedOutcome {
    /// Takes the outcome out; none if it was taken before.
    #[must_use]
    pub fn take(&self) -> Option<Outcome<Document>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

impl<S, T> FromRequestParts<S> for LockedOrder<T>
where
    S: Send + Sync,
    T: OrderType,
{
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Self::Rejection> {
        let order = parts
            .extensions
            .get::<CarriedLock>()
            .and_then(CarriedLock::take);
        let order = order.ok_or_else(|| problem_response(&lock_missing()))?;
        order.try_map(|document| document.decode()).map_err(|error: serde_json::Error| {
            tracing::error!(%error, "the stored order does not fit the handler's order type");
            problem_response(&failed(
                "The order is stored in a form that this operation cannot read. An operator must \
                 look into it.",
            ))
        })
    }
}

impl<T: OrderType> IntoResponse for Outcome<T> {
    /// A response that *is* a 500 `lock-missing` and carries the outcome. The layer takes the
    /// outcome out and applies it; without a layer the client never sees a success.
    fn into_response(self) -> Response {
        let carried = match self.encoded() {
            Ok(outcome) => CarriedOutcome(Arc::new(Mutex::new(Some(outcome)))),
            Err(error) => {
                tracing::error!(%error, "what the handler returned cannot be written as JSON");
                return problem_response(&failed(
                    "What the operation made of the order cannot be stored. Repeating it will not \
                     help.",
                ));
            }
        };
        let mut response = problem_response(&lock_missing());
        response.extensions_mut().insert(carried);
        response
    }
}

/// Says, in a response's extensions, that the handler has declared of the failure which the response
/// tells that it had no effect outside.
#[derive(Clone, Copy, Debug)]
pub struct WithoutEffect;

impl<E: IntoResponse + Send + 'static> IntoResponse for Undone<E> {
    /// The response of the error. What was declared of it travels along.
    fn into_response(self) -> Response {
        let declared = self.is_without_effect();
        let mut response = self.into_error().into_response();
        if declared {
            response.extensions_mut().insert(WithoutEffect);
        }
        response
    }
}

impl<T: OrderType> Outcome<T> {
    fn encoded(self) -> Result<Outcome<Document>, serde_json::Error> {
        Ok(match self {
            Self::Applied(order) => Outcome::Applied(Document::encode_indexed(&order)?),
            Self::AppliedWithError(order, problem) => {
                Outcome::AppliedWithError(Document::encode_indexed(&order)?, problem)
            }
            Self::Refused(problem) => Outcome::Refused(problem),
            Self::Unchanged => Outcome::Unchanged,
        })
    }
}

/// What went wrong is in the log; it may quote the order.
fn failed(detail: &'static str) -> Problem {
    Problem::new(500, "handler-failed", "The operation failed")
        .with_detail(detail)
        .applied(AppliedPart::None)
}

fn lock_missing() -> Problem {
    Problem::new(
        500,
        "lock-missing",
        "This handler needs a lock and was given none",
    )
    .with_detail(
        "The handler needs an order's lock, but its route has none, or the lock was taken before. \
         This is a mistake in the service: mount the handler with `orders.post(..)`, or add \
         `orders.layer(..)` to the route.",
    )
}

fn problem_response(problem: &Problem) -> Response {
    let body = serde_json::to_vec(problem).unwrap_or_default();
    let mut response = (
        StatusCode::from_u16(problem.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR),
        body,
    )
        .into_response();
    let media_type = HeaderValue::from_static("application/problem+json");
    response
        .headers_mut()
        .insert(header::CONTENT_TYPE, media_type);
    response
}
