//! Many leases at once, as renewals and sweeps see them: their orders are not read, and each is voided
//! by a write that names it, of which one command carries many.

use std::ops::Range;

use mongodb::bson::{Bson, Document as Fields, doc};
use orderlock_core::{Fence, SessionId, StoreError, Target};

use crate::database::calls::RowCursor;
use crate::document::fields::{FieldReader, hex, nested};
use crate::document::lease::locked_by;
use crate::document::order::OrderDocument;
use crate::document::order_id;
use crate::document::update::Update;
use crate::error::Failure;
use crate::shared::Inner;

/// How many leases one command voids, and how many are looked for by one.
const TOGETHER_MAX: usize = 500;

/// A lease as it stands in an order.
#[derive(Clone, Debug)]
pub(crate) struct HeldRow {
    id: Bson,
    target: Target,
    pub(crate) fence: Fence,
    pub(crate) session: SessionId,
    /// Whether it holds the order. What a service has unlocked that does not know Orderlock leaves a
    /// lease behind which holds nothing.
    pub(crate) holds: bool,
}

impl HeldRow {
    fn read(fields: Fields) -> Result<Self, Failure> {
        let fields = nested(fields);
        let id = fields.get("_id").cloned().unwrap_or_default();
        let target = order_id::target(&id)
            .ok_or_else(|| Failure::unreadable("an `_id` that names no order"))?;
        let kept = FieldReader::new("an order", &fields).document("orderlock")?;
        let lease = kept.and_then(|kept| kept.get("lease")?.as_document());
        let lease = lease.ok_or_else(|| Failure::unreadable("a lease"))?;
        let reader = FieldReader::new("a lease", lease);
        let fence = reader.fence("fence")?;
        let locked = fields.get("locked").and_then(Bson::as_str);
        Ok(Self {
            fence,
            holds: locked == Some(&locked_by(fence)),
            session: reader.session("session")?,
            id,
            target,
        })
    }
}

/// The leases of a session that were granted by those renewals.
pub(crate) async fn granted(
    inner: &Inner,
    session: SessionId,
    renewals: Range<i64>,
) -> Result<Vec<HeldRow>, StoreError> {
    let filter = doc! {
        "orderlock.lease.session": hex(session.0),
        "orderlock.lease.renewals": {"$gte": renewals.start, "$lt": renewals.end},
    };
    let mut rows = rows(inner, filter).await?;
    let mut found = Vec::new();
    while let Some(held) = next(inner, &mut rows).await? {
        found.push(held);
    }
    Ok(found)
}

/// Those of these grants that hold their orders.
pub(crate) async fn held(inner: &Inner, fences: &[Fence]) -> Result<Vec<HeldRow>, StoreError> {
    let mut found = Vec::new();
    for fences in fences.chunks(TOGETHER_MAX) {
        let locked: Vec<String> = fences.iter().map(|fence| locked_by(*fence)).collect();
        // The index holds only texts, and is used only by who says that it is one.
        let text = doc! {"locked": {"$type": "string"}};
        let filter = doc! {"$and": [{"locked": {"$in": locked}}, text]};
        let mut rows = rows(inner, filter).await?;
        while let Some(held) = next(inner, &mut rows).await? {
            found.push(held);
        }
    }
    Ok(found)
}

/// Leases of sessions that are none of these.
pub(crate) async fn of_others<'a>(
    inner: &'a Inner,
    alive: &[SessionId],
) -> Result<RowCursor<'a>, StoreError> {
    let alive: Vec<String> = alive.iter().map(|session| hex(session.0)).collect();
    let others = doc! {"$exists": true, "$nin": alive};
    rows(inner, doc! {"orderlock.lease.session": others}).await
}

async fn rows(inner: &Inner, filter: Fields) -> Result<RowCursor<'_>, StoreError> {
    let wanted = doc! {"locked": 1, "orderlock.lease.fence": 1, "orderlock.lease.session": 1};
    let query = inner.calls.orders.find(filter).projection(wanted);
    inner.calls.rows(query).await.map_err(Failure::not_applied)
}

/// The next lease that can be read.
pub(crate) async fn next(
    inner: &Inner,
    rows: &mut RowCursor<'_>,
) -> Result<Option<HeldRow>, StoreError> {
    loop {
        let Some(fields) = rows.next().await.map_err(Failure::not_applied)? else {
            return Ok(None);
        };
        let id = fields.get("_id").cloned().unwrap_or_default();
        match HeldRow::read(fields) {
            Ok(held) => return Ok(Some(held)),
            Err(failure) => inner.unreadable.note(&id, &failure),
        }
    }
}

/// Voids leases of a session, so many at most; says how many.
pub(crate) async fn void_of(
    inner: &Inner,
    session: SessionId,
    most: usize,
) -> Result<usize, StoreError> {
    let mut rows = rows(inner, doc! {"orderlock.lease.session": hex(session.0)}).await?;
    let mut found = Vec::new();
    while found.len() < most
        && let Some(held) = next(inner, &mut rows).await?
    {
        found.push(held);
    }
    void(inner, &found).await
}

/// Voids grants that still hold their orders; their marks stay. Says how many did. A lease that holds
/// nothing is taken away.
pub(crate) async fn void(inner: &Inner, leases: &[HeldRow]) -> Result<usize, StoreError> {
    let (holding, left): (Vec<&HeldRow>, Vec<&HeldRow>) =
        leases.iter().partition(|held| held.holds);
    let mut voided = 0;
    for held in holding.chunks(TOGETHER_MAX) {
        let mut update = Update::default();
        update.unlock();
        let update = update.into_fields();
        let updates = held.iter().map(|held| {
            let filter = doc! {"_id": &held.id, "locked": locked_by(held.fence)};
            (filter, update.clone())
        });
        let done = inner.calls.touch_all(updates).await;
        voided += done.map_err(Failure::of_a_write)?;
        for held in held {
            inner.grants.forget(held.fence);
            inner.hint(&held.target);
        }
    }
    for left in left.chunks(TOGETHER_MAX) {
        let mut update = Update::default();
        update.unset("orderlock.lease");
        let update = update.into_fields();
        let updates = left.iter().map(|left| {
            let others = doc! {"$ne": locked_by(left.fence)};
            let lease = hex(left.fence.0);
            let filter = doc! {"_id": &left.id, "locked": others, "orderlock.lease.fence": lease};
            (filter, update.clone())
        });
        let done = inner.calls.touch_all(updates).await;
        done.map_err(Failure::of_a_write)?;
    }
    Ok(voided)
}

/// Voids a grant, if it still holds the order; its mark stays. Says whether it did.
pub(crate) async fn void_one(
    inner: &Inner,
    order: &OrderDocument,
    fence: Fence,
) -> Result<bool, StoreError> {
    let mut update = Update::default();
    update.unlock();
    let filter = doc! {"_id": &order.id, "locked": locked_by(fence)};
    let voided = inner.calls.touch(filter, update.into_fields()).await;
    let voided = voided.map_err(Failure::of_a_write)?;
    if voided {
        inner.grants.forget(fence);
        inner.hint(&order.target);
    }
    Ok(voided)
}
