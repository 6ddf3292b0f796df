//! `read` and `lookup`: one look at one order.

use std::sync::Arc;

use orderlock_core::store::{KeyFacts, Known, Lookup, OrderView, Read};
use orderlock_core::{LeaseState, StoreError};

use crate::acquire::word;
use crate::error::Failure;
use crate::facts::Word;
use crate::grant::record;
use crate::store::Inner;

pub(crate) async fn read(
    inner: &Arc<Inner>,
    request: &Read,
) -> Result<Option<OrderView>, StoreError> {
    let Some(id) = inner.ids.id(&request.target) else {
        return Ok(None);
    };
    let order = inner.calls.order(&id).await.map_err(Failure::not_applied)?;
    order
        .map(|order| order.view().map_err(Failure::not_applied))
        .transpose()
}

pub(crate) async fn lookup(inner: &Arc<Inner>, request: &Lookup) -> Result<Known, StoreError> {
    let Some(id) = inner.ids.id(&request.target) else {
        return Ok(Known::Unknown);
    };
    let found = inner.calls.order(&id).await.map_err(Failure::not_applied)?;
    let Some(order) = found else {
        return Ok(Known::Unknown);
    };
    let now = inner.clock.now();
    let word = word(inner, &order, request.key_id, now).await?;
    if let Some(word) = &word {
        match Word::facts(Some(word), now) {
            KeyFacts::Final { retained: true, .. } => {
                let record = record(inner, &order, word.number).await?;
                return Ok(Known::Settled(Box::new(record.shown(now))));
            }
            KeyFacts::Final { fingerprint, .. } => return Ok(Known::Expired(fingerprint)),
            KeyFacts::Progress { .. } | KeyFacts::New => {}
        }
    }
    Ok(match order.state() {
        LeaseState::Held(lease) | LeaseState::Begun(lease, _) if lease.key_id == request.key_id => {
            Known::Running(lease.view(&order.target))
        }
        LeaseState::Unattended(mark) if mark.key_id == request.key_id => {
            Known::Marked(Box::new(mark))
        }
        _ => Known::Unknown,
    })
}
