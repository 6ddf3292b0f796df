//! What one batch of the writer does to the leases and sessions: seen by the jobs that follow in
//! the batch and in the next one, and by everybody else once the batch is on the disk.

use std::collections::HashMap;
use std::time::Instant;

use orderlock_core::{Fence, SessionId, Target, Tenant, Timestamp};
use rusqlite::Connection;

use crate::error::Fault;
use crate::leases::{Held, Leases, Session};

/// The changes of a batch that is not on the disk yet.
#[derive(Debug, Default)]
pub(crate) struct Staged {
    /// Every order that the batch has looked at, with its lease as the batch leaves it.
    slots: HashMap<Target, Option<Held>>,
    sessions: HashMap<SessionId, Option<Session>>,
    settles: u64,
    /// How to take back what the job at hand has staged, last first.
    undo: Vec<Undo>,
}

#[derive(Debug)]
enum Undo {
    Slot(Target, Option<Held>),
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
                Undo::Slot(target, held) => {
                    self.slots.insert(target, held);
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
        for (target, held) in self.slots {
            let mut shard = leases.shard(&target);
            let slot = shard.entry(target.clone()).or_default();
            slot.pinned = above.is_some_and(|above| above.slots.contains_key(&target));
            let let_go = slot.held.is_some() && held.is_none();
            slot.held = held;
            if slot.held.is_none() && !slot.pinned {
                shard.remove(&target);
            }
            drop(shard);
            if let_go {
                leases.announce(&target);
            }
        }
        self.settles
    }

    /// Leaves everything as it was: the commit has not happened, or nobody knows. A lease then
    /// stays held, so that its holder may repeat the settle and learn what became of it. No batch
    /// stands above: it would have been built on what is thrown away.
    pub(crate) fn discard(self, leases: &Leases) {
        for target in self.slots.into_keys() {
            let mut shard = leases.shard(&target);
            if let Some(slot) = shard.get_mut(&target) {
                slot.pinned = false;
                if slot.held.is_none() {
                    shard.remove(&target);
                }
            }
        }
    }
}

/// One job's turn at the writing connection.
#[derive(Debug)]
pub(crate) struct Turn<'a> {
    pub(crate) connection: &'a Connection,
    /// The store's clock.
    pub(crate) now: Timestamp,
    /// The clock that sessions are measured by: it never goes back.
    pub(crate) instant: Instant,
    pub(crate) document_bytes_max: usize,
    /// Whether the job has the transaction to itself.
    pub(crate) alone: bool,
    pub(crate) leases: &'a Leases,
    /// The changes of the batch before, while that is being flushed.
    pub(crate) below: Option<&'a Staged>,
    pub(crate) staged: &'a mut Staged,
}

impl Turn<'_> {
    /// The order's live lease, as the batch so far leaves it. From here to the end of the batch
    /// nobody else changes it.
    pub(crate) fn held(&mut self, target: &Target) -> Option<Held> {
        if !self.staged.slots.contains_key(target) {
            let mut shard = self.leases.shard(target);
            let slot = shard.entry(target.clone()).or_default();
            slot.pinned = true;
            let below = self.below.and_then(|below| below.slots.get(target));
            let held = below.unwrap_or(&slot.held).clone();
            drop(shard);
            self.staged.slots.insert(target.clone(), held);
        }
        let held = self.staged.slots.get(target)?.clone()?;
        self.session(held.lease().session).map(|_| held)
    }

    /// Says who holds the order after this job, if anybody does.
    pub(crate) fn stage(&mut self, target: &Target, held: Option<Held>) {
        let before = self.staged.slots.insert(target.clone(), held);
        let undo = Undo::Slot(target.clone(), before.flatten());
        self.staged.undo.push(undo);
    }

    /// A session that is alive.
    pub(crate) fn session(&self, id: SessionId) -> Option<Session> {
        let below = || self.below.and_then(|below| below.sessions.get(&id));
        match self.staged.sessions.get(&id).or_else(below) {
            Some(staged) => staged.clone(),
            None => self.leases.session(id),
        }
    }

    /// Every session that is alive.
    pub(crate) fn sessions(&self) -> Vec<(SessionId, Session)> {
        let mut alive = self.leases.sessions().clone();
        let below = self.below.into_iter().flat_map(|below| &below.sessions);
        for (id, session) in below.chain(&self.staged.sessions) {
            match session {
                Some(session) => alive.insert(*id, session.clone()),
                None => alive.remove(id),
            };
        }
        alive.into_iter().collect()
    }

    /// Says how a session stands after this job; none ends it, and so its leases.
    pub(crate) fn stage_session(&mut self, id: SessionId, session: Option<Session>) {
        let before = self.staged.sessions.insert(id, session);
        self.staged.undo.push(Undo::Session(id, before));
    }

    /// An order that is held by this grant.
    pub(crate) fn find(&self, tenant: &Tenant, fence: Fence) -> Option<Target> {
        let below = self.below.into_iter().flat_map(|below| &below.slots);
        let staged = self
            .staged
            .slots
            .iter()
            .chain(below)
            .find(|(target, held)| {
                let holds = |held: &Held| held.lease().fence == fence;
                target.tenant == *tenant && held.as_ref().is_some_and(holds)
            });
        match staged {
            Some((target, _)) => Some(target.clone()),
            None => self.leases.find(tenant, fence),
        }
    }

    /// Runs statements that are applied together or not at all, whatever the job does after. Beside
    /// others their failure is the job's, which is then carried out again alone.
    pub(crate) fn all_or_nothing<T>(
        &self,
        work: impl FnOnce(&Connection) -> Result<T, Fault>,
    ) -> Result<T, Fault> {
        if !self.alone {
            return work(self.connection);
        }
        self.connection
            .prepare_cached("SAVEPOINT part")?
            .execute([])?;
        let result = work(self.connection);
        // SQLite may have rolled back more than the savepoint; then there is nothing to end.
        if result.is_err() && !self.connection.is_autocommit() {
            self.connection
                .prepare_cached("ROLLBACK TO part")?
                .execute([])?;
        }
        if !self.connection.is_autocommit() {
            self.connection
                .prepare_cached("RELEASE part")?
                .execute([])?;
        }
        result
    }

    /// Counts one settle.
    pub(crate) fn count_settle(&mut self) {
        self.staged.settles += 1;
        self.staged.undo.push(Undo::Settle);
    }

    /// Removes the leases that match, at most so many, alive or not. Returns how many there were,
    /// and whether more are left.
    pub(crate) fn void(&mut self, most: usize, matches: impl Fn(&Held) -> bool) -> (usize, bool) {
        let mut found: Vec<(Target, Fence)> = Vec::new();
        for shard in self.leases.each_shard() {
            for (target, slot) in shard.iter() {
                let below = || self.below.and_then(|below| below.slots.get(target));
                let held = match self.staged.slots.get(target).or_else(below) {
                    Some(staged) => staged.as_ref(),
                    None => slot.held.as_ref(),
                };
                if let Some(held) = held.filter(|held| matches(held)) {
                    found.push((target.clone(), held.lease().fence));
                }
            }
        }
        let more = found.len() > most;
        found.truncate(most);
        let mut voided = 0;
        for (target, fence) in found {
            // Between the look and the pin it may have been released, and granted again.
            self.held(&target);
            let still = self.staged.slots.get(&target).and_then(Option::as_ref);
            if still.is_some_and(|held| held.lease().fence == fence) {
                self.stage(&target, None);
                voided += 1;
            }
        }
        (voided, more)
    }
}
