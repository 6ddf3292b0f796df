//! `entries_since`: the stream of all entries of a tenant, by their positions.

use mongodb::bson::{Document as Fields, doc};
use orderlock_core::store::{Cursor, Entries, EntriesSince};
use orderlock_core::{StoreError, Target};

use crate::database::journal::{ENTRIES_MAX, read_entry};
use crate::document::entry::StoredEntry;
use crate::document::fields::{FieldReader, parse_u128};
use crate::document::order_id;
use crate::error::Failure;
use crate::shared::Inner;
use crate::verbs::cursor;

pub(crate) async fn entries_since(
    inner: &Inner,
    request: &EntriesSince,
) -> Result<Entries, StoreError> {
    let place = match &request.cursor {
        None => StreamPlace::default(),
        Some(Cursor(text)) => match StreamPlace::read(text, &inner.epoch)? {
            Some(place) => place,
            None => return Ok(Entries::NewEpoch),
        },
    };
    // What was settled before this question is in the answer, or behind it; also where it cannot be
    // moved now.
    inner.relay.try_move_all().await;
    let limit = request.limit.clamp(1, ENTRIES_MAX);
    // The entry that the reader has seen last comes first.
    let from = doc! {"$gte": place.position.max(1)};
    let filter = doc! {"tenant": request.tenant.as_str(), "position": from};
    let found = inner
        .calls
        .entries(filter, doc! {"position": 1}, limit)
        .await;
    let (found, _) = found.map_err(Failure::not_applied)?;
    let mut records = Vec::with_capacity(found.len());
    for fields in &found {
        let target = target(fields).map_err(Failure::not_applied)?;
        records.push(read_entry(fields, &target).map_err(Failure::not_applied)?);
    }
    let mut seen = place;
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
        seen = StreamPlace::at(last);
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
struct StreamPlace {
    position: i64,
    /// None in a cursor of an earlier build.
    seal: Option<String>,
}

impl StreamPlace {
    fn at(record: &StoredEntry) -> Self {
        Self {
            position: i64::try_from(record.entry.position.0).unwrap_or(i64::MAX),
            seal: Some(seal(record)),
        }
    }

    /// Reads a cursor; none if it is one of another epoch.
    fn read(text: &str, current: &str) -> Result<Option<Self>, StoreError> {
        let (epoch, rest) = text.split_once('.').ok_or(StoreError::InvalidCursor)?;
        if parse_u128(epoch).is_none() {
            return Err(StoreError::InvalidCursor);
        }
        let (position, seal) = match rest.split_once('.') {
            Some((position, seal)) => (position, Some(seal.to_owned())),
            None => (rest, None),
        };
        let position = cursor::number(position)?;
        Ok((epoch == current).then_some(Self { position, seal }))
    }

    fn write(&self, epoch: &str) -> Cursor {
        let seal = self.seal.as_ref().map(|seal| format!(".{seal}"));
        Cursor(format!("{epoch}.{}{}", self.position, seal.unwrap_or_default()).into())
    }

    /// Whether this is the entry that the reader has seen last.
    fn is_at(&self, record: &StoredEntry) -> bool {
        let seal = self.seal.as_ref().is_none_or(|told| *told == seal(record));
        u64::try_from(self.position).ok() == Some(record.entry.position.0) && seal
    }
}

/// A short hash of what tells an entry from others.
fn seal(record: &StoredEntry) -> String {
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
fn target(fields: &Fields) -> Result<Target, Failure> {
    let id = FieldReader::new("a journal entry", fields).get("order");
    let target = id.and_then(order_id::target);
    target.ok_or_else(|| Failure::unreadable("`order` of a journal entry"))
}
