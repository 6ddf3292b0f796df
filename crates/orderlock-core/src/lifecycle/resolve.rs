//! The third end of a mark: a person or program with the right to decides what became of an
//! external operation that nobody attends to.

use std::sync::Arc;

use super::Lifecycle;
use super::attempt::{Work, caught, encode};
use super::ended::{Denied, Snapshot};
use super::node::Node;
use super::settle::version_after;
use super::tries::Retry;
use super::verbs::{Deadline, Unanswered};
use crate::mark::MarkName;
use crate::order::whole_microseconds;
use crate::store::{Decision, Entry, MarkEnd, OrderView, Read, Resolve, Resolved};
use crate::{
    Answer, LeaseId, LeaseViewState, OperationName, OrderStore as _, OrderType, Outcome,
    OutcomeKind, Principal, SettledView, StoreError, Target, Times, Version,
};

/// How an open mark is to end.
#[derive(Clone, Debug, PartialEq)]
pub enum Resolution<T> {
    /// The mark is cleared: the same key, or any other, may run.
    RunAgain,
    /// The operation is settled in the name of its key, whose retry gets this outcome's answer.
    Settle(Outcome<T>),
}

/// A decision about one open mark.
#[derive(Clone, Debug)]
pub struct ResolveRequest<T> {
    /// Which order.
    pub target: Target,
    /// The mark, by the id that views of the order show: the decision is about this mark, and
    /// about no other that stands by then.
    pub mark: LeaseId,
    /// How it ends.
    pub resolution: Resolution<T>,
    /// The version that the decision was made on; otherwise the one that is read now.
    pub expected: Option<Version>,
    /// Who decides.
    pub actor: Principal,
    /// Why. It stands in the order's history.
    pub reason: String,
}

/// Why a mark was not resolved. Nothing has changed, unless it says that this is not known.
#[derive(Clone, Debug)]
pub enum Unresolved {
    /// The mark has ended, or somebody attends to it.
    NotOpen,
    /// The order that was given cannot be written as JSON, or not be stored.
    Unwritable(String),
    /// The decision was sent and the store's answer lost: the same request tells what happened.
    Unknown,
    /// There is no such order, it is at another version, or the store is out of reach.
    Denied(Denied),
}

impl From<Denied> for Unresolved {
    fn from(denied: Denied) -> Self {
        Self::Denied(denied)
    }
}

/// A request with its order encoded.
struct Decided {
    target: Target,
    mark: LeaseId,
    /// None to run again.
    settle: Option<Work>,
    expected: Option<Version>,
    actor: Principal,
    reason: String,
}

/// What a decision writes, and the order after it.
struct Prepared {
    decision: Decision,
    after: Snapshot,
}

impl Lifecycle {
    /// Ends an open mark, with an entry that says who and why, durably. Returns the order as the
    /// decision leaves it.
    ///
    /// The decision and its entry are one write. A request that is repeated, because its answer
    /// was lost, is answered as the first time, for as long as the mark's key is remembered.
    ///
    /// # Errors
    /// [`Unresolved`]: nothing has changed, unless it says that this is not known.
    pub async fn resolve<T: OrderType>(
        &self,
        request: ResolveRequest<T>,
    ) -> Result<Snapshot, Unresolved> {
        let _in_flight = self.node.admit()?;
        let settle = match request.resolution {
            Resolution::RunAgain => None,
            Resolution::Settle(outcome) => Some(encoded(outcome)?),
        };
        let decided = Decided {
            target: request.target,
            mark: request.mark,
            settle,
            expected: request.expected,
            actor: request.actor,
            reason: request.reason,
        };
        let resolved = self.node.decide(&decided).await;
        let order = &decided.target.order;
        match &resolved {
            Ok(_) => {
                let outcome = decided.outcome().as_str();
                tracing::info!(%order, mark = %decided.mark, outcome, "a mark was resolved");
            }
            Err(unresolved) => {
                let reason = unresolved.as_str();
                tracing::info!(%order, reason, "a mark was not resolved");
            }
        }
        resolved
    }
}

impl Node {
    async fn decide(&self, decided: &Decided) -> Result<Snapshot, Unresolved> {
        let by = self.deadline();
        let view = self.view(&decided.target, by).await?;
        let open = view
            .lease
            .as_ref()
            .filter(|lease| lease.state == LeaseViewState::Marked && lease.id == decided.mark);
        let marked = open.and_then(|mark| {
            let run = (mark.key_id?, mark.attempt, mark.since?);
            Some((run, mark.operation.clone()?))
        });
        let Some(((key_id, attempt, since), operation)) = marked else {
            return self.decided_before(decided, &view, by).await;
        };
        let current = view.version;
        if decided.expected.is_some_and(|expected| expected != current) {
            return Err(Denied::VersionMismatch { current }.into());
        }
        let Prepared { decision, after } = self.prepare(decided, &view, &operation)?;
        let request = Resolve {
            target: decided.target.clone(),
            key_id,
            attempt,
            since,
            decision,
            actor: decided.actor.clone(),
            reason: decided.reason.clone(),
        };
        match self.send(request, by).await? {
            Resolved::Resolved(_) => Ok(after),
            Resolved::VersionMismatch { current } => {
                Err(Denied::VersionMismatch { current }.into())
            }
            // Perhaps by an earlier try of ours, whose answer was lost.
            Resolved::NotMarked => {
                let view = self.view(&decided.target, by).await?;
                self.decided_before(decided, &view, by).await
            }
        }
    }

    async fn view(&self, target: &Target, by: Deadline) -> Result<OrderView, Unresolved> {
        let target = target.clone();
        let read = self.ask_by(by, self.store.read(Read { target })).await;
        let view = read.map_err(unavailable)?;
        view.ok_or(Unresolved::Denied(Denied::NotFound))
    }

    /// Sends a decision, and sends it again while it is not known whether it was taken.
    async fn send(&self, request: Resolve, by: Deadline) -> Result<Resolved, Unresolved> {
        let resolve = || self.store.resolve(request.clone());
        let sent = self.until_answered(Retry::InDoubt, Some(by), resolve).await;
        sent.map_err(|unanswered| match unanswered {
            Unanswered { in_doubt: true, .. } => Unresolved::Unknown,
            Unanswered {
                error: StoreError::Unsupported(what),
                ..
            } => Unresolved::Unwritable(what.to_owned()),
            Unanswered { error, .. } => unavailable(error),
        })
    }

    /// The mark is not open. If the order's history says that this very decision has ended it,
    /// the request is a repeat, and is answered as the first was.
    async fn decided_before(
        &self,
        decided: &Decided,
        now: &OrderView,
        by: Deadline,
    ) -> Result<Snapshot, Unresolved> {
        let name = MarkName::parse(&decided.mark).ok_or(Unresolved::NotOpen)?;
        let entry = self.end_of(&decided.target, name, by).await?;
        let entry = entry.ok_or(Unresolved::NotOpen)?;
        let same = entry.outcome == decided.outcome()
            && entry.actor == decided.actor
            && entry.reason.as_ref() == Some(&decided.reason);
        if !same {
            return Err(Unresolved::NotOpen);
        }
        let Prepared { decision, .. } = self.prepare(decided, now, &entry.operation)?;
        let same = match decision {
            Decision::RunAgain { .. } => true,
            Decision::Settle { end, .. } => match end.outcome.change() {
                Some(change) => entry.change.as_ref() == Some(&change.after),
                None => entry.answer == Some(end.answer),
            },
        };
        if !same {
            return Err(Unresolved::NotOpen);
        }
        Ok(snapshot(now))
    }

    /// The entry by which an operator has ended a mark. A key's runs are counted on while the key is
    /// remembered, so that its key and its run name a mark; should a key have been forgotten and used
    /// again since, the last entry counts.
    async fn end_of(
        &self,
        target: &Target,
        name: MarkName,
        by: Deadline,
    ) -> Result<Option<Entry>, Unresolved> {
        let request = MarkEnd {
            target: target.clone(),
            key: name.key,
            attempt: name.attempt,
        };
        let found = self.ask_by(by, self.store.mark_end(request)).await;
        found.map_err(unavailable)
    }

    /// What the decision writes, if the order is as it was seen.
    fn prepare(
        &self,
        decided: &Decided,
        view: &OrderView,
        operation: &OperationName,
    ) -> Result<Prepared, Unresolved> {
        let Some(work) = &decided.settle else {
            return Ok(Prepared {
                decision: Decision::RunAgain {
                    retention: self.limits.retention,
                },
                after: snapshot(view),
            });
        };
        let (changed, problem) = work.parts();
        let at = whole_microseconds(self.runtime.wall());
        let outcome = decided.outcome();
        let mut after = snapshot(view);
        after.version = version_after(view.version, outcome);
        if let Some((document, _)) = changed {
            self.fits(document).map_err(Unresolved::Unwritable)?;
            after.document = document.clone();
            after.times = Times {
                updated: at,
                ..view.times
            };
        }
        let settled = SettledView {
            target: &view.target,
            operation,
            outcome,
            problem,
            document: &after.document,
            version: after.version,
            times: after.times,
        };
        let answer = caught(|| self.answers.answer(settled));
        let panicked = || Unresolved::Unwritable("its answer cannot be rendered".to_owned());
        let answer: Answer = answer.ok_or_else(panicked)?;
        let decision = Decision::Settle {
            version: view.version,
            end: work.clone().into_final(&view.document, at, answer),
            retention: self.limits.retention,
        };
        Ok(Prepared { decision, after })
    }
}

impl Decided {
    fn outcome(&self) -> OutcomeKind {
        match &self.settle {
            None => OutcomeKind::MarkCleared,
            Some(work) => work.kind(),
        }
    }
}

impl Unresolved {
    fn as_str(&self) -> &'static str {
        match self {
            Self::NotOpen => "notOpen",
            Self::Unwritable(_) => "unwritable",
            Self::Unknown => "unknown",
            Self::Denied(denied) => denied.as_str(),
        }
    }
}

fn encoded<T: OrderType>(outcome: Outcome<T>) -> Result<Work, Unresolved> {
    let panicked = || Unresolved::Unwritable("the order type panicked".to_owned());
    let encoded = caught(|| encode(outcome)).ok_or_else(panicked)?;
    encoded.map_err(|error| Unresolved::Unwritable(error.to_string()))
}

fn snapshot(view: &OrderView) -> Snapshot {
    Snapshot {
        version: view.version,
        document: view.document.clone(),
        times: view.times,
    }
}

fn unavailable(error: StoreError) -> Unresolved {
    Unresolved::Denied(Denied::StoreUnavailable(Arc::new(error)))
}
