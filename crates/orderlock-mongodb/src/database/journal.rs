//! Queries of the journal's collection.

use mongodb::action::FindOne;
use mongodb::bson::{Bson, Document as Fields, RawDocumentBuf, doc};
use orderlock_core::{Fence, KeyId, OutcomeKind, Target};

use crate::database::calls::Calls;
use crate::document::entry::StoredEntry;
use crate::document::fields::{hash_hex, hex, long, micros};
use crate::error::Failure;

/// How many entries of one key are looked at that were made at the same microsecond.
const ALIKE_MAX: i64 = 16;

/// The most entries in one answer. Each may hold an order.
pub(crate) const ENTRIES_MAX: usize = 200;

impl Calls {
    /// An entry of the journal, by its order and number.
    pub(crate) async fn entry(
        &self,
        id: &Bson,
        target: &Target,
        number: u64,
    ) -> Result<Option<StoredEntry>, Failure> {
        let filter = doc! {"order": id, "number": long(number)};
        self.record(self.journal.find_one(filter), target).await
    }

    /// The last entry of an order in the journal, by its number.
    pub(crate) async fn last_entry(
        &self,
        id: &Bson,
        target: &Target,
    ) -> Result<Option<StoredEntry>, Failure> {
        let query = self.journal.find_one(doc! {"order": id});
        self.record(query.sort(doc! {"number": -1}), target).await
    }

    /// The last entry in the journal that says something of a key.
    pub(crate) async fn last_of_key(
        &self,
        id: &Bson,
        target: &Target,
        key_id: KeyId,
    ) -> Result<Option<StoredEntry>, Failure> {
        let filter = doc! {"order": id, "key": hash_hex(key_id.0), "speaks": 1};
        let query = self.journal.find_one(filter).sort(doc! {"number": -1});
        self.record(query, target).await
    }

    /// The last checkpoint of a key in the journal.
    pub(crate) async fn last_checkpoint(
        &self,
        id: &Bson,
        target: &Target,
        key_id: KeyId,
    ) -> Result<Option<StoredEntry>, Failure> {
        let outcome = OutcomeKind::Checkpoint.as_str();
        let filter = doc! {"order": id, "key": hash_hex(key_id.0), "outcome": outcome};
        let query = self.journal.find_one(filter).sort(doc! {"number": -1});
        self.record(query, target).await
    }

    /// What a settle of this grant has written into the journal.
    pub(crate) async fn written(
        &self,
        id: &Bson,
        target: &Target,
        key_id: KeyId,
        (fence, step): (Fence, u32),
    ) -> Result<Option<StoredEntry>, Failure> {
        let filter = doc! {
            "order": id,
            "key": hash_hex(key_id.0),
            "fence": hex(fence.0),
            "step": i64::from(step),
        };
        self.record(self.journal.find_one(filter), target).await
    }

    /// Whether the journal has this very entry, under whatever number.
    pub(crate) async fn has_entry(&self, id: &Bson, record: &StoredEntry) -> Result<bool, Failure> {
        let entry = &record.entry;
        let filter = doc! {
            "order": id,
            "key": hash_hex(entry.key_id.0),
            "at": micros(entry.at),
            "step": i64::from(entry.step),
        };
        let found = self.all(self.journal.find(filter).limit(ALIKE_MAX)).await?;
        for fields in &found {
            if StoredEntry::from_fields(fields, &entry.target)?.is_same(record) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    async fn record(
        &self,
        query: FindOne<'_, RawDocumentBuf>,
        target: &Target,
    ) -> Result<Option<StoredEntry>, Failure> {
        let found = self.one(query).await?;
        found.map(|fields| read_entry(&fields, target)).transpose()
    }

    /// Entries as they are kept, one more than the limit if there is one. Says whether the page was cut
    /// short because of its size.
    pub(crate) async fn entries(
        &self,
        filter: Fields,
        sort: Fields,
        limit: usize,
    ) -> Result<(Vec<Fields>, bool), Failure> {
        let most = i64::try_from(limit + 1).unwrap_or(i64::MAX);
        let query = self.journal.find(filter).sort(sort).limit(most);
        let mut rows = self.rows(query).await?;
        let found = rows.some(2, limit + 1).await?;
        let more = match found.len() > limit {
            true => false,
            false => rows.next().await?.is_some(),
        };
        Ok((found, more))
    }
}

/// Reads an entry of the journal.
pub(crate) fn read_entry(fields: &Fields, target: &Target) -> Result<StoredEntry, Failure> {
    let read = StoredEntry::from_fields(fields, target);
    read.map_err(|failure| failure.in_document("the journal", fields.get("_id")))
}
