//! The order that a path names.

use axum::extract::{FromRequestParts, RawPathParams};
use futures_util::FutureExt as _;
use http::request::Parts;
use orderlock::{Caller, OrderIdSource as _, PathParam, Rejection, Target};

/// A parameter of the path; none if it is not Unicode text.
pub(crate) fn param(parts: &mut Parts, name: &str) -> Option<String> {
    // The extractor is async by its trait only: it never waits.
    let params = RawPathParams::from_request_parts(parts, &())
        .now_or_never()?
        .ok()?;
    let (_, value) = params.iter().find(|(known, _)| *known == name)?;
    Some(value.to_owned())
}

/// The caller and the order, for requests without a lock.
#[derive(Debug)]
pub(crate) struct OrderTarget(pub(crate) Target);

impl<S: Send + Sync> FromRequestParts<S> for OrderTarget {
    type Rejection = Rejection;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Rejection> {
        let order = PathParam("id").order_id(parts)?;
        // In the span of the request: a route that only reads has no other line that names it.
        tracing::Span::current().record("order", order.as_str());
        Ok(Self(caller().target(&order)))
    }
}

/// The caller. There is no sign-in yet, so all requests have the same one.
pub(crate) fn caller() -> Caller {
    Caller::single()
}
