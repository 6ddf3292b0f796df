//! A response of the application's own in the place of an answer: its error or its rejection.

use axum::response::Response;
use bytes::Bytes;
use http_body_util::{BodyExt as _, Full, Limited};
use orderlock_core::Answers;

use crate::answer::{Reply, reply};
use crate::problems;

/// The most bytes that it may have. It is kept in memory, because every request that waited for the
/// same attempt gets it.
const BYTES_MAX: usize = 1024 * 1024;

/// The response with its whole body. A success is a mistake, since nothing was applied.
pub(crate) async fn buffered(response: Response, answers: &dyn Answers) -> (Reply, Bytes) {
    let (parts, body) = response.into_parts();
    let mistake = if parts.status.is_success() {
        tracing::error!("an error or a rejection was a success; nothing was applied");
        problems::OUTCOME_MISSING.described()
    } else {
        match Limited::new(body, BYTES_MAX).collect().await {
            Ok(collected) => {
                let bytes = collected.to_bytes();
                return (Reply::from_parts(parts, Full::new(bytes.clone())), bytes);
            }
            Err(_) => {
                tracing::error!("the body of an error or a rejection could not be read");
                problems::HANDLER_FAILED.described()
            }
        }
    };
    let answer = answers.problem(&mistake, None);
    (reply(&answer), answer.body)
}
