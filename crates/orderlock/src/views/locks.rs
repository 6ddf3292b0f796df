//! The locks that are held, for operators.

use axum::body::{Body, Bytes};
use axum::extract::{DefaultBodyLimit, FromRequest, Request};
use axum::response::{IntoResponse, Response};
use orderlock_core::store::{BreakLease, Broken, Leases};
use orderlock_core::{Caller, LeaseId, LeaseView, Tenant};
use serde::Serialize;

use super::orders::OrderLockView;
use super::query::Paging;
use super::reply::{Success, unread};
use crate::answer::Rejection;
use crate::caller::{AnyCallerSource, path_param};
use crate::header::is_json;
use crate::problems::{LOCK_NOT_FOUND, MEDIA_TYPE_UNSUPPORTED};
use crate::request::Entrance;
use crate::resolution::read_reason;

/// The longest id of a lock that is looked for: a name, a fence and an order's id.
const LOCK_ID_MAX: usize = 512;

/// A lock, and the order that it is on.
#[derive(Debug, Serialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct LockItem {
    /// The id of the locked order.
    order: String,
    #[serde(flatten)]
    lock: OrderLockView,
}

impl From<&LeaseView> for LockItem {
    fn from(view: &LeaseView) -> Self {
        Self {
            order: view.target.order.to_string(),
            lock: view.into(),
        }
    }
}

/// Why an operator breaks a lock, for the order's history: the body `{"reason": ".."}`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BreakReason(pub String);

impl<S: Send + Sync> FromRequest<S> for BreakReason {
    type Rejection = Response;

    async fn from_request(request: Request, state: &S) -> Result<Self, Response> {
        if !is_json(request.headers()) {
            return Err(Rejection(MEDIA_TYPE_UNSUPPORTED.described()).into_response());
        }
        let body = Bytes::from_request(request, state).await;
        let body = body.map_err(IntoResponse::into_response)?;
        let reason = read_reason(&body);
        Ok(Self(
            reason.map_err(|problem| Rejection(problem).into_response())?,
        ))
    }
}

/// A page of held, marked and foreign locks.
pub(super) async fn list(
    entrance: &Entrance,
    tenant: Tenant,
    Paging { limit, cursor }: Paging,
) -> Result<Success<Vec<LockItem>>, Response> {
    let request = Leases {
        tenant,
        limit,
        cursor,
    };
    let page = entrance.lifecycle.leases(request).await;
    let page = page.map_err(|error| entrance.refused(&unread(&error)))?;
    let items = page.items.iter().map(LockItem::from).collect();
    Ok(Success::page(
        items,
        page.next.map(|next| next.0.to_string()),
    ))
}

/// Breaks one grant, with a reason for the order's history. Its holder gets `lease-lost`, and
/// nothing that it returns is applied.
pub(super) async fn break_one<B, S>(
    entrance: &Entrance,
    guard: &dyn AnyCallerSource,
    request: Request,
    state: &S,
) -> Result<Success<LockItem>, Response>
where
    B: FromRequest<S> + Into<BreakReason>,
    S: Send + Sync,
{
    let (mut parts, body) = request.into_parts();
    let operator = entrance.who(guard, &mut parts).await;
    let operator = operator.map_err(IntoResponse::into_response)?;
    let id = path_param(&mut parts, "id").filter(|id| is_lock_id(id));
    entrance
        .check(&parts)
        .map_err(|problem| entrance.refused(&problem))?;
    let runtime = &**entrance.lifecycle.runtime();
    let body = entrance.body.read(body, runtime).await;
    let body = body.map_err(|problem| entrance.refused(&problem))?;
    let mut request = Request::from_parts(parts, Body::from(body));
    // The body is within this lock's own limit.
    DefaultBodyLimit::disable().apply(&mut request);
    let reason: BreakReason = match B::from_request(request, state).await {
        Ok(reason) => reason.into(),
        Err(rejection) => return Err(rejection.into_response()),
    };
    // What can be no lock's id names no lock.
    let id = id.ok_or_else(|| entrance.refused(&LOCK_NOT_FOUND.described()))?;
    broken(entrance, operator, LeaseId(id.into()), reason).await
}

async fn broken(
    entrance: &Entrance,
    operator: Caller,
    lease: LeaseId,
    BreakReason(reason): BreakReason,
) -> Result<Success<LockItem>, Response> {
    let request = BreakLease {
        tenant: operator.tenant,
        lease,
        actor: operator.principal,
        reason,
    };
    match entrance.lifecycle.break_lease(request).await {
        Ok(Broken::Broken(view)) => {
            tracing::warn!(order = %view.target, lock = %view.id, "a lock was broken");
            Ok(Success::new(LockItem::from(&view)))
        }
        Ok(Broken::NotFound) => Err(entrance.refused(&LOCK_NOT_FOUND.described())),
        Err(error) => Err(entrance.refused(&unread(&error))),
    }
}

/// Whether a text can be a lock's id in any store: others are not looked up.
fn is_lock_id(text: &str) -> bool {
    text.len() <= LOCK_ID_MAX && text.bytes().all(|byte| byte.is_ascii_graphic())
}
