//! The journal, and what it says of a key.

use std::time::Duration;

use jiff::Timestamp;
use orderlock_core::store::{
    Cursor, Entries, EntriesSince, Entry, Expired, History, KeyFacts, Known, Lookup, MarkEnd, Page,
    Position, Receipt, Retention, RetentionTime,
};
use orderlock_core::{Fence, KeyId, LeaseState, OutcomeKind, StoreError, Target};

use super::state::{Record, State, page, place};

/// What the journal last said of a key that it still knows.
pub(super) enum Word<'a> {
    Final(&'a Record),
    Progress(&'a Record),
}

impl Record {
    /// The entry as it is now: without an answer that is past its retention.
    pub(super) fn shown(&self, now: Timestamp) -> Entry {
        let mut entry = self.entry.clone();
        entry.answer = entry.answer.filter(|_| now < self.expires);
        entry
    }

    pub(super) fn receipt(&self) -> Receipt {
        Receipt {
            number: self.entry.number,
            expires: self.expires,
        }
    }

    /// Whether its key is known by it. For a creation the order itself is the tombstone.
    fn known(&self, time: RetentionTime) -> bool {
        self.entry.outcome == OutcomeKind::Created || time.earliest < self.forgotten
    }
}

impl Word<'_> {
    pub(super) fn facts(this: Option<&Self>, now: Timestamp) -> KeyFacts {
        match this {
            None => KeyFacts::New,
            Some(Self::Final(record)) => KeyFacts::Final {
                fingerprint: record.entry.fingerprint,
                retained: record.entry.answer.is_some() && now < record.expires,
            },
            Some(Self::Progress(record)) => KeyFacts::Progress {
                fingerprint: record.entry.fingerprint,
                attempt: record.entry.attempt,
            },
        }
    }
}

impl State {
    /// Places an entry at the end of its order's history and of the journal.
    pub(super) fn append(&mut self, mut entry: Entry, retention: Retention) -> Receipt {
        let begin = self.time.latest;
        let after = |duration| begin.checked_add(duration).unwrap_or(Timestamp::MAX);
        let expires = after(retention.answer);
        if let Some(order) = self.orders.get_mut(&entry.target) {
            order.entries.push(self.journal.len());
            entry.number = order.entries.len() as u64;
            entry.version = order.version;
        }
        entry.position = Position(self.journal.len() as u64 + 1);
        entry.expires = entry.answer.as_ref().map(|_| expires);
        let record = Record {
            entry,
            expires,
            forgotten: after(retention.tombstone),
            tombstone_ended: false,
        };
        let receipt = record.receipt();
        self.journal.push(record);
        receipt
    }

    fn records(&self, target: &Target) -> impl DoubleEndedIterator<Item = &Record> {
        let places = self.orders.get(target).map(|order| &order.entries);
        places
            .into_iter()
            .flatten()
            .map(|place| &self.journal[*place])
    }

    /// What the journal last said of a key that it still knows.
    pub(super) fn word(&self, target: &Target, key_id: KeyId) -> Option<Word<'_>> {
        let speaks = |record: &&Record| {
            let outcome = record.entry.outcome;
            record.entry.key_id == key_id && (outcome.is_final() || outcome.binds())
        };
        let record = self.records(target).rev().find(speaks)?;
        if !record.known(self.time) {
            None
        } else if record.entry.outcome.is_final() {
            Some(Word::Final(record))
        } else {
            Some(Word::Progress(record))
        }
    }

    /// The last checkpoint of a key, if the journal still knows it.
    pub(super) fn checkpoint(&self, target: &Target, key_id: KeyId) -> Option<&Record> {
        let mut records = self.records(target).rev();
        records
            .find(|record| {
                record.entry.key_id == key_id && record.entry.outcome == OutcomeKind::Checkpoint
            })
            .filter(|record| record.known(self.time))
    }

    /// The order that a key has made, by the id that is derived from it.
    pub(super) fn made(&self, derived: &Target) -> Target {
        self.reserved.get(derived).unwrap_or(derived).clone()
    }

    /// What this settle of this grant has written.
    pub(super) fn written(&self, target: &Target, fence: Fence, step: u32) -> Option<Receipt> {
        self.records(target)
            .find(|record| record.entry.fence == Some(fence) && record.entry.step == step)
            .map(Record::receipt)
    }

    pub(super) fn mark_end(&self, request: &MarkEnd, now: Timestamp) -> Option<Entry> {
        let records = self.records(&request.target).rev();
        let mut entries = records.map(|record| record.shown(now));
        entries.find(|entry| request.is_told_by(entry))
    }

    pub(super) fn lookup(&self, request: &Lookup, now: Timestamp) -> Known {
        let target = self.made(&request.target);
        let Some(order) = self.orders.get(&target) else {
            return Known::Unknown;
        };
        if let Some(Word::Final(record)) = self.word(&target, request.key_id) {
            return if now < record.expires {
                Known::Settled(Box::new(record.shown(now)))
            } else {
                Known::Expired(record.entry.fingerprint)
            };
        }
        match &order.lock {
            LeaseState::Held(lease) | LeaseState::Begun(lease, _)
                if lease.key_id == request.key_id =>
            {
                Known::Running(lease.view(&target))
            }
            LeaseState::Unattended(mark) if mark.key_id == request.key_id => {
                Known::Marked(Box::new(mark.clone()))
            }
            _ => Known::Unknown,
        }
    }

    pub(super) fn history(
        &self,
        request: &History,
        now: Timestamp,
    ) -> Result<Option<Page<Entry>>, StoreError> {
        let after = place('h', request.cursor.as_ref())?.unwrap_or(0);
        if !self.orders.contains_key(&request.target) {
            return Ok(None);
        }
        let entries = self
            .records(&request.target)
            .map(|record| (record.entry.number, record.shown(now)))
            .filter(|(number, _)| *number > after);
        Ok(Some(page('h', entries, request.limit)))
    }

    pub(super) fn entries_since(
        &self,
        request: &EntriesSince,
        now: Timestamp,
    ) -> Result<Entries, StoreError> {
        let after = match &request.cursor {
            None => 0,
            Some(Cursor(text)) => {
                let (epoch, position) = text.split_once('.').ok_or(StoreError::InvalidCursor)?;
                let number = |text: &str| text.parse().map_err(|_| StoreError::InvalidCursor);
                if number(epoch)? != self.epoch {
                    return Ok(Entries::NewEpoch);
                }
                number(position)?
            }
        };
        let entries: Vec<_> = self
            .journal
            .iter()
            .filter(|record| record.entry.target.tenant == request.tenant)
            .filter(|record| record.entry.position.0 > after)
            .map(|record| record.shown(now))
            .take(request.limit.max(1))
            .collect();
        let last = entries.last().map_or(after, |entry| entry.position.0);
        Ok(Entries::Some {
            entries,
            next: Cursor(format!("{}.{last}", self.epoch).into()),
        })
    }

    pub(super) fn begin_epoch(&mut self) {
        self.epoch += 1;
    }

    pub(super) fn expire(&mut self, limit: usize) -> Expired {
        let (limit, time) = (limit.max(1), self.time);
        let due =
            |record: &&mut Record| record.entry.answer.is_some() && record.expires <= time.earliest;
        let mut answers = 0;
        for record in self.journal.iter_mut().filter(due).take(limit) {
            record.entry.answer = None;
            answers += 1;
        }
        let due = |record: &&mut Record| {
            let forgotten = record.entry.outcome.is_final() && !record.known(time);
            forgotten && !record.tombstone_ended
        };
        let mut tombstones = 0;
        for record in self.journal.iter_mut().filter(due).take(limit) {
            record.tombstone_ended = true;
            tombstones += 1;
        }
        Expired {
            answers,
            tombstones,
            more: answers == limit || tombstones == limit,
            behind: self.behind(),
        }
    }

    /// For how long the oldest of what is due has been due.
    fn behind(&self) -> Duration {
        let now = self.time.earliest;
        let due = self.journal.iter().flat_map(|record| {
            let answer = record.entry.answer.is_some().then_some(record.expires);
            let forgotten = record.entry.outcome.is_final() && !record.tombstone_ended;
            let forgotten = forgotten && record.entry.outcome != OutcomeKind::Created;
            [answer, forgotten.then_some(record.forgotten)]
        });
        let oldest = due.flatten().filter(|due| *due <= now).min();
        oldest.map_or(Duration::ZERO, |due| now.duration_since(due).unsigned_abs())
    }
}
