//! Request bodies of the routes without a lock, and the check of media types for all of them.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::{FromRequest, Request};
use axum::response::{IntoResponse as _, Response};
use bytes::Bytes;
use http::{HeaderMap, HeaderName, header};
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use orderlock::Problem;
use orderlock::header::{MediaType, check_content};
use orderlock::problems::{BODY_MALFORMED, BODY_TOO_LARGE, BODY_TOO_SLOW, MEDIA_TYPE_UNSUPPORTED};
use orderlock_orders::{BodyShape, Command, OrderOperation};

use super::problems::INTERNAL_ERROR;
use super::reply::{Refused, set};
use super::{BodyLimits, Context};

const JSON: &str = "application/json";
const ACCEPT_PATCH: HeaderName = HeaderName::from_static("accept-patch");
const MERGE_PATCH: &str = "application/merge-patch+json";

/// The media types that an operation takes.
pub(crate) fn media_types(shape: BodyShape) -> &'static [&'static str] {
    match shape {
        BodyShape::Patch => &[MERGE_PATCH, JSON],
        _ => &[JSON],
    }
}

/// Refuses a body of another media type. A body without one is taken as JSON, and where there is
/// no body there is nothing to refuse.
pub(crate) fn check_media_type(
    headers: &HeaderMap,
    body: &[u8],
    shape: BodyShape,
) -> Result<(), Problem> {
    let Some(value) = headers.get(header::CONTENT_TYPE) else {
        return Ok(());
    };
    let taken = media_types(shape);
    let is_taken = MediaType::parse(value).is_some_and(|media| taken.contains(&&*media.essence));
    if body.is_empty() || is_taken {
        return Ok(());
    }
    let detail = format!("Send the body as {}.", taken.join(" or "));
    Err(MEDIA_TYPE_UNSUPPORTED.problem().with_detail(detail))
}

impl BodyLimits {
    /// Reads a body to its end, if it can be read as it stands.
    pub(crate) async fn read(self, headers: &HeaderMap, body: Body) -> Result<Bytes, Problem> {
        check_content(headers)?;
        let reading = Limited::new(body, self.bytes).collect();
        match tokio::time::timeout(self.time, reading).await {
            Ok(Ok(collected)) => Ok(collected.to_bytes()),
            Ok(Err(error)) if error.is::<LengthLimitError>() => {
                Err(BODY_TOO_LARGE.problem().with_detail(format!(
                    "The body has more than the {} bytes that this service takes. {}",
                    self.bytes, BODY_TOO_LARGE.next
                )))
            }
            Ok(Err(_)) => Err(BODY_MALFORMED.described()),
            Err(_) => Err(BODY_TOO_SLOW.described()),
        }
    }
}

/// An operation with its body, read before the lock is asked for. The operation is the route's.
pub(crate) struct CommandBody(pub(crate) Command);

impl FromRequest<Arc<Context>> for CommandBody {
    type Rejection = Response;

    async fn from_request(request: Request, _: &Arc<Context>) -> Result<Self, Response> {
        let (parts, body) = request.into_parts();
        // The route puts it there, so that it is never derived from the path.
        let operation = parts.extensions.get::<OrderOperation>().copied();
        let operation = operation.ok_or_else(|| refuse(INTERNAL_ERROR.problem()))?;
        // The lock has read the body already, within its limits.
        let body = body
            .collect()
            .await
            .map_err(|_| refuse(BODY_MALFORMED.described()))?
            .to_bytes();
        let shape = operation.row().body;
        check_media_type(&parts.headers, &body, shape).map_err(|problem| {
            let mut response = refuse(problem);
            if matches!(shape, BodyShape::Patch) {
                set(
                    response.headers_mut(),
                    ACCEPT_PATCH,
                    &media_types(shape).join(", "),
                );
            }
            response
        })?;
        let command = Command::read(operation, &body);
        Ok(Self(command.map_err(|error| refuse(error.into()))?))
    }
}

fn refuse(problem: Problem) -> Response {
    Refused(problem).into_response()
}
