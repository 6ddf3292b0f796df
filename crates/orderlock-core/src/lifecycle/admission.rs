//! From a request to its grant, or to the answer that makes a grant unnecessary.

use std::convert::Infallible;
use std::pin::pin;
use std::sync::Arc;
use std::time::Instant;

use futures_util::future::{Either, select};
use tokio::sync::oneshot;

use super::ended::{Answered, Denied, Ended, OperationRequest, Running};
use super::footing::{Footing, Ground};
use super::node::{Node, Phase};
use super::place::{Entered, Handed, Seat, Turn};
use super::session::Session;
use super::word::{Asked, judge, running, unavailable};
use crate::store::{Acquire, Acquired, Claim, Grant, Lookup};
use crate::{Effect, LeaseView, OrderStore as _, StoreError};

/// The longest pause between two questions for an order that another node holds.
const PAUSE_MAX: std::time::Duration = std::time::Duration::from_millis(250);

/// A request that has been granted its order.
pub(super) struct Admitted {
    pub(super) seat: Seat,
    pub(super) acquire: Acquire,
    pub(super) grant: Box<Grant>,
    /// What the granted state rests on, if it is not durable yet.
    pub(super) footing: Option<Footing>,
}

/// A request on its way to the front of the line.
pub(super) struct Admission {
    node: Arc<Node>,
    acquire: Acquire,
    deadline: Instant,
    patient: bool,
    pure: bool,
    /// Closed when the client has gone; nothing is ever sent.
    client: oneshot::Sender<Infallible>,
}

impl Admission {
    pub(super) fn new(
        node: Arc<Node>,
        session: &Session,
        request: &OperationRequest,
        client: oneshot::Sender<Infallible>,
    ) -> Self {
        let claim = Claim {
            key_id: session
                .secret
                .key_id(&request.caller, &request.order, &request.key),
            caller: request.caller.clone(),
            order: request.order.clone(),
            key: request.key.clone(),
            fingerprint: request.fingerprint,
        };
        let acquire = Acquire {
            claim,
            session: session.id,
            fence: node.new_fence(),
            operation: request.operation.name().clone(),
            expected: request.expected,
            mark: request.operation.mark(),
        };
        let wait = request.wait.min(node.limits.wait);
        Self {
            deadline: node.now() + wait,
            patient: !wait.is_zero(),
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
    pub(super) async fn admit(self) -> Result<Admitted, Answered> {
        let lines = Arc::clone(&self.node.lines);
        match lines.enter(self.acquire.clone(), self.patient, self.pure) {
            Entered::Front(seat) => self.ask(seat, None).await,
            Entered::Waiting(seat, told) => {
                // A settled key has its answer at once, however long the line is.
                if self.patient
                    && let Some(answered) = self.known().await
                {
                    return self.stop_waiting(seat, told, answered).await;
                }
                Box::pin(self.wait(seat, told)).await
            }
            Entered::Joined(seat, told) => Box::pin(self.wait(seat, told)).await,
            Entered::InProgress(running) => {
                Err(self.unless_known(Denied::InProgress(running)).await)
            }
            Entered::Blocked(running) => Err(self.unless_known(Denied::Locked(running)).await),
            Entered::Full => Err(Ended::Denied(Denied::QueueFull)),
            Entered::Closed => Err(Ended::Denied(Denied::ShuttingDown)),
        }
    }

    async fn wait(
        mut self,
        seat: Seat,
        mut told: oneshot::Receiver<Turn>,
    ) -> Result<Admitted, Answered> {
        let answered = match self.woken(&mut told).await {
            Woken::Told(turn) => return self.take(seat, turn).await,
            Woken::Gone => Ended::Denied(Denied::InProgress(None)),
            Woken::Over => {
                let denied = match self.node.lines.holder(&seat) {
                    Some(running) => Denied::Locked(running),
                    None => Denied::InProgress(None),
                };
                self.unless_known(denied).await
            }
        };
        self.stop_waiting(seat, told, answered).await
    }

    async fn woken(&mut self, told: &mut oneshot::Receiver<Turn>) -> Woken {
        // A request that did not ask to wait stays only until the front knows whether it holds
        // the order; that is bounded by the front's own patience with the store.
        let left = if self.patient {
            self.time_left()
        } else {
            self.node.limits.wait
        };
        let gone = pin!(self.client.closed());
        let stop = select(gone, self.node.runtime.sleep(left));
        match select(told, stop).await {
            Either::Left((turn, _)) => Woken::Told(turn),
            Either::Right((Either::Left(_), _)) => Woken::Gone,
            Either::Right((Either::Right(_), _)) => Woken::Over,
        }
    }

    /// Leaves the line with an answer, unless the turn has come in the meantime.
    async fn stop_waiting(
        self,
        seat: Seat,
        told: oneshot::Receiver<Turn>,
        answered: Answered,
    ) -> Result<Admitted, Answered> {
        if self.node.lines.leave(&seat) {
            return Err(answered);
        }
        let turn = told.await;
        self.take(seat, turn).await
    }

    async fn take(
        self,
        seat: Seat,
        turn: Result<Turn, oneshot::error::RecvError>,
    ) -> Result<Admitted, Answered> {
        match turn {
            Ok(Turn::Front(handed)) => self.ask(seat, handed).await,
            Ok(Turn::Ended(ended)) => Err(ended),
            Ok(Turn::Blocked(running)) => Err(self.unless_known(Denied::Locked(running)).await),
            Ok(Turn::Closed) | Err(_) => Err(Ended::Denied(Denied::ShuttingDown)),
        }
    }

    /// Asks the store until it grants the order, answers the request, or the time is over.
    async fn ask(mut self, seat: Seat, mut handed: Option<Handed>) -> Result<Admitted, Answered> {
        let freed = self.node.lines.freed_signal(&seat);
        let mut repeat = 0;
        loop {
            if self.client.is_closed() {
                return Box::pin(self.pass_on(seat, handed)).await;
            }
            let asked = match handed.take() {
                Some(Handed {
                    acquired: Acquired::Granted(grant),
                    footing,
                }) => return self.granted(seat, grant, footing).await,
                Some(handed) => match self.heard(handed).await {
                    Some(asked) => asked,
                    None => continue,
                },
                None => self.ask_once(&seat).await,
            };
            let view = match asked {
                Asked::Granted(grant) => return self.granted(seat, grant, None).await,
                Asked::Answered(answered) => return Err(self.end(&seat, answered)),
                Asked::InTheWay(view) => view,
                // It was asked by another, under a session that has ended since.
                Asked::SessionEnded => continue,
            };
            if self.node.phase() > Phase::Open {
                return Err(self.end(&seat, Ended::Denied(Denied::ShuttingDown)));
            }
            let running = running(&view);
            self.node.lines.held_elsewhere(&seat, &running);
            if self.time_left().is_zero() {
                return Err(self.give_up(&seat, self.in_the_way(&view, running)));
            }
            repeat += 1;
            let pause = self.node.pause(repeat, PAUSE_MAX).min(self.time_left());
            let freed = pin!(freed.notified());
            let draining = pin!(self.node.phase_reached(Phase::Draining));
            let gone = pin!(self.client.closed());
            let woken = select(freed, self.node.runtime.sleep(pause));
            select(woken, select(draining, gone)).await;
        }
    }

    /// What a predecessor was told in this request's name. Nothing follows from it before what it
    /// rests on is durable; if that is lost, or nobody knows, the store must be asked anew.
    async fn heard(&self, handed: Handed) -> Option<Asked> {
        let ground = match handed.footing {
            Some(mut footing) => footing.ground().await,
            None => Ground::Durable,
        };
        (ground == Ground::Durable).then(|| self.understood(handed.acquired))
    }

    /// One question, asked again under a new session if the old one has ended.
    async fn ask_once(&mut self, seat: &Seat) -> Asked {
        for _ in 0..2 {
            let session = match self.node.session().await {
                Ok(session) => session,
                Err(denied) => return Asked::Answered(Ended::Denied(denied)),
            };
            let Some(acquire) = self.node.lines.asked(seat, session.id) else {
                return Asked::Answered(Ended::Denied(Denied::ShuttingDown));
            };
            self.acquire = acquire;
            match self.node.acquire(&self.acquire).await {
                Ok(Acquired::SessionEnded) => self.node.session_ended(session.id),
                Ok(result) => return self.understood(result),
                Err(error) => return Asked::Answered(unavailable(error)),
            }
        }
        let cause = "the node's session ends as soon as it begins".into();
        Asked::Answered(unavailable(StoreError::NotApplied(cause)))
    }

    async fn granted(
        mut self,
        seat: Seat,
        grant: Box<Grant>,
        footing: Option<Footing>,
    ) -> Result<Admitted, Answered> {
        if self.client.is_closed() {
            let acquired = Acquired::Granted(grant);
            let handed = Some(Handed { acquired, footing });
            return Box::pin(self.pass_on(seat, handed)).await;
        }
        let running = Running {
            operation: Some(self.acquire.operation.clone()),
            since: Some(grant.now),
            attempt: grant.attempt,
        };
        // Who has taken the place of an equal request holds the order under that one's fence.
        self.acquire.fence = grant.fence;
        self.node.lines.granted(&seat, &running);
        Ok(Admitted {
            seat,
            acquire: self.acquire,
            grant,
            footing,
        })
    }

    /// The client has gone before the grant was used: gives the turn to an equal request, or lets
    /// the order go to the next in line.
    async fn pass_on(self, seat: Seat, handed: Option<Handed>) -> Result<Admitted, Answered> {
        let left = Ended::Denied(Denied::InProgress(None));
        match self.node.lines.promote(&seat, Turn::Front(handed)) {
            None => {}
            Some(Turn::Front(Some(Handed {
                acquired: Acquired::Granted(grant),
                ..
            }))) => {
                let next = self.node.take_back(&seat, grant.fence).await;
                self.node.hand_on(seat, &left, next).await;
            }
            Some(_) => drop(self.end(&seat, left.clone())),
        }
        Err(left)
    }

    /// Ends the place at the front without a grant.
    fn end(&self, seat: &Seat, answered: Answered) -> Answered {
        let unclaimed = self.node.lines.finish(seat, &answered, None);
        debug_assert!(unclaimed.is_none(), "nothing was asked for the next");
        answered
    }

    /// This request's time is over: an equal one that is ready to wait longer goes on.
    fn give_up(&self, seat: &Seat, denied: Denied) -> Answered {
        let answered = Ended::Denied(denied);
        match self.node.lines.promote(seat, Turn::Front(None)) {
            None => answered,
            Some(_) => self.end(seat, answered),
        }
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
    async fn unless_known(&self, denied: Denied) -> Answered {
        self.known().await.unwrap_or(Ended::Denied(denied))
    }

    async fn known(&self) -> Option<Answered> {
        let claim = &self.acquire.claim;
        let lookup = Lookup {
            target: claim.target(),
            key_id: claim.key_id,
        };
        match self.node.ask(self.node.store.lookup(lookup)).await {
            Ok(known) => judge(claim, known),
            // The line is no worse a place to wait for the store.
            Err(_) => None,
        }
    }

    fn time_left(&self) -> std::time::Duration {
        self.deadline.saturating_duration_since(self.node.now())
    }
}

/// What ended a wait.
enum Woken {
    Told(Result<Turn, oneshot::error::RecvError>),
    Gone,
    Over,
}
