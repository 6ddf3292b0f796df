//! `sweep`: ends sessions that have not been renewed for their length, and voids the leases of all
//! that have ended.

use mongodb::bson::doc;
use orderlock_core::store::{Sweep, Swept};
use orderlock_core::{SessionId, StoreError};
use std::collections::HashMap;

use crate::error::Failure;
use crate::shared::Inner;
use crate::verbs::leases;

pub(crate) async fn sweep(inner: &Inner, request: &Sweep) -> Result<Swept, StoreError> {
    let alive = end_lapsed(inner).await?;
    let swept = void_orphans(inner, &alive, request.limit.max(1)).await?;
    inner.watch.look(&inner.calls, &inner.clock).await;
    Ok(swept)
}

/// Ends the sessions whose count has stood still, as this node has seen it, for their length. Returns
/// those that go on.
async fn end_lapsed(inner: &Inner) -> Result<Vec<SessionId>, StoreError> {
    let standing = inner.sessions.all().await.map_err(Failure::not_applied)?;
    let now = inner.clock.instant();
    let mut alive = Vec::with_capacity(standing.len());
    for session in standing {
        let seen = inner.sessions.note(session.session, session.renewals);
        let lapsed = now.saturating_duration_since(seen) >= session.length;
        let still = doc! {"renewals": session.renewals};
        if !lapsed || !inner.sessions.end(session.session, still).await? {
            alive.push(session.session);
        }
    }
    Ok(alive)
}

/// Voids leases of sessions that are not there, whoever has ended them.
async fn void_orphans(
    inner: &Inner,
    alive: &[SessionId],
    limit: usize,
) -> Result<Swept, StoreError> {
    let mut rows = leases::of_others(inner, alive).await?;
    let mut goes_on: HashMap<SessionId, bool> = HashMap::new();
    let (mut orphans, mut voids, mut more) = (Vec::new(), 0, false);
    while let Some(held) = leases::next(inner, &mut rows).await? {
        // Looked up after its lease was seen: a session that is not there then has ended, and has not
        // only begun since those that go on were looked up.
        let ended = match goes_on.get(&held.session) {
            Some(goes_on) => !goes_on,
            None => {
                let looked = inner.sessions.look(held.session).await;
                let found = looked.map_err(Failure::not_applied)?.is_some();
                goes_on.insert(held.session, found);
                !found
            }
        };
        if !ended {
            continue;
        }
        if voids == limit && held.holds {
            more = true;
            break;
        }
        voids += usize::from(held.holds);
        orphans.push(held);
    }
    let voided = leases::void(inner, &orphans).await?;
    Ok(Swept { voided, more })
}
