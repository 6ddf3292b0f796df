//! What takes no writer: grants and releases in memory, and reading.

use std::sync::Arc;

use orderlock_core::store::{Acquire, Acquired, Known, Lookup, OrderView, Read, Release, Released};
use orderlock_core::{StoreError, Target, Tenant};
use rusqlite::Connection;

use crate::acquire::{Decided, FoundKey, decide_acquire, hand_over};
use crate::error::Fault;
use crate::keys::find_key;
use crate::leases::{Held, Slot};
use crate::newest::{key_hash, older_keys};
use crate::orders::{KEYS_READ_MAX, KnownOrder, Orders};
use crate::pages::HeldRows;
use crate::read::{self, Snapshot, view};
use crate::rows::{Latest, find_latest};
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
        if self.written(shard.slots.get(&target)) {
            return Ok(None);
        }
        let held = self.leases.live(shard.slots.get(&target));
        match self.decide(&mut shard.orders, request, held.as_ref())? {
            Decided::Answer(answer) => Ok(Some(answer)),
            Decided::Grant(..) if request.mark.is_some() => Ok(None),
            Decided::Grant(held, grant) => {
                shard.slots.entry(target).or_default().held = Some(held);
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
        let held = self.leases.live(shard.slots.get(&request.target));
        let held = held.filter(|held| held.lease().fence == request.fence);
        let Some(held) = held else { return Ok(None) };
        if next_needs_more
            || held.state().mark().is_some()
            || self.written(shard.slots.get(&request.target))
        {
            return Ok(None);
        }
        let free = settle::after_release(held.state(), request)?;
        debug_assert!(free.lease().is_none(), "a release leaves no lease");
        let next = match next {
            None => None,
            Some(next) => hand_over(self.decide(&mut shard.orders, next, None))?,
        };
        let (held, answer) = match next {
            None => (None, None),
            Some(Decided::Answer(answer)) => (None, Some(answer)),
            Some(Decided::Grant(held, grant)) => (Some(held), Some(Acquired::Granted(grant))),
        };
        let let_go = held.is_none();
        match held {
            Some(held) => {
                let slot = shard.slots.entry(request.target.clone()).or_default();
                slot.held = Some(held);
            }
            None => drop(shard.slots.remove(&request.target)),
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

    /// Decides a request for an order that the writer is not at: from memory if that knows enough,
    /// or else from the file. The caller holds the order's part of memory.
    fn decide(
        &self,
        orders: &mut Orders,
        request: &Acquire,
        held: Option<&Held>,
    ) -> Result<Decided, Fault> {
        let claim = &request.claim;
        let (target, key_id) = (claim.target(), claim.key_id);
        let session = self.leases.session(request.session);
        let session = session.as_ref();
        let now = self.runtime.wall();
        let known = self.known(orders, &target)?;
        if let Some(known) = known.filter(|known| known.lacks(key_hash(key_id))) {
            let latest = Some(&**known.latest());
            return decide_acquire(request, latest, None, held, session, now);
        }
        // No snapshot: nobody writes to this order meanwhile, and all that is told of its key comes
        // from one statement.
        let file = self.readers.take();
        let known = orders.get(&target);
        let known = known.map(|known| Arc::clone(known.latest()));
        let latest = match known {
            Some(latest) => Some(latest),
            None => read_latest(orders, &file, &target)?,
        };
        let latest = latest.as_deref();
        let row = match latest {
            Some(latest) => find_key(&file, latest.place(), key_id, now)?,
            None => None,
        };
        let connection = &*file;
        let key = row.map(|row| FoundKey { row, connection });
        decide_acquire(request, latest, key, held, session, now)
    }

    /// An order that memory knows. If it is asked for again it is going to be asked for with other
    /// keys too, so that all of them are read then.
    fn known<'a>(
        &self,
        orders: &'a mut Orders,
        target: &Target,
    ) -> Result<Option<&'a KnownOrder>, Fault> {
        let unread = orders.get(target).filter(|known| known.keys_are_unread());
        if let Some(row) = unread.map(|known| known.latest().whole.order.row) {
            let keys = |file: &_| older_keys(file, row, KEYS_READ_MAX + 1);
            orders.learn_keys(target, self.readers.look(keys)?);
        }
        Ok(orders.get(target).map(|known| &*known))
    }

    /// An order that the writer is not at, from memory or from the file. The caller holds the order's
    /// part of memory.
    fn latest(&self, orders: &mut Orders, target: &Target) -> Result<Option<Arc<Latest>>, Fault> {
        if let Some(known) = orders.get(target) {
            return Ok(Some(Arc::clone(known.latest())));
        }
        Ok(self
            .readers
            .look(|file| read_latest(orders, file, target))?)
    }

    /// Reads one order and its lease at one moment. What is read is on the disk when this returns.
    pub(crate) async fn read_one(&self, request: Read) -> Result<Option<OrderView>, StoreError> {
        let target = &request.target;
        let (found, written) = {
            let mut shard = self.leases.shard(target);
            let held = self.leases.live(shard.slots.get(target));
            let written = self.written(shard.slots.get(target));
            let found = if written || self.owned().is_err() {
                let read = self.readers.look(|file| find_latest(file, target));
                read.map_err(Fault::from)?.map(Arc::new)
            } else {
                self.latest(&mut shard.orders, target)?
            };
            let view = |latest: Arc<Latest>| view(latest.whole.clone(), held.as_ref());
            (found.map(view), written)
        };
        if written {
            self.horizon.reached().await?;
        }
        Ok(found)
    }

    /// Looks a key up. What is told of it is on the disk when this returns.
    pub(crate) async fn look_up(&self, request: Lookup) -> Result<Known, StoreError> {
        let target = &request.target;
        let (known, written) = {
            let mut shard = self.leases.shard(target);
            let held = self.leases.live(shard.slots.get(target));
            let written = self.written(shard.slots.get(target));
            // What memory knows is on the disk, also while the writer is at the order. Then it may
            // be settling the key that holds the order, which is worth waiting for.
            let order = shard.orders.get(target).filter(|_| self.owned().is_ok());
            let order = order.filter(|order| order.lacks(key_hash(request.key_id)));
            if let Some(order) = order {
                let mark = order.latest().whole.order.mark.as_ref();
                let known = read::unsettled(&request, mark, held.as_ref());
                if !written || known == Known::Unknown {
                    return Ok(known);
                }
            }
            let now = self.runtime.wall();
            let look = |snapshot: &_| read::lookup(snapshot, &request, held.as_ref(), now);
            (self.readers.read(look)?, written)
        };
        // A key that is not even in the log is not on the disk either.
        if written && known != Known::Unknown {
            self.horizon.reached().await?;
        }
        Ok(known)
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

/// Reads an order, and keeps it in memory from here on.
fn read_latest(
    orders: &mut Orders,
    file: &Connection,
    target: &Target,
) -> rusqlite::Result<Option<Arc<Latest>>> {
    let found = find_latest(file, target)?.map(Arc::new);
    if let Some(latest) = &found {
        orders.put(Arc::clone(latest), &[]);
    }
    Ok(found)
}

fn pinned(slot: Option<&Slot>) -> bool {
    slot.is_some_and(|slot| slot.pinned)
}
