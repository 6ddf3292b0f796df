//! Request bodies: buffered within a size and a time, so that they can be fingerprinted.

use std::error::Error;
use std::pin::pin;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::{Either, select};
use http::HeaderMap;
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use orderlock_core::{Problem, Runtime};

use crate::problems::{BODY_MALFORMED, BODY_TOO_LARGE, BODY_TOO_SLOW};

/// What a request's body may cost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct BodyLimits {
    pub(crate) bytes: usize,
    pub(crate) time: Duration,
}

impl Default for BodyLimits {
    fn default() -> Self {
        Self {
            bytes: 1024 * 1024,
            time: Duration::from_secs(10),
        }
    }
}

impl BodyLimits {
    /// Refuses a body that says itself that it is too large, before anything is looked up for it.
    pub(crate) fn check_declared(self, headers: &HeaderMap) -> Result<(), Problem> {
        let declared = headers
            .get(http::header::CONTENT_LENGTH)
            .and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
        match declared {
            Some(declared) if declared > self.bytes as u64 => Err(self.too_large()),
            _ => Ok(()),
        }
    }

    /// Reads a body to its end.
    pub(crate) async fn read<B>(self, body: B, runtime: &dyn Runtime) -> Result<Bytes, Problem>
    where
        B: http_body::Body,
        B::Error: Into<Box<dyn Error + Send + Sync>>,
    {
        let reading = pin!(Limited::new(body, self.bytes).collect());
        match select(reading, runtime.sleep(self.time)).await {
            Either::Left((Ok(collected), _)) => Ok(collected.to_bytes()),
            Either::Left((Err(error), _)) if error.is::<LengthLimitError>() => {
                Err(self.too_large())
            }
            Either::Left((Err(_), _)) => Err(BODY_MALFORMED.described()),
            Either::Right(_) => Err(BODY_TOO_SLOW.problem().with_detail(format!(
                "The body was not complete after {} s. {}",
                self.time.as_secs(),
                BODY_TOO_SLOW.next
            ))),
        }
    }

    fn too_large(self) -> Problem {
        BODY_TOO_LARGE.problem().with_detail(format!(
            "The body has more than the {} bytes that this service takes. {}",
            self.bytes, BODY_TOO_LARGE.next
        ))
    }
}
