//! Stored answers that were asked for lately: a retry that comes again is answered from memory.
//!
//! A final entry never changes while its answer is retained, on whichever node it was settled. So
//! what was once read of it, which was durable then, holds until the retention ends. Only a fail-over
//! to a server that never had it, or a backup that is put in place, could take it away: no
//! connection survives either, and a new one empties the memory.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use orderlock_core::store::{Acquired, Claim, Entry};
use orderlock_core::{KeyId, Timestamp};

/// How many bytes each of the two halves takes, roughly.
const HALF_MAX: usize = 8 * 1024 * 1024;

/// What an entry takes beside its answer and its order.
const ENTRY_BYTES: usize = 1_024;

/// Entries by their keys.
#[derive(Debug, Default)]
pub(crate) struct Answers(Mutex<Halves>);

/// The younger half takes what is read and what is asked for; when it is full it becomes the older
/// one, whose entries go if nobody has asked for them.
#[derive(Debug, Default)]
struct Halves {
    young: HashMap<KeyId, Box<Entry>>,
    old: HashMap<KeyId, Box<Entry>>,
    bytes: usize,
    times_emptied: u64,
}

/// From when an entry is: nothing that was read before the memory was emptied is kept after it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Reading(u64);

impl Answers {
    /// Says that something is about to be read.
    pub(crate) fn reading(&self) -> Reading {
        Reading(self.lock().times_emptied)
    }

    /// Keeps an entry that was read.
    pub(crate) fn keep(&self, reading: Reading, entry: &Entry) {
        let mut halves = self.lock();
        if reading == Reading(halves.times_emptied) && entry.outcome.is_final() {
            halves.insert(Box::new(entry.clone()));
        }
    }

    /// The final entry of a key whose answer is retained, if it is remembered.
    pub(crate) fn find(&self, key: KeyId, now: Timestamp) -> Option<Box<Entry>> {
        let mut halves = self.lock();
        if let Some(entry) = halves.old.remove(&key) {
            halves.insert(entry);
        }
        let entry = halves.young.get(&key)?;
        let retained = entry.expires.is_some_and(|expires| expires > now);
        (retained && entry.answer.is_some()).then(|| entry.clone())
    }

    /// Forgets everything.
    pub(crate) fn empty(&self) {
        let mut halves = self.lock();
        let times_emptied = halves.times_emptied + 1;
        *halves = Halves {
            times_emptied,
            ..Halves::default()
        };
    }

    /// Each change is one step, so that a panic elsewhere leaves it whole.
    fn lock(&self) -> MutexGuard<'_, Halves> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Halves {
    fn insert(&mut self, entry: Box<Entry>) {
        let size = size(&entry);
        if size > HALF_MAX / 8 {
            return;
        }
        if self.bytes + size > HALF_MAX {
            self.old = std::mem::take(&mut self.young);
            self.bytes = 0;
        }
        if self.young.insert(entry.key_id, entry).is_none() {
            self.bytes += size;
        }
    }
}

fn size(entry: &Entry) -> usize {
    let answer = entry.answer.as_ref().map_or(0, |it| it.body.len());
    let change = entry.change.as_ref().map_or(0, |it| it.size());
    ENTRY_BYTES + answer + change
}

/// What an `acquire` is told whose key has this final entry.
pub(crate) fn acquired(claim: &Claim, entry: Box<Entry>) -> Acquired {
    if entry.fingerprint == claim.fingerprint {
        Acquired::Settled(entry)
    } else {
        Acquired::Reused
    }
}
