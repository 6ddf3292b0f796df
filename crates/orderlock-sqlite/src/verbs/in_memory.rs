//! What memory answers at once, on the thread of whoever asks: grants, releases, orders and keys that
//! it knows.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use orderlock_core::store::{Acquire, Acquired, Entry, Known, Lookup, OrderView, Read, Released};
use orderlock_core::{KeyId, StoreError, Target};

use crate::file::error::Fault;
use crate::file::key_index::key_hash;
use crate::state::clock::{Clock, Now};
use crate::state::durability::Horizon;
use crate::state::leases::{Held, Leases, Shard};
use crate::verbs::acquire::{Decided, decide_acquire, hand_over};
use crate::verbs::settle::LetGo;
use crate::verbs::views;
use crate::writer::{Shared, taken};

/// What memory says to a request, or who is to be asked.
#[derive(Debug)]
pub(crate) enum Asked<T> {
    Told(T),
    /// Memory does not know enough.
    TheFile,
    /// The writer is just at this order, or has to write for it.
    TheWriter,
}

/// All that is shared between those who ask, those who read and the writer.
#[derive(Debug)]
pub(crate) struct Direct {
    pub(crate) leases: Arc<Leases>,
    pub(crate) shared: Arc<Shared>,
    pub(crate) horizon: Arc<Horizon>,
    pub(crate) clock: Arc<Clock>,
}

impl Direct {
    /// While another process owns the file, this one's leases mean nothing.
    pub(crate) fn owned(&self) -> Result<(), StoreError> {
        if self.is_taken() {
            return Err(taken());
        }
        Ok(())
    }

    pub(crate) fn is_taken(&self) -> bool {
        self.shared.taken.load(Ordering::Acquire)
    }

    /// Whether the file may show more of an order than is on the disk: the writer is at it, or a
    /// flush has failed.
    pub(crate) fn written(&self, shard: &Shard, target: &Target) -> bool {
        let slot = shard.slots.get(target);
        slot.is_some_and(|slot| slot.pinned) || self.horizon.is_broken()
    }

    /// The live lease of an order, as it is now.
    pub(crate) fn held(&self, target: &Target) -> Option<Held> {
        let shard = self.leases.shard(target);
        self.leases.live(shard.slots.get(target))
    }

    /// Grants what memory alone can grant.
    ///
    /// The order's part of memory stays locked from the look to the grant, and a settle frees its
    /// lease there only once it is on the disk: so a grant sees every settle that went before, and
    /// none that may still be lost.
    pub(crate) fn acquire(&self, request: &Acquire) -> Result<Asked<Acquired>, Fault> {
        let (target, now) = (request.claim.target(), self.clock.now());
        let mut shard = self.leases.shard(&target);
        if let Some(entry) = self.remembered(&shard, &target, request.claim.key_id, now) {
            return Ok(Asked::Told(
                if entry.fingerprint == request.claim.fingerprint {
                    Acquired::Settled(entry.clone().into())
                } else {
                    Acquired::Reused
                },
            ));
        }
        if self.written(&shard, &target) {
            return Ok(Asked::TheWriter);
        }
        let held = self.leases.live(shard.slots.get(&target));
        match self.decide(&mut shard, request, held.as_ref(), now)? {
            Some(decided) => Ok(Self::grant(&mut shard, &target, request, decided)),
            None => Ok(Asked::TheFile),
        }
    }

    /// Decides a request for an order that is so held; none if the file has to be asked.
    fn decide(
        &self,
        shard: &mut Shard,
        request: &Acquire,
        held: Option<&Held>,
        now: Now,
    ) -> Result<Option<Decided>, Fault> {
        let target = request.claim.target();
        let key = key_hash(request.claim.key_id);
        let known = shard.orders.get(&target).filter(|known| known.lacks(key));
        let Some(known) = known else { return Ok(None) };
        let session = self.leases.session(request.session);
        let latest = Some(&**known.latest());
        decide_acquire(request, latest, None, held, session.as_ref(), now).map(Some)
    }

    /// The final entry of a key whose answer was asked for lately. It was on the disk, so that it may
    /// be told also while the writer is at the order; but not where the file itself is in doubt.
    fn remembered<'a>(
        &self,
        shard: &'a Shard,
        target: &Target,
        key: KeyId,
        now: Now,
    ) -> Option<&'a Entry> {
        let remembered = shard.answers.find(target, key, now);
        remembered.filter(|_| !self.horizon.is_broken())
    }

    pub(crate) fn grant(
        shard: &mut Shard,
        target: &Target,
        request: &Acquire,
        decided: Decided,
    ) -> Asked<Acquired> {
        match decided {
            Decided::Answer(answer) => Asked::Told(answer),
            Decided::Grant(..) if request.mark.is_some() => Asked::TheWriter,
            Decided::Grant(held, grant) => {
                shard.touch();
                shard.slots.entry(target.clone()).or_default().held = Some(held);
                Asked::Told(Acquired::Granted(grant))
            }
        }
    }

    /// Lets a lease without a mark go. The writer is asked if a mark is in play, or if the grant is
    /// not here (it may still stand in the writer's queue, and must not outlive this).
    pub(crate) fn let_go(&self, request: &LetGo) -> Result<Asked<Released>, Fault> {
        let next = request.next.as_deref();
        let next_needs_more =
            next.is_some_and(|next| next.mark.is_some() || next.claim.target() != request.target);
        let mut shard = self.leases.shard(&request.target);
        let held = self.leases.live(shard.slots.get(&request.target));
        let held = held.filter(|held| held.lease().fence == request.fence);
        let Some(held) = held else {
            return Ok(Asked::TheWriter);
        };
        if next_needs_more || held.state().mark().is_some() || self.written(&shard, &request.target)
        {
            return Ok(Asked::TheWriter);
        }
        let free = request.leaves(held.state())?;
        debug_assert!(free.lease().is_none(), "what is let go has no lease");
        let next = match next {
            None => None,
            Some(next) => match hand_over(self.decide(&mut shard, next, None, self.clock.now()))? {
                None => None,
                Some(Some(decided)) => Some((next, decided)),
                Some(None) => return Ok(Asked::TheWriter),
            },
        };
        shard.touch();
        shard.slots.remove(&request.target);
        let answer = next.map(|(next, decided)| {
            let target = &request.target;
            Self::grant(&mut shard, target, next, decided)
        });
        let next = match answer {
            Some(Asked::Told(answer)) => Some(answer),
            Some(Asked::TheFile | Asked::TheWriter) | None => None,
        };
        let let_go = !shard.slots.contains_key(&request.target);
        drop(shard);
        if let_go {
            self.leases.announce(&request.target);
        }
        Ok(Asked::Told(Released { held: true, next }))
    }

    /// One order and its lease at one moment, as memory has them: as they are on the disk, also while
    /// the writer is at the order.
    pub(crate) fn read(&self, request: &Read) -> Asked<OrderView> {
        let target = &request.target;
        if self.is_taken() {
            return Asked::TheFile;
        }
        let mut shard = self.leases.shard(target);
        let held = self.leases.live(shard.slots.get(target));
        if let Some(known) = shard.orders.get(target) {
            let whole = known.latest().whole.clone();
            return Asked::Told(views::order(whole, held.as_ref()));
        }
        match self.written(&shard, target) {
            true => Asked::TheWriter,
            false => Asked::TheFile,
        }
    }

    /// What memory says of a key. What it knows is on the disk, also while the writer is at the
    /// order; but then that may be settling the key that holds the order, which is worth waiting
    /// for.
    pub(crate) fn look_up(&self, request: &Lookup) -> Asked<Known> {
        let target = &request.target;
        if self.is_taken() {
            return Asked::TheFile;
        }
        let mut shard = self.leases.shard(target);
        if let Some(entry) = self.remembered(&shard, target, request.key_id, self.clock.now()) {
            return Asked::Told(Known::Settled(entry.clone().into()));
        }
        let held = self.leases.live(shard.slots.get(target));
        let written = self.written(&shard, target);
        let order = shard.orders.get(target);
        let order = order.filter(|order| order.lacks(key_hash(request.key_id)));
        if let Some(order) = order {
            let mark = order.latest().whole.order.mark.as_ref();
            let known = views::unsettled(request, mark, held.as_ref());
            if !written || known == Known::Unknown {
                return Asked::Told(known);
            }
        }
        if written {
            Asked::TheWriter
        } else {
            Asked::TheFile
        }
    }
}
