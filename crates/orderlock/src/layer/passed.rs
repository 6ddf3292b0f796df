//! A response without an outcome, on its way past the lock: the client gets it as it is, streaming
//! or not, and requests that waited for the same attempt get it too, if it is short.

use std::collections::VecDeque;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::{Bytes, BytesMut};
use futures_util::task::noop_waker_ref;
use http::{HeaderMap, Response, header};
use http_body::{Body, Frame, SizeHint};
use orderlock_core::{Answer, Answers, AppliedPart, Problem};

use crate::problems::HANDLER_FAILED;

/// The longest body, in bytes, that requests which waited for the attempt get as well.
const TOLD_BYTES_MAX: u64 = 64 * 1024;

/// A body of the inner service: what was looked at of it, and the rest.
#[derive(Debug)]
pub struct PassedBody<R: Body<Data = Bytes>> {
    seen: VecDeque<Result<Frame<Bytes>, R::Error>>,
    /// None when it is at its end.
    rest: Option<Pin<Box<R>>>,
}

impl<R: Body<Data = Bytes>> PassedBody<R> {
    pub(super) fn new(body: R) -> Self {
        Self {
            seen: VecDeque::new(),
            rest: Some(Box::pin(body)),
        }
    }

    /// The whole body, if it is short and all of it is there already. What is not there is not
    /// waited for.
    fn whole(&mut self) -> Option<Bytes> {
        let mut whole = BytesMut::new();
        let mut context = Context::from_waker(noop_waker_ref());
        while let Some(rest) = &mut self.rest {
            let left = rest.size_hint().upper()?;
            if left.saturating_add(whole.len() as u64) > TOLD_BYTES_MAX {
                return None;
            }
            match rest.as_mut().poll_frame(&mut context) {
                Poll::Pending => return None,
                Poll::Ready(None) => self.rest = None,
                Poll::Ready(Some(frame)) => {
                    let seen = frame.as_ref().ok().and_then(Frame::data_ref);
                    let data = seen.map(|data| whole.extend_from_slice(data));
                    self.seen.push_back(frame);
                    // Only the first request gets trailers and errors.
                    data?;
                }
            }
        }
        Some(whole.freeze())
    }

    fn seen_bytes(&self) -> u64 {
        let frames = self.seen.iter().filter_map(|frame| frame.as_ref().ok());
        let data = frames.filter_map(Frame::data_ref);
        data.map(|data| data.len() as u64).sum()
    }
}

impl<R: Body<Data = Bytes>> Unpin for PassedBody<R> {}

impl<R: Body<Data = Bytes>> Body for PassedBody<R> {
    type Data = Bytes;
    type Error = R::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, R::Error>>> {
        if let Some(frame) = self.seen.pop_front() {
            return Poll::Ready(Some(frame));
        }
        match &mut self.rest {
            Some(rest) => rest.as_mut().poll_frame(context),
            None => Poll::Ready(None),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.seen.is_empty() && self.rest.as_ref().is_none_or(|rest| rest.is_end_stream())
    }

    fn size_hint(&self) -> SizeHint {
        let rest = self.rest.as_ref().map(|rest| rest.size_hint());
        let rest = rest.unwrap_or_else(|| SizeHint::with_exact(0));
        let seen = self.seen_bytes();
        let mut hint = SizeHint::new();
        hint.set_lower(rest.lower().saturating_add(seen));
        if let Some(upper) = rest.upper() {
            hint.set_upper(upper.saturating_add(seen));
        }
        hint
    }
}

/// A response that passes the lock, and a copy of its body for the requests that waited for it.
pub(super) struct PassedResponse<R: Body<Data = Bytes>> {
    pub(super) response: Response<PassedBody<R>>,
    told: Option<Bytes>,
}

impl<R: Body<Data = Bytes>> PassedResponse<R> {
    pub(super) fn new(response: Response<R>) -> Self {
        let mut response = response.map(PassedBody::new);
        // The copies have only two of its headers, so it must be readable without the others.
        let plain = !response.headers().contains_key(header::CONTENT_ENCODING);
        let told = plain.then(|| response.body_mut().whole()).flatten();
        Self { response, told }
    }

    /// The response for requests that waited for the same attempt. Nothing is stored.
    pub(super) fn describe(&self, answers: &dyn Answers) -> Answer {
        let (headers, status) = (self.response.headers(), self.response.status());
        if let Some(body) = &self.told {
            let media_type = text(headers, &header::CONTENT_TYPE);
            return Answer {
                status: status.as_u16(),
                content_type: media_type.unwrap_or_else(|| "application/octet-stream".into()),
                location: text(headers, &header::LOCATION),
                version: None,
                body: body.clone(),
            };
        }
        let detail = format!(
            "The request that this one waited for was answered {status}, with a body too long to \
             repeat, and nothing is stored. Repeat the request with the same key: it runs again."
        );
        let problem = Problem::new(status.as_u16(), HANDLER_FAILED.kind, HANDLER_FAILED.title)
            .retryable(true)
            .applied(AppliedPart::None)
            .with_detail(detail);
        answers.problem(&problem, None)
    }
}

fn text(headers: &HeaderMap, name: &header::HeaderName) -> Option<String> {
    let value = headers.get(name)?.to_str().ok()?;
    Some(value.to_owned())
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use futures_util::{FutureExt as _, StreamExt as _, stream};
    use http_body_util::{BodyExt as _, Full, StreamBody};

    use super::*;

    #[test]
    fn a_short_body_is_told_and_still_passes() {
        let mut body = PassedBody::new(Full::new(Bytes::from("mine")));
        assert_eq!(body.whole().as_deref(), Some(&b"mine"[..]));
        assert_eq!(body.size_hint().exact(), Some(4));
        assert!(!body.is_end_stream());
        let read = body.collect().now_or_never().unwrap().unwrap();
        assert_eq!(read.to_bytes(), "mine");

        let mut none = PassedBody::new(Full::new(Bytes::new()));
        assert_eq!(none.whole(), Some(Bytes::new()));
        assert!(none.is_end_stream());
    }

    #[test]
    fn a_long_body_is_not_looked_at() {
        let long = Bytes::from(vec![b'x'; 64 * 1024 + 1]);
        let mut body = PassedBody::new(Full::new(long.clone()));
        assert_eq!(body.whole(), None);
        assert_eq!(body.size_hint().exact(), Some(long.len() as u64));
        let read = body.collect().now_or_never().unwrap().unwrap();
        assert_eq!(read.to_bytes(), long);
    }

    /// A body of a known size whose second part has not come yet.
    struct Late(VecDeque<Option<&'static str>>);

    impl Body for Late {
        type Data = Bytes;
        type Error = Infallible;

        fn poll_frame(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
            match self.0.pop_front() {
                None => Poll::Ready(None),
                Some(None) => Poll::Pending,
                Some(Some(text)) => Poll::Ready(Some(Ok(Frame::data(Bytes::from(text))))),
            }
        }

        fn size_hint(&self) -> SizeHint {
            let left = self.0.iter().flatten().map(|text| text.len() as u64);
            SizeHint::with_exact(left.sum())
        }
    }

    #[test]
    fn what_is_not_there_yet_is_not_waited_for_and_nothing_is_lost() {
        let mut body = PassedBody::new(Late([Some("a"), None, Some("b")].into()));
        assert_eq!(body.whole(), None);
        assert_eq!(body.size_hint().exact(), Some(2));
        let read = body.collect().now_or_never().unwrap().unwrap();
        assert_eq!(read.to_bytes(), "ab");

        let frames = stream::iter(["a", "b"])
            .map(|text| Ok::<_, Infallible>(Frame::data(Bytes::from(text))));
        let mut streams = PassedBody::new(StreamBody::new(frames));
        assert_eq!(streams.whole(), None, "nobody knows how long it is");
        let read = streams.collect().now_or_never().unwrap().unwrap();
        assert_eq!(read.to_bytes(), "ab");
    }
}
