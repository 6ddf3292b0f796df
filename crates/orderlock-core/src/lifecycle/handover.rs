//! How an order goes from one place in line to the next, on this node.
//!
//! Usually a place ends, once its settle is durable, and the next moves up. Where the next one's
//! operation is pure it moves up as soon as the settle is accepted: the place before it then stays
//! beside the line, as one that settles, until it knows. An equal request still finds it there.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::sync::Arc;

use tokio::sync::oneshot;

use super::ended::{Ended, Running};
use super::footing::{Footing, Ground};
use super::line::{Inner, Lines};
use super::place::{Handed, Listener, Place, Seat, Turn};
use crate::store::{Acquire, Acquired};
use crate::{Fence, SessionId, Target};

/// One order's line.
#[derive(Debug, Default)]
pub(super) struct Line {
    /// Places whose settle is accepted and not durable yet, in the order of their settles.
    pub(super) settling: Vec<Place>,
    /// The place that asks for the order or holds it, and behind it those who wait.
    pub(super) places: VecDeque<Place>,
}

impl Line {
    pub(super) fn all(&self) -> impl Iterator<Item = &Place> {
        self.settling.iter().chain(&self.places)
    }

    pub(super) fn all_mut(&mut self) -> impl Iterator<Item = &mut Place> {
        self.settling.iter_mut().chain(&mut self.places)
    }

    /// What holds the order, as far as it is known here.
    pub(super) fn holder(&self) -> Option<Running> {
        self.places.front()?.holding()
    }

    fn is_empty(&self) -> bool {
        self.settling.is_empty() && self.places.is_empty()
    }

    fn is_front(&self, seat: &Seat) -> bool {
        self.places
            .front()
            .is_some_and(|front| front.number == seat.place)
    }

    /// Takes a place out that has ended: from the front, or from those that settle.
    fn take(&mut self, seat: &Seat) -> Option<Place> {
        if self.is_front(seat) {
            return self.places.pop_front();
        }
        let settles = |place: &Place| place.number == seat.place;
        let at = self.settling.iter().position(settles)?;
        Some(self.settling.remove(at))
    }

    /// Moves the next place up before its predecessor's settle is durable.
    ///
    /// # Errors
    /// What was to be handed on, if the next place must wait for that.
    fn move_up_early(
        &mut self,
        seat: &Seat,
        next: Acquired,
        chain: usize,
    ) -> Result<oneshot::Sender<Ground>, Acquired> {
        let free = self.settling.len() < chain;
        let front = self.is_front(seat);
        let successor = self.places.get_mut(1);
        let Some(successor) = successor.filter(|it| free && front && it.pure && it.offered) else {
            return Err(next);
        };
        let (word, footing) = Footing::new();
        let handed = Handed {
            acquired: next,
            footing: Some(footing),
        };
        match successor.give(Turn::Front(Some(handed))) {
            None => {
                successor.offered = false;
                self.settling.extend(self.places.pop_front());
                Ok(word)
            }
            // Nobody is there to take it: its predecessor passes it over when it ends.
            Some(Turn::Front(Some(unsent))) => Err(unsent.acquired),
            Some(_) => unreachable!("a turn comes back as it was given"),
        }
    }
}

impl Lines {
    /// What is to be asked for the next in line by the one that lets go. The place stays until
    /// [`finish`](Self::finish) or [`hand_on_early`](Self::hand_on_early) has told it the result.
    pub(crate) fn offer(
        &self,
        seat: &Seat,
        session: SessionId,
        fence: impl FnOnce() -> Fence,
    ) -> Option<Acquire> {
        let mut inner = self.lock();
        if inner.closed {
            return None;
        }
        let line = inner.lines.get_mut(&seat.target)?;
        if !line.is_front(seat) {
            return None;
        }
        // An earlier try may have been granted for the place that was offered first.
        let at = line
            .places
            .iter()
            .skip(1)
            .position(|place| place.offered || !place.listeners.is_empty())?;
        let next = line.places.get_mut(at + 1)?;
        next.offered = true;
        next.asked_anew(fence);
        next.acquire.session = session;
        if let Some(first) = next.listeners.front() {
            next.acquire.expected = first.expected;
        }
        Some(next.acquire.clone())
    }

    /// Lets the next in line begin although the settle of this seat is only accepted. Whoever
    /// calls owes the successor a word on what became of that settle.
    ///
    /// # Errors
    /// What was to be handed on, if it has to wait until the settle is durable: because the next
    /// operation is not pure, the chain is full, or nobody is left to take the turn.
    pub(crate) fn hand_on_early(
        &self,
        seat: &Seat,
        next: Acquired,
    ) -> Result<oneshot::Sender<Ground>, Acquired> {
        let mut inner = self.lock();
        match inner.lines.get_mut(&seat.target) {
            Some(line) => line.move_up_early(seat, next, self.chain),
            None => Err(next),
        }
    }

    /// Ends a place: tells the end to all who are attached to it and, if it stood at the front,
    /// the next in line that it stands there now, with what was asked for it. If the next was
    /// granted the order, or may have been, and has gone, the caller gets its seat and its fence, and
    /// must take the grant back for it.
    pub(crate) fn finish(
        self: &Arc<Self>,
        seat: &Seat,
        end: &Ended<Infallible>,
        next: Option<Acquired>,
    ) -> Option<(Seat, Fence)> {
        let mut inner = self.lock();
        let line = inner.lines.get_mut(&seat.target)?;
        let front = line.is_front(seat);
        for listener in line.take(seat).map(|done| done.listeners)? {
            let _gone = listener.turn.send(Turn::Ended(end.clone().attached()));
        }
        if front {
            return self.advance(&mut inner, &seat.target, next);
        }
        inner.tidy(&seat.target);
        None
    }

    fn advance(
        self: &Arc<Self>,
        inner: &mut Inner,
        target: &Target,
        mut next: Option<Acquired>,
    ) -> Option<(Seat, Fence)> {
        let line = inner.lines.get_mut(target)?;
        while let Some(front) = line.places.front_mut() {
            // What was asked before was asked for the place that was offered, and for no other.
            let result = if front.offered { next.take() } else { None };
            front.in_doubt |= front.offered && result.is_none();
            front.offered = false;
            let handed = result.map(|acquired| Handed {
                acquired,
                footing: None,
            });
            let unsent = front.give(Turn::Front(handed))?;
            if unsent.is_granted() || front.in_doubt {
                inner.last_ticket += 1;
                let (ticket, fence) = (inner.last_ticket, front.acquire.fence);
                (front.leader, front.given_up) = (Some(ticket), true);
                return Some((Seat::new(self, target, front.number, ticket), fence));
            }
            line.places.pop_front();
        }
        inner.tidy(target);
        None
    }

    /// Gives the front's turn to another who is attached to the same place. Gives it back if
    /// there is nobody: the place must then be ended.
    pub(crate) fn promote(&self, seat: &Seat, turn: Turn) -> Option<Turn> {
        let mut inner = self.lock();
        let place = inner
            .lines
            .get_mut(&seat.target)
            .and_then(|line| line.all_mut().find(|place| place.number == seat.place));
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
}

impl Inner {
    /// Tells those who did not ask to wait that somebody else holds the order.
    pub(super) fn block(&mut self, seat: &Seat, running: &Running) {
        let Some(line) = self.lines.get_mut(&seat.target) else {
            return;
        };
        // This is asked at every grant, and a long line of patient requests must cost it little.
        let impatient = |place: &Place| place.listeners.iter().any(|listener| !listener.patient);
        let others = line
            .places
            .iter_mut()
            .filter(|place| place.number != seat.place && impatient(place));
        let mut blocked = false;
        for place in others {
            blocked = true;
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
        if blocked {
            self.tidy(&seat.target);
        }
    }

    /// Drops places behind the front in which nobody waits any more, and lines that are empty.
    pub(super) fn tidy(&mut self, target: &Target) {
        let Some(line) = self.lines.get_mut(target) else {
            return;
        };
        let mut front = true;
        line.places.retain(|place| {
            let stays = front || place.offered || !place.listeners.is_empty();
            front = false;
            stays
        });
        if line.is_empty() {
            self.lines.remove(target);
        }
    }
}
