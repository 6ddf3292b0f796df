//! Creating an order.

use std::sync::Arc;

use axum::extract::{FromRequestParts as _, Request, State};
use axum::response::{IntoResponse, Response};
use orderlock::answer::{Asked, answer};
use orderlock::header::idempotency_key;
use orderlock::{Body, CreateRequest, Ended, Problem, fingerprint, is_json};
use orderlock_orders::{BodyShape, NewOrder, OrderOperation};

use super::Context;
use super::body::check_media_type;
use super::query::NoQuery;
use super::reply::Refused;
use super::target::caller;

/// The order of checks is that of every operation: size, key, fingerprint, a settled key, and only
/// then what today's rules say of the body.
pub(crate) async fn create(
    State(context): State<Arc<Context>>,
    request: Request,
) -> Result<Response, Refused> {
    let (mut parts, body) = request.into_parts();
    NoQuery::from_request_parts(&mut parts, &()).await?;
    let key = idempotency_key(&parts.headers)?;
    let body = context.body.read(body).await?;
    let operation = OrderOperation::Create.to_core().name().clone();
    let canonical = if is_json(&parts.headers) {
        Body::Json(&body)
    } else {
        Body::Bytes(&body)
    };
    let request = CreateRequest {
        caller: caller(),
        order: None,
        key,
        fingerprint: fingerprint(&operation, None, parts.uri.query(), canonical),
        operation: operation.clone(),
    };
    let made = check_media_type(&parts.headers, &body, BodyShape::NewOrder)
        .and_then(|()| NewOrder::read(&body).map_err(Problem::from))
        .and_then(|new| orderlock_orders::create(new, &context.process).map_err(Problem::from));
    let lifecycle = context.orders.lifecycle();
    let ended = match made {
        Ok(order) => lifecycle.create(request, order).await,
        Err(problem) => {
            let CreateRequest {
                caller,
                key,
                fingerprint,
                ..
            } = &request;
            match lifecycle.stored(caller, None, key, *fingerprint).await {
                Ok(Some(ended)) => ended,
                Ok(None) => return Err(Refused(problem)),
                // Whether the key was settled is not known, so the refusal might mislead.
                Err(denied) => Ended::Denied(denied),
            }
        }
    };
    let asked = Asked {
        order: None,
        operation,
        recovery: None,
        wait: None,
    };
    let Ok(reply) = answer(&**lifecycle.answers(), &asked, ended);
    Ok(reply.into_response())
}
