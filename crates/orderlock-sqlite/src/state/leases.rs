//! The leases and sessions. They live in memory alone: the file has one owner, so that its death
//! frees every order, and only marks need to survive.
//!
//! A grant without a mark touches nothing but memory. Everything else that ends or changes a lease
//! is decided by the writer, in one order with the settles, and takes effect here after its commit.
//! Beside the leases of each part lie the orders that memory knows.

use std::collections::{HashMap, HashSet, VecDeque};
use std::hash::BuildHasher as _;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use foldhash::fast::RandomState;
use orderlock_core::{Fence, KeyId, Lease, LeaseState, OrderId, SessionId, Target, Tenant};
use tokio::sync::broadcast;

use crate::file::rows::ListPlace;
use crate::mutex::lock;
use crate::state::answers::Answers;
use crate::state::orders::Orders;
use crate::state::staged::StagedSlot;
use crate::state::view::Certainty;

const SHARDS: usize = 16;

/// How many freed orders a slow listener may lag behind before it loses some.
const FREED: usize = 1_024;

/// How many broken grants are kept in mind until their nodes have let them go. It is a bound for
/// nodes that never renew again.
const BROKEN: usize = 1_024;

/// A grant that an operator has broken, of a session that goes on.
#[derive(Clone, Copy, Debug)]
struct BrokenGrant {
    session: SessionId,
    fence: Fence,
    /// Whether the last renewal of the session has not named it.
    unknown: bool,
}

/// An order as it is held.
#[derive(Clone, Debug)]
pub(crate) struct Held {
    /// `Held` or `Begun`, never another state.
    state: Arc<LeaseState>,
    /// What a list finds the order by.
    pub(crate) place: ListPlace,
    /// How many renewals its session had at the grant.
    pub(crate) renewals: u64,
    /// Whether a settle of it may be in the file all the same.
    in_doubt: bool,
}

impl Held {
    /// None if nobody holds the order in that state.
    pub(crate) fn new(state: LeaseState, place: ListPlace, renewals: u64) -> Option<Self> {
        state.lease()?;
        Some(Self {
            state: state.into(),
            place,
            renewals,
            in_doubt: false,
        })
    }

    /// The same, when a batch that may have settled it was thrown away: whether it is in the file,
    /// nobody knows.
    pub(crate) fn doubted(self) -> Self {
        Self {
            in_doubt: true,
            ..self
        }
    }

    /// The lease after a step of this one. A doubt stays: it ends with the lease.
    pub(crate) fn after(&self, state: LeaseState) -> Option<Self> {
        let in_doubt = self.in_doubt;
        let next = Self::new(state, self.place, self.renewals)?;
        Some(Self { in_doubt, ..next })
    }

    /// Whether this is the settle that comes next under the lease. Unless that is in doubt, the file
    /// has neither it nor a final entry of its key: the grant has seen to the key, and while the lease
    /// is held nobody else can settle it.
    pub(crate) fn awaits(&self, key_id: KeyId, fence: Fence, step: u32) -> bool {
        let lease = self.lease();
        lease.key_id == key_id && lease.fence == fence && lease.steps == step
    }

    /// Whether a batch was thrown away that may have settled it.
    pub(crate) fn is_in_doubt(&self) -> bool {
        self.in_doubt
    }

    pub(crate) fn state(&self) -> &LeaseState {
        &self.state
    }

    pub(crate) fn lease(&self) -> &Lease {
        self.state
            .lease()
            .expect("`new` takes no state without a lease")
    }
}

/// What memory knows of one order.
#[derive(Debug, Default)]
pub(crate) struct Slot {
    pub(crate) held: Option<Held>,
    /// The writer has decided about this order, and its commit is under way. Until that has ended
    /// nobody but the writer may change the slot.
    pub(crate) pinned: bool,
}

impl Slot {
    /// How far one may rely on it, as far as the writer and the lease tell.
    pub(crate) fn certainty(&self) -> Certainty {
        match &self.held {
            _ if self.pinned => Certainty::BeingFlushed,
            Some(held) if held.is_in_doubt() => Certainty::InDoubt,
            _ => Certainty::OnDisk,
        }
    }
}

/// The sign of life of one node.
#[derive(Clone, Debug)]
pub(crate) struct Session {
    pub(crate) node: Arc<str>,
    pub(crate) length: Duration,
    /// None if the length is beyond the clock's reach.
    pub(crate) deadline: Option<Instant>,
    pub(crate) renewals: u64,
}

impl Session {
    pub(crate) fn lapsed(&self, now: Instant) -> bool {
        self.deadline.is_some_and(|deadline| deadline <= now)
    }
}

/// What is known by an order's address.
pub(crate) type ByTarget<T> = HashMap<Target, T, RandomState>;

/// One part of memory.
#[derive(Debug)]
pub(crate) struct Shard {
    pub(crate) slots: ByTarget<Slot>,
    pub(crate) orders: Orders,
    pub(crate) answers: Answers,
    /// Moves with every change of a slot: who has looked, and comes back after reading the file,
    /// sees by it whether the look still holds.
    pub(crate) changes: u64,
}

impl Shard {
    /// Says that a slot is changed.
    pub(crate) fn touch(&mut self) {
        self.changes = self.changes.wrapping_add(1);
    }
}

/// A held order of a list.
#[derive(Clone, Debug)]
pub(crate) struct HeldOrder {
    pub(crate) order: OrderId,
    pub(crate) held: Held,
}

/// Every lease and every session.
#[derive(Debug)]
pub(crate) struct Leases {
    shards: [Mutex<Shard>; SHARDS],
    /// Only the writer changes them.
    sessions: Mutex<HashMap<SessionId, Session>>,
    /// Grants that an operator broke, oldest first, until their sessions name them no longer.
    broken: Mutex<VecDeque<BrokenGrant>>,
    freed: broadcast::Sender<Target>,
    hasher: RandomState,
}

impl Leases {
    /// Known orders and answers take this many bytes, about.
    pub(crate) fn new(order_bytes_max: usize, answer_bytes_max: usize) -> Self {
        let shard = || Shard {
            slots: ByTarget::default(),
            orders: Orders::new(order_bytes_max / SHARDS),
            answers: Answers::new(answer_bytes_max / SHARDS),
            changes: 0,
        };
        Self {
            shards: std::array::from_fn(|_| Mutex::new(shard())),
            sessions: Mutex::default(),
            broken: Mutex::default(),
            freed: broadcast::Sender::new(FREED),
            hasher: RandomState::default(),
        }
    }

    /// The part of memory that an order lies in. Nobody reads the file while holding it, and the
    /// writer never waits for anything but memory.
    pub(crate) fn shard(&self, target: &Target) -> MutexGuard<'_, Shard> {
        let hash = self.hasher.hash_one(target);
        let place = usize::try_from(hash % SHARDS as u64).unwrap_or(0);
        lock(&self.shards[place])
    }

    /// Has the writer alone change an order from here on. Returns what memory knows of it.
    pub(crate) fn pin(&self, target: &Target) -> StagedSlot {
        let mut shard = self.shard(target);
        shard.touch();
        let slot = shard.slots.entry(target.clone()).or_default();
        slot.pinned = true;
        let held = slot.held.clone();
        let known = shard.orders.get(target);
        StagedSlot {
            held,
            latest: known.map(|known| Arc::clone(known.latest())),
            keys: Vec::new(),
        }
    }

    /// One part after the other, for work that needs no common moment.
    pub(crate) fn each_shard(&self) -> impl Iterator<Item = MutexGuard<'_, Shard>> {
        self.shards.iter().map(lock)
    }

    pub(crate) fn session(&self, id: SessionId) -> Option<Session> {
        lock(&self.sessions).get(&id).cloned()
    }

    pub(crate) fn sessions(&self) -> MutexGuard<'_, HashMap<SessionId, Session>> {
        lock(&self.sessions)
    }

    /// The lease in a slot, unless its session has ended: then it counts as free, whoever gets
    /// round to removing it.
    pub(crate) fn live(&self, slot: Option<&Slot>) -> Option<Held> {
        let held = slot?.held.as_ref()?;
        let alive = lock(&self.sessions).contains_key(&held.lease().session);
        alive.then(|| held.clone())
    }

    /// The live leases of a tenant, by the order's row.
    pub(crate) fn of_tenant(&self, tenant: &Tenant) -> HashMap<i64, HeldOrder> {
        let mut live = HashMap::new();
        for shard in self.each_shard() {
            let sessions = lock(&self.sessions);
            let slots = shard.slots.iter().filter(|(target, slot)| {
                let alive = |held: &Held| sessions.contains_key(&held.lease().session);
                target.tenant == *tenant && slot.held.as_ref().is_some_and(alive)
            });
            live.extend(slots.filter_map(|(target, slot)| {
                let held = slot.held.clone()?;
                let order = target.order.clone();
                Some((held.place.row, HeldOrder { order, held }))
            }));
        }
        live
    }

    /// Keeps in mind that an operator broke a grant, until its node has been told.
    pub(crate) fn broke(&self, session: SessionId, fence: Fence) {
        let mut broken = lock(&self.broken);
        if broken.len() == BROKEN {
            broken.pop_front();
        }
        broken.push_back(BrokenGrant {
            session,
            fence,
            unknown: false,
        });
    }

    /// Which of the grants that a session knows were broken. One that it does not know twice in turn it
    /// has let go; once, because the grant may be on its way beside the renewal.
    pub(crate) fn broken_of(&self, session: SessionId, known: &HashSet<Fence>) -> Vec<Fence> {
        let mut broken = lock(&self.broken);
        broken.retain_mut(|broken| {
            if broken.session != session {
                return true;
            }
            let unknown = !known.contains(&broken.fence);
            let was = std::mem::replace(&mut broken.unknown, unknown);
            !(was && unknown)
        });
        let told = broken.iter();
        let told = told.filter(|broken| broken.session == session && !broken.unknown);
        told.map(|broken| broken.fence).collect()
    }

    /// Tells those who wait that an order was let go. Nobody may be listening.
    pub(crate) fn announce(&self, target: &Target) {
        let _ = self.freed.send(target.clone());
    }

    pub(crate) fn subscribe(&self) -> broadcast::Receiver<Target> {
        self.freed.subscribe()
    }
}
