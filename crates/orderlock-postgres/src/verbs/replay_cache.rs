//! Stored answers that were asked for lately: a retry that comes again is answered from memory.
//!
//! A final entry never changes while its answer is retained, on whichever node it was settled. So
//! what was once read of it, which was durable then, holds until the retention ends. Only a fail-over
//! to a server that never had it, or a backup that is put in place, could take it away: no
//! connection survives either, and so a new one that leads to another server, or to one that has been
//! started anew, empties the memory. A pooler's connections survive both, and so nothing is remembered
//! behind one.

use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};

use orderlock_core::store::{Acquired, Claim, Entry};
use orderlock_core::{KeyId, Timestamp};

use crate::pool::Connections;

/// How many bytes all of them take, roughly.
const BYTES_MAX: usize = 32 * 1024 * 1024;

/// How many of them one entry may take; a larger one is read again.
const ENTRY_MAX: usize = 1024 * 1024;

/// What an entry takes beside its answer and its order.
const ENTRY_BYTES: usize = 768;

/// Entries by their keys.
#[derive(Debug)]
pub(crate) struct ReplayCache {
    /// The connections that entries are read over.
    connections: Connections,
    memory: Mutex<Memory>,
}

#[derive(Debug, Default)]
struct Memory {
    entries: HashMap<KeyId, Box<Entry>>,
    /// Their keys in the order in which they were read: the first one goes first. Retries come soon.
    read: VecDeque<KeyId>,
    bytes: usize,
    /// How many servers the connections had led to when the first of these entries was read.
    servers: u64,
}

/// From when an entry is, as a number of servers: nothing that was read from one is kept on the next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Reading(u64);

impl ReplayCache {
    pub(crate) fn new(connections: Connections) -> Self {
        Self {
            connections,
            memory: Mutex::default(),
        }
    }

    /// Says that something is about to be read.
    pub(crate) fn reading(&self) -> Reading {
        Reading(self.lock().servers)
    }

    /// Keeps an entry that was read.
    pub(crate) fn keep(&self, reading: Reading, entry: &Entry) {
        let mut memory = self.lock();
        let still = reading == Reading(memory.servers);
        if self.connections.end_with_the_server() && still && entry.outcome.is_final() {
            memory.insert(entry);
        }
    }

    /// The final entry of a key whose answer is retained, if it is remembered.
    pub(crate) fn find(&self, key: KeyId, now: Timestamp) -> Option<Box<Entry>> {
        let memory = self.lock();
        let entry = memory.entries.get(&key)?;
        let retained = entry.expires.is_some_and(|expires| expires > now);
        (retained && entry.answer.is_some()).then(|| entry.clone())
    }

    /// What was read from this server. Each change is one step, so that a panic
    /// elsewhere leaves it whole.
    fn lock(&self) -> MutexGuard<'_, Memory> {
        let mut memory = self.memory.lock().unwrap_or_else(PoisonError::into_inner);
        let servers = self.connections.servers();
        if memory.servers != servers {
            *memory = Memory {
                servers,
                ..Memory::default()
            };
        }
        memory
    }
}

impl Memory {
    fn insert(&mut self, entry: &Entry) {
        let bytes = size(entry);
        if bytes > ENTRY_MAX || self.entries.contains_key(&entry.key_id) {
            return;
        }
        self.bytes += bytes;
        self.read.push_back(entry.key_id);
        self.entries.insert(entry.key_id, Box::new(entry.clone()));
        while self.bytes > BYTES_MAX {
            let Some(oldest) = self.read.pop_front() else {
                return;
            };
            if let Some(gone) = self.entries.remove(&oldest) {
                self.bytes -= size(&gone);
            }
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

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use orderlock_core::{Answer, OperationName, OrderId, OutcomeKind, Principal, Target, Tenant};

    use super::*;
    use crate::pool::health::ServerRun;

    fn entry(number: u16, bytes: usize) -> Entry {
        let mut key = [0; 32];
        key[..2].copy_from_slice(&number.to_be_bytes());
        Entry {
            target: Target {
                tenant: Tenant::single(),
                order: OrderId::parse("o1").unwrap(),
            },
            number: 2,
            position: orderlock_core::store::Position(1),
            version: orderlock_core::Version(2),
            operation: OperationName::parse("change").unwrap(),
            outcome: OutcomeKind::Applied,
            actor: Principal::parse("somebody").unwrap(),
            reason: None,
            at: Timestamp::UNIX_EPOCH,
            attempt: 1,
            key_id: KeyId(key),
            fingerprint: orderlock_core::Fingerprint([0; 32]),
            fence: None,
            step: 0,
            change: None,
            answer: Some(Answer {
                status: 200,
                content_type: "text/plain".into(),
                location: None,
                version: None,
                body: Bytes::from(vec![0; bytes]),
            }),
            expires: Some(Timestamp::MAX),
        }
    }

    #[test]
    fn what_was_read_first_goes_first_and_the_bound_holds() {
        let answers = ReplayCache::new(Connections::new(true));
        let reading = answers.reading();
        let large = ENTRY_MAX - ENTRY_BYTES;
        for number in 0..100 {
            answers.keep(reading, &entry(number, large));
            answers.keep(reading, &entry(number, large));
        }
        let found = |number| answers.find(entry(number, 0).key_id, Timestamp::UNIX_EPOCH);
        assert!(found(99).is_some() && found(68).is_some());
        assert!(found(67).is_none() && found(0).is_none());
        let memory = answers.lock();
        assert_eq!(memory.bytes, BYTES_MAX);
        assert_eq!((memory.entries.len(), memory.read.len()), (32, 32));
    }

    #[test]
    fn nothing_is_remembered_where_a_connection_may_survive_its_server() {
        let answers = ReplayCache::new(Connections::new(false));
        answers.keep(answers.reading(), &entry(1, 10));
        assert!(answers.lock().entries.is_empty());
    }

    #[test]
    fn one_that_is_too_large_or_was_read_before_is_not_kept() {
        let answers = ReplayCache::new(Connections::new(true));
        let before = answers.reading();
        answers.keep(before, &entry(1, ENTRY_MAX));
        answers.connections.note(ServerRun(1));
        answers.keep(before, &entry(2, 10));
        assert!(answers.lock().entries.is_empty());
        answers.keep(answers.reading(), &entry(3, 10));
        let key = entry(3, 0).key_id;
        assert!(answers.find(key, Timestamp::UNIX_EPOCH).is_some());
        assert!(answers.find(key, Timestamp::MAX).is_none(), "it has ended");
    }

    #[test]
    fn a_further_connection_keeps_what_was_read_and_another_server_does_not() {
        let answers = ReplayCache::new(Connections::new(true));
        let key = entry(1, 0).key_id;
        for (run, is_kept) in [(1, false), (1, true), (2, false), (1, false)] {
            answers.connections.note(ServerRun(run));
            let found = answers.find(key, Timestamp::UNIX_EPOCH);
            assert_eq!(found.is_some(), is_kept, "{run}");
            answers.keep(answers.reading(), &entry(1, 10));
        }
    }
}
