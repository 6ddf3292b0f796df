//! Answers that are not stored: one shape for all of them, and problems.

use axum::response::{IntoResponse, Response};
use http::header::{CONTENT_TYPE, RETRY_AFTER};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use orderlock::answer::{denied_problem, problem_reply, store_problem};
use orderlock::problems::CURSOR_INVALID;
use orderlock::{Denied, JsonAnswers, Problem, StoreError, Target};
use serde::Serialize;

use super::problems::INTERNAL_ERROR;

/// The shape of every answer: the status again, and the result.
#[derive(Debug, Serialize)]
pub(crate) struct Success<T> {
    /// The status, as in the status line.
    status: u16,
    /// What the client requested.
    result: T,
    /// The cursor of the next page; left out on the last page.
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<String>,
    /// The ids of orders that belong on this page, and whose data are damaged.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    unreadable: Vec<String>,
}

impl<T: Serialize> Success<T> {
    pub(crate) fn new(result: T) -> Self {
        Self {
            status: 200,
            result,
            next: None,
            unreadable: Vec::new(),
        }
    }

    pub(crate) fn page(result: T, next: Option<String>) -> Self {
        Self {
            status: 200,
            result,
            next,
            unreadable: Vec::new(),
        }
    }

    pub(crate) fn without(self, unreadable: Vec<String>) -> Self {
        Self { unreadable, ..self }
    }

    /// The answer, unless a part of it cannot be written.
    pub(crate) fn written(&self) -> Result<Response, serde_json::Error> {
        let text = serde_json::to_vec(self)?;
        Ok(([(CONTENT_TYPE, "application/json")], text).into_response())
    }
}

impl<T: Serialize> IntoResponse for Success<T> {
    fn into_response(self) -> Response {
        self.written().unwrap_or_else(|error| {
            tracing::error!(%error, "an answer cannot be written");
            Refused(INTERNAL_ERROR.problem()).into_response()
        })
    }
}

/// A problem as an answer.
pub(crate) struct Refused(pub(crate) Problem);

impl From<Problem> for Refused {
    fn from(problem: Problem) -> Self {
        Self(problem)
    }
}

impl From<orderlock::Rejection> for Refused {
    fn from(rejection: orderlock::Rejection) -> Self {
        Self(rejection.0)
    }
}

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        let mut response = problem_reply(&JsonAnswers::new(), &self.0).into_response();
        if response.status() == StatusCode::SERVICE_UNAVAILABLE {
            let soon = HeaderValue::from_static("1");
            response.headers_mut().entry(RETRY_AFTER).or_insert(soon);
        }
        response
    }
}

/// What the lifecycle did not do, as an answer.
pub(crate) fn denied(target: Option<&Target>, denied: &Denied) -> Refused {
    Refused(denied_problem(target, denied))
}

/// What the store did not do for a request that only reads, as an answer.
pub(crate) fn unread(error: StoreError) -> Refused {
    match error {
        StoreError::InvalidCursor => Refused(
            CURSOR_INVALID
                .described()
                .with_member("parameter", "cursor"),
        ),
        error => Refused(store_problem(None, &error)),
    }
}

/// The version as a strong tag.
pub(crate) fn etag(version: orderlock::Version) -> [(HeaderName, String); 1] {
    [(http::header::ETAG, format!("\"{version}\""))]
}

/// Sets a header, if the text is a valid header value.
pub(crate) fn set(headers: &mut HeaderMap, name: HeaderName, text: &str) {
    if let Ok(value) = HeaderValue::from_str(text) {
        headers.insert(name, value);
    }
}
