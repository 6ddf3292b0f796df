//! What a path names, and who asks.

use axum::extract::{FromRequestParts as _, RawPathParams};
use futures_util::FutureExt as _;
use http::request::Parts;
use orderlock::Caller;

/// A parameter of the path; none if it is not Unicode text.
pub(crate) fn param(parts: &mut Parts, name: &str) -> Option<String> {
    // The extractor is async by its trait only: it never waits.
    let params = RawPathParams::from_request_parts(parts, &())
        .now_or_never()?
        .ok()?;
    let (_, value) = params.iter().find(|(known, _)| *known == name)?;
    Some(value.to_owned())
}

/// The caller. There is no sign-in yet, so all requests have the same one.
pub(crate) fn caller() -> Caller {
    Caller::single()
}
