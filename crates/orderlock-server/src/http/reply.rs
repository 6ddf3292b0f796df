//! Problems as answers that are not stored.

use axum::response::{IntoResponse, Response};
use http::header::RETRY_AFTER;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use orderlock::answer::problem_reply;
use orderlock::{JsonAnswers, Problem};

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

/// Sets a header, if the text is a valid header value.
pub(crate) fn set(headers: &mut HeaderMap, name: HeaderName, text: &str) {
    if let Ok(value) = HeaderValue::from_str(text) {
        headers.insert(name, value);
    }
}
