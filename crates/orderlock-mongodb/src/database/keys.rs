//! What is known of a key of an order: by the order's document where it lists the key, else by the
//! journal.

use orderlock_core::{KeyId, OutcomeKind, StoreError, Timestamp};

use crate::database::calls::Calls;
use crate::document::entry::StoredEntry;
use crate::document::keys::{KeyEntry, ListedKey};
use crate::document::order::OrderDocument;
use crate::error::Failure;

impl Calls {
    /// What the last entry of a key says that counts at a time by which keys are forgotten.
    pub(crate) async fn key(
        &self,
        order: &OrderDocument,
        key_id: KeyId,
        now: Timestamp,
    ) -> Result<Option<KeyEntry>, StoreError> {
        match order.keys.known(key_id, now) {
            ListedKey::Entry(word) => Ok(Some(word)),
            ListedKey::New => Ok(None),
            ListedKey::AskTheJournal => {
                let last = self.last_of_key(&order.id, &order.target, key_id).await;
                let last = last.map_err(Failure::not_applied)?;
                let word = last.as_ref().and_then(KeyEntry::of);
                Ok(word.filter(|word| word.is_known(now)))
            }
        }
    }

    /// The last entry of a key, which has this number as far as the order's document says: in the
    /// document or, once the relay has moved it, in the journal. Another key's entry is none of it: a
    /// number may have been given twice, if somebody has replaced the order.
    pub(crate) async fn entry_of_key(
        &self,
        order: &OrderDocument,
        key_id: KeyId,
        number: u64,
    ) -> Result<StoredEntry, StoreError> {
        let of_key = |record: &StoredEntry| record.entry.key_id == key_id;
        let pending = order.pending(number).map_err(Failure::not_applied)?;
        if let Some(record) = pending.filter(of_key) {
            return Ok(record);
        }
        let (id, target) = (&order.id, &order.target);
        let found = self.entry(id, target, number).await;
        if let Some(record) = found.map_err(Failure::not_applied)?.filter(of_key) {
            return Ok(record);
        }
        let found = self.last_of_key(id, target, key_id).await;
        found.map_err(Failure::not_applied)?.ok_or_else(|| {
            let failure = Failure::unreadable("an entry that the order names is nowhere");
            failure.in_document("the order", Some(id)).not_applied()
        })
    }

    /// The last checkpoint of a key that has no final entry.
    pub(crate) async fn checkpoint_of_key(
        &self,
        order: &OrderDocument,
        key_id: KeyId,
        word: &KeyEntry,
    ) -> Result<Option<StoredEntry>, StoreError> {
        if !word.cleared {
            return self
                .entry_of_key(order, key_id, word.number)
                .await
                .map(Some);
        }
        // A decision was the last that was said of the key: a checkpoint may stand before it.
        let pending = order.pending_all().map_err(Failure::not_applied)?;
        let checkpoint = |record: &StoredEntry| {
            record.entry.key_id == key_id && record.entry.outcome == OutcomeKind::Checkpoint
        };
        match pending.into_iter().rfind(checkpoint) {
            Some(record) => Ok(Some(record)),
            None => {
                let found = self.last_checkpoint(&order.id, &order.target, key_id).await;
                found.map_err(Failure::not_applied)
            }
        }
    }
}
