//! Waiting in line: first come, first served, for each order on this node.
//!
//! Whoever stands at the front of an order's line is the only one on this node who asks the store
//! for it. A request enters the line *before* it asks, so a let-go between asking and waiting is
//! never missed. An equal request (same key and fingerprint) joins the one that runs or waits and
//! takes no second place. A wait holds no thread and no connection.
//!
//! A line is the node's own lock beside the store's, so it learns of every end of a lease: by the
//! holder's word, by an operator's break, by the end of a session.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::oneshot;

use super::ended::{Ended, Running};
use super::handover::Line;
use super::place::{Entered, Listener, Place, Seat, Signals, Turn};
use crate::store::Acquire;
use crate::{Fence, KeyId, LeaseId, SessionId, Target, Version};

/// A hint that comes so soon after a grant is the one of whoever let go for it.
const FRESH: Duration = Duration::from_secs(1);

/// All lines of a node.
#[derive(Debug)]
pub(crate) struct Lines {
    inner: Mutex<Inner>,
    limit: usize,
    pub(super) chain: usize,
}

#[derive(Debug, Default)]
pub(super) struct Inner {
    /// Ordered, so that whoever walks them does so in the same order at every run.
    pub(super) lines: BTreeMap<Target, Line>,
    pub(super) last_ticket: u64,
    pub(super) closed: bool,
}

impl Inner {
    fn place_mut(&mut self, seat: &Seat) -> Option<&mut Place> {
        let line = self.lines.get_mut(&seat.target)?;
        line.all_mut().find(|place| place.number == seat.place)
    }
}

impl Lines {
    /// Lines of at most `limit` requests, in which at most `chain` settles may be under way.
    pub(crate) fn new(limit: usize, chain: usize) -> Arc<Self> {
        Arc::new(Self {
            inner: Mutex::default(),
            limit,
            chain,
        })
    }

    /// A panic while the lock is held leaves at worst one place too many: go on.
    pub(super) fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Enters the line. A patient request is ready to wait; a pure operation touches nothing but
    /// the order.
    pub(crate) fn enter(self: &Arc<Self>, acquire: Acquire, patient: bool, pure: bool) -> Entered {
        let mut inner = self.lock();
        if inner.closed {
            return Entered::Closed;
        }
        inner.last_ticket += 1;
        let ticket = inner.last_ticket;
        let target = acquire.claim.target();
        let seat = |place| Seat::new(self, &target, place, ticket);
        if let Some(line) = inner.lines.get(&target).filter(|_| !patient) {
            if let Some(place) = line.all().find(|place| place.equals(&acquire)) {
                return Entered::InProgress(place.holding());
            }
            if let Some(running) = line.holder() {
                return Entered::Blocked(running);
            }
        }
        let standing = inner.lines.get(&target).map_or(0, |line| {
            let listeners = line.all().map(|place| place.listeners.len());
            1 + listeners.sum::<usize>()
        });
        if standing >= self.limit {
            return Entered::Full;
        }
        let line = inner.lines.entry(target.clone()).or_default();
        let (turn, told) = oneshot::channel();
        let listener = Listener {
            ticket,
            patient,
            expected: acquire.expected,
            turn,
        };
        if let Some(place) = line.all_mut().find(|place| place.equals(&acquire)) {
            place.listeners.push_back(listener);
            return Entered::Joined(seat(place.number), told);
        }
        let mut place = Place {
            number: ticket,
            acquire,
            pure,
            leader: None,
            listeners: VecDeque::new(),
            running: None,
            void: false,
            offered: false,
            in_doubt: false,
            given_up: false,
            signals: Arc::default(),
        };
        if line.places.is_empty() {
            place.leader = Some(ticket);
            line.places.push_back(place);
            return Entered::Front(seat(ticket));
        }
        place.listeners.push_back(listener);
        line.places.push_back(place);
        Entered::Waiting(seat(ticket), told)
    }

    /// Leaves the line. False if a turn has been given meanwhile: it must be taken.
    pub(crate) fn leave(&self, seat: &Seat) -> bool {
        let mut inner = self.lock();
        let Some(line) = inner.lines.get_mut(&seat.target) else {
            return true;
        };
        let Some(place) = line.all_mut().find(|place| place.number == seat.place) else {
            return true;
        };
        if place.leader == Some(seat.ticket) {
            return false;
        }
        place
            .listeners
            .retain(|listener| listener.ticket != seat.ticket);
        inner.tidy(&seat.target);
        true
    }

    /// Says that the front holds the order: those who did not ask to wait are told. False if what
    /// it was granted is void by now.
    pub(crate) fn granted(&self, seat: &Seat, running: &Running, now: Instant) -> bool {
        let mut inner = self.lock();
        let Some(place) = inner.place_mut(seat) else {
            return true;
        };
        if place.void {
            return false;
        }
        place.running = Some((running.clone(), now));
        inner.block(seat, running);
        true
    }

    /// Says who holds the order while the front waits for it: those behind who did not ask to
    /// wait are told.
    pub(crate) fn held_elsewhere(&self, seat: &Seat, running: &Running) {
        self.lock().block(seat, running);
    }

    /// What the front must ask, renewed for the node's present session and for whoever acts for
    /// the place now.
    pub(crate) fn asked(
        &self,
        seat: &Seat,
        session: SessionId,
        expected: Option<Version>,
        fence: impl FnOnce() -> Fence,
    ) -> Option<Acquire> {
        let mut inner = self.lock();
        let place = inner.place_mut(seat)?;
        place.asked_anew(fence);
        place.acquire.session = session;
        place.acquire.expected = expected;
        Some(place.acquire.clone())
    }

    /// The store has answered what was asked for the front: nothing is in doubt any more.
    pub(crate) fn answered(&self, seat: &Seat) {
        if let Some(place) = self.lock().place_mut(seat) {
            place.in_doubt = false;
        }
    }

    /// The grant that may stand although nobody knows of it.
    pub(crate) fn in_doubt(&self, seat: &Seat) -> Option<Fence> {
        let mut inner = self.lock();
        let place = inner.place_mut(seat).filter(|place| place.in_doubt)?;
        Some(place.acquire.fence)
    }

    /// What wakes whoever acts for this place.
    pub(crate) fn signals(&self, seat: &Seat) -> Arc<Signals> {
        let mut inner = self.lock();
        let place = inner.place_mut(seat);
        place.map_or_else(Arc::default, |place| Arc::clone(&place.signals))
    }

    /// Resolves when what this place was granted is known to be void.
    pub(crate) async fn voided(&self, seat: &Seat, signals: &Signals) {
        loop {
            signals.void.notified().await;
            // The signal may be an old one: of a grant before this one.
            if self.lock().place_mut(seat).is_some_and(|place| place.void) {
                return;
            }
        }
    }

    /// Wakes the front of an order's line. True if the front believes that it holds the order, and
    /// has held it for a while: then the hint may be about its own lease.
    pub(crate) fn freed(&self, target: &Target, now: Instant) -> bool {
        let inner = self.lock();
        let Some(front) = inner.lines.get(target).and_then(|line| line.places.front()) else {
            return false;
        };
        front.signals.freed.notify_one();
        let held = front.running.as_ref();
        held.is_some_and(|(_, since)| now.saturating_duration_since(*since) >= FRESH)
    }

    /// A session has ended: whatever it was granted is void.
    pub(crate) fn session_ended(&self, session: SessionId) {
        self.void_where(|place| place.acquire.session == session);
    }

    /// These grants are void.
    pub(crate) fn grants_voided(&self, fences: &[Fence]) {
        if !fences.is_empty() {
            self.void_where(|place| fences.contains(&place.acquire.fence));
        }
    }

    /// This grant of an order is void: an operator has broken it.
    pub(crate) fn broken(&self, target: &Target, lease: &LeaseId) {
        let mut inner = self.lock();
        let line = inner.lines.get_mut(target);
        let broken =
            |place: &&mut Place| LeaseId::of_grant(place.acquire.fence, &target.order) == *lease;
        if let Some(place) = line.and_then(|line| line.places.iter_mut().find(broken)) {
            place.void();
        }
    }

    /// Those that only wait have been granted nothing, and lose nothing.
    fn void_where(&self, is_void: impl Fn(&Place) -> bool) {
        let mut inner = self.lock();
        for line in inner.lines.values_mut() {
            for (at, place) in line.places.iter_mut().enumerate() {
                if (at == 0 || place.offered) && is_void(place) {
                    place.void();
                }
            }
        }
    }

    /// Who stands in the way of this seat; none if its own place is at the front.
    pub(crate) fn holder(&self, seat: &Seat) -> Option<Running> {
        let inner = self.lock();
        let line = inner.lines.get(&seat.target)?;
        let front = line.places.front()?;
        let unknown = || Running {
            operation: None,
            since: None,
            attempt: 0,
            foreign: false,
        };
        let mut waits = line.places.iter().skip(1);
        let behind = waits.any(|place| place.number == seat.place);
        behind.then(|| front.holding().unwrap_or_else(unknown))
    }

    /// What is known here of a key: whether it runs, or stands in line.
    pub(crate) fn find(&self, target: &Target, key_id: KeyId) -> Option<Option<Running>> {
        let inner = self.lock();
        let line = inner.lines.get(target)?;
        let place = line
            .all()
            .find(|place| place.acquire.claim.key_id == key_id)?;
        Some(place.holding())
    }

    /// Every grant that this node holds or may hold: what a renewal names.
    pub(crate) fn fences(&self) -> Vec<Fence> {
        let inner = self.lock();
        let asks = |(at, place): (usize, &Place)| {
            (at == 0 || place.offered).then_some(place.acquire.fence)
        };
        inner
            .lines
            .values()
            .flat_map(|line| line.places.iter().enumerate().filter_map(asks))
            .collect()
    }

    /// Lets nobody in any more and tells all who wait.
    pub(crate) fn close(&self) {
        let mut inner = self.lock();
        inner.closed = true;
        for line in inner.lines.values_mut() {
            for place in line.places.iter_mut().skip(1) {
                for listener in place.listeners.drain(..) {
                    let _gone = listener.turn.send(Turn::Closed);
                }
            }
        }
        let targets: Vec<Target> = inner.lines.keys().cloned().collect();
        for target in targets {
            inner.tidy(&target);
        }
    }

    pub(super) fn abandon(self: &Arc<Self>, seat: &Seat) {
        if self.leave(seat) {
            return;
        }
        // Only a fault of ours comes here: a request ends its place before it drops its seat.
        // What it may hold in the store ends with the next renewals, which no longer name it.
        let unclaimed = self.finish(seat, &Ended::Unknown, None);
        drop(unclaimed);
    }
}
