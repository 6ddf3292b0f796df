//! What an order's document knows of idempotency keys.

use std::collections::BTreeMap;

use mongodb::bson::{Document as Fields, doc};
use orderlock_core::store::KeyFacts;
use orderlock_core::{Fingerprint, KeyId, OutcomeKind, Timestamp};

use crate::document::entry::StoredEntry;
use crate::document::fields::{FieldReader, hash_hex, long, micros};
use crate::error::Failure;

/// How many keys a document lists. A longer list would make every write of a long-lived order
/// larger; a key that is not listed is looked up in the journal.
pub(crate) const KEYS_MAX: usize = 32;

/// What the last entry of a key says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct KeyEntry {
    /// Which entry.
    pub(crate) number: u64,
    pub(crate) fingerprint: Fingerprint,
    pub(crate) expires: Timestamp,
    /// When the key is no longer known; never, for the creation's.
    pub(crate) forgotten: Option<Timestamp>,
    /// The run that made a checkpoint or left the mark that was cleared; none of a final entry.
    pub(crate) progress: Option<u32>,
    /// Whether the entry is no checkpoint, but the decision that the key's mark is cleared.
    pub(crate) cleared: bool,
}

impl KeyEntry {
    /// What an entry says of its key; none if it says nothing.
    pub(crate) fn of(record: &StoredEntry) -> Option<Self> {
        let entry = &record.entry;
        let binds = entry.outcome.binds();
        (binds || entry.outcome.is_final()).then(|| Self {
            number: entry.number,
            fingerprint: entry.fingerprint,
            expires: record.expires,
            forgotten: (entry.outcome != OutcomeKind::Created).then_some(record.forgotten),
            progress: binds.then_some(entry.attempt),
            cleared: entry.outcome == OutcomeKind::MarkCleared,
        })
    }

    /// Whether it still counts, at a time by which keys are forgotten.
    pub(crate) fn is_known(&self, now: Timestamp) -> bool {
        self.forgotten.is_none_or(|forgotten| now < forgotten)
    }

    pub(crate) fn facts(this: Option<&Self>, now: Timestamp) -> KeyFacts {
        match this {
            None => KeyFacts::New,
            Some(word) => match word.progress {
                Some(attempt) => KeyFacts::Progress {
                    fingerprint: word.fingerprint,
                    attempt,
                },
                None => KeyFacts::Final {
                    fingerprint: word.fingerprint,
                    retained: now < word.expires,
                },
            },
        }
    }

    pub(crate) fn to_fields(&self) -> Fields {
        let mut fields = doc! {
            "number": long(self.number),
            "fingerprint": hash_hex(self.fingerprint.0),
            "expires": micros(self.expires),
        };
        if let Some(forgotten) = self.forgotten {
            fields.insert("forgotten", micros(forgotten));
        }
        if let Some(attempt) = self.progress {
            fields.insert("progress", i64::from(attempt));
        }
        if self.cleared {
            fields.insert("cleared", 1);
        }
        fields
    }

    pub(crate) fn from_fields(fields: &Fields) -> Result<Self, Failure> {
        let reader = FieldReader::new("a key", fields);
        let progress = match reader.has("progress") {
            true => Some(reader.count("progress")?),
            false => None,
        };
        Ok(Self {
            number: reader.count("number")?,
            fingerprint: reader.fingerprint("fingerprint")?,
            expires: reader.time("expires")?,
            forgotten: reader.optional_time("forgotten")?,
            progress,
            cleared: reader.has("cleared"),
        })
    }
}

/// The keys that a document lists.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Keys {
    listed: BTreeMap<String, KeyEntry>,
    /// Whether keys have left the list that are still known.
    pub(crate) spilled: bool,
    /// The key that made the order.
    pub(crate) creation: Option<(KeyId, KeyEntry)>,
}

/// What is known of a key without the journal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum ListedKey {
    /// Its last entry says this.
    Entry(KeyEntry),
    /// It has no entry that counts.
    New,
    /// Only the journal knows.
    AskTheJournal,
}

impl Keys {
    /// The keys of an order of which nothing is known: it may have been replaced by somebody who has
    /// dropped what Orderlock keeps in it, so that the journal is asked.
    pub(crate) fn dropped() -> Self {
        Self {
            spilled: true,
            ..Self::default()
        }
    }

    pub(crate) fn from_fields(fields: FieldReader<'_>) -> Result<Self, Failure> {
        // Builds of 0.1 took an order for a new one that somebody had replaced, and did not ask.
        let asked = fields.has("creation") || fields.has("adopted");
        let mut keys = Self {
            spilled: fields.has("spilled") || !asked,
            ..Self::default()
        };
        if let Some(creation) = fields.document("creation")? {
            let key = FieldReader::new("the creation's key", creation).key_id("key")?;
            keys.creation = Some((key, KeyEntry::from_fields(creation)?));
        }
        for (key, word) in fields.document("keys")?.into_iter().flatten() {
            let word = word
                .as_document()
                .ok_or_else(|| Failure::unreadable("a key of an order"))?;
            keys.listed
                .insert(key.clone(), KeyEntry::from_fields(word)?);
        }
        Ok(keys)
    }

    /// What is known of a key, at a time by which keys are forgotten.
    pub(crate) fn known(&self, key_id: KeyId, now: Timestamp) -> ListedKey {
        if let Some((_, word)) = self.creation.as_ref().filter(|(key, _)| *key == key_id) {
            return ListedKey::Entry(word.clone());
        }
        match self.listed.get(&hash_hex(key_id.0)) {
            Some(word) if word.is_known(now) => ListedKey::Entry(word.clone()),
            // What is past its tombstone hides nothing: an older entry is forgotten as well.
            Some(_) => ListedKey::New,
            None if self.spilled => ListedKey::AskTheJournal,
            None => ListedKey::New,
        }
    }

    /// Whether the list itself says that a key is settled.
    pub(crate) fn is_settled(&self, key_id: KeyId, now: Timestamp) -> bool {
        match self.known(key_id, now) {
            ListedKey::Entry(word) => word.progress.is_none(),
            ListedKey::New | ListedKey::AskTheJournal => false,
        }
    }

    /// The entry that is listed for a key.
    pub(crate) fn listed(&self, key_id: KeyId) -> Option<&KeyEntry> {
        self.listed.get(&hash_hex(key_id.0))
    }

    /// Lists a key, and takes out what there is no more room for: first what is forgotten, then the
    /// oldest of those whose entries have arrived in the journal. Returns what to take out.
    pub(crate) fn list(
        &mut self,
        key_id: KeyId,
        word: KeyEntry,
        waits_for_relay: impl Fn(u64) -> bool,
        now: Timestamp,
    ) -> Vec<String> {
        let name = hash_hex(key_id.0);
        self.listed.insert(name.clone(), word);
        let mut taken = Vec::new();
        let forgotten = self.listed.iter().filter(|(_, word)| !word.is_known(now));
        taken.extend(forgotten.map(|(key, _)| key.clone()));
        for key in &taken {
            self.listed.remove(key);
        }
        while self.listed.len() > KEYS_MAX {
            let movable = self
                .listed
                .iter()
                .filter(|(key, word)| **key != name && !waits_for_relay(word.number));
            let oldest = movable.min_by_key(|(_, word)| word.number);
            let Some(oldest) = oldest.map(|(key, _)| key.clone()) else {
                break;
            };
            self.listed.remove(&oldest);
            self.spilled = true;
            taken.push(oldest);
        }
        taken
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::UNIX_EPOCH;

    fn word(number: u64) -> KeyEntry {
        KeyEntry {
            number,
            fingerprint: Fingerprint([1; 32]),
            expires: NOW,
            forgotten: Some(Timestamp::MAX),
            progress: None,
            cleared: false,
        }
    }

    fn key(number: u8) -> KeyId {
        KeyId([number; 32])
    }

    #[test]
    fn a_full_list_lets_go_of_the_oldest_that_the_journal_has() {
        let mut keys = Keys::default();
        for number in 1..=KEYS_MAX as u8 {
            let taken = keys.list(key(number), word(u64::from(number)), |_| true, NOW);
            assert_eq!(taken, [""; 0]);
        }
        assert_eq!(
            keys.known(key(99), NOW),
            ListedKey::New,
            "the list is complete"
        );
        // Nothing has arrived in the journal: nothing may leave.
        assert_eq!(keys.list(key(100), word(100), |_| true, NOW), [""; 0]);
        assert!(!keys.spilled);
        let taken = keys.list(key(101), word(101), |number| number > 2, NOW);
        assert_eq!(taken, [hash_hex([1; 32]), hash_hex([2; 32])]);
        assert_eq!(keys.known(key(1), NOW), ListedKey::AskTheJournal);
        assert_eq!(keys.known(key(3), NOW), ListedKey::Entry(word(3)));
    }

    #[test]
    fn what_is_forgotten_leaves_first_and_hides_nothing() {
        let mut keys = Keys::default();
        let old = KeyEntry {
            forgotten: Some(NOW),
            ..word(1)
        };
        keys.list(key(1), old, |_| true, Timestamp::MIN);
        assert_eq!(keys.known(key(1), NOW), ListedKey::New);
        let taken = keys.list(key(2), word(2), |_| true, NOW);
        assert_eq!(taken, [hash_hex([1; 32])]);
        assert!(!keys.spilled);
    }
}
