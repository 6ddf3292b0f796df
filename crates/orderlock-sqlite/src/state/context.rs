//! What a job of the writer works with: the open transaction, the time, what it sees of orders, leases
//! and sessions, and how it says what becomes of them.

use std::sync::Arc;

use orderlock_core::store::Receipt;
use orderlock_core::{Fence, KeyId, Mark, SessionId, Target};
use rusqlite::Connection;

use crate::clock::Now;
use crate::file::error::Fault;
use crate::file::journal::Written;
use crate::file::keys::{KeyRow, Run};
use crate::file::rows::Latest;
use crate::file::run;
use crate::state::leases::{Held, Session};
use crate::state::staged::Undo;
use crate::state::view::{Seen, WriterView};

/// One job's share of a transaction.
#[derive(Debug)]
pub(crate) struct WriteContext<'a> {
    pub(crate) connection: &'a Connection,
    pub(crate) now: Now,
    pub(crate) document_bytes_max: usize,
    /// Whether the job has the transaction to itself.
    pub(crate) alone: bool,
    pub(crate) view: WriterView<'a>,
}

impl WriteContext<'_> {
    /// The order, as the batch so far leaves it. From here to the end of the batch nobody else changes
    /// it, nor its lease.
    pub(crate) fn order(&mut self, target: &Target) -> Result<Seen, Fault> {
        self.view.order(target)
    }

    /// The order's live lease, without a look at the order.
    pub(crate) fn held(&mut self, target: &Target) -> Option<Held> {
        self.view.held(target)
    }

    /// What the journal so far says of a key of this order, if anything.
    pub(crate) fn key(&self, latest: &Latest, key: (KeyId, Run)) -> Result<Option<KeyRow>, Fault> {
        self.view.key(latest, key, self.now)
    }

    /// A session that is alive.
    pub(crate) fn session(&self, id: SessionId) -> Option<Session> {
        self.view.session(id)
    }

    /// Says who holds the order after this job, if anybody does.
    pub(crate) fn stage(&mut self, target: &Target, held: Option<Held>) {
        let slot = self.view.slot(target);
        let before = std::mem::replace(&mut slot.held, held);
        let undo = Undo::Held(target.clone(), before);
        self.view.open.undo.push(undo);
    }

    /// Says how a session stands after this job; none ends it, and so its leases.
    pub(crate) fn stage_session(&mut self, id: SessionId, session: Option<Session>) {
        let open = &mut self.view.open;
        let before = open.sessions.insert(id, session);
        open.undo.push(Undo::Session(id, before));
    }

    /// Has an operator break a grant of a session that goes on.
    pub(crate) fn stage_broken(&mut self, session: SessionId, fence: Fence) {
        self.view.open.broken.push((session, fence));
    }

    /// Counts one settle.
    pub(crate) fn count_settle(&mut self) {
        let open = &mut self.view.open;
        open.settles += 1;
        open.undo.push(Undo::Settle);
    }

    /// Takes into the batch what stands in the transaction.
    pub(crate) fn keep(&mut self, written: Written) -> Receipt {
        let target = written.latest.whole.order.target.clone();
        let slot = self.view.slot(&target);
        slot.latest = Some(Arc::new(written.latest));
        slot.keys.push(written.key);
        written.receipt
    }

    /// The same, of an order's mark.
    pub(crate) fn keep_mark(&mut self, target: &Target, mark: Option<Mark>) {
        let slot = self.view.slot(target);
        if let Some(latest) = &mut slot.latest {
            Arc::make_mut(latest).whole.order.mark = mark;
        }
    }

    /// Has the file asked for this order from here on: it refused what memory took it for.
    pub(crate) fn forget(&mut self, target: &Target) {
        self.view.slot(target).latest = None;
        self.view.leases.shard(target).orders.forget(target);
    }

    /// Removes the leases that match, at most so many, alive or not. Returns how many there were,
    /// and whether more are left.
    pub(crate) fn void(&mut self, most: usize, matches: impl Fn(&Held) -> bool) -> (usize, bool) {
        let mut found = self.view.grants(matches);
        let more = found.len() > most;
        found.truncate(most);
        let mut voided = 0;
        for (target, fence) in found {
            // Between the look and here it may have been released, and granted again.
            let still = self.view.slot(&target).held.as_ref();
            if still.is_some_and(|held| held.lease().fence == fence) {
                self.stage(&target, None);
                voided += 1;
            }
        }
        (voided, more)
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
}
