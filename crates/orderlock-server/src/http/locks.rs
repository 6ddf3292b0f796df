//! The locks that are held, for operators.

use std::sync::Arc;

use axum::extract::{Request, State};
use orderlock::Problem;
use orderlock::core::{LeaseId, LeaseView};
use orderlock::problems::{BODY_INVALID, LOCK_NOT_FOUND};
use orderlock::store::{BreakLease, Broken, Leases};
use orderlock::views::{NoQuery, OrderLockView, PageQuery, Success};
use orderlock_orders::{BodyShape, Command, OrderOperation};
use serde::Serialize;
use serde_json::json;
use utoipa::ToSchema;

use super::Context;
use super::body::check_media_type;
use super::conditions::Unconditional;
use super::reply::{Refused, unread};
use super::target::{caller, param};

/// The longest id of a lock that is looked for: a name, a fence and an order's id.
const LOCK_ID_MAX: usize = 512;

/// A lock, and the order that it is on.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct LockItem {
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

/// A page of held, marked and foreign locks.
pub(crate) async fn list(
    State(context): State<Arc<Context>>,
    PageQuery(paging): PageQuery,
) -> Result<Success<Vec<LockItem>>, Refused> {
    let request = Leases {
        tenant: caller().tenant,
        limit: paging.limit,
        cursor: paging.cursor,
    };
    let lifecycle = context.orders.lifecycle();
    let page = lifecycle
        .leases(request)
        .await
        .map_err(|error| unread(&error))?;
    let items = page.items.iter().map(LockItem::from).collect();
    Ok(Success::page(
        items,
        page.next.map(|next| next.0.to_string()),
    ))
}

/// Breaks one grant, with a reason for the order's history. Its holder gets `lease-lost`, and
/// nothing that it returns is applied.
pub(crate) async fn break_one(
    State(context): State<Arc<Context>>,
    _: NoQuery,
    _: Unconditional,
    request: Request,
) -> Result<Success<LockItem>, Refused> {
    let (mut parts, body) = request.into_parts();
    let id = param(&mut parts, "id").filter(|id| is_lock_id(id));
    let body = context.orders.read_body(&parts.headers, body).await?;
    check_media_type(&parts.headers, &body, BodyShape::Reason)?;
    let reason = reason(&body)?;
    // What can be no lock's id names no lock.
    let id = id.ok_or_else(|| LOCK_NOT_FOUND.described())?;
    let caller = caller();
    let request = BreakLease {
        tenant: caller.tenant,
        lease: LeaseId(id.into()),
        actor: caller.principal,
        reason,
    };
    let lifecycle = context.orders.lifecycle();
    match lifecycle
        .break_lease(request)
        .await
        .map_err(|error| unread(&error))?
    {
        Broken::Broken(view) => {
            tracing::warn!(order = %view.target, lock = %view.id, "a lock was broken");
            Ok(Success::new(LockItem::from(&view)))
        }
        Broken::NotFound => Err(Refused(LOCK_NOT_FOUND.described())),
    }
}

/// Whether a text can be a lock's id in any store: others are not looked up.
fn is_lock_id(text: &str) -> bool {
    text.len() <= LOCK_ID_MAX && text.bytes().all(|byte| byte.is_ascii_graphic())
}

/// Reads `{"reason": ...}`, which must be there.
fn reason(body: &[u8]) -> Result<String, Problem> {
    let command = Command::read(OrderOperation::Hold, body).map_err(Problem::from)?;
    let missing = || {
        let error = json!({"pointer": "/reason", "detail": "It is missing."});
        BODY_INVALID
            .problem()
            .with_detail("Give a reason. The order's history shows it.")
            .with_member("errors", vec![error])
    };
    command.reason().map(ToOwned::to_owned).ok_or_else(missing)
}
