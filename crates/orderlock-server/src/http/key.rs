//! The result of an idempotency key.

use std::sync::Arc;

use axum::Json;
use axum::extract::{FromRequestParts, State};
use axum::response::{IntoResponse, Response};
use http::StatusCode;
use http::request::Parts;
use orderlock::answer::reply;
use orderlock::core::Running;
use orderlock::header::{IDEMPOTENCY_EXPIRES, IDEMPOTENT_REPLAYED};
use orderlock::problems::{IDEMPOTENCY_KEY_INVALID, KEY_NOT_FOUND};
use orderlock::{Denied, IdempotencyKey, KeyStatus, Rejection};
use serde::Serialize;
use utoipa::ToSchema;

use super::Context;
use super::query::NoQuery;
use super::reply::{Refused, denied, set};
use super::target::{OrderTarget, caller, param};

/// The key that a path names.
pub(crate) struct KeyInPath(IdempotencyKey);

impl<S: Send + Sync> FromRequestParts<S> for KeyInPath {
    type Rejection = Rejection;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Rejection> {
        let key = param(parts, "key").and_then(|text| IdempotencyKey::parse(&text).ok());
        let invalid = || {
            let detail = "The key in the path is not valid. A key has 1 to 255 visible ASCII \
                          characters; percent-encode those that a path does not take.";
            IDEMPOTENCY_KEY_INVALID.problem().with_detail(detail)
        };
        Ok(Self(key.ok_or_else(invalid)?))
    }
}

/// An operation that is not settled yet.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Unsettled {
    /// 202, as in the status line.
    status: u16,
    /// `waiting` in line, or `running`.
    state: &'static str,
    /// Which operation, if it is running.
    #[serde(skip_serializing_if = "Option::is_none")]
    operation: Option<String>,
    /// Since when, if it is running.
    #[serde(skip_serializing_if = "Option::is_none")]
    since: Option<String>,
    /// Which run of the key, if it is running.
    #[serde(skip_serializing_if = "Option::is_none")]
    attempt: Option<u32>,
}

impl Unsettled {
    fn new(state: &'static str, running: Option<&Running>) -> Self {
        let operation = running.and_then(|running| running.operation.as_ref());
        Self {
            status: 202,
            state,
            operation: operation.map(ToString::to_string),
            since: running.and_then(|running| Some(running.since?.to_string())),
            attempt: running.map(|running| running.attempt),
        }
    }
}

/// The stored answer, with status 200 even if its own status is another: that the key is known is
/// the success. Its own status is a member of its body.
pub(crate) async fn status(
    State(context): State<Arc<Context>>,
    OrderTarget(target): OrderTarget,
    KeyInPath(key): KeyInPath,
    _: NoQuery,
) -> Result<Response, Refused> {
    let lifecycle = context.orders.lifecycle();
    let status = lifecycle.status(&caller(), &target.order, &key).await;
    let unsettled = |state, running| {
        (StatusCode::ACCEPTED, Json(Unsettled::new(state, running))).into_response()
    };
    let refused = |reason: Denied| Err(denied(Some(&target), &reason));
    match status {
        Ok(KeyStatus::Settled { answer, expires }) => {
            let mut response = reply(&answer).into_response();
            *response.status_mut() = StatusCode::OK;
            set(response.headers_mut(), IDEMPOTENT_REPLAYED, "true");
            if let Some(expires) = expires {
                set(
                    response.headers_mut(),
                    IDEMPOTENCY_EXPIRES,
                    &expires.to_string(),
                );
            }
            Ok(response)
        }
        Ok(KeyStatus::Waiting) => Ok(unsettled("waiting", None)),
        Ok(KeyStatus::Running(running)) => Ok(unsettled("running", running.as_ref())),
        Ok(KeyStatus::OutcomeUnknown(mark)) => refused(Denied::OutcomeUnknown(mark)),
        Ok(KeyStatus::Expired) => refused(Denied::KeyExpired),
        Ok(KeyStatus::Unknown) => Err(Refused(KEY_NOT_FOUND.described())),
        Err(reason) => refused(reason),
    }
}
