//! `history` and `entries_since`. An entry stands in its order's document until the relay has moved
//! it: whoever reads an order's history looks there first, then in the journal, and so misses none;
//! entries are told apart by their number, so that none is told twice.

use std::collections::BTreeMap;
use std::sync::Arc;

use mongodb::bson::{Document as Fields, doc};
use orderlock_core::store::{Cursor, Entries, EntriesSince, Entry, History, MarkEnd, Page};
use orderlock_core::{OutcomeKind, StoreError, Target};

use crate::document::entry::Record;
use crate::document::fields::{Reader, parse_u128};
use crate::document::order_id;
use crate::error::Failure;
use crate::relay;
use crate::relay::adopt::dropped_ours;
use crate::store::Inner;
use crate::verbs::cursor;

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
    if !order.entries.is_empty() || dropped_ours(inner, &order) {
        // What can be moved now is told with its position; what cannot is told all the same.
        if let Err(error) = relay::move_now(inner, std::slice::from_ref(&id)).await {
            tracing::warn!(%error, "entries wait in their order: the journal takes none");
        }
    }
    let limit = request.limit.clamp(1, PAGE_MAX);
    let filter = doc! {"order": &id, "number": {"$gt": after}};
    let (moved, cut) = moved(inner, filter, doc! {"number": 1}, limit).await?;
    let mut entries = BTreeMap::new();
    let pending = order.pending_all().map_err(Failure::not_applied)?;
    for record in pending {
        entries.insert(record.entry.number, record);
    }
    for fields in &moved {
        let record = read(fields, &request.target)?;
        let number = record.entry.number;
        // The journal's word stays: it has the position. An entry that was given another number since
        // the order was read stands there under that one.
        entries.retain(|_, other: &mut Record| !other.is_same(&record));
        entries.insert(number, record);
    }
    // Behind a page that was cut short, what waits is not yet looked at.
    let last = moved
        .last()
        .filter(|_| cut)
        .map(|fields| read(fields, &request.target));
    let last = last.transpose()?.map(|record| record.entry.number);
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
    inner: &Arc<Inner>,
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
    let (moved, _) = moved(inner, filter, doc! {"number": -1}, RUN_MAX).await?;
    for fields in &moved {
        let record = read(fields, &request.target)?;
        if request.is_told_by(&record.entry) {
            return Ok(Some(record.shown(now)));
        }
    }
    Ok(None)
}

/// Entries of the journal, one more than the limit if there is one. Says whether the page was cut short
/// because of its size.
async fn moved(
    inner: &Inner,
    filter: Fields,
    sort: Fields,
    limit: usize,
) -> Result<(Vec<Fields>, bool), StoreError> {
    let most = i64::try_from(limit + 1).unwrap_or(i64::MAX);
    let query = inner.calls.journal.find(filter).sort(sort).limit(most);
    let mut rows = inner
        .calls
        .rows(query)
        .await
        .map_err(Failure::not_applied)?;
    let found = rows
        .some(2, limit + 1)
        .await
        .map_err(Failure::not_applied)?;
    let more = match found.len() > limit {
        true => false,
        false => rows.next().await.map_err(Failure::not_applied)?.is_some(),
    };
    Ok((found, more))
}

fn read(fields: &Fields, target: &Target) -> Result<Record, StoreError> {
    let read = Record::from_fields(fields, target);
    read.map_err(|failure| {
        failure
            .in_document("the journal", fields.get("_id"))
            .not_applied()
    })
}

pub(crate) async fn entries_since(
    inner: &Arc<Inner>,
    request: &EntriesSince,
) -> Result<Entries, StoreError> {
    let stand = match &request.cursor {
        None => Stand::default(),
        Some(Cursor(text)) => match Stand::read(text, &inner.epoch)? {
            Some(stand) => stand,
            None => return Ok(Entries::NewEpoch),
        },
    };
    // What was settled before this question is in the answer, or behind it; also where it cannot be
    // moved now.
    if let Err(error) = relay::move_all(inner).await {
        tracing::warn!(%error, "entries wait in their orders: the journal takes none");
    }
    let limit = request.limit.clamp(1, PAGE_MAX);
    // The entry that the reader has seen last comes first.
    let from = doc! {"$gte": stand.position.max(1)};
    let filter = doc! {"tenant": request.tenant.as_str(), "position": from};
    let (found, _) = moved(inner, filter, doc! {"position": 1}, limit).await?;
    let mut records = Vec::with_capacity(found.len());
    for fields in &found {
        records.push(read(fields, &target(fields)?)?);
    }
    let mut seen = stand;
    if seen.position > 0 {
        if !records.first().is_some_and(|first| seen.is_at(first)) {
            tracing::warn!(
                tenant = %request.tenant,
                "a reader's place in the journal is another one by now: the journal was restored"
            );
            return Ok(Entries::NewEpoch);
        }
        records.remove(0);
    }
    records.truncate(limit);
    if let Some(last) = records.last() {
        seen = Stand::at(last);
    }
    let now = inner.clock.now();
    Ok(Entries::Some {
        entries: records
            .into_iter()
            .map(|record| record.shown(now))
            .collect(),
        next: seen.write(&inner.epoch),
    })
}

/// Where a reader stands: behind the entry at this position. A journal that was restored has another
/// entry there, or none, which the seal tells.
#[derive(Clone, Debug, Default)]
struct Stand {
    position: i64,
    /// None in a cursor of an earlier build.
    seal: Option<String>,
}

impl Stand {
    fn at(record: &Record) -> Self {
        Self {
            position: i64::try_from(record.entry.position.0).unwrap_or(i64::MAX),
            seal: Some(seal(record)),
        }
    }

    /// Reads a cursor; none if it is one of another epoch.
    fn read(text: &str, current: &str) -> Result<Option<Self>, StoreError> {
        let (epoch, place) = text.split_once('.').ok_or(StoreError::InvalidCursor)?;
        if parse_u128(epoch).is_none() {
            return Err(StoreError::InvalidCursor);
        }
        let (position, seal) = match place.split_once('.') {
            Some((position, seal)) => (position, Some(seal.to_owned())),
            None => (place, None),
        };
        let position = cursor::number(position)?;
        Ok((epoch == current).then_some(Self { position, seal }))
    }

    fn write(&self, epoch: &str) -> Cursor {
        let seal = self.seal.as_ref().map(|seal| format!(".{seal}"));
        Cursor(format!("{epoch}.{}{}", self.position, seal.unwrap_or_default()).into())
    }

    /// Whether this is the entry that the reader has seen last.
    fn is_at(&self, record: &Record) -> bool {
        let seal = self.seal.as_ref().is_none_or(|told| *told == seal(record));
        u64::try_from(self.position).ok() == Some(record.entry.position.0) && seal
    }
}

/// A short hash of what tells an entry from others.
fn seal(record: &Record) -> String {
    let entry = &record.entry;
    let mut hasher = blake3::Hasher::new();
    hasher.update(entry.target.to_string().as_bytes());
    hasher.update(&entry.number.to_le_bytes());
    hasher.update(&entry.key_id.0);
    hasher.update(&entry.at.as_microsecond().to_le_bytes());
    hasher.update(&entry.fence.map_or(0, |fence| fence.0).to_le_bytes());
    hasher.finalize().to_hex()[..16].to_owned()
}

/// Which order an entry of the journal is of.
fn target(fields: &Fields) -> Result<Target, StoreError> {
    let id = Reader::new("a journal entry", fields).get("order");
    let target = id.and_then(order_id::target);
    target.ok_or_else(|| Failure::unreadable("`order` of a journal entry").not_applied())
}
