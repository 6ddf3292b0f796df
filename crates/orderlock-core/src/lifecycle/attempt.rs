//! One run of a handler: in a task of its own, within its time, with every panic caught.

use std::any::Any;
use std::convert::Infallible;
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::sync::Arc;

use futures_util::FutureExt as _;
use futures_util::future::{Either, select};
use tokio::sync::oneshot;
use tracing::Instrument as _;

use super::checkpoint::HandlerLease;
use super::ended::Failed;
use super::locked::{HeldLease, LockedOrder};
use super::node::{Node, Phase};
use super::place::{Seat, Signals};
use crate::store::{Change, Final, FinalOutcome, Grant};
use crate::{
    Answer, Document, HandlerError, OrderType, Outcome, OutcomeKind, OwnedIndex, Problem, Timestamp,
};

/// An outcome with its order encoded.
#[derive(Clone, Debug)]
pub(super) enum Work {
    Applied(Document, OwnedIndex),
    AppliedWithError(Document, OwnedIndex, Problem),
    Refused(Problem),
    Unchanged,
}

impl Work {
    pub(super) fn kind(&self) -> OutcomeKind {
        match self {
            Self::Applied(..) => OutcomeKind::Applied,
            Self::AppliedWithError(..) => OutcomeKind::AppliedWithError,
            Self::Refused(_) => OutcomeKind::Refused,
            Self::Unchanged => OutcomeKind::Unchanged,
        }
    }

    /// The changed order, and the problem.
    pub(super) fn parts(&self) -> (Option<(&Document, &OwnedIndex)>, Option<&Problem>) {
        match self {
            Self::Applied(document, index) => (Some((document, index)), None),
            Self::AppliedWithError(document, index, problem) => {
                (Some((document, index)), Some(problem))
            }
            Self::Refused(problem) => (None, Some(problem)),
            Self::Unchanged => (None, None),
        }
    }

    /// The end of the operation, once its answer is rendered: what it changes, and how.
    pub(super) fn into_final(self, before: &Document, at: Timestamp, answer: Answer) -> Final {
        let change = |after, index| Change {
            before: before.clone(),
            after,
            index,
            at,
        };
        let outcome = match self {
            Self::Applied(after, index) => FinalOutcome::Applied(change(after, index)),
            Self::AppliedWithError(after, index, _) => {
                FinalOutcome::AppliedWithError(change(after, index))
            }
            Self::Refused(_) => FinalOutcome::Refused,
            Self::Unchanged => FinalOutcome::Unchanged,
        };
        Final { outcome, answer }
    }
}

/// How a run has ended.
pub(super) enum Run<E> {
    /// The handler has returned an outcome.
    Returned(Work),
    /// It has failed, or was stopped.
    Failed(Failed<E>),
    /// Its lease is void, whatever it still does.
    Void,
}

/// Runs the handler to its end, its limit, the shutdown's, or that of its lease.
///
/// It runs in a task of its own, so that its limit holds even if it blocks its thread: the task
/// then cannot be stopped, but what it returns is ignored. The limit is an alarm, because a thread
/// that is blocked may be the one that moves the timers.
pub(super) async fn attempt<T, E, W, F>(
    node: &Arc<Node>,
    (seat, signals): (&Seat, &Signals),
    lease: Arc<HandlerLease>,
    grant: &Grant,
    work: W,
) -> Run<E>
where
    T: OrderType,
    E: HandlerError,
    W: FnOnce(LockedOrder<T>) -> F + Send + 'static,
    F: Future<Output = Result<Outcome<T>, E>> + Send + 'static,
{
    let limit = node.limits.handler;
    let held = HeldLease::new(lease, grant, node.now() + limit);
    let (done, result) = oneshot::channel();
    let (cancel, cancelled) = oneshot::channel::<Infallible>();
    let document = grant.document.clone();
    let task = async move {
        let result = handle(&document, held, work, cancelled).await;
        // Nobody waits any more for a handler that passed its limit.
        let _late = done.send(result);
    };
    let task = Box::pin(task).in_current_span();
    node.runtime.spawn(Box::pin(task));

    let stopping = pin!(node.phase_reached(Phase::Stopping));
    let void = pin!(node.lines.voided(seat, signals));
    let stopped = select(select(node.runtime.alarm(limit), stopping), void);
    let ended = match select(result, stopped).await {
        Either::Left((Ok(Ok(work)), _)) => Run::Returned(work),
        Either::Left((Ok(Err(failed)), _)) => Run::Failed(failed),
        Either::Left((Err(_), _)) => Run::Failed(Failed::Panicked),
        Either::Right((Either::Left((over, _)), _)) => Run::Failed(match over {
            Either::Left(_) => Failed::TimedOut,
            Either::Right(_) => Failed::Stopped,
        }),
        Either::Right((Either::Right(_), _)) => Run::Void,
    };
    drop(cancel);
    ended
}

async fn handle<T, E, W, F>(
    document: &Document,
    held: HeldLease,
    work: W,
    cancelled: oneshot::Receiver<Infallible>,
) -> Result<Work, Failed<E>>
where
    T: OrderType,
    W: FnOnce(LockedOrder<T>) -> F,
    F: Future<Output = Result<Outcome<T>, E>>,
{
    let begun = caught(|| {
        let order = document
            .decode()
            .map_err(|error| Failed::Unreadable(error.to_string()))?;
        Ok(Box::pin(work(LockedOrder::new(order, held))))
    });
    let mut handler = begun.ok_or(Failed::Panicked)??;
    let running = AssertUnwindSafe(handler.as_mut()).catch_unwind();
    let ended = match select(running, cancelled).await {
        Either::Left((ended, _)) => Some(ended),
        Either::Right(_) => None,
    };
    // A handler that is dropped half way may panic in its drop as well.
    let dropped = caught(move || drop(handler));
    match ended {
        None => Err(Failed::TimedOut),
        Some(Err(payload)) => {
            discard(payload);
            Err(Failed::Panicked)
        }
        Some(Ok(_)) if dropped.is_none() => Err(Failed::Panicked),
        Some(Ok(Err(error))) => Err(Failed::Error(error)),
        Some(Ok(Ok(outcome))) => caught(|| encode(outcome))
            .ok_or(Failed::Panicked)?
            .map_err(|error| Failed::Unwritable(error.to_string())),
    }
}

pub(super) fn encode<T: OrderType>(outcome: Outcome<T>) -> Result<Work, serde_json::Error> {
    let order = |order: &T| Ok((Document::encode(order)?, order.index().to_owned()));
    Ok(match outcome {
        Outcome::Applied(changed) => {
            let (document, index) = order(&changed)?;
            Work::Applied(document, index)
        }
        Outcome::AppliedWithError(changed, problem) => {
            let (document, index) = order(&changed)?;
            Work::AppliedWithError(document, index, problem)
        }
        Outcome::Refused(problem) => Work::Refused(problem),
        Outcome::Unchanged => Work::Unchanged,
    })
}

/// The result of foreign code, or none if it panicked.
pub(super) fn caught<R>(run: impl FnOnce() -> R) -> Option<R> {
    catch_unwind(AssertUnwindSafe(run)).map_err(discard).ok()
}

/// Drops what a panic carried. That may panic again; what it then carries is leaked.
fn discard(payload: Box<dyn Any + Send>) {
    if let Err(again) = catch_unwind(AssertUnwindSafe(move || drop(payload))) {
        std::mem::forget(again);
    }
}
