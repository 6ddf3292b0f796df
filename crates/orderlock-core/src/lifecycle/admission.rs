//! From a request to its grant, or to the answer that makes a grant unnecessary.

use std::convert::Infallible;
use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::future::select;
use tokio::sync::oneshot;

use super::ended::{Answered, Denied, Ended, OperationRequest, Running};
use super::footing::{Footing, Ground};
use super::node::{Node, Phase};
use super::place::{Entered, Handed, Seat, Signals, Turn};
use super::session::Session;
use super::verbs::{Deadline, Unanswered};
use super::word::{Asked, running, unavailable};
use crate::store::{Acquire, Acquired, Grant, WAIT_UNTIL_KEPT};
use crate::{Effect, Fence, LeaseView, StoreError};

/// The longest pause between two questions for an order that another node holds: a node that waits asks
/// twice within the time that it counts as waiting.
const PAUSE_MAX: Duration = WAIT_UNTIL_KEPT.checked_div(2).expect("two is not zero");

/// A request that has been granted its order.
pub(super) struct Admitted {
    pub(super) seat: Seat,
    pub(super) acquire: Acquire,
    pub(super) grant: Box<Grant>,
    /// What the granted state rests on, if it is not durable yet.
    pub(super) footing: Option<Footing>,
    /// How much of the request's time for the store is left.
    pub(super) left: Duration,
    /// What wakes whoever acts for its place.
    pub(super) signals: Arc<Signals>,
}

/// A request that was not granted its order.
pub(super) struct TurnedAway {
    pub(super) answered: Answered,
    /// A grant that it has, or may have, and that nobody uses: it is taken back once the client has
    /// been told.
    pub(super) unused: Option<(Seat, Fence)>,
}

impl From<Answered> for TurnedAway {
    fn from(answered: Answered) -> Self {
        let unused = None;
        Self { answered, unused }
    }
}

impl From<Denied> for TurnedAway {
    fn from(denied: Denied) -> Self {
        Ended::Denied(denied).into()
    }
}

/// A request on its way to the front of the line.
pub(super) struct Admission {
    pub(super) node: Arc<Node>,
    pub(super) acquire: Acquire,
    /// Until when the client is ready to wait in line.
    patience: Instant,
    pub(super) patient: bool,
    /// When the client is told, wherever the request stands by then.
    pub(super) by: Deadline,
    pure: bool,
    /// Closed when the client has gone; nothing is ever sent.
    pub(super) client: oneshot::Sender<Infallible>,
}

impl Admission {
    pub(super) fn new(
        node: Arc<Node>,
        session: &Session,
        request: &OperationRequest,
        (arrived, client): (Instant, oneshot::Sender<Infallible>),
    ) -> Self {
        let acquire = Acquire {
            claim: request.claim(&session.secret),
            session: session.id,
            fence: node.new_fence(),
            operation: request.operation.name().clone(),
            expected: request.expected,
            mark: request.operation.mark(),
        };
        let wait = request.wait.min(node.limits.wait);
        let patience = arrived + wait;
        Self {
            patience,
            patient: !wait.is_zero(),
            by: Deadline::new(patience + node.limits.store),
            pure: request.operation.effect() == Effect::Pure,
            node,
            acquire,
            client,
        }
    }

    /// Enters the line, waits as long as the client does, and asks the store.
    ///
    /// What only some requests need lies in a box of its own, here and below, so that the task of
    /// one that finds its order free stays small.
    pub(super) async fn admit(self) -> Result<Admitted, TurnedAway> {
        let lines = Arc::clone(&self.node.lines);
        let denied = match lines.enter(self.acquire.clone(), self.patient, self.pure) {
            Entered::Front(seat) => return self.ask(seat, None).await,
            Entered::Waiting(seat, told) => return Box::pin(self.stand(seat, told)).await,
            Entered::Joined(seat, told) => return Box::pin(self.wait(seat, told)).await,
            Entered::InProgress(running) => Denied::InProgress(running),
            Entered::Blocked(running) => Denied::Locked(running),
            Entered::Full => Denied::QueueFull,
            Entered::Closed => Denied::ShuttingDown,
        };
        Err(Box::pin(self.unless_known(denied)).await)
    }

    /// Asks the store until it grants the order, answers the request, or the time is over.
    pub(super) async fn ask(
        mut self,
        seat: Seat,
        mut handed: Option<Handed>,
    ) -> Result<Admitted, TurnedAway> {
        let signals = self.node.lines.signals(&seat);
        let mut repeat = 0;
        loop {
            if self.client.is_closed() {
                return Err(self.pass_on(seat, handed, Ended::Denied(Denied::InProgress(None))));
            }
            let (asked, footing) = match handed.take() {
                Some(Handed {
                    acquired: Acquired::Granted(grant),
                    footing,
                }) => (Asked::Granted(grant), footing),
                Some(handed) => match self.heard(handed).await {
                    Some(asked) => (asked, None),
                    None => continue,
                },
                None => (self.ask_once(&seat).await, None),
            };
            let view = match asked {
                Asked::Granted(grant) => match self.granted(&seat, &grant) {
                    Granted::Begins => return Ok(self.admitted((seat, signals), grant, footing)),
                    Granted::Unused(denied) => {
                        let acquired = Acquired::Granted(grant);
                        let handed = Some(Handed { acquired, footing });
                        return Err(self.pass_on(seat, handed, Ended::Denied(denied)));
                    }
                    Granted::Void => continue,
                },
                // It was asked by another, under a session that has ended since.
                Asked::SessionEnded => continue,
                Asked::Answered(answered) => return Err(self.answered(seat, answered)),
                Asked::InDoubt(error) => {
                    let unused = Some((seat, self.acquire.fence));
                    let answered = unavailable(error);
                    return Err(TurnedAway { answered, unused });
                }
                Asked::InTheWay(view) => view,
            };
            if self.node.phase() > Phase::Open {
                return Err(self.close(seat, Ended::Denied(Denied::ShuttingDown)));
            }
            let running = running(&view);
            self.node.lines.held_elsewhere(&seat, &running);
            if self.patience_left().is_zero() {
                let denied = self.in_the_way(&view, running);
                return Err(self.give_up(seat, Ended::Denied(denied)));
            }
            repeat += 1;
            let pause = self.node.pause(repeat, PAUSE_MAX).min(self.patience_left());
            let freed = pin!(signals.freed.notified());
            let draining = pin!(self.node.phase_reached(Phase::Draining));
            let gone = pin!(self.client.closed());
            let woken = select(freed, self.node.runtime.sleep(pause));
            select(woken, select(draining, gone)).await;
        }
    }

    /// What a predecessor was told in this request's name. Nothing follows from it before what it
    /// rests on is durable; if that is lost, or nobody knows, the store must be asked anew. So must
    /// it be if it was asked for another who expected another version.
    async fn heard(&self, handed: Handed) -> Option<Asked> {
        if let Acquired::VersionMismatch { current } = handed.acquired
            && self.acquire.expected.is_none_or(|mine| mine == current)
        {
            return None;
        }
        let ground = match handed.footing {
            Some(mut footing) => {
                let left = self.node.left(self.by);
                self.node.within(left, footing.ground()).await
            }
            None => Some(Ground::Durable),
        };
        (ground == Some(Ground::Durable)).then(|| self.understood(handed.acquired))
    }

    /// One question, asked again under a new session if the old one has ended.
    async fn ask_once(&mut self, seat: &Seat) -> Asked {
        for _ in 0..2 {
            let session = match self.node.session(self.by).await {
                Ok(session) => session,
                Err(denied) => return Asked::Answered(Ended::Denied(denied)),
            };
            let (expected, fence) = (self.acquire.expected, || self.node.new_fence());
            let asked = self.node.lines.asked(seat, session.id, expected, fence);
            let Some(acquire) = asked else {
                return Asked::Answered(Ended::Denied(Denied::ShuttingDown));
            };
            self.acquire = acquire;
            let acquired = self.node.acquire(&self.acquire, self.by).await;
            if acquired.is_ok() {
                self.node.lines.answered(seat);
            }
            match acquired {
                Ok(Acquired::SessionEnded) => self.node.session_ended(session.id),
                Ok(result) => return self.understood(result),
                Err(Unanswered { error, in_doubt }) if in_doubt => return Asked::InDoubt(error),
                Err(Unanswered { error, .. }) => return Asked::Answered(unavailable(error)),
            }
        }
        let cause = "the node's session ends as soon as it begins".into();
        Asked::Answered(unavailable(StoreError::NotApplied(cause)))
    }

    /// What becomes of a grant. The line is told if this request begins.
    fn granted(&self, seat: &Seat, grant: &Grant) -> Granted {
        let current = grant.version;
        if self.client.is_closed() {
            return Granted::Unused(Denied::InProgress(None));
        }
        if self.acquire.expected.is_some_and(|mine| mine != current) {
            // It was asked for an equal request that has gone since.
            return Granted::Unused(Denied::VersionMismatch { current });
        }
        let running = Running {
            operation: Some(self.acquire.operation.clone()),
            since: Some(grant.now),
            attempt: grant.attempt,
            foreign: false,
        };
        match self.node.lines.granted(seat, &running, self.node.now()) {
            true => Granted::Begins,
            false => Granted::Void,
        }
    }

    fn admitted(
        mut self,
        (seat, signals): (Seat, Arc<Signals>),
        grant: Box<Grant>,
        footing: Option<Footing>,
    ) -> Admitted {
        // Who has taken the place of an equal request holds the order under that one's fence.
        self.acquire.fence = grant.fence;
        Admitted {
            left: self.node.left(self.by).min(self.node.limits.store),
            seat,
            acquire: self.acquire,
            grant,
            footing,
            signals,
        }
    }

    /// This request does not use its turn: an equal one gets it, with the grant if there is one. If
    /// there is none, the order goes to the next in line.
    fn pass_on(&self, seat: Seat, handed: Option<Handed>, answered: Answered) -> TurnedAway {
        match self.node.lines.promote(&seat, Turn::Front(handed)) {
            None => answered.into(),
            Some(Turn::Front(Some(Handed {
                acquired: Acquired::Granted(grant),
                ..
            }))) => TurnedAway {
                answered,
                unused: Some((seat, grant.fence)),
            },
            Some(_) => self.close(seat, answered),
        }
    }

    /// The store has answered the request without a grant. That it expects another version is its
    /// own affair: an equal request that does not may go on.
    fn answered(&self, seat: Seat, answered: Answered) -> TurnedAway {
        match &answered {
            Ended::Denied(Denied::VersionMismatch { .. }) => self.give_up(seat, answered),
            _ => self.close(seat, answered),
        }
    }

    /// This request is over: an equal one that is ready to wait longer goes on.
    fn give_up(&self, seat: Seat, answered: Answered) -> TurnedAway {
        self.pass_on(seat, None, answered)
    }

    /// Ends the place at the front, for which nothing was granted, as far as is known. What may have
    /// been granted without a word is taken back.
    fn close(&self, seat: Seat, answered: Answered) -> TurnedAway {
        if let Some(fence) = self.node.lines.in_doubt(&seat) {
            let unused = Some((seat, fence));
            return TurnedAway { answered, unused };
        }
        let unclaimed = self.node.lines.finish(&seat, &answered, None);
        debug_assert!(unclaimed.is_none(), "nothing was asked for the next");
        answered.into()
    }

    fn understood(&self, result: Acquired) -> Asked {
        Asked::from(match result {
            Acquired::Marked(mark) => {
                Acquired::Marked(Box::new(mark.counted_at(self.node.runtime.wall())))
            }
            other => other,
        })
    }

    fn in_the_way(&self, view: &LeaseView, running: Running) -> Denied {
        if view.key_id == Some(self.acquire.claim.key_id) {
            Denied::InProgress(Some(running))
        } else {
            Denied::Locked(running)
        }
    }

    /// The stored answer of this key, or what else the journal says of it; otherwise the denial.
    pub(super) async fn unless_known(&self, denied: Denied) -> TurnedAway {
        let claim = &self.acquire.claim;
        self.node.unless_known(claim, denied, self.by).await.into()
    }

    pub(super) fn patience_left(&self) -> Duration {
        self.patience.saturating_duration_since(self.node.now())
    }
}

/// What becomes of a grant.
enum Granted {
    /// The request begins.
    Begins,
    /// The request has no use for it.
    Unused(Denied),
    /// It is void by now: the store is asked anew.
    Void,
}
