//! Request bodies: buffered within a size and a time, so that they can be fingerprinted.

use std::error::Error;
use std::pin::pin;
use std::time::Duration;

use bytes::{Buf as _, BufMut as _, Bytes, BytesMut};
use futures_util::future::{Either, select};
use http::HeaderMap;
use http_body_util::{BodyExt as _, LengthLimitError};
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
        let reading = pin!(self.gather(body));
        match select(reading, runtime.sleep(self.time)).await {
            Either::Left((read, _)) => read,
            Either::Right(_) => Err(BODY_TOO_SLOW.problem().with_detail(format!(
                "The body was not complete after {} s. {}",
                self.time.as_secs(),
                BODY_TOO_SLOW.next
            ))),
        }
    }

    /// Each part is copied and dropped: kept as they came, those of a body that is sent byte by
    /// byte would take fifty times its length.
    async fn gather<B>(self, body: B) -> Result<Bytes, Problem>
    where
        B: http_body::Body,
        B::Error: Into<Box<dyn Error + Send + Sync>>,
    {
        let mut body = pin!(body);
        let mut whole = BytesMut::new();
        while let Some(frame) = body.frame().await {
            let frame = frame.map_err(|error| match error.into() {
                // A limit of the application's own, before this one.
                error if error.is::<LengthLimitError>() => self.too_large(),
                _ => BODY_MALFORMED.described(),
            })?;
            // Trailers say nothing.
            let Ok(part) = frame.into_data() else {
                continue;
            };
            if part.remaining() > self.bytes - whole.len() {
                return Err(self.too_large());
            }
            whole.put(part);
        }
        Ok(whole.freeze())
    }

    fn too_large(self) -> Problem {
        BODY_TOO_LARGE.problem().with_detail(format!(
            "The body has more than the {} bytes that this service accepts. {}",
            self.bytes, BODY_TOO_LARGE.next
        ))
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;
    use std::sync::Arc;

    use futures_util::{FutureExt as _, StreamExt as _, stream};
    use http_body::Frame;
    use http_body_util::StreamBody;
    use orderlock_core::TokioRuntime;

    use super::*;

    /// A part of a body, and the buffer that it came in.
    struct Buffer {
        _kept: Arc<()>,
    }

    impl AsRef<[u8]> for Buffer {
        fn as_ref(&self) -> &[u8] {
            b" "
        }
    }

    #[tokio::test]
    async fn of_a_body_in_many_parts_no_more_is_kept_than_its_bytes() {
        let buffers = Arc::new(());
        let made = Arc::clone(&buffers);
        let parts = stream::iter(0..2_000).map(move |number| {
            let kept = Arc::strong_count(&made);
            assert!(kept <= 3, "{kept} buffers are kept at part {number}");
            let part = Bytes::from_owner(Buffer {
                _kept: Arc::clone(&made),
            });
            Ok::<_, Infallible>(Frame::data(part))
        });
        let limits = BodyLimits {
            bytes: 2_000,
            ..BodyLimits::default()
        };
        let read = limits.read(StreamBody::new(parts), &TokioRuntime).await;
        assert_eq!(read.unwrap().len(), 2_000);
    }

    #[test]
    fn a_body_is_read_up_to_its_limit_and_no_further() {
        let limits = BodyLimits {
            bytes: 3,
            ..BodyLimits::default()
        };
        for (parts, taken) in [
            (&["ab", "c"][..], true),
            (&["", "abc", ""], true),
            (&["abcd"], false),
            (&["abc", "d"], false),
        ] {
            let frames = parts
                .iter()
                .map(|part| Ok::<_, Infallible>(Frame::data(Bytes::from(*part))));
            let read = limits.gather(StreamBody::new(stream::iter(frames)));
            let read = read.now_or_never().unwrap();
            assert_eq!(read.is_ok(), taken, "{parts:?}");
        }
    }
}
