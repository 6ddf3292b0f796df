//! One job's turn at the writer: what it sees of leases, sessions and orders, and how it says what
//! becomes of them.

use std::collections::hash_map::Entry;
use std::sync::Arc;

use orderlock_core::store::Receipt;
use orderlock_core::{Fence, KeyId, Mark, SessionId, Target};
use rusqlite::Connection;

use crate::file::error::Fault;
use crate::file::journal::Written;
use crate::file::key_index::key_hash;
use crate::file::keys::{KeyRow, Run, find_key};
use crate::file::rows::{Latest, find_latest};
use crate::state::clock::Now;
use crate::state::leases::{Held, Leases, Session};
use crate::state::staged::{Staged, StagedSlot, Undo};
use crate::writer::batch::run;

/// One job's turn at the writing connection.
#[derive(Debug)]
pub(crate) struct Turn<'a> {
    pub(crate) connection: &'a Connection,
    pub(crate) now: Now,
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
    /// nobody else changes it, nor the order.
    pub(crate) fn held(&mut self, target: &Target) -> Option<Held> {
        let held = self.slot(target).held.clone()?;
        self.is_alive(held.lease().session).then_some(held)
    }

    /// What the batch knows of an order. It begins with what the batch before leaves, or else with
    /// what memory knows.
    fn slot(&mut self, target: &Target) -> &mut StagedSlot {
        match self.staged.slots.entry(target.clone()) {
            Entry::Occupied(slot) => slot.into_mut(),
            Entry::Vacant(place) => {
                let mut staged = self.leases.pin(target);
                if let Some(below) = self.below.and_then(|below| below.slots.get(target)) {
                    staged.held = below.held.clone();
                    staged.latest = below.latest.clone().or(staged.latest);
                }
                place.insert(staged)
            }
        }
    }

    /// Says who holds the order after this job, if anybody does.
    pub(crate) fn stage(&mut self, target: &Target, held: Option<Held>) {
        let slot = self.slot(target);
        let before = std::mem::replace(&mut slot.held, held);
        self.staged.undo.push(Undo::Held(target.clone(), before));
    }

    /// The order as the batch so far leaves it.
    pub(crate) fn order(&mut self, target: &Target) -> Result<Option<Arc<Latest>>, Fault> {
        if let Some(latest) = &self.slot(target).latest {
            return Ok(Some(Arc::clone(latest)));
        }
        let found = find_latest(self.connection, target)?.map(Arc::new);
        self.slot(target).latest = found.clone();
        Ok(found)
    }

    /// What the journal so far says of a key of this order, if anything.
    pub(crate) fn key(
        &self,
        latest: &Latest,
        (key_id, run): (KeyId, Run),
    ) -> Result<Option<KeyRow>, Fault> {
        let (target, key) = (&latest.whole.order.target, key_hash(key_id));
        let below = self.below.and_then(|below| below.slots.get(target));
        let mut unflushed = below.into_iter().chain(self.staged.slots.get(target));
        let written = unflushed.any(|slot| slot.keys.contains(&key));
        let lacks = || {
            let mut shard = self.leases.shard(target);
            shard
                .orders
                .get(target)
                .is_some_and(|known| known.lacks(key))
        };
        if !written && lacks() {
            return Ok(None);
        }
        let key = (key_id, run);
        Ok(find_key(self.connection, latest.place(), key, self.now)?)
    }

    /// Takes into memory what stands in the transaction.
    pub(crate) fn keep(&mut self, written: Written) -> Receipt {
        let target = written.latest.whole.order.target.clone();
        let slot = self.slot(&target);
        slot.latest = Some(Arc::new(written.latest));
        slot.keys.push(written.key);
        written.receipt
    }

    /// The same, of an order's mark.
    pub(crate) fn keep_mark(&mut self, target: &Target, mark: Option<Mark>) {
        let slot = self.slot(target);
        if let Some(latest) = &mut slot.latest {
            Arc::make_mut(latest).whole.order.mark = mark;
        }
    }

    /// Has the file asked for this order from here on: it refused what memory took it for.
    pub(crate) fn forget(&mut self, target: &Target) {
        self.slot(target).latest = None;
        self.leases.shard(target).orders.forget(target);
    }

    fn is_alive(&self, id: SessionId) -> bool {
        let below = || self.below.and_then(|below| below.sessions.get(&id));
        match self.staged.sessions.get(&id).or_else(below) {
            Some(staged) => staged.is_some(),
            None => self.leases.sessions().contains_key(&id),
        }
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

    /// Runs statements that are applied together or not at all, whatever the job does after. The
    /// inner result is theirs: if that is a failure, nothing of them is left. Beside others, what a
    /// failure has left is the job's failure too, and the job is carried out again alone.
    pub(crate) fn all_or_nothing<T>(
        &self,
        work: impl FnOnce(&Connection) -> Result<T, Fault>,
    ) -> Result<Result<T, Fault>, Fault> {
        let connection = self.connection;
        if !self.alone {
            let changes = connection.total_changes();
            let result = work(connection);
            if result.is_err() && connection.total_changes() != changes {
                return result.map(Ok);
            }
            return Ok(result);
        }
        run(connection, "SAVEPOINT part")?;
        let result = work(connection);
        // SQLite may have rolled back more than the savepoint; then there is nothing to end.
        if result.is_err() && !connection.is_autocommit() {
            run(connection, "ROLLBACK TO part")?;
        }
        if !connection.is_autocommit() {
            run(connection, "RELEASE part")?;
        }
        Ok(result)
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
            for (target, slot) in shard.slots.iter() {
                let below = || self.below.and_then(|below| below.slots.get(target));
                let staged = self.staged.slots.get(target).or_else(below);
                let held = staged.map_or(&slot.held, |staged| &staged.held).as_ref();
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
            let still = self.slot(&target).held.as_ref();
            if still.is_some_and(|held| held.lease().fence == fence) {
                self.stage(&target, None);
                voided += 1;
            }
        }
        (voided, more)
    }
}
