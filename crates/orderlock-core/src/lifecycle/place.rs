//! A place in line, and a request's hold on it.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Instant;

use tokio::sync::{Notify, oneshot};

use super::ended::{Ended, Running};
use super::footing::Footing;
use super::line::Lines;
use crate::store::{Acquire, Acquired};
use crate::{Fence, Target, Version};

/// What a predecessor hands on: what the store answered for the next in line, and what that rests
/// on if it is not durable yet.
#[derive(Debug)]
pub(crate) struct Handed {
    pub(crate) acquired: Acquired,
    pub(crate) footing: Option<Footing>,
}

/// What a request that waits is told.
#[derive(Debug)]
pub(crate) enum Turn {
    /// It stands at the front now, and has perhaps been granted the order already.
    Front(Option<Handed>),
    /// The attempt that it was attached to has ended.
    Ended(Ended<Infallible>),
    /// It would have to wait, and did not ask to.
    Blocked(Running),
    /// The node is shutting down.
    Closed,
}

impl Turn {
    /// Whether the order comes with it.
    pub(super) fn is_granted(&self) -> bool {
        let Self::Front(Some(handed)) = self else {
            return false;
        };
        matches!(handed.acquired, Acquired::Granted(_))
    }
}

/// What became of a request that came to the line.
#[derive(Debug)]
pub(crate) enum Entered {
    /// The line was empty: ask the store.
    Front(Seat),
    /// It has a place of its own in the line.
    Waiting(Seat, oneshot::Receiver<Turn>),
    /// It has joined an equal request.
    Joined(Seat, oneshot::Receiver<Turn>),
    /// An equal request is there, and this one did not ask to wait.
    InProgress(Option<Running>),
    /// Another key holds the order, and this request did not ask to wait.
    Blocked(Running),
    /// The line is full.
    Full,
    /// The node is shutting down.
    Closed,
}

/// A place in line: one request, or several equal ones.
#[derive(Debug)]
pub(super) struct Place {
    pub(super) number: u64,
    /// What is asked of the store for this place. Its fence stays the same however often it is
    /// asked, so that a lost answer is found again, until its grant is known to be void.
    pub(super) acquire: Acquire,
    /// Whether its operation touches nothing but the order: only then it may run on a state that
    /// is not durable yet.
    pub(super) pure: bool,
    /// Who acts for the place, once it stands at the front.
    pub(super) leader: Option<u64>,
    pub(super) listeners: VecDeque<Listener>,
    /// Set while the place holds the order, with the time at which it began to.
    pub(super) running: Option<(Running, Instant)>,
    /// Set when what it was granted is known to be void.
    pub(super) void: bool,
    /// Whether its predecessor is asking the store for it: then it stays even if all have left.
    pub(super) offered: bool,
    /// Whether a predecessor has asked the store for it and does not know what was answered: a grant
    /// may stand, under the fence of this place. Whoever acts for the place asks anew and finds it;
    /// if nobody does it is taken back.
    pub(super) in_doubt: bool,
    /// Set when its turn has come and nobody took it: it ends without a run, so that an equal
    /// request which comes now must stand in line anew.
    pub(super) given_up: bool,
    pub(super) signals: Arc<Signals>,
}

/// What wakes whoever acts for a place.
#[derive(Debug, Default)]
pub(crate) struct Signals {
    /// The order may have been let go elsewhere.
    pub(crate) freed: Notify,
    /// What the place was granted is void.
    pub(super) void: Notify,
}

#[derive(Debug)]
pub(super) struct Listener {
    pub(super) ticket: u64,
    pub(super) patient: bool,
    /// The version that it expects, if the turn comes to it.
    pub(super) expected: Option<Version>,
    pub(super) turn: oneshot::Sender<Turn>,
}

/// A request's hold on its place. Dropping it leaves the line, or ends the place if it is at the
/// front, so that a fault here never blocks an order on this node.
#[derive(Debug)]
pub(crate) struct Seat {
    pub(super) lines: Arc<Lines>,
    pub(super) target: Target,
    pub(super) place: u64,
    pub(super) ticket: u64,
}

impl Seat {
    pub(super) fn new(lines: &Arc<Lines>, target: &Target, place: u64, ticket: u64) -> Self {
        Self {
            lines: Arc::clone(lines),
            target: target.clone(),
            place,
            ticket,
        }
    }

    pub(crate) fn target(&self) -> &Target {
        &self.target
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.lines.abandon(self);
    }
}

impl Place {
    /// Whether this is the same request, which joins this place. What is the same is decided by
    /// the key and by what is asked under it, and by nothing else: a retry may expect another version
    /// than the first try did, and is told what becomes of that.
    pub(super) fn equals(&self, acquire: &Acquire) -> bool {
        !self.given_up
            && self.acquire.claim.key_id == acquire.claim.key_id
            && self.acquire.claim.fingerprint == acquire.claim.fingerprint
    }

    /// What holds the order, as far as it is known here.
    pub(super) fn holding(&self) -> Option<Running> {
        self.running.as_ref().map(|(running, _)| running.clone())
    }

    /// What the place was granted, or is being granted, is void: whoever acts for it is woken.
    pub(super) fn void(&mut self) {
        self.void = true;
        self.signals.void.notify_one();
    }

    /// The place is asked for anew. A store may name a void grant again, so that its fence is not
    /// used again.
    pub(super) fn asked_anew(&mut self, fence: impl FnOnce() -> Fence) {
        if std::mem::take(&mut self.void) {
            self.acquire.fence = fence();
            self.in_doubt = false;
        }
    }

    /// Gives a turn to the first listener who is still there; gives it back if there is none.
    pub(super) fn give(&mut self, mut turn: Turn) -> Option<Turn> {
        while let Some(listener) = self.listeners.pop_front() {
            self.leader = Some(listener.ticket);
            match listener.turn.send(turn) {
                Ok(()) => return None,
                Err(unsent) => turn = unsent,
            }
        }
        self.leader = None;
        Some(turn)
    }
}
