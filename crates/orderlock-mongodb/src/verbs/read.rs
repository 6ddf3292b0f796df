//! `read` and `lookup`: one look at one order.

use orderlock_core::store::{KeyFacts, Known, Lookup, OrderView, Read};
use orderlock_core::{KeyId, LeaseState, StoreError, Target};

use crate::database::reservations;
use crate::document::keys::KeyEntry;
use crate::error::Failure;
use crate::relay::adopt::recall;
use crate::shared::Inner;

pub(crate) async fn read(inner: &Inner, request: &Read) -> Result<Option<OrderView>, StoreError> {
    let Some(id) = inner.ids.id(&request.target) else {
        return Ok(None);
    };
    let found = inner.calls.order(&id).await.map_err(Failure::not_applied)?;
    let Some(order) = found else {
        return Ok(None);
    };
    let order = recall(&inner.calls, order).await?;
    order.view().map(Some).map_err(Failure::not_applied)
}

pub(crate) async fn lookup(inner: &Inner, request: &Lookup) -> Result<Known, StoreError> {
    let known = lookup_in(inner, &request.target, request.key_id).await?;
    if known != Known::Unknown {
        return Ok(known);
    }
    // A creation's key is known by the id that is derived from it, whatever id was chosen.
    match reservations::made(&inner.calls, &request.target).await? {
        Some(order) => lookup_in(inner, &order, request.key_id).await,
        None => Ok(known),
    }
}

async fn lookup_in(inner: &Inner, target: &Target, key_id: KeyId) -> Result<Known, StoreError> {
    let Some(id) = inner.ids.id(target) else {
        return Ok(Known::Unknown);
    };
    let found = inner.calls.order(&id).await.map_err(Failure::not_applied)?;
    let Some(order) = found else {
        return Ok(Known::Unknown);
    };
    if inner.relay.dropped_ours(&order) {
        inner.relay.move_now(std::slice::from_ref(&id)).await?;
    }
    let now = inner.clock.now();
    let forgets_by = inner.clock.forgets_by();
    let word = inner.calls.key(&order, key_id, forgets_by).await?;
    if let Some(word) = &word {
        match KeyEntry::facts(Some(word), now) {
            KeyFacts::Final { retained: true, .. } => {
                let record = inner
                    .calls
                    .entry_of_key(&order, key_id, word.number)
                    .await?;
                return Ok(Known::Settled(Box::new(record.shown(now))));
            }
            KeyFacts::Final { fingerprint, .. } => return Ok(Known::Expired(fingerprint)),
            KeyFacts::Progress { .. } | KeyFacts::New => {}
        }
    }
    Ok(match order.state() {
        LeaseState::Held(lease) | LeaseState::Begun(lease, _) if lease.key_id == key_id => {
            Known::Running(lease.view(&order.target))
        }
        LeaseState::Unattended(mark) if mark.key_id == key_id => Known::Marked(Box::new(mark)),
        _ => Known::Unknown,
    })
}
