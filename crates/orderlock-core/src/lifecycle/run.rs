//! One request, from its arrival to its answer.

use std::convert::Infallible;
use std::future::Future;
use std::pin::pin;
use std::sync::Arc;

use tokio::sync::oneshot;

use super::admission::{Admission, Admitted};
use super::attempt::{Work, attempt, caught};
use super::checkpoint::HandlerLease;
use super::ended::{Answered, Ended, Failed, OperationRequest, log};
use super::footing::{Footing, Ground};
use super::locked::{Interrupted, LockedOrder};
use super::node::Node;
use super::place::Seat;
use super::session::Chain;
use super::settle::{Concluded, Settling, version_after};
use crate::store::{Acquire, Acquired, Change, Grant, MarkFate, NewEntry};
use crate::{
    Answer, Document, Operation, OperationKey, OrderType, Outcome, OutcomeKind, Problem,
    SettledView, Times,
};

/// The way back to the client. Only the first word counts.
struct Reply<E>(Option<oneshot::Sender<Ended<E>>>);

impl<E> Reply<E> {
    fn send(&mut self, ended: Ended<E>) {
        if let Some(reply) = self.0.take() {
            // A client that has gone asks again with the same key.
            let _gone = reply.send(ended);
        }
    }
}

pub(super) async fn serve<T, E, W, F, D>(
    node: Arc<Node>,
    request: OperationRequest,
    work: W,
    describe: D,
    client: oneshot::Sender<Infallible>,
    reply: oneshot::Sender<Ended<E>>,
) where
    T: OrderType,
    E: Send + 'static,
    W: FnOnce(LockedOrder<T>) -> F + Send + 'static,
    F: Future<Output = Result<Outcome<T>, E>> + Send + 'static,
    D: Fn(&E) -> Answer + Send + 'static,
{
    let mut reply = Reply(Some(reply));
    let (mut ending, seat, grant) = match begin(&node, &request, client).await {
        Ok(begun) => begun,
        Err(answered) => {
            log(&request.order, request.operation.name(), 0, &answered);
            return reply.send(answered.tell());
        }
    };
    let result = attempt(&node, Arc::clone(&ending.lease), &grant, work).await;
    // A checkpoint that is on its way comes first.
    ending.lease.end().await;
    match result {
        Ok(work) => {
            let mut concluded = pin!(ending.settle(seat, work));
            let answered = match node.within(node.limits.store, concluded.as_mut()).await {
                Some(answered) => answered,
                None => {
                    reply.send(Ended::Unknown);
                    concluded.await
                }
            };
            log(
                &request.order,
                request.operation.name(),
                grant.attempt,
                &answered,
            );
            reply.send(answered.tell());
        }
        Err(failed) => {
            let shared = share(&failed, describe);
            let answered = Box::pin(ending.fail(seat, shared)).await;
            log(
                &request.order,
                request.operation.name(),
                grant.attempt,
                &answered,
            );
            reply.send(match answered {
                Ended::Failed {
                    partial, marked, ..
                } => Ended::Failed {
                    failure: failed,
                    partial,
                    marked,
                },
                other => other.tell(),
            });
        }
    }
}

/// From the request to its grant, or to the answer that makes one unnecessary.
async fn begin(
    node: &Arc<Node>,
    request: &OperationRequest,
    client: oneshot::Sender<Infallible>,
) -> Result<(Ending, Seat, Box<Grant>), Answered> {
    let session = node.session().await.map_err(Ended::Denied)?;
    let admission = Admission::new(Arc::clone(node), &session, request, client);
    let Admitted {
        seat,
        acquire,
        grant,
        footing,
    } = admission.admit().await?;
    let OperationRequest {
        caller,
        order,
        key,
        operation,
        ..
    } = request;
    let key = OperationKey::new(
        &session.secret,
        caller,
        order,
        operation.name(),
        key.clone(),
    );
    let lease = Arc::new(HandlerLease::new(node, &acquire, &grant, key));
    let (node, operation) = (Arc::clone(node), operation.clone());
    Ok((
        Ending {
            node,
            operation,
            acquire,
            lease,
            footing,
        },
        seat,
        grant,
    ))
}

/// A failure as requests that were attached to the attempt are told it.
fn share<E>(failed: &Failed<E>, describe: impl Fn(&E) -> Answer) -> Failed<Infallible> {
    match failed {
        Failed::Error(error) => match caught(|| describe(error)) {
            Some(answer) => Failed::Attached(answer),
            None => Failed::Panicked,
        },
        other => other.without_error(),
    }
}

/// An attempt that is over and has not been settled or released yet.
struct Ending {
    node: Arc<Node>,
    operation: Operation,
    acquire: Acquire,
    lease: Arc<HandlerLease>,
    /// What the attempt has begun on, if that was not durable then.
    footing: Option<Footing>,
}

impl Ending {
    /// The attempt failed: lets the order go. An external operation's mark stays, unless the
    /// handler has declared that nothing happened outside.
    async fn fail(&mut self, seat: Seat, failure: Failed<Infallible>) -> Answered {
        if let Some(answered) = self.interrupted() {
            return self.let_go(seat, MarkFate::Keep, answered).await;
        }
        let clear = self.lease.is_without_effect() && matches!(failure, Failed::Attached(_));
        let mark = if clear {
            MarkFate::Clear
        } else {
            MarkFate::Keep
        };
        let marked = self.operation.mark().is_some() && !clear;
        let answered = Ended::Failed {
            failure,
            partial: self.lease.partial(),
            marked,
        };
        self.let_go(seat, mark, answered).await
    }

    /// Applies what the handler returned, in one write with its answer.
    async fn settle(&mut self, seat: Seat, work: Work) -> Answered {
        if let Some(answered) = self.interrupted() {
            return Box::pin(self.let_go(seat, MarkFate::Keep, answered)).await;
        }
        let refused = matches!(work, Work::Refused(_));
        let Some((settling, answer)) = caught(|| self.prepare(work)) else {
            return Box::pin(self.fail(seat, Failed::Panicked)).await;
        };
        // An external operation's refusal is always stored: only a settle ends its mark.
        if refused && !self.operation.stores_refusals && self.operation.mark().is_none() {
            let refused = Ended::Refused(answer);
            return Box::pin(self.let_go(seat, MarkFate::Keep, refused)).await;
        }
        let outcome = settling.entry.outcome;
        let marked = self.operation.mark().is_some();
        let partial = self.lease.partial();
        let (concluded, next) = self.node.conclude(&seat, &settling).await;
        let answered = match concluded {
            Concluded::Settled { expires } => Ended::Settled {
                answer,
                replayed: false,
                expires,
                outcome,
            },
            Concluded::Lost => {
                let lost = Ended::Lost { partial, marked };
                return Box::pin(self.let_go(seat, MarkFate::Keep, lost)).await;
            }
            Concluded::Unavailable(error) if marked || partial.is_some() => {
                tracing::warn!(error = %Chain(&error), "the settle of a begun operation failed");
                let lost = Ended::Lost { partial, marked };
                return Box::pin(self.let_go(seat, MarkFate::Keep, lost)).await;
            }
            Concluded::Unavailable(error) => {
                let denied = super::Denied::StoreUnavailable(Arc::new(error));
                let denied = Ended::Denied(denied);
                return Box::pin(self.let_go(seat, MarkFate::Keep, denied)).await;
            }
            Concluded::Impossible(reason) => Ended::Failed {
                failure: Failed::Unwritable(reason),
                partial,
                marked,
            },
            Concluded::Unknown => Ended::Unknown,
        };
        self.end(seat, answered, next).await
    }

    async fn let_go(&mut self, seat: Seat, mark: MarkFate, answered: Answered) -> Answered {
        let fence = self.acquire.fence;
        let next = self.node.give_up(&seat, fence, mark).await;
        self.end(seat, answered, next).await
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

    /// What a checkpoint that did not go through makes of the whole attempt.
    fn interrupted(&self) -> Option<Answered> {
        let marked = self.operation.mark().is_some();
        let interrupted = self.lease.held().interrupted;
        match interrupted? {
            Interrupted::Lost => Some(Ended::Lost {
                partial: self.lease.partial(),
                marked,
            }),
            Interrupted::Unknown => Some(Ended::Unknown),
            Interrupted::Unwritable => None,
        }
    }

    /// The settle and its answer, which is part of it.
    fn prepare(&self, work: Work) -> (Settling, Answer) {
        let held = self.lease.held();
        let at = held.store_now(self.node.now());
        let (outcome, changed, problem) = match work {
            Work::Applied(document, index) => (OutcomeKind::Applied, Some((document, index)), None),
            Work::AppliedWithError(document, index, problem) => (
                OutcomeKind::AppliedWithError,
                Some((document, index)),
                Some(problem),
            ),
            Work::Refused(problem) => (OutcomeKind::Refused, None, Some(problem)),
            Work::Unchanged => (OutcomeKind::Unchanged, None, None),
        };
        let before = &held.snapshot;
        let document = changed
            .as_ref()
            .map_or(&before.document, |(document, _)| document);
        let updated = if changed.is_some() {
            at
        } else {
            before.times.updated
        };
        let answer = self.render(
            outcome,
            problem.as_ref(),
            document,
            version_after(before.version, outcome),
            Times {
                updated,
                ..before.times
            },
        );
        let change = changed.map(|(after, index)| Change {
            before: before.document.clone(),
            after,
            index,
            at,
        });
        let entry = NewEntry {
            operation: self.acquire.operation.clone(),
            outcome,
            attempt: held.attempt,
            at,
            answer: Some(answer.clone()),
            retention: self.node.limits.retention,
        };
        let settling = Settling {
            claim: self.acquire.claim.clone(),
            fence: held.fence,
            step: held.step,
            version: before.version,
            change,
            entry,
        };
        (settling, answer)
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
