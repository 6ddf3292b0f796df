//! The result of an idempotency key.

use axum::Json;
use axum::extract::FromRequestParts as _;
use axum::response::{IntoResponse, Response};
use http::request::Parts;
use http::{StatusCode, header::HeaderName};
use orderlock_core::{Denied, IdempotencyKey, KeyStatus, Problem, Running};
use serde::Serialize;

use super::query::NoQuery;
use crate::answer::reply;
use crate::caller::path_param;
use crate::explain::{denied_problem, time};
use crate::header::{IDEMPOTENCY_EXPIRES, IDEMPOTENT_REPLAYED, value};
use crate::problems::{IDEMPOTENCY_KEY_INVALID, KEY_NOT_FOUND};
use crate::request::Entrance;

/// The key that a path names.
fn key_of(parts: &mut Parts) -> Result<IdempotencyKey, Problem> {
    let key = path_param(parts, "key").and_then(|text| IdempotencyKey::parse(&text).ok());
    key.ok_or_else(|| {
        let detail = "The key in the path is not valid. A key has 1 to 255 visible ASCII \
                      characters; percent-encode those that a path does not take.";
        IDEMPOTENCY_KEY_INVALID.problem().with_detail(detail)
    })
}

/// An operation that is not settled yet.
#[derive(Debug, Serialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct Unsettled {
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
pub(super) async fn status(entrance: &Entrance, parts: &mut Parts) -> Result<Response, Response> {
    let refuse = |problem: Problem| entrance.refused(&problem);
    let (caller, target) = entrance.seen(parts).await?;
    let key = key_of(parts).map_err(refuse)?;
    let query = NoQuery::from_request_parts(parts, &()).await;
    query.map_err(IntoResponse::into_response)?;
    let status = entrance.lifecycle.status(&caller, &target.order, &key);
    let unsettled = |state, running| {
        (StatusCode::ACCEPTED, Json(Unsettled::new(state, running))).into_response()
    };
    let denied = |reason: Denied| Err(refuse(denied_problem(Some(&target), &reason)));
    match status.await {
        Ok(KeyStatus::Settled { answer, expires }) => {
            let mut reply = reply(&answer);
            *reply.status_mut() = StatusCode::OK;
            let mut set = |name: HeaderName, text: &str| {
                if let Some(value) = value(text) {
                    reply.headers_mut().insert(name, value);
                }
            };
            set(IDEMPOTENT_REPLAYED, "true");
            if let Some(expires) = expires {
                set(IDEMPOTENCY_EXPIRES, &time(expires));
            }
            Ok(reply.into_response())
        }
        Ok(KeyStatus::Waiting) => Ok(unsettled("waiting", None)),
        Ok(KeyStatus::Running(running)) => Ok(unsettled("running", running.as_ref())),
        Ok(KeyStatus::OutcomeUnknown(mark)) => denied(Denied::OutcomeUnknown(mark)),
        Ok(KeyStatus::Expired) => denied(Denied::KeyExpired),
        Ok(KeyStatus::Unknown) => Err(refuse(KEY_NOT_FOUND.described())),
        Err(reason) => denied(reason),
    }
}
