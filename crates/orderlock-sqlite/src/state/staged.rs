//! What one batch of the writer does to leases, sessions and known orders: seen by the jobs that
//! follow in the batch and in the next one, and by everybody else once the batch is on the disk.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::Arc;

use orderlock_core::{Fence, SessionId, Target};

use crate::file::key_index::KeyHash;
use crate::file::rows::Latest;
use crate::state::leases::{ByTarget, Held, Leases, Session};

/// The changes of a batch that is not on the disk yet.
#[derive(Debug, Default)]
pub(crate) struct Staged {
    /// Every order that the batch has looked at.
    pub(crate) slots: ByTarget<StagedSlot>,
    pub(crate) sessions: HashMap<SessionId, Option<Session>>,
    pub(crate) settles: u64,
    /// Grants that an operator breaks.
    pub(crate) broken: Vec<(SessionId, Fence)>,
    /// How to take back what the job at hand has staged, last first. What it has staged of an order
    /// needs no way back: with it something is written, and a job that fails after that takes the
    /// whole batch along.
    pub(crate) undo: Vec<Undo>,
}

/// What memory will know of one order.
#[derive(Debug, Default)]
pub(crate) struct StagedSlot {
    /// The lease as the batch leaves it.
    pub(crate) held: Option<Held>,
    /// The order as the batch leaves it; none if the file has to be asked.
    pub(crate) latest: Option<Arc<Latest>>,
    /// Where the keys are looked up that the batch has written entries of.
    pub(crate) keys: Vec<KeyHash>,
}

#[derive(Debug)]
pub(crate) enum Undo {
    Held(Target, Option<Held>),
    Session(SessionId, Option<Option<Session>>),
    Settle,
}

impl Staged {
    /// Keeps what the last job has staged.
    pub(crate) fn keep_job(&mut self) {
        self.undo.clear();
    }

    /// Takes back what the last job has staged.
    pub(crate) fn undo_job(&mut self) {
        while let Some(undo) = self.undo.pop() {
            match undo {
                Undo::Held(target, held) => {
                    self.slots.entry(target).or_default().held = held;
                }
                Undo::Session(id, Some(session)) => {
                    self.sessions.insert(id, session);
                }
                Undo::Session(id, None) => {
                    self.sessions.remove(&id);
                }
                Undo::Settle => self.settles -= 1,
            }
        }
    }

    /// Makes the changes visible: they are on the disk. What a batch above has looked at since
    /// stays its own. Returns how many settles there were.
    pub(crate) fn apply(self, leases: &Leases, above: Option<&Self>) -> u64 {
        let mut sessions = leases.sessions();
        for (id, session) in self.sessions {
            match session {
                Some(session) => sessions.insert(id, session),
                None => sessions.remove(&id),
            };
        }
        drop(sessions);
        for (session, fence) in self.broken {
            leases.broke(session, fence);
        }
        for (target, staged) in self.slots {
            let mut shard = leases.shard(&target);
            shard.touch();
            if let Some(latest) = staged.latest {
                shard.orders.put(latest, &staged.keys);
            }
            let pinned = above.is_some_and(|above| above.slots.contains_key(&target));
            let free = staged.held.is_none();
            let before = match shard.slots.entry(target.clone()) {
                Entry::Occupied(slot) if free && !pinned => slot.remove().held,
                slot => {
                    let slot = slot.or_default();
                    slot.pinned = pinned;
                    std::mem::replace(&mut slot.held, staged.held)
                }
            };
            drop(shard);
            if free && before.is_some() {
                leases.announce(&target);
            }
        }
        self.settles
    }

    /// Leaves everything as it was: the commit has not happened, or nobody knows. A lease then
    /// stays held, so that its holder may repeat the settle and learn what became of it; and what
    /// memory knew of the order is asked anew. No batch stands above: it would have been built on
    /// what is thrown away.
    pub(crate) fn discard(self, leases: &Leases) {
        for target in self.slots.into_keys() {
            let mut shard = leases.shard(&target);
            shard.touch();
            shard.orders.forget(&target);
            if let Some(slot) = shard.slots.get_mut(&target) {
                slot.pinned = false;
                slot.held = slot.held.take().map(Held::doubted);
                if slot.held.is_none() {
                    shard.slots.remove(&target);
                }
            }
        }
    }
}
