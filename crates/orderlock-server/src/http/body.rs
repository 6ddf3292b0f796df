//! The commands in request bodies, and the check of their media types.

use std::sync::Arc;

use axum::extract::{FromRequest, Request};
use axum::response::{IntoResponse as _, Response};
use bytes::Bytes;
use http::request::Parts;
use http::{HeaderMap, HeaderName, header};
use http_body_util::BodyExt as _;
use orderlock::Problem;
use orderlock::header::MediaType;
use orderlock::problems::{BODY_MALFORMED, MEDIA_TYPE_UNSUPPORTED};
use orderlock_orders::{BodyShape, Command, NewOrder, OrderOperation};

use super::Context;
use super::problems::INTERNAL_ERROR;
use super::reply::{Refused, set};

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

/// The order of a creation.
pub(crate) struct NewOrderBody(pub(crate) NewOrder);

impl FromRequest<Arc<Context>> for NewOrderBody {
    type Rejection = Refused;

    async fn from_request(request: Request, _: &Arc<Context>) -> Result<Self, Refused> {
        let (parts, body) = buffered(request).await?;
        check_media_type(&parts.headers, &body, BodyShape::NewOrder)?;
        let new = NewOrder::read(&body).map_err(Problem::from)?;
        Ok(Self(new))
    }
}

/// The route's operation with its body, read before the lock is acquired.
pub(crate) struct CommandBody(pub(crate) Command);

impl FromRequest<Arc<Context>> for CommandBody {
    type Rejection = Response;

    async fn from_request(request: Request, _: &Arc<Context>) -> Result<Self, Response> {
        let (parts, body) = buffered(request).await.map_err(refuse)?;
        // The route puts it there, so that it is never derived from the path.
        let operation = parts.extensions.get::<OrderOperation>().copied();
        let operation = operation.ok_or_else(|| refuse(INTERNAL_ERROR.problem()))?;
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

/// The body that the route has read already, within the limits of the lock.
pub(crate) async fn buffered(request: Request) -> Result<(Parts, Bytes), Problem> {
    let (parts, body) = request.into_parts();
    let body = body.collect().await;
    let body = body.map_err(|_| BODY_MALFORMED.described())?;
    Ok((parts, body.to_bytes()))
}

fn refuse(problem: Problem) -> Response {
    Refused(problem).into_response()
}
