//! How a request ends: the vocabulary between the lifecycle and whoever speaks to the client.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use super::session::Chain;
use crate::{
    Answer, Caller, Document, Fingerprint, IdempotencyKey, Mark, Operation, OperationName, OrderId,
    OutcomeKind, StoreError, Times, Timestamp, Version,
};

/// An operation that somebody asks for.
#[derive(Clone, Debug)]
pub struct OperationRequest {
    /// Who asks.
    pub caller: Caller,
    /// For which order.
    pub order: OrderId,
    /// Under which key.
    pub key: IdempotencyKey,
    /// The hash of operation, order and body.
    pub fingerprint: Fingerprint,
    /// For which operation.
    pub operation: Operation,
    /// The version that the client expects, compared at the grant.
    pub expected: Option<Version>,
    /// How long the client is ready to wait; bounded by [`Limits::wait`](crate::Limits::wait).
    pub wait: Duration,
}

/// A creation that somebody asks for.
#[derive(Clone, Debug)]
pub struct CreateRequest {
    /// Who asks.
    pub caller: Caller,
    /// The new order's id; derived from caller and key if none is given.
    pub order: Option<OrderId>,
    /// Under which key.
    pub key: IdempotencyKey,
    /// The hash of operation and body.
    pub fingerprint: Fingerprint,
    /// What the entry calls it.
    pub operation: OperationName,
}

/// How a request ended. The one match that tells it to clients names every case, so that a new one
/// is noticed there.
#[derive(Clone, Debug)]
#[must_use = "a request may have failed, and says so only here"]
pub enum Ended<E> {
    /// It is settled, durably: the stored answer.
    Settled {
        /// Of which order: that which the key's first request was for, whatever id a retry gives.
        order: OrderId,
        /// The answer, byte for byte the same on every retry.
        answer: Answer,
        /// Whether an earlier request, or another that ran at the same time, settled it.
        replayed: bool,
        /// When the answer's retention ends.
        expires: Option<Timestamp>,
        /// How it was settled.
        outcome: OutcomeKind,
    },
    /// The handler refused, and its operation does not store refusals. Nothing changed.
    Refused(Answer),
    /// The attempt failed and nothing is stored: a retry runs again.
    Failed {
        /// Why.
        failure: Failed<E>,
        /// What checkpoints had applied before.
        partial: Option<Snapshot>,
        /// Whether an external operation's mark stays: its outcome is unknown.
        marked: bool,
    },
    /// The lease was lost before the settle, whether the handler had ended or not; or the settle of
    /// an operation that had left a trace did not go through. What the handler returned, or would
    /// have, was not applied.
    Lost {
        /// What checkpoints had applied before.
        partial: Option<Snapshot>,
        /// Whether an external operation's mark stays: its outcome is unknown.
        marked: bool,
    },
    /// A settle was sent and its answer lost: the same key tells what happened.
    Unknown,
    /// The handler was not run.
    Denied(Denied),
}

/// An end that is told to whoever asked, whatever the error type of their handler.
pub(super) type Answered = Ended<Infallible>;

/// Why an attempt failed.
#[derive(Clone, Debug)]
pub enum Failed<E> {
    /// The handler returned this error.
    Error(E),
    /// The attempt that this request was attached to failed with an error that is told like this.
    Attached(Answer),
    /// The handler panicked, in its run, in its drop, or while its result was encoded.
    Panicked,
    /// The handler passed its time limit.
    TimedOut,
    /// The stored order does not fit the handler's order type.
    Unreadable(String),
    /// The order that the handler returned cannot be written as JSON, or not be stored.
    Unwritable(String),
    /// The node is shutting down and did not let the handler end.
    Stopped,
}

/// An order as checkpoints have left it.
#[derive(Clone, Debug)]
pub struct Snapshot {
    /// Its version.
    pub version: Version,
    /// Its content.
    pub document: Document,
    /// Its times.
    pub times: Times,
}

/// What is known of the operation that is in the way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Running {
    /// Which operation; unknown for a foreign lock.
    pub operation: Option<OperationName>,
    /// Since when.
    pub since: Option<Timestamp>,
    /// Which run of its key.
    pub attempt: u32,
    /// Whether a service that does not know Orderlock holds the order. Nobody knows whether that one
    /// lives, so that its lock never ends by time.
    pub foreign: bool,
}

/// Why a handler was not run, or what it did was certainly not applied.
#[derive(Clone, Debug)]
pub enum Denied {
    /// The key stands for another request.
    KeyReused,
    /// The key is settled, and its answer is past the retention.
    KeyExpired,
    /// The same request is running or waiting.
    InProgress(Option<Running>),
    /// Another key holds the order, and the wait is over.
    Locked(Running),
    /// The line is full.
    QueueFull,
    /// The node has as many requests as it takes. It asked nobody about the key.
    NodeFull,
    /// The order is not at the expected version.
    VersionMismatch {
        /// Where it is.
        current: Version,
    },
    /// An external operation has begun, and nobody attends to it.
    OutcomeUnknown(Box<Mark>),
    /// There is no such order.
    NotFound,
    /// The order was created under another key.
    Exists,
    /// The store is out of reach, or the node has no session.
    StoreUnavailable(Arc<StoreError>),
    /// The node is shutting down.
    ShuttingDown,
}

impl<E> Ended<E> {
    /// The same end, with what the handler's error is made into.
    pub fn map_error<F>(self, change: impl FnOnce(E) -> F) -> Ended<F> {
        match self {
            Self::Settled {
                order,
                answer,
                replayed,
                expires,
                outcome,
            } => Ended::Settled {
                order,
                answer,
                replayed,
                expires,
                outcome,
            },
            Self::Refused(answer) => Ended::Refused(answer),
            Self::Failed {
                failure,
                partial,
                marked,
            } => Ended::Failed {
                failure: failure.map_error(change),
                partial,
                marked,
            },
            Self::Lost { partial, marked } => Ended::Lost { partial, marked },
            Self::Unknown => Ended::Unknown,
            Self::Denied(denied) => Ended::Denied(denied),
        }
    }
}

impl<E> Failed<E> {
    fn map_error<F>(self, change: impl FnOnce(E) -> F) -> Failed<F> {
        match self {
            Self::Error(error) => Failed::Error(change(error)),
            Self::Attached(answer) => Failed::Attached(answer),
            Self::Panicked => Failed::Panicked,
            Self::TimedOut => Failed::TimedOut,
            Self::Unreadable(reason) => Failed::Unreadable(reason),
            Self::Unwritable(reason) => Failed::Unwritable(reason),
            Self::Stopped => Failed::Stopped,
        }
    }
}

impl Ended<Infallible> {
    /// The same end, told to a request of another error type.
    pub(crate) fn tell<E>(self) -> Ended<E> {
        self.map_error(|never| match never {})
    }

    /// The same end for a request that was attached to the attempt: what was stored is a replay.
    pub(crate) fn attached(mut self) -> Self {
        if let Self::Settled { replayed, .. } = &mut self {
            *replayed = true;
        }
        self
    }
}

/// What became of a key, as its owner may ask.
#[derive(Clone, Debug)]
pub enum KeyStatus {
    /// Settled: the stored answer.
    Settled {
        /// The answer.
        answer: Answer,
        /// When its retention ends.
        expires: Option<Timestamp>,
    },
    /// It stands in line.
    Waiting,
    /// It holds the order.
    Running(Option<Running>),
    /// It has begun outside, and nobody attends to it.
    OutcomeUnknown(Box<Mark>),
    /// Settled, and the answer is past its retention.
    Expired,
    /// Never used, failed, or forgotten.
    Unknown,
}

impl<E> Failed<E> {
    /// The same failure as far as it can be shared; an error of the handler's own cannot.
    pub(crate) fn without_error(&self) -> Failed<Infallible> {
        match self {
            Self::Error(_) | Self::Panicked => Failed::Panicked,
            Self::Attached(answer) => Failed::Attached(answer.clone()),
            Self::TimedOut => Failed::TimedOut,
            Self::Unreadable(reason) => Failed::Unreadable(reason.clone()),
            Self::Unwritable(reason) => Failed::Unwritable(reason.clone()),
            Self::Stopped => Failed::Stopped,
        }
    }
}

impl Denied {
    pub(super) fn unavailable(error: StoreError) -> Self {
        Self::StoreUnavailable(Arc::new(error))
    }

    /// Whether the key was looked up before the request was denied, so that nothing has been
    /// applied under it. Otherwise the request may be the retry of one that was.
    #[must_use]
    pub fn looked_up(&self) -> bool {
        match self {
            Self::KeyReused
            | Self::KeyExpired
            | Self::InProgress(_)
            | Self::Locked(_)
            | Self::QueueFull
            | Self::VersionMismatch { .. }
            | Self::OutcomeUnknown(_)
            | Self::NotFound
            | Self::Exists => true,
            Self::NodeFull | Self::StoreUnavailable(_) | Self::ShuttingDown => false,
        }
    }

    /// The word for it in logs.
    #[must_use]
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::KeyReused => "keyReused",
            Self::KeyExpired => "keyExpired",
            Self::InProgress(_) => "inProgress",
            Self::Locked(_) => "locked",
            Self::QueueFull => "queueFull",
            Self::NodeFull => "nodeFull",
            Self::VersionMismatch { .. } => "versionMismatch",
            Self::OutcomeUnknown(_) => "outcomeUnknown",
            Self::NotFound => "notFound",
            Self::Exists => "exists",
            Self::StoreUnavailable(_) => "storeUnavailable",
            Self::ShuttingDown => "shuttingDown",
        }
    }
}

impl<E> Ended<E> {
    /// The word for it in logs.
    #[must_use]
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Settled { replayed: true, .. } => "replayed",
            Self::Settled { outcome, .. } => outcome.as_str(),
            Self::Refused(_) => "refusedUnstored",
            Self::Failed { .. } => "failed",
            Self::Lost { .. } => "lost",
            Self::Unknown => "unknown",
            Self::Denied(denied) => denied.as_str(),
        }
    }
}

/// One line for each request: what became of it. Never the key, never a body. What an operator may
/// have to look at is a warning, by the name of the problem that the client is told.
pub(super) fn log<E>(order: &OrderId, operation: &OperationName, attempt: u32, ended: &Ended<E>) {
    match trouble(ended) {
        None => {
            tracing::info!(%order, %operation, outcome = ended.as_str(), attempt, "operation ended");
        }
        Some((outcome, reason)) => {
            tracing::warn!(%order, %operation, outcome, reason, attempt, "operation ended");
        }
    }
}

fn trouble<E>(ended: &Ended<E>) -> Option<(&'static str, String)> {
    let (outcome, reason) = match ended {
        Ended::Lost { marked: true, .. } | Ended::Failed { marked: true, .. } => (
            "outcome-unknown",
            "what it began outside may have happened: its mark stays until an operator resolves it, or, if the \
             operation resumes, until its key is repeated",
        ),
        Ended::Lost { .. } => (
            "lease-lost",
            "its lease has ended: by an operator, with the node's session, or by another service",
        ),
        Ended::Unknown => ("settle-unknown", "the store's answer was lost"),
        Ended::Denied(Denied::StoreUnavailable(error)) => {
            return Some(("store-unavailable", Chain(&**error).to_string()));
        }
        Ended::Failed { failure, .. } => match failure {
            Failed::TimedOut => ("handler-timeout", "its handler ran for too long"),
            Failed::Panicked => ("handler-failed", "its handler panicked"),
            Failed::Unreadable(reason) | Failed::Unwritable(reason) => {
                return Some(("handler-failed", reason.clone()));
            }
            Failed::Error(_) | Failed::Attached(_) | Failed::Stopped => return None,
        },
        Ended::Settled { .. } | Ended::Refused(_) | Ended::Denied(_) => return None,
    };
    Some((outcome, reason.to_owned()))
}
