//! What takes no writer: grants and releases in memory, and reading.

use orderlock_core::StoreError;
use orderlock_core::store::{Acquire, Acquired, Release, Released};
use orderlock_core::{Target, Tenant};
use rusqlite::Connection;

use crate::acquire::{Decided, decide_acquire, hand_over};
use crate::error::Fault;
use crate::leases::{Held, Slot};
use crate::pages::HeldRows;
use crate::read::Snapshot;
use crate::settle;
use crate::store::Inner;

impl Inner {
    /// Grants what memory alone can grant. None if it takes the writer: for a mark, or because
    /// the writer is just at this order.
    ///
    /// The order's part of memory stays locked from the look at the file to the grant, and a
    /// settle frees its lease there only once it is on the disk: so a grant sees every settle that
    /// went before, and none that may still be lost.
    pub(crate) fn acquire_in_memory(&self, request: &Acquire) -> Result<Option<Acquired>, Fault> {
        let target = request.claim.target();
        let mut shard = self.leases.shard(&target);
        if self.written(shard.get(&target)) {
            return Ok(None);
        }
        let held = self.leases.live(shard.get(&target));
        let session = self.leases.session(request.session);
        let decided = self.readers.read(|snapshot| {
            let now = self.runtime.wall();
            decide_acquire(snapshot, request, held.as_ref(), session.as_ref(), now)
        })?;
        match decided {
            Decided::Answer(answer) => Ok(Some(answer)),
            Decided::Grant(..) if request.mark.is_some() => Ok(None),
            Decided::Grant(held, grant) => {
                shard.entry(target).or_default().held = Some(held);
                Ok(Some(Acquired::Granted(grant)))
            }
        }
    }

    /// Releases a lease without a mark. None if it takes the writer: a mark is in play, or the
    /// grant is not here (it may still stand in the writer's queue, and must not outlive this).
    pub(crate) fn release_in_memory(&self, request: &Release) -> Result<Option<Released>, Fault> {
        let next = request.next.as_deref();
        let next_needs_more =
            next.is_some_and(|next| next.mark.is_some() || next.claim.target() != request.target);
        let mut shard = self.leases.shard(&request.target);
        let held = self.leases.live(shard.get(&request.target));
        let held = held.filter(|held| held.lease().fence == request.fence);
        let Some(held) = held else { return Ok(None) };
        if next_needs_more
            || held.state().mark().is_some()
            || self.written(shard.get(&request.target))
        {
            return Ok(None);
        }
        let free = settle::after_release(held.state(), request)?;
        debug_assert!(free.lease().is_none(), "a release leaves no lease");
        let next = match next {
            None => None,
            Some(next) => {
                let session = self.leases.session(next.session);
                let decided = self.readers.read(|snapshot| {
                    let now = self.runtime.wall();
                    decide_acquire(snapshot, next, None, session.as_ref(), now)
                });
                hand_over(decided)?
            }
        };
        let (held, answer) = match next {
            None => (None, None),
            Some(Decided::Answer(answer)) => (None, Some(answer)),
            Some(Decided::Grant(held, grant)) => (Some(held), Some(Acquired::Granted(grant))),
        };
        let let_go = held.is_none();
        match held {
            Some(held) => shard.entry(request.target.clone()).or_default().held = Some(held),
            None => drop(shard.remove(&request.target)),
        }
        drop(shard);
        if let_go {
            self.leases.announce(&request.target);
        }
        Ok(Some(Released {
            held: true,
            next: answer,
        }))
    }

    /// Reads one order and its lease at one moment. What is read is on the disk when this returns;
    /// what `tells_nothing` need not be.
    pub(crate) async fn read_order<T>(
        &self,
        target: &Target,
        work: impl FnOnce(&Connection, Option<&Held>) -> Result<T, Fault>,
        tells_nothing: impl FnOnce(&T) -> bool,
    ) -> Result<T, StoreError> {
        let (found, written) = {
            let shard = self.leases.shard(target);
            let held = self.leases.live(shard.get(target));
            let written = self.written(shard.get(target));
            let read = self.readers.read(|snapshot| work(snapshot, held.as_ref()));
            (read?, written)
        };
        if written && !tells_nothing(&found) {
            self.horizon.reached().await?;
        }
        Ok(found)
    }

    /// Reads a tenant's orders and their leases at one moment. Memory is locked only until the
    /// snapshot stands. What is read is on the disk when this returns.
    pub(crate) async fn read_tenant<T>(
        &self,
        tenant: &Tenant,
        work: impl FnOnce(&Connection, &HeldRows) -> Result<T, Fault>,
    ) -> Result<T, StoreError> {
        let page = {
            let shards = self.leases.all();
            let connection = self.readers.take();
            let snapshot = Snapshot::begin_now(&connection).map_err(Fault::from)?;
            let held = self.leases.of_tenant(tenant, &shards);
            drop(shards);
            work(&snapshot, &held)?
        };
        self.horizon.reached().await?;
        Ok(page)
    }

    /// Reads the journal. What is read is on the disk when this returns.
    pub(crate) async fn read_journal<T>(
        &self,
        work: impl FnOnce(&Connection) -> Result<T, Fault>,
    ) -> Result<T, StoreError> {
        let read = self.readers.read(work)?;
        self.horizon.reached().await?;
        Ok(read)
    }

    /// Whether the file may show more of an order than is on the disk: the writer is at it, or a
    /// flush has failed.
    fn written(&self, slot: Option<&Slot>) -> bool {
        pinned(slot) || self.horizon.is_broken()
    }
}

fn pinned(slot: Option<&Slot>) -> bool {
    slot.is_some_and(|slot| slot.pinned)
}
