//! Conditions that a request is bound to (RFC 9110, 13). If an unsupported condition were ignored,
//! the request could do exactly what its client wanted to prevent. So it is refused.

use axum::extract::FromRequestParts;
use http::header::{IF_MATCH, IF_MODIFIED_SINCE, IF_NONE_MATCH, IF_UNMODIFIED_SINCE};
use http::request::Parts;
use http::{HeaderMap, HeaderName};
use orderlock::{Problem, Rejection};

use super::problems::PRECONDITION_UNSUPPORTED;

const NEVER_COMPARED: [HeaderName; 3] = [IF_NONE_MATCH, IF_MODIFIED_SINCE, IF_UNMODIFIED_SINCE];

/// A request without a condition, or with the one that the lock compares.
#[derive(Debug)]
pub(crate) struct VersionAlone;

/// A request without any condition: there is no order yet whose version could be compared.
#[derive(Debug)]
pub(crate) struct Unconditional;

fn none_of(headers: &HeaderMap, names: &[HeaderName]) -> Result<(), Problem> {
    let Some(name) = names.iter().find(|name| headers.contains_key(*name)) else {
        return Ok(());
    };
    let detail = format!(
        "The header `{name}` is not supported here. {}",
        PRECONDITION_UNSUPPORTED.advice
    );
    Err(PRECONDITION_UNSUPPORTED.problem().with_detail(detail))
}

impl<S: Send + Sync> FromRequestParts<S> for VersionAlone {
    type Rejection = Rejection;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Rejection> {
        none_of(&parts.headers, &NEVER_COMPARED)?;
        Ok(Self)
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Unconditional {
    type Rejection = Rejection;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Rejection> {
        none_of(&parts.headers, &NEVER_COMPARED)?;
        none_of(&parts.headers, &[IF_MATCH])?;
        Ok(Self)
    }
}
