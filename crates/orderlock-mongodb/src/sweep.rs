//! `sweep`: ends sessions that have not been renewed for their length, and voids the leases of all
//! that have ended.

use std::collections::HashMap;
use std::sync::Arc;

use mongodb::bson::{Bson, doc};
use orderlock_core::store::{Sweep, Swept};
use orderlock_core::{SessionId, StoreError};

use crate::error::Failure;
use crate::grant;
use crate::sessions::{self, leased};
use crate::store::Inner;

pub(crate) async fn sweep(inner: &Arc<Inner>, request: &Sweep) -> Result<Swept, StoreError> {
    end_lapsed(inner).await?;
    void_orphans(inner, request.limit.max(1)).await
}

/// Ends the sessions whose count has stood still, as this node has seen it, for their length.
async fn end_lapsed(inner: &Arc<Inner>) -> Result<(), StoreError> {
    let standing = sessions::all(inner).await.map_err(Failure::not_applied)?;
    let now = inner.clock.instant();
    for session in standing {
        let seen = inner.sessions.note(session.session, session.renewals, now);
        if now.saturating_duration_since(seen) >= session.length {
            let still = doc! {"renewals": session.renewals};
            sessions::end(inner, session.session, still).await?;
        }
    }
    Ok(())
}

/// Voids leases of sessions that are not there, whoever has ended them.
async fn void_orphans(inner: &Arc<Inner>, limit: usize) -> Result<Swept, StoreError> {
    let mut alive: HashMap<SessionId, bool> = HashMap::new();
    let mut voided = 0;
    let mut after = Bson::Null;
    loop {
        let filter = doc! {"orderlock.lease.session": {"$exists": true}};
        let orders = leased(inner, filter, &after).await?;
        let Some(last) = orders.last() else {
            return Ok(Swept {
                voided,
                more: false,
            });
        };
        after = last.id.clone();
        for order in &orders {
            let Some(granted) = order.lease() else {
                continue;
            };
            let lease = &granted.lease;
            // Looked up after its lease was seen: a session that is not there then has ended.
            let goes_on = match alive.get(&lease.session) {
                Some(goes_on) => *goes_on,
                None => {
                    let looked = inner.sessions.look(inner, lease.session).await;
                    let goes_on = looked.map_err(Failure::not_applied)?.is_some();
                    alive.insert(lease.session, goes_on);
                    goes_on
                }
            };
            if goes_on {
                continue;
            }
            if voided == limit {
                return Ok(Swept { voided, more: true });
            }
            if grant::void(inner, order, lease.fence).await? {
                voided += 1;
            }
        }
    }
}
