//! `history` and `entries_since`. An entry stands in its order's document until the relay has moved
//! it: whoever reads an order's history looks there first, then in the journal, and so misses none;
//! entries are told apart by their number, so that none is told twice.

use std::collections::BTreeMap;
use std::sync::Arc;

use mongodb::bson::{Document as Fields, doc};
use orderlock_core::store::{Cursor, Entries, EntriesSince, Entry, History, Page};
use orderlock_core::{StoreError, Target};

use crate::cursor;
use crate::entry::Record;
use crate::error::Failure;
use crate::fields::Reader;
use crate::order_id;
use crate::relay;
use crate::store::Inner;

/// The most entries in one answer. Each may hold an order.
const PAGE_MAX: usize = 200;

pub(crate) async fn history(
    inner: &Arc<Inner>,
    request: &History,
) -> Result<Option<Page<Entry>>, StoreError> {
    let after = match cursor::read('h', request.cursor.as_ref())? {
        Some(place) => cursor::number(place)?,
        None => 0,
    };
    let Some(id) = inner.ids.id(&request.target) else {
        return Ok(None);
    };
    let found = inner.calls.order(&id).await.map_err(Failure::not_applied)?;
    let Some(order) = found else {
        return Ok(None);
    };
    if !order.entries.is_empty() {
        // What can be moved now is told with its position; what cannot is told all the same.
        if let Err(error) = relay::move_now(inner, std::slice::from_ref(&id)).await {
            tracing::warn!(%error, "entries wait in their order: the journal takes none");
        }
    }
    let limit = request.limit.clamp(1, PAGE_MAX);
    let query = inner
        .calls
        .journal
        .find(doc! {"order": &id, "number": {"$gt": after}})
        .sort(doc! {"number": 1})
        .limit(i64::try_from(limit + 1).unwrap_or(i64::MAX));
    let moved = inner.calls.all(query).await.map_err(Failure::not_applied)?;
    let mut entries = BTreeMap::new();
    let moved = moved
        .iter()
        .map(|fields| Record::from_fields(fields, &request.target));
    let pending = order.pending_all().map_err(Failure::not_applied)?;
    // The journal's word comes second and stays: it has the position.
    for record in pending.into_iter().map(Ok).chain(moved) {
        let record: Record = record.map_err(Failure::not_applied)?;
        entries.insert(record.entry.number, record);
    }
    let now = inner.clock.now();
    let above = |number: &u64| i64::try_from(*number).is_ok_and(|number| number > after);
    let mut entries: Vec<Entry> = entries
        .into_iter()
        .filter(|(number, _)| above(number))
        .take(limit + 1)
        .map(|(_, record)| record.shown(now))
        .collect();
    let more = entries.len() > limit;
    entries.truncate(limit);
    let next = entries.last().filter(|_| more);
    let next = next.map(|entry| cursor::write('h', &entry.number.to_string()));
    Ok(Some(Page {
        items: entries,
        next,
    }))
}

pub(crate) async fn entries_since(
    inner: &Arc<Inner>,
    request: &EntriesSince,
) -> Result<Entries, StoreError> {
    let after = match &request.cursor {
        None => 0,
        Some(Cursor(text)) => {
            let (epoch, position) = text.split_once('.').ok_or(StoreError::InvalidCursor)?;
            if crate::fields::parse_u128(epoch).is_none() {
                return Err(StoreError::InvalidCursor);
            }
            let position = cursor::number(position)?;
            if epoch != inner.epoch {
                return Ok(Entries::NewEpoch);
            }
            position
        }
    };
    // What was settled before this question is in the answer, or behind it.
    relay::move_all(inner).await?;
    let filter = doc! {"tenant": request.tenant.as_str(), "position": {"$gt": after}};
    let limit = request.limit.clamp(1, PAGE_MAX);
    let query = inner
        .calls
        .journal
        .find(filter)
        .sort(doc! {"position": 1})
        .limit(i64::try_from(limit).unwrap_or(i64::MAX));
    let found = inner.calls.all(query).await.map_err(Failure::not_applied)?;
    let now = inner.clock.now();
    let mut last = after;
    let mut entries = Vec::with_capacity(found.len());
    for fields in &found {
        let record = Record::from_fields(fields, &target(fields)?).map_err(Failure::not_applied)?;
        last = i64::try_from(record.entry.position.0).unwrap_or(i64::MAX);
        entries.push(record.shown(now));
    }
    Ok(Entries::Some {
        entries,
        next: Cursor(format!("{}.{last}", inner.epoch).into()),
    })
}

/// Which order an entry of the journal is of.
fn target(fields: &Fields) -> Result<Target, StoreError> {
    let id = Reader::new("a journal entry", fields).get("order");
    let target = id.and_then(order_id::target);
    target.ok_or_else(|| Failure::unreadable("`order` of a journal entry").not_applied())
}
