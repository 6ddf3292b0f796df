//! `history`, and the end of a mark in it. An entry stands in its order's document until the relay has
//! moved it: whoever reads an order's history looks there first, then in the journal, and so misses
//! none; entries are told apart by their number, so that none is shown twice.

use std::collections::BTreeMap;

use mongodb::bson::doc;
use orderlock_core::store::{Entry, History, MarkEnd, Page};
use orderlock_core::{OutcomeKind, StoreError};

use crate::database::journal::{ENTRIES_MAX, read_entry};
use crate::document::entry::StoredEntry;
use crate::error::Failure;
use crate::shared::Inner;
use crate::verbs::cursor;

pub(crate) async fn history(
    inner: &Inner,
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
    if !order.entries.is_empty() || inner.relay.dropped_ours(&order) {
        // What can be moved now is shown with its position; what cannot is shown all the same.
        inner.relay.try_move(&id).await;
    }
    let limit = request.limit.clamp(1, ENTRIES_MAX);
    let filter = doc! {"order": &id, "number": {"$gt": after}};
    let moved = inner.calls.entries(filter, doc! {"number": 1}, limit).await;
    let (moved, cut) = moved.map_err(Failure::not_applied)?;
    let mut entries = BTreeMap::new();
    let pending = order.pending_all().map_err(Failure::not_applied)?;
    for record in pending {
        entries.insert(record.entry.number, record);
    }
    for fields in &moved {
        let record = read_entry(fields, &request.target).map_err(Failure::not_applied)?;
        let number = record.entry.number;
        // The journal's word stays: it has the position. An entry that was given another number since
        // the order was read stands there under that one.
        entries.retain(|_, other: &mut StoredEntry| !other.is_same(&record));
        entries.insert(number, record);
    }
    // Behind a page that was cut short, what waits is not yet looked at.
    let last = moved
        .last()
        .filter(|_| cut)
        .map(|fields| read_entry(fields, &request.target));
    let last = last.transpose().map_err(Failure::not_applied)?;
    let last = last.map(|record| record.entry.number);
    let now = inner.clock.now();
    let within = |number: &u64| {
        i64::try_from(*number).is_ok_and(|number| number > after)
            && last.is_none_or(|last| *number <= last)
    };
    let mut entries: Vec<Entry> = entries
        .into_iter()
        .filter(|(number, _)| within(number))
        .take(limit + 1)
        .map(|(_, record)| record.shown(now))
        .collect();
    let more = entries.len() > limit || cut;
    entries.truncate(limit);
    let next = entries.last().filter(|_| more);
    let next = next.map(|entry| cursor::write('h', &entry.number.to_string()));
    Ok(Some(Page {
        items: entries,
        next,
    }))
}

/// How many entries of one run of a key are looked at: those of its grant are few beside checkpoints,
/// which are left out.
const RUN_MAX: usize = 16;

/// The last entry by which an operator has ended a mark: in the order while it waits for the relay, then
/// in the journal.
pub(crate) async fn mark_end(
    inner: &Inner,
    request: &MarkEnd,
) -> Result<Option<Entry>, StoreError> {
    let Some(id) = inner.ids.id(&request.target) else {
        return Ok(None);
    };
    let found = inner.calls.order(&id).await.map_err(Failure::not_applied)?;
    let Some(order) = found else {
        return Ok(None);
    };
    let now = inner.clock.now();
    let pending = order.pending_all().map_err(Failure::not_applied)?;
    let mut pending = pending.into_iter().rev();
    if let Some(record) = pending.find(|record| request.is_told_by(&record.entry)) {
        return Ok(Some(record.shown(now)));
    }
    let begins = format!("{:016x}", request.key);
    let filter = doc! {
        "order": &id,
        // Behind every key that begins so: what follows is a hexadecimal digit.
        "key": {"$gte": &begins, "$lt": format!("{begins}g")},
        "attempt": i64::from(request.attempt),
        "outcome": {"$ne": OutcomeKind::Checkpoint.as_str()},
    };
    let moved = inner
        .calls
        .entries(filter, doc! {"number": -1}, RUN_MAX)
        .await;
    let (moved, _) = moved.map_err(Failure::not_applied)?;
    for fields in &moved {
        let record = read_entry(fields, &request.target).map_err(Failure::not_applied)?;
        if request.is_told_by(&record.entry) {
            return Ok(Some(record.shown(now)));
        }
    }
    Ok(None)
}
