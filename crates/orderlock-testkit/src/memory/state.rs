//! What the model knows, and the few ways in which it changes.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use orderlock_core::store::{
    Change, Cursor, Entry, OrderView, Page, RetentionClock, RetentionTime,
};
use orderlock_core::{
    Document, Fence, IllegalTransition, LeaseEvent, LeaseState, LeaseView, OwnedIndex, Secret,
    SessionId, StoreError, Target, Times, Version,
};
use tokio::sync::broadcast;

/// How many hints of freed orders are kept for a slow reader.
const HINTS: usize = 1_024;

#[derive(Clone, Debug)]
pub(super) struct State {
    clock: RetentionClock,
    /// What of the clock counts for what is retained and forgotten.
    pub(super) time: RetentionTime,
    /// The clock that sessions are measured by: it never goes back.
    pub(super) instant: Instant,
    pub(super) secret: Option<Secret>,
    pub(super) sessions: BTreeMap<SessionId, Session>,
    pub(super) orders: BTreeMap<Target, Order>,
    /// Which order a key has made under a chosen id, by the id that is derived from the key.
    pub(super) reserved: BTreeMap<Target, Target>,
    pub(super) journal: Vec<Record>,
    pub(super) epoch: u64,
    /// Counts grants and renewals, so that 'granted before the last renewal' needs no clock.
    pub(super) events: u64,
    pub(super) freed: broadcast::Sender<Target>,
}

/// A grant that an operator has broken, of a session that goes on.
#[derive(Clone, Copy, Debug)]
pub(super) struct BrokenGrant {
    pub(super) fence: Fence,
    /// Whether the last renewal has not named it.
    pub(super) unknown: bool,
}

#[derive(Clone, Debug)]
pub(super) struct Session {
    pub(super) node: String,
    pub(super) length: Duration,
    /// When it was last renewed: by the clock, and as counted in events.
    pub(super) renewed: Instant,
    pub(super) renewed_event: u64,
    /// Its grants that were broken, each until two renewals in turn have not named it: one may be on
    /// its way beside the grant.
    pub(super) broken: Vec<BrokenGrant>,
}

#[derive(Clone, Debug)]
pub(super) struct Order {
    /// Which order it is in the order of their creation, from 1.
    pub(super) serial: u64,
    pub(super) version: Version,
    pub(super) document: Document,
    pub(super) index: OwnedIndex,
    pub(super) times: Times,
    pub(super) lock: LeaseState,
    /// Which event granted the lease, if there is one.
    pub(super) granted_event: u64,
    /// The positions of its entries in the journal, by their number.
    pub(super) entries: Vec<usize>,
}

/// One line of the journal and what only the store knows of it.
#[derive(Clone, Debug)]
pub(super) struct Record {
    pub(super) entry: Entry,
    /// When its answer is no longer given.
    pub(super) expires: Timestamp,
    /// When its key is no longer known.
    pub(super) forgotten: Timestamp,
    /// Whether `expire` has ended the tombstone.
    pub(super) tombstone_ended: bool,
}

impl State {
    /// The state of a new store at this time.
    pub(super) fn new(wall: Timestamp, instant: Instant) -> Self {
        Self {
            clock: RetentionClock::new(wall, wall, instant),
            time: RetentionTime {
                earliest: wall,
                latest: wall,
            },
            instant,
            secret: None,
            sessions: BTreeMap::new(),
            orders: BTreeMap::new(),
            reserved: BTreeMap::new(),
            journal: Vec::new(),
            epoch: 1,
            events: 0,
            freed: broadcast::Sender::new(HINTS),
        }
    }
    /// Looks at the clocks, before each verb.
    pub(super) fn look_at_clocks(&mut self, wall: Timestamp, instant: Instant) {
        self.time = self.clock.at(wall, instant);
        self.instant = instant;
    }

    /// What a restart leaves of the clock: the time that was seen last.
    pub(super) fn restart_clock(&mut self, wall: Timestamp, instant: Instant) {
        self.clock = RetentionClock::new(self.clock.believed(self.instant), wall, instant);
    }

    pub(super) fn next_event(&mut self) -> u64 {
        self.events += 1;
        self.events
    }

    /// Moves the lock of an order on. A stale holder's word is an illegal transition, and changes
    /// nothing.
    pub(super) fn step(
        &mut self,
        target: &Target,
        event: LeaseEvent,
    ) -> Result<(), IllegalTransition> {
        let order = self.orders.get_mut(target).ok_or(IllegalTransition)?;
        order.lock = order.lock.next(event)?;
        Ok(())
    }

    /// Wakes the waiting requests, if the order is free now.
    pub(super) fn hint(&self, target: &Target) {
        let order = self.orders.get(target);
        if order.is_some_and(|order| order.lock.lease().is_none()) {
            // It fails only when there is no receiver.
            let _ = self.freed.send(target.clone());
        }
    }

    /// Applies a change of content: the version moves by one.
    pub(super) fn change(&mut self, target: &Target, change: &Change) {
        if let Some(order) = self.orders.get_mut(target) {
            order.version = order.version.next();
            order.document = change.after.clone();
            order.index = change.index.clone();
            order.times.updated = change.at;
        }
    }

    pub(super) fn view(&self, target: &Target) -> Option<OrderView> {
        let order = self.orders.get(target)?;
        Some(order.view(target))
    }
}

impl Order {
    pub(super) fn view(&self, target: &Target) -> OrderView {
        OrderView {
            target: target.clone(),
            version: self.version,
            document: self.document.clone(),
            index: self.index.clone(),
            times: self.times,
            lease: self.lease_view(target),
        }
    }

    /// Who holds the order, or which mark is open.
    pub(super) fn lease_view(&self, target: &Target) -> Option<LeaseView> {
        match &self.lock {
            LeaseState::Free => None,
            LeaseState::Held(lease) | LeaseState::Begun(lease, _) => Some(lease.view(target)),
            LeaseState::Unattended(mark) => Some(mark.view(target)),
        }
    }
}

/// Cuts a page from items that each have a place, in the order in which they are to be read. A
/// page takes at least one item, so that a reader always gets on.
pub(super) fn page<T>(kind: char, items: impl Iterator<Item = (u64, T)>, limit: usize) -> Page<T> {
    let mut items = items.peekable();
    let mut taken = Vec::new();
    let mut last = 0;
    while taken.len() < limit.max(1) {
        let Some((place, item)) = items.next() else {
            break;
        };
        last = place;
        taken.push(item);
    }
    let more = items.peek().is_some();
    Page {
        items: taken,
        next: more.then(|| Cursor(format!("{kind}{last}").into())),
    }
}

/// The place where the last page ended.
pub(super) fn place(kind: char, cursor: Option<&Cursor>) -> Result<Option<u64>, StoreError> {
    let Some(Cursor(text)) = cursor else {
        return Ok(None);
    };
    let place = text.strip_prefix(kind).and_then(|text| text.parse().ok());
    place.map(Some).ok_or(StoreError::InvalidCursor)
}
