//! How an order is seen: the one place that knows in which layers its state lies.
//!
//! ```text
//!                 open batch       what its jobs have decided           WriterView
//!                 flushing batch   committed, on its way to the disk        |
//!   MemoryView    memory           leases, orders and answers               |
//!       |         file             everything that is committed             v
//! ```
//!
//! The writer looks through all four, the uppermost first. Everybody else sees only what is on the
//! disk: memory, where that knows enough, and else the file, in which memory is looked at before and
//! after (see [`crate::verbs::from_file`]).

use std::collections::hash_map::Entry as MapEntry;
use std::sync::{Arc, MutexGuard};

use orderlock_core::store::Entry;
use orderlock_core::{Fence, KeyId, SessionId, Target};
use rusqlite::Connection;

use crate::clock::Now;
use crate::file::error::Fault;
use crate::file::key_index::{KeyHash, key_hash};
use crate::file::keys::{KeyRow, Run, find_key};
use crate::file::rows::{Latest, find_latest};
use crate::state::durability::Durability;
use crate::state::leases::{Held, Leases, Session, Shard};
use crate::state::orders::KnownOrder;
use crate::state::staged::{Staged, StagedSlot};

/// How far one may rely on what is seen of an order.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Certainty {
    /// It survives power loss, and nobody is changing it.
    #[default]
    OnDisk,
    /// The writer has decided about the order, and its batch is not on the disk yet: the file may show
    /// more than survives.
    BeingFlushed,
    /// A flush or a commit has failed, or the files are not where they were: nobody knows what of the
    /// order is in the file.
    InDoubt,
}

/// An order at one moment.
#[derive(Debug)]
pub(crate) struct Seen {
    /// Its lease, if a session that is alive holds it.
    pub(crate) held: Option<Held>,
    /// Its content and where its journal stands; none if that is not known here, or there is no such
    /// order.
    pub(crate) latest: Option<Arc<Latest>>,
    pub(crate) certainty: Certainty,
}

/// One order as memory has it. Nobody else changes it while this lives.
pub(crate) struct MemoryView<'a> {
    target: &'a Target,
    leases: &'a Leases,
    shard: MutexGuard<'a, Shard>,
    in_doubt: bool,
}

impl<'a> MemoryView<'a> {
    pub(crate) fn of(leases: &'a Leases, durability: &Durability, target: &'a Target) -> Self {
        let shard = leases.shard(target);
        Self {
            target,
            leases,
            // Asked under the lock: what a failed flush has left is found by whoever comes after it.
            in_doubt: durability.is_in_doubt(),
            shard,
        }
    }

    pub(crate) fn order(&mut self) -> Seen {
        let slot = self.shard.slots.get(self.target);
        let certainty = match slot {
            _ if self.in_doubt => Certainty::InDoubt,
            Some(slot) => slot.certainty(),
            None => Certainty::OnDisk,
        };
        let held = self.leases.live(slot);
        let known = self.shard.orders.get(self.target);
        Seen {
            held,
            latest: known.map(|known| Arc::clone(known.latest())),
            certainty,
        }
    }

    /// Whether the order certainly has no entry of that key.
    pub(crate) fn lacks(&mut self, key: KeyId) -> bool {
        let known = self.shard.orders.get(self.target);
        known.is_some_and(|known| known.lacks(key_hash(key)))
    }

    /// The final entry of a key whose answer was asked for lately, as it is on the disk.
    pub(crate) fn answer(&self, seen: &Seen, key: KeyId, now: Now) -> Option<&Entry> {
        match seen.certainty {
            // What is being written beside it does not change it.
            Certainty::OnDisk | Certainty::BeingFlushed => {
                self.shard.answers.find(self.target, key, now)
            }
            Certainty::InDoubt => None,
        }
    }

    /// Whether the keys of the order's older entries have still to be read.
    pub(crate) fn keys_are_unread(&mut self) -> bool {
        let known = self.shard.orders.get(self.target);
        known.is_some_and(|known| KnownOrder::keys_are_unread(known))
    }

    /// Moves with every change beside the order: whoever comes back from the file sees by it whether
    /// what was seen before still holds.
    pub(crate) fn changes(&self) -> u64 {
        self.shard.changes
    }

    pub(crate) fn session(&self, id: SessionId) -> Option<Session> {
        self.leases.session(id)
    }

    /// Has the order held from here on, or free. Returns whether it was held.
    pub(crate) fn hold(&mut self, held: Option<Held>) {
        self.shard.touch();
        match held {
            Some(_) => {
                let slot = self.shard.slots.entry(self.target.clone()).or_default();
                slot.held = held;
            }
            None => drop(self.shard.slots.remove(self.target)),
        }
    }

    /// Keeps what was read of the order, from here on.
    pub(crate) fn learn(&mut self, latest: &Arc<Latest>, older: Option<Vec<KeyHash>>) {
        self.shard.orders.put(Arc::clone(latest), &[]);
        if let Some(older) = older {
            self.shard.orders.learn_keys(self.target, older);
        }
    }

    /// Keeps a final entry that was read with its answer. One of another order, whose creation this
    /// order's id is derived from, lies in another part of memory.
    pub(crate) fn learn_answer(&mut self, entry: &Entry) {
        if entry.target == *self.target {
            self.shard.answers.put(entry);
        }
    }
}

/// All that the writer sees: the order that it looks at is its own to the end of the batch.
#[derive(Debug)]
pub(crate) struct WriterView<'a> {
    pub(crate) file: &'a Connection,
    pub(crate) leases: &'a Leases,
    /// The batch before, while that is being flushed.
    pub(crate) flushing: Option<&'a Staged>,
    pub(crate) open: &'a mut Staged,
}

impl WriterView<'_> {
    /// The order as the batch so far leaves it.
    pub(crate) fn order(&mut self, target: &Target) -> Result<Seen, Fault> {
        let held = self.held(target);
        let certainty = match &held {
            Some(held) if held.is_in_doubt() => Certainty::InDoubt,
            _ if self.is_flushing(target) => Certainty::BeingFlushed,
            _ => Certainty::OnDisk,
        };
        let mut latest = self.slot(target).latest.clone();
        if latest.is_none() {
            latest = find_latest(self.file, target)?.map(Arc::new);
            self.slot(target).latest.clone_from(&latest);
        }
        Ok(Seen {
            held,
            latest,
            certainty,
        })
    }

    /// The order's live lease, as the batch so far leaves it.
    pub(crate) fn held(&mut self, target: &Target) -> Option<Held> {
        let held = self.slot(target).held.clone()?;
        let alive = self.session(held.lease().session).is_some();
        alive.then_some(held)
    }

    fn is_flushing(&self, target: &Target) -> bool {
        let flushing = |batch: &Staged| batch.slots.contains_key(target);
        self.flushing.is_some_and(flushing)
    }

    /// What the batch has of an order. It begins with what the batch before leaves, or else with what
    /// memory knows.
    pub(crate) fn slot(&mut self, target: &Target) -> &mut StagedSlot {
        match self.open.slots.entry(target.clone()) {
            MapEntry::Occupied(slot) => slot.into_mut(),
            MapEntry::Vacant(vacant) => {
                let mut slot = self.leases.pin(target);
                if let Some(flushing) = self.flushing.and_then(|it| it.slots.get(target)) {
                    slot.held = flushing.held.clone();
                    slot.latest = flushing.latest.clone().or(slot.latest);
                }
                vacant.insert(slot)
            }
        }
    }

    /// What the journal so far says of a key of this order, if anything.
    pub(crate) fn key(
        &self,
        latest: &Latest,
        (key_id, run): (KeyId, Run),
        now: Now,
    ) -> Result<Option<KeyRow>, Fault> {
        let (target, key) = (&latest.whole.order.target, key_hash(key_id));
        let flushing = self.flushing.and_then(|batch| batch.slots.get(target));
        let mut unflushed = flushing.into_iter().chain(self.open.slots.get(target));
        let written = unflushed.any(|slot| slot.keys.contains(&key));
        let lacks = || {
            let mut shard = self.leases.shard(target);
            let known = shard.orders.get(target);
            known.is_some_and(|known| known.lacks(key))
        };
        if !written && lacks() {
            return Ok(None);
        }
        let key = (key_id, run);
        Ok(find_key(self.file, latest.place(), key, now)?)
    }

    /// A session that is alive.
    pub(crate) fn session(&self, id: SessionId) -> Option<Session> {
        let flushing = || self.flushing.and_then(|batch| batch.sessions.get(&id));
        match self.open.sessions.get(&id).or_else(flushing) {
            Some(staged) => staged.clone(),
            None => self.leases.session(id),
        }
    }

    /// Every session that is alive.
    pub(crate) fn sessions(&self) -> Vec<(SessionId, Session)> {
        let mut alive = self.leases.sessions().clone();
        let flushing = self.flushing.into_iter().flat_map(|batch| &batch.sessions);
        for (id, session) in flushing.chain(&self.open.sessions) {
            match session {
                Some(session) => alive.insert(*id, session.clone()),
                None => alive.remove(id),
            };
        }
        alive.into_iter().collect()
    }

    /// The grants that match, whether or not their sessions are alive.
    pub(crate) fn grants(&self, matches: impl Fn(&Held) -> bool) -> Vec<(Target, Fence)> {
        let mut found = Vec::new();
        for shard in self.leases.each_shard() {
            for (target, slot) in &shard.slots {
                let flushing = || self.flushing.and_then(|batch| batch.slots.get(target));
                let staged = self.open.slots.get(target).or_else(flushing);
                let held = staged.map_or(&slot.held, |staged| &staged.held).as_ref();
                if let Some(held) = held.filter(|held| matches(held)) {
                    found.push((target.clone(), held.lease().fence));
                }
            }
        }
        found
    }
}
