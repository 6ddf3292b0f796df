//! What takes no writer: grants and releases in memory, and reading.
//!
//! Memory answers at once. What has to be read from the file is read by a thread for that, and
//! nobody holds a part of memory meanwhile: it is looked at before, and again after, and what was
//! read counts only if nothing has changed there in between.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use orderlock_core::store::{Acquire, Acquired, Known, Lookup, OrderView, Read, Released};
use orderlock_core::{StoreError, Target};
use rusqlite::Connection;

use crate::acquire::{Decided, decide_acquire, hand_over, run_of};
use crate::clock::Clock;
use crate::error::Fault;
use crate::horizon::Horizon;
use crate::keys::{KeyRow, find_key};
use crate::leases::{Held, Leases, Shard};
use crate::newest::{KeyHash, key_hash, older_keys};
use crate::orders::{KEYS_READ_MAX, KnownOrder};
use crate::readers::{Snapshot, Wanted};
use crate::rows::{Latest, find_latest};
use crate::settle::LetGo;
use crate::views;
use crate::writer::{Shared, taken};

/// How often the file is read for one request while memory changes under it. Then the writer is
/// asked, which nothing passes.
const TRIES: usize = 4;

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

/// What the file says of an order and a key.
struct Found {
    latest: Option<Arc<Latest>>,
    /// The keys of its older entries, if memory had not read them.
    older: Option<Vec<KeyHash>>,
    key: Option<KeyRow>,
}

/// What memory said before the file was read.
struct Before {
    turns: u64,
    held: Option<Held>,
    latest: Option<Arc<Latest>>,
    keys_are_unread: bool,
}

impl Direct {
    /// While another process owns the file, this one's leases mean nothing.
    pub(crate) fn owned(&self) -> Result<(), StoreError> {
        if self.is_taken() {
            return Err(taken());
        }
        Ok(())
    }

    fn is_taken(&self) -> bool {
        self.shared.taken.load(Ordering::Acquire)
    }

    /// Whether the file may show more of an order than is on the disk: the writer is at it, or a
    /// flush has failed.
    fn written(&self, shard: &Shard, target: &Target) -> bool {
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
        let target = request.claim.target();
        let mut shard = self.leases.shard(&target);
        if self.written(&shard, &target) {
            return Ok(Asked::TheWriter);
        }
        let held = self.leases.live(shard.slots.get(&target));
        match self.decide(&mut shard, request, held.as_ref())? {
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
    ) -> Result<Option<Decided>, Fault> {
        let target = request.claim.target();
        let key = key_hash(request.claim.key_id);
        let known = shard.orders.get(&target).filter(|known| known.lacks(key));
        let Some(known) = known else { return Ok(None) };
        let session = self.leases.session(request.session);
        let (latest, now) = (Some(&**known.latest()), self.clock.now());
        decide_acquire(request, latest, None, held, session.as_ref(), now).map(Some)
    }

    fn grant(
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

    /// Grants after a look into the file, if anybody still waits for it.
    pub(crate) fn acquire_from_file(
        &self,
        file: &Connection,
        request: &Acquire,
        wanted: Wanted<'_>,
    ) -> Result<Asked<Acquired>, Fault> {
        let (target, key_id) = (request.claim.target(), request.claim.key_id);
        for _ in 0..TRIES {
            let Some(before) = self.look(&target) else {
                return Ok(Asked::TheWriter);
            };
            let now = self.clock.now();
            let read = read(file, &target, &before, |file, latest| {
                let run = run_of(key_id, before.held.as_ref());
                Ok(find_key(file, latest.place(), (key_id, run), now)?)
            });
            let mut shard = self.leases.shard(&target);
            if shard.turns != before.turns {
                continue;
            }
            let found = read?;
            learn(&mut shard, &target, &found);
            // Whoever has gone away may say next that its grant is to be taken back.
            if self.written(&shard, &target) || !wanted() {
                return Ok(Asked::TheWriter);
            }
            let session = self.leases.session(request.session);
            let (latest, held) = (found.latest.as_deref(), before.held.as_ref());
            let decided = decide_acquire(request, latest, found.key, held, session.as_ref(), now)?;
            return Ok(Self::grant(&mut shard, &target, request, decided));
        }
        Ok(Asked::TheWriter)
    }

    /// What memory says of an order before the file is read; none if the writer is at it.
    fn look(&self, target: &Target) -> Option<Before> {
        let mut shard = self.leases.shard(target);
        if self.written(&shard, target) {
            return None;
        }
        let held = self.leases.live(shard.slots.get(target));
        let turns = shard.turns;
        // Where it is asked for again it is going to be asked for with other keys too, so that all
        // of them are read then.
        let known = shard.orders.get(target).map(|known| &*known);
        Some(Before {
            turns,
            held,
            latest: known.map(|known| Arc::clone(known.latest())),
            keys_are_unread: known.is_some_and(KnownOrder::keys_are_unread),
        })
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
            Some(next) => match hand_over(self.decide(&mut shard, next, None))? {
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

    /// The same after a look into the file, none if there is no such order.
    pub(crate) fn read_from_file(
        &self,
        file: &Connection,
        request: &Read,
    ) -> Result<Asked<Option<OrderView>>, Fault> {
        let target = &request.target;
        let view = |latest: Option<Arc<Latest>>, held: Option<&Held>| {
            latest.map(|latest| views::order(latest.whole.clone(), held))
        };
        if self.is_taken() {
            // What the other process does is its own affair: nothing of it is kept in memory.
            let latest = find_latest(file, target)?.map(Arc::new);
            return Ok(Asked::Told(view(latest, None)));
        }
        for _ in 0..TRIES {
            let Some(before) = self.look(target) else {
                return Ok(Asked::TheWriter);
            };
            let read = read(file, target, &before, |_, _| Ok(None));
            let mut shard = self.leases.shard(target);
            if shard.turns == before.turns && !self.written(&shard, target) {
                let found = read?;
                learn(&mut shard, target, &found);
                return Ok(Asked::Told(view(found.latest, before.held.as_ref())));
            }
        }
        Ok(Asked::TheWriter)
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

    /// The same after a look into the file.
    pub(crate) fn look_up_in_file(
        &self,
        file: &Connection,
        request: &Lookup,
    ) -> Result<Asked<Known>, Fault> {
        let target = &request.target;
        for _ in 0..TRIES {
            let before = self.look(target);
            if before.is_none() && !self.is_taken() {
                return Ok(Asked::TheWriter);
            }
            let held = before.as_ref().and_then(|before| before.held.as_ref());
            let now = self.clock.now();
            let known = Snapshot::begin(file)
                .map_err(Fault::from)
                .and_then(|snapshot| views::lookup(&snapshot, request, held, now));
            let shard = self.leases.shard(target);
            let same = before.is_none_or(|before| before.turns == shard.turns);
            if same && (self.is_taken() || !self.written(&shard, target)) {
                return known.map(Asked::Told);
            }
        }
        Ok(Asked::TheWriter)
    }
}

/// Reads what memory does not know of an order, and what is asked of its key.
fn read(
    file: &Connection,
    target: &Target,
    before: &Before,
    key: impl FnOnce(&Connection, &Latest) -> Result<Option<KeyRow>, Fault>,
) -> Result<Found, Fault> {
    let latest = match &before.latest {
        Some(latest) => Some(Arc::clone(latest)),
        None => find_latest(file, target)?.map(Arc::new),
    };
    let older = match &latest {
        Some(latest) if before.keys_are_unread => {
            let row = latest.whole.order.row;
            Some(older_keys(file, row, KEYS_READ_MAX + 1)?)
        }
        _ => None,
    };
    let key = match latest.as_deref() {
        Some(latest) => key(file, latest)?,
        None => None,
    };
    Ok(Found { latest, older, key })
}

/// Keeps in memory what was read of an order, from here on.
fn learn(shard: &mut Shard, target: &Target, found: &Found) {
    if let Some(latest) = &found.latest {
        shard.orders.put(Arc::clone(latest), &[]);
    }
    if let Some(older) = &found.older {
        shard.orders.learn_keys(target, older.clone());
    }
}
