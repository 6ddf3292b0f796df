//! Creating an order.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use http::header::LOCATION;
use orderlock::answer::{Asked, answer};
use orderlock::header::idempotency_key;
use orderlock::{
    Body, Caller, CreateRequest, Denied, Ended, IdempotencyKey, Lifecycle, Problem, fingerprint,
    is_json,
};
use orderlock_orders::{BodyShape, NewOrder, OrderOperation};

use super::Context;
use super::body::check_media_type;
use super::conditions::Unconditional;
use super::envelope::ORDERS;
use super::query::NoQuery;
use super::reply::{Refused, denied, set};
use super::target::caller;

/// The order of checks is that of every operation: size, key, fingerprint, a settled key, and only
/// then what today's rules say of the body.
pub(crate) async fn create(
    State(context): State<Arc<Context>>,
    _: NoQuery,
    _: Unconditional,
    request: Request,
) -> Result<Response, Refused> {
    let (parts, body) = request.into_parts();
    let key = idempotency_key(&parts.headers)?;
    let body = context.orders.read_body(&parts.headers, body).await?;
    let operation = OrderOperation::Create.to_core().name().clone();
    let canonical = if is_json(&parts.headers) {
        Body::Json(&body)
    } else {
        Body::Bytes(&body)
    };
    let caller = caller();
    let request = CreateRequest {
        caller: caller.clone(),
        order: None,
        key: key.clone(),
        fingerprint: fingerprint(&operation, None, None, canonical),
        operation: operation.clone(),
    };
    let made = check_media_type(&parts.headers, &body, BodyShape::NewOrder)
        .and_then(|()| NewOrder::read(&body).map_err(Problem::from))
        .and_then(|new| orderlock_orders::create(new, &context.process).map_err(Problem::from));
    let lifecycle = context.orders.lifecycle();
    let ended = match made {
        Ok(order) => lifecycle.create(request, order).await,
        Err(problem) => {
            let fingerprint = request.fingerprint;
            match lifecycle.stored(&caller, None, &key, fingerprint).await {
                Ok(Some(ended)) => ended,
                Ok(None) => return Err(Refused(problem)),
                // Whether the key was settled is not known, so the refusal might mislead.
                Err(denied) => Ended::Denied(denied),
            }
        }
    };
    if let Ended::Denied(Denied::KeyExpired) = &ended {
        return expired(lifecycle, &caller, &key).await;
    }
    let asked = Asked {
        order: None,
        operation,
        recovery: None,
        wait: None,
    };
    let Ok(reply) = answer(&**lifecycle.answers(), &asked, ended);
    Ok(reply.into_response())
}

/// The key has made an order, and its answer is gone: the order is not, and only this service can
/// tell which it is.
async fn expired(
    lifecycle: &Lifecycle,
    caller: &Caller,
    key: &IdempotencyKey,
) -> Result<Response, Refused> {
    let order = lifecycle.order_id(caller, key).await;
    let order = order.map_err(|reason| denied(None, &reason))?;
    let Refused(problem) = denied(Some(&caller.target(&order)), &Denied::KeyExpired);
    let problem = problem.with_member("order", order.as_str());
    let mut response = Refused(problem).into_response();
    set(
        response.headers_mut(),
        LOCATION,
        &format!("{ORDERS}/{order}"),
    );
    Ok(response)
}
