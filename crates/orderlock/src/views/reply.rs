//! The shape of every answer that only reads.

use axum::response::{IntoResponse, Response};
use http::header::CONTENT_TYPE;
use orderlock_core::{Problem, StoreError};
use serde::Serialize;

use crate::answer::{Rejection, store_problem};
use crate::problems::{CURSOR_INVALID, HANDLER_FAILED};

/// The shape of every answer: the status again, and the result.
#[derive(Debug, Serialize)]
pub struct Success<T> {
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
    /// One thing.
    #[must_use]
    pub fn new(result: T) -> Self {
        Self {
            status: 200,
            result,
            next: None,
            unreadable: Vec::new(),
        }
    }

    /// A page, and the cursor of the next one.
    #[must_use]
    pub fn page(result: T, next: Option<String>) -> Self {
        Self {
            status: 200,
            result,
            next,
            unreadable: Vec::new(),
        }
    }

    /// The same page, which leaves out orders whose data are damaged.
    #[must_use]
    pub fn without(self, unreadable: Vec<String>) -> Self {
        Self { unreadable, ..self }
    }

    /// The answer, unless a part of it cannot be written.
    ///
    /// # Errors
    /// What serde says of that part.
    pub fn written(&self) -> Result<Response, serde_json::Error> {
        let text = serde_json::to_vec(self)?;
        Ok(([(CONTENT_TYPE, "application/json")], text).into_response())
    }
}

impl<T: Serialize> IntoResponse for Success<T> {
    fn into_response(self) -> Response {
        self.written().unwrap_or_else(|error| {
            tracing::error!(%error, "an answer cannot be written");
            Rejection(HANDLER_FAILED.described()).into_response()
        })
    }
}

/// The problem of a request that only reads, for which the store did not do its part.
#[must_use]
pub fn unread(error: &StoreError) -> Problem {
    match error {
        StoreError::InvalidCursor => CURSOR_INVALID
            .described()
            .with_member("parameter", "cursor"),
        error => store_problem(None, error),
    }
}
