//! What becomes of an attempt that is over: it is settled, or its order is let go, and whoever asked
//! is told.

use std::convert::Infallible;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use super::attempt::{Work, caught};
use super::checkpoint::{Cost, HandlerLease};
use super::ended::{Answered, Denied, Ended, Failed};
use super::footing::{Footing, Ground};
use super::node::Node;
use super::place::Seat;
use super::settle::{Concluded, version_after};
use crate::store::{Acquire, Acquired, Known, MarkFate, NewEntry, Part, Settle};
use crate::{Answer, Document, Operation, OutcomeKind, Problem, SettledView, Times};

/// How a run has ended, without the handler's own error.
pub(super) enum End {
    Returned(Work),
    Failed {
        failure: Failed<Infallible>,
        /// The handler has declared that this very failure had no effect outside.
        without_effect: bool,
    },
    /// Its lease is void.
    Void,
}

/// How an order is let go without a settle.
#[derive(Clone, Copy)]
enum LetGo {
    /// The lease ends, and the mark stays.
    Keep,
    /// The lease ends, and the mark with it.
    Clear,
    /// What stood before the grant stands again.
    Undo,
    /// It has been lost before.
    Void,
}

/// An attempt that is over and has not been settled or released yet.
pub(super) struct Ending {
    pub(super) node: Arc<Node>,
    pub(super) operation: Operation,
    pub(super) acquire: Acquire,
    pub(super) lease: Arc<HandlerLease>,
    /// What the attempt has begun on, if that was not durable then.
    pub(super) footing: Option<Footing>,
    /// How long the client waits once the handler has ended.
    pub(super) left: Duration,
    /// What the client can be told before everything is done.
    pub(super) told: Arc<OnceLock<Answered>>,
}

impl Ending {
    pub(super) async fn conclude(&mut self, seat: Seat, end: End) -> Answered {
        // A checkpoint that is on its way comes first.
        self.lease.end().await;
        match end {
            End::Returned(work) => self.settle(seat, work).await,
            End::Failed {
                failure,
                without_effect,
            } => Box::pin(self.fail(seat, failure, without_effect)).await,
            End::Void => {
                let lost = self.lost();
                Box::pin(self.let_go(seat, LetGo::Void, lost)).await
            }
        }
    }

    /// The attempt failed: lets the order go. An external operation's mark stays, unless the
    /// handler has declared of this very failure that nothing happened outside.
    async fn fail(
        &mut self,
        seat: Seat,
        failure: Failed<Infallible>,
        without_effect: bool,
    ) -> Answered {
        if let Some(answered) = self.interrupted() {
            return self.let_go(seat, LetGo::Keep, answered).await;
        }
        let (attempt, step) = {
            let held = self.lease.held();
            (held.attempt, held.step)
        };
        // The handler speaks of this run. What an earlier one did is as unknown as before: its mark
        // stands again.
        let how = match (without_effect && self.marks(), attempt, step) {
            (true, _, 0) => LetGo::Undo,
            (true, 1, _) => LetGo::Clear,
            _ => LetGo::Keep,
        };
        let partial = self.lease.partial();
        let failed = |marked| Ended::Failed {
            failure,
            partial,
            marked,
        };
        match (how, attempt) {
            (LetGo::Undo, 2..) => {
                let next = self.give_up(&seat, how).await;
                let failed = failed(self.is_marked().await);
                self.end(seat, failed, next).await
            }
            (LetGo::Undo | LetGo::Clear, _) => self.let_go(seat, how, failed(false)).await,
            _ => {
                let failed = failed(self.marks());
                self.let_go(seat, how, failed).await
            }
        }
    }

    /// Applies what the handler returned, in one write with its answer.
    async fn settle(&mut self, seat: Seat, work: Work) -> Answered {
        if let Some(answered) = self.interrupted() {
            return Box::pin(self.let_go(seat, LetGo::Keep, answered)).await;
        }
        let refused = matches!(work, Work::Refused(_));
        let outcome = work.kind();
        let Some((mut settle, answer)) = caught(|| self.prepare(work)) else {
            return Box::pin(self.fail(seat, Failed::Panicked, false)).await;
        };
        // An external operation's refusal is always stored: only a settle ends its mark.
        if refused && !self.operation.stores_refusals && !self.marks() {
            let refused = Ended::Refused(answer);
            return Box::pin(self.let_go(seat, LetGo::Keep, refused)).await;
        }
        let (concluded, next) = self.node.conclude(&seat, &mut settle).await;
        let answered = match concluded {
            Concluded::Settled { expires } => Ended::Settled {
                order: seat.target().order.clone(),
                answer,
                replayed: false,
                expires,
                outcome,
            },
            Concluded::Impossible(reason) => self.unwritable(reason),
            // A lease that may still stand is given up, whatever became of the settle: a release
            // after a settle changes nothing, and a settle after a release is lost.
            Concluded::Unknown => {
                return Box::pin(self.let_go(seat, LetGo::Keep, Ended::Unknown)).await;
            }
            Concluded::Unavailable(error) if !self.marks() && self.lease.partial().is_none() => {
                let denied = Ended::Denied(Denied::unavailable(error));
                return Box::pin(self.let_go(seat, LetGo::Keep, denied)).await;
            }
            Concluded::Lost | Concluded::Unavailable(_) => {
                let lost = self.lost();
                return Box::pin(self.let_go(seat, LetGo::Keep, lost)).await;
            }
        };
        self.end(seat, answered, next).await
    }

    async fn let_go(&mut self, seat: Seat, how: LetGo, answered: Answered) -> Answered {
        if self.footing.is_none() {
            let _told_once = self.told.set(answered.clone());
        }
        let next = self.give_up(&seat, how).await;
        self.end(seat, answered, next).await
    }

    async fn give_up(&self, seat: &Seat, how: LetGo) -> Option<Acquired> {
        let fence = self.acquire.fence;
        match how {
            LetGo::Keep => self.node.give_up(seat, fence, MarkFate::Keep).await,
            LetGo::Clear => self.node.give_up(seat, fence, MarkFate::Clear).await,
            LetGo::Undo => self.node.take_back(seat, fence).await,
            LetGo::Void => None,
        }
    }

    /// Ends the place in line. Nothing that the attempt came to is told, to its client or to those
    /// attached to it, before what it has begun on is durable.
    async fn end(&mut self, seat: Seat, answered: Answered, next: Option<Acquired>) -> Answered {
        let ground = match &mut self.footing {
            Some(footing) => footing.ground().await,
            None => Ground::Durable,
        };
        let answered = match (ground, answered) {
            (Ground::Durable, answered) => answered,
            // A settle that is durable shows that all before it is.
            (_, settled @ Ended::Settled { .. }) => settled,
            (Ground::Lost, _) => Ended::Lost {
                partial: None,
                marked: false,
            },
            (Ground::Unknown, _) => Ended::Unknown,
        };
        self.node.hand_on(seat, &answered, next).await;
        answered
    }

    /// What a checkpoint that has cost the lease makes of the whole attempt.
    fn interrupted(&self) -> Option<Answered> {
        let cost = self.lease.held().ended_by.clone()?;
        Some(match cost {
            Cost::Lost => self.lost(),
            Cost::Unknown => Ended::Unknown,
            Cost::Unwritable(reason) => self.unwritable(reason),
        })
    }

    fn lost(&self) -> Answered {
        Ended::Lost {
            partial: self.lease.partial(),
            marked: self.marks(),
        }
    }

    fn unwritable(&self, reason: String) -> Answered {
        Ended::Failed {
            failure: Failed::Unwritable(reason),
            partial: self.lease.partial(),
            marked: self.marks(),
        }
    }

    /// Whether the operation leaves a mark unless it is settled.
    fn marks(&self) -> bool {
        self.operation.mark().is_some()
    }

    /// Whether a mark of the key stands now, as far as that is known.
    async fn is_marked(&self) -> bool {
        let claim = &self.acquire.claim;
        let known = self.node.look_up(claim, self.node.deadline()).await;
        matches!(known, Ok(Known::Marked(_)) | Err(_))
    }

    /// The settle and its answer, which is part of it.
    fn prepare(&self, work: Work) -> (Settle, Answer) {
        let held = self.lease.held();
        let at = held.store_now(self.node.now());
        let before = &held.snapshot;
        let (changed, problem) = work.parts();
        let document = changed.map_or(&before.document, |(document, _)| document);
        let updated = if changed.is_some() {
            at
        } else {
            before.times.updated
        };
        let answer = self.render(
            work.kind(),
            problem,
            document,
            version_after(before.version, work.kind()),
            Times {
                updated,
                ..before.times
            },
        );
        let settle = Settle {
            claim: self.acquire.claim.clone(),
            fence: held.fence,
            step: held.step,
            version: before.version,
            entry: NewEntry {
                operation: self.acquire.operation.clone(),
                attempt: held.attempt,
                at,
                retention: self.node.limits.retention,
            },
            part: Part::Final {
                end: work.into_final(&before.document, at, answer.clone()),
                next: None,
            },
        };
        (settle, answer)
    }

    fn render(
        &self,
        outcome: OutcomeKind,
        problem: Option<&Problem>,
        document: &Document,
        version: crate::Version,
        times: Times,
    ) -> Answer {
        let target = &self.acquire.claim.target();
        let operation = self.operation.name();
        let view = SettledView {
            target,
            operation,
            outcome,
            problem,
            document,
            version,
            times,
        };
        self.node.answers.answer(view)
    }
}
