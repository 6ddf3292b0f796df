//! What this node's relay has to do: the orders in which entries wait, and the entries that this node
//! has written itself and not seen moved, which a service that replaces their order would drop.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use mongodb::bson::Bson;
use orderlock_core::StoreError;

use crate::document::entry::StoredEntry;

/// How many orders are remembered as waiting. More are found by the index.
const WANTED_MAX: usize = 4_096;

/// How many bytes of entries are remembered, about.
const KEPT_BYTES_MAX: usize = 32 * 1024 * 1024;

/// How long the journal may take nothing before that is told. The housekeeping of each node asks it
/// every few seconds.
const FAILS: Duration = Duration::from_secs(10);

/// What waits for this node's relay.
#[derive(Debug, Default)]
pub(crate) struct RelayQueue(Mutex<Queued>);

#[derive(Debug, Default)]
struct Queued {
    wanted: HashMap<String, Bson>,
    /// The entries that this node has written and not seen moved, by their order.
    kept: HashMap<String, (Bson, Vec<StoredEntry>)>,
    bytes: usize,
    running: bool,
    /// Since when the journal takes nothing, and why.
    fails: Option<(Instant, Box<str>)>,
}

impl RelayQueue {
    /// An order has got this entry, which is to be moved. Says whether the relay is to be started.
    pub(crate) fn add(&self, id: &Bson, record: StoredEntry) -> bool {
        let mut queued = self.lock();
        let bytes = record.bytes();
        if queued.bytes + bytes <= KEPT_BYTES_MAX {
            queued.bytes += bytes;
            let kept = queued.kept.entry(id.to_string());
            kept.or_insert_with(|| (id.clone(), Vec::new()))
                .1
                .push(record);
        }
        if queued.wanted.len() < WANTED_MAX {
            queued.wanted.insert(id.to_string(), id.clone());
        }
        !std::mem::replace(&mut queued.running, true)
    }

    /// Whether this node has written an entry of the order that it has not seen moved.
    pub(crate) fn keeps(&self, id: &Bson) -> bool {
        self.lock().kept.contains_key(&id.to_string())
    }

    /// The remembered entries of these orders, or of all.
    pub(crate) fn kept(&self, ids: Option<&[Bson]>) -> Vec<(Bson, Vec<StoredEntry>)> {
        let queued = self.lock();
        match ids {
            None => queued.kept.values().cloned().collect(),
            Some(ids) => ids
                .iter()
                .filter_map(|id| queued.kept.get(&id.to_string()).cloned())
                .collect(),
        }
    }

    /// These entries of an order are in the journal.
    pub(crate) fn moved<'a>(&self, id: &Bson, records: impl Iterator<Item = &'a StoredEntry>) {
        let mut queued = self.lock();
        let queued = &mut *queued;
        let name = id.to_string();
        let Some((_, kept)) = queued.kept.get_mut(&name) else {
            return;
        };
        for record in records {
            if let Some(at) = kept.iter().position(|kept| kept.is_same(record)) {
                queued.bytes = queued.bytes.saturating_sub(kept.swap_remove(at).bytes());
            }
        }
        if kept.is_empty() {
            queued.kept.remove(&name);
        }
    }

    /// The orders to be looked at; none if there are none, and then the relay has stopped.
    pub(crate) fn take(&self) -> Option<Vec<Bson>> {
        let mut queued = self.lock();
        if queued.wanted.is_empty() {
            queued.running = false;
            return None;
        }
        Some(queued.wanted.drain().map(|(_, id)| id).collect())
    }

    /// The relay has stopped, although there may be orders to be looked at.
    pub(crate) fn stop(&self) {
        self.lock().running = false;
    }

    /// Notes how a pass ended.
    pub(crate) fn ended(&self, now: Instant, done: &Result<(), StoreError>) {
        let fails = &mut self.lock().fails;
        *fails = done.as_ref().err().map(|error| {
            let since = fails.as_ref().map_or(now, |(since, _)| *since);
            (since, WithSources(error).to_string().into())
        });
    }

    /// Why entries wait longer than they should, if they do.
    pub(crate) fn trouble(&self, now: Instant) -> Option<String> {
        let queued = self.lock();
        let (since, why) = queued.fails.as_ref()?;
        let fails = now.saturating_duration_since(*since) >= FAILS;
        fails
            .then(|| format!("entries wait in their orders, because the journal takes none: {why}"))
    }

    fn lock(&self) -> MutexGuard<'_, Queued> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// An error with all that lies below it, for the log.
pub(crate) struct WithSources<'a>(pub(crate) &'a dyn std::error::Error);

impl std::fmt::Display for WithSources<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.0)?;
        let mut below = self.0.source();
        while let Some(error) = below {
            write!(f, ": {error}")?;
            below = error.source();
        }
        Ok(())
    }
}
