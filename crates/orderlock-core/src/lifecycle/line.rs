//! Waiting in line: first come, first served, for each order on this node.
//!
//! Whoever stands at the front of an order's line is the only one on this node who asks the store
//! for it. A request enters the line *before* it asks, so a let-go between asking and waiting is
//! never missed. An equal request (same key, fingerprint and expected version) joins the one that
//! runs or waits and takes no second place. A wait holds no thread and no connection.

use std::collections::{BTreeMap, VecDeque};
use std::convert::Infallible;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{Notify, oneshot};

use super::ended::{Ended, Running};
use super::place::{Entered, Listener, Place, Seat, Turn};
use crate::store::{Acquire, Acquired, Grant};
use crate::{Fence, KeyId, SessionId, Target};

/// All lines of a node.
#[derive(Debug)]
pub(crate) struct Lines {
    inner: Mutex<Inner>,
    limit: usize,
}

#[derive(Debug, Default)]
struct Inner {
    /// Ordered, so that whoever walks them does so in the same order at every run.
    lines: BTreeMap<Target, VecDeque<Place>>,
    last_ticket: u64,
    closed: bool,
}

impl Lines {
    pub(crate) fn new(limit: usize) -> Arc<Self> {
        Arc::new(Self {
            inner: Mutex::default(),
            limit,
        })
    }

    /// A panic while the lock is held leaves at worst one place too many: go on.
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Enters the line. A patient request is ready to wait.
    pub(crate) fn enter(self: &Arc<Self>, acquire: Acquire, patient: bool) -> Entered {
        let mut inner = self.lock();
        if inner.closed {
            return Entered::Closed;
        }
        inner.last_ticket += 1;
        let ticket = inner.last_ticket;
        let target = acquire.claim.target();
        let seat = |place| Seat::new(self, &target, place, ticket);
        let standing = inner.lines.get(&target).map_or(0, |line| {
            let listeners = line.iter().map(|place| place.listeners.len());
            1 + listeners.sum::<usize>()
        });
        if standing >= self.limit {
            return Entered::Full;
        }
        let line = inner.lines.entry(target.clone()).or_default();
        if let Some(place) = line.iter_mut().find(|place| place.equals(&acquire)) {
            if !patient {
                return Entered::InProgress(place.running.clone());
            }
            let (turn, told) = oneshot::channel();
            place.listeners.push_back(Listener {
                ticket,
                patient,
                turn,
            });
            return Entered::Joined(seat(place.number), told);
        }
        if !patient && let Some(running) = line.front().and_then(|front| front.running.clone()) {
            return Entered::Blocked(running);
        }
        let mut place = Place {
            number: ticket,
            acquire,
            leader: None,
            listeners: VecDeque::new(),
            running: None,
            offered: false,
            given_up: false,
            freed: Arc::default(),
        };
        if line.is_empty() {
            place.leader = Some(ticket);
            line.push_back(place);
            return Entered::Front(seat(ticket));
        }
        let (turn, told) = oneshot::channel();
        place.listeners.push_back(Listener {
            ticket,
            patient,
            turn,
        });
        line.push_back(place);
        Entered::Waiting(seat(ticket), told)
    }

    /// Leaves the line. False if a turn has been given meanwhile: it must be taken.
    pub(crate) fn leave(&self, seat: &Seat) -> bool {
        let mut inner = self.lock();
        let Some(line) = inner.lines.get_mut(&seat.target) else {
            return true;
        };
        let Some(place) = line.iter_mut().find(|place| place.number == seat.place) else {
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

    /// Says that the front holds the order: those who did not ask to wait are told.
    pub(crate) fn granted(&self, seat: &Seat, running: &Running) {
        let mut inner = self.lock();
        let Some(line) = inner.lines.get_mut(&seat.target) else {
            return;
        };
        for place in line.iter_mut() {
            if place.number == seat.place {
                place.running = Some(running.clone());
            }
        }
        inner.block(seat, running);
    }

    /// Says who holds the order while the front waits for it: those behind who did not ask to
    /// wait are told.
    pub(crate) fn held_elsewhere(&self, seat: &Seat, running: &Running) {
        self.lock().block(seat, running);
    }

    /// What the front must ask, renewed for the node's present session.
    pub(crate) fn asked(&self, seat: &Seat, session: SessionId) -> Option<Acquire> {
        let mut inner = self.lock();
        let line = inner.lines.get_mut(&seat.target)?;
        let place = line.iter_mut().find(|place| place.number == seat.place)?;
        place.acquire.session = session;
        Some(place.acquire.clone())
    }

    /// What is to be asked for the next in line by the one that lets go. The place stays until
    /// [`finish`](Self::finish) has told it the result.
    pub(crate) fn offer(&self, seat: &Seat, session: SessionId) -> Option<Acquire> {
        let mut inner = self.lock();
        if inner.closed {
            return None;
        }
        let line = inner.lines.get_mut(&seat.target)?;
        // An earlier try may have been granted for the place that was offered first.
        let at = line
            .iter()
            .skip(1)
            .position(|place| place.offered || !place.listeners.is_empty())?;
        let next = line.get_mut(at + 1)?;
        next.offered = true;
        next.acquire.session = session;
        Some(next.acquire.clone())
    }

    /// Ends the front's place: tells the end to all who are attached to it, and the next in line
    /// that it stands at the front, with what was asked for it. If the next was granted the order
    /// and has gone, the caller gets its seat and its grant, and must let go for it.
    pub(crate) fn finish(
        self: &Arc<Self>,
        seat: &Seat,
        end: &Ended<Infallible>,
        next: Option<Acquired>,
    ) -> Option<(Seat, Box<Grant>)> {
        let mut inner = self.lock();
        let line = inner.lines.get_mut(&seat.target)?;
        if line.front().is_some_and(|front| front.number == seat.place)
            && let Some(done) = line.pop_front()
        {
            for listener in done.listeners {
                let _gone = listener.turn.send(Turn::Ended(end.clone().attached()));
            }
        }
        self.advance(&mut inner, &seat.target, next)
    }

    fn advance(
        self: &Arc<Self>,
        inner: &mut Inner,
        target: &Target,
        mut next: Option<Acquired>,
    ) -> Option<(Seat, Box<Grant>)> {
        let line = inner.lines.get_mut(target)?;
        while let Some(front) = line.front_mut() {
            // What was asked before was asked for the place that was offered, and for no other.
            let result = if front.offered { next.take() } else { None };
            front.offered = false;
            let unsent = front.give(Turn::Front(result))?;
            if let Turn::Front(Some(Acquired::Granted(grant))) = unsent {
                inner.last_ticket += 1;
                let ticket = inner.last_ticket;
                (front.leader, front.given_up) = (Some(ticket), true);
                return Some((Seat::new(self, target, front.number, ticket), grant));
            }
            line.pop_front();
        }
        inner.lines.remove(target);
        None
    }

    /// Gives the front's turn to another who is attached to the same place. Gives it back if
    /// there is nobody: the place must then be ended.
    pub(crate) fn promote(&self, seat: &Seat, turn: Turn) -> Option<Turn> {
        let mut inner = self.lock();
        let place = inner
            .lines
            .get_mut(&seat.target)
            .and_then(|line| line.iter_mut().find(|place| place.number == seat.place));
        match place {
            None => Some(turn),
            Some(place) => {
                let unsent = place.give(turn);
                if unsent.is_some() {
                    (place.leader, place.given_up) = (Some(seat.ticket), true);
                }
                unsent
            }
        }
    }

    /// What wakes the front when the order may have been let go elsewhere.
    pub(crate) fn freed_signal(&self, seat: &Seat) -> Arc<Notify> {
        let inner = self.lock();
        let place = inner
            .lines
            .get(&seat.target)
            .and_then(|line| line.iter().find(|place| place.number == seat.place));
        place.map_or_else(Arc::default, |place| Arc::clone(&place.freed))
    }

    /// Wakes the front of an order's line.
    pub(crate) fn freed(&self, target: &Target) {
        let inner = self.lock();
        if let Some(front) = inner.lines.get(target).and_then(VecDeque::front) {
            front.freed.notify_one();
        }
    }

    /// Who stands in the way of this seat; none if its own place is at the front.
    pub(crate) fn holder(&self, seat: &Seat) -> Option<Running> {
        let inner = self.lock();
        let front = inner.lines.get(&seat.target)?.front()?;
        let unknown = || Running {
            operation: None,
            since: None,
            attempt: 0,
        };
        (front.number != seat.place).then(|| front.running.clone().unwrap_or_else(unknown))
    }

    /// What is known here of a key: whether it runs, or stands in line.
    pub(crate) fn find(&self, target: &Target, key_id: KeyId) -> Option<Option<Running>> {
        let inner = self.lock();
        let line = inner.lines.get(target)?;
        let place = line
            .iter()
            .find(|place| place.acquire.claim.key_id == key_id)?;
        Some(place.running.clone())
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
            .flat_map(|line| line.iter().enumerate().filter_map(asks))
            .collect()
    }

    /// Lets nobody in any more and tells all who wait.
    pub(crate) fn close(&self) {
        let mut inner = self.lock();
        inner.closed = true;
        for line in inner.lines.values_mut() {
            for place in line.iter_mut().skip(1) {
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

impl Inner {
    /// Tells those who did not ask to wait that somebody else holds the order.
    fn block(&mut self, seat: &Seat, running: &Running) {
        let Some(line) = self.lines.get_mut(&seat.target) else {
            return;
        };
        for place in line.iter_mut().filter(|place| place.number != seat.place) {
            let (patient, others) = place
                .listeners
                .drain(..)
                .partition(|listener: &Listener| listener.patient);
            place.listeners = patient;
            for listener in others {
                // Whoever has gone needs no answer.
                let _gone = listener.turn.send(Turn::Blocked(running.clone()));
            }
        }
        self.tidy(&seat.target);
    }

    /// Drops places behind the front in which nobody waits any more, and lines that are empty.
    fn tidy(&mut self, target: &Target) {
        let Some(line) = self.lines.get_mut(target) else {
            return;
        };
        let mut front = true;
        line.retain(|place| {
            let stays = front || place.offered || !place.listeners.is_empty();
            front = false;
            stays
        });
        if line.is_empty() {
            self.lines.remove(target);
        }
    }
}
