//! The problems that requests end with when nothing is stored: what happened, to which order, and
//! what to do now. What only an operator may read goes to the log.

use std::error::Error;

use orderlock_core::{
    AppliedPart, Denied, Failed, Problem, Recovery, Running, StoreError, Target, Timestamp,
};

use crate::answer::Asked;
use crate::problems::{self, ProblemKind};

/// The problem that a request was denied with: what happened, and what to do now.
#[must_use]
pub fn denied_problem(order: Option<&Target>, denied: &Denied) -> Problem {
    let kind = match denied {
        Denied::KeyReused => problems::IDEMPOTENCY_KEY_REUSED,
        Denied::KeyExpired => problems::IDEMPOTENCY_KEY_EXPIRED,
        Denied::InProgress(_) => problems::IDEMPOTENCY_KEY_IN_PROGRESS,
        Denied::Locked(_) => problems::ORDER_LOCKED,
        Denied::QueueFull | Denied::NodeFull => problems::ORDER_QUEUE_FULL,
        Denied::VersionMismatch { .. } => problems::VERSION_MISMATCH,
        Denied::OutcomeUnknown(_) => problems::OUTCOME_UNKNOWN,
        Denied::NotFound => problems::ORDER_NOT_FOUND,
        Denied::Exists => problems::ORDER_EXISTS,
        Denied::ShuttingDown => problems::SHUTTING_DOWN,
        Denied::StoreUnavailable(error) => return store_problem(order, error),
    };
    let kind = ProblemKind {
        // The key was not looked up, so the request may be the retry of one that was applied.
        nothing_applied: kind.nothing_applied && denied.looked_up(),
        ..kind
    };
    let problem = about(&kind, order);
    match denied {
        Denied::Locked(running) if running.foreign => problem.with_detail(format!(
            "{}: Another service has locked the order without Orderlock, and the time that you \
             asked to wait is over. Repeat the request with the same key. If that service has \
             died, its lock lasts until an operator breaks it.",
            named(order)
        )),
        Denied::InProgress(Some(running)) | Denied::Locked(running) => {
            with_running(problem, running)
        }
        Denied::VersionMismatch { current } => problem.with_member("currentVersion", current.0),
        Denied::OutcomeUnknown(mark) => may_resume(problem, order, mark.recovery)
            .with_member("mark", mark.id().to_string())
            .with_member("operation", mark.operation.as_str())
            .with_member("since", time(mark.since))
            .with_member("attempt", mark.attempt),
        _ => problem,
    }
}

/// The problem that a request is answered with for which the store did not do its part.
#[must_use]
pub fn store_problem(order: Option<&Target>, error: &StoreError) -> Problem {
    let cause = error.source().map(ToString::to_string);
    tracing::warn!(%error, cause, "the order store failed");
    let unavailable = |what: &str| {
        let (problem, next) = (
            problems::STORE_UNAVAILABLE.problem(),
            problems::STORE_UNAVAILABLE.next,
        );
        problem.with_detail(format!("{what} {next}"))
    };
    match error {
        StoreError::Full(_) => unavailable("The order store is full and accepts no changes."),
        StoreError::ReadOnly(_) => unavailable("The order store accepts no changes now."),
        StoreError::Corrupt(_) => about(&problems::DATA_DAMAGED, order),
        StoreError::Unsupported(what) => problems::HANDLER_FAILED
            .problem()
            .retryable(false)
            .with_detail(format!(
                "{}: the order store cannot do this: {what}. Repeating the request does not help.",
                named(order)
            )),
        _ => about(&problems::STORE_UNAVAILABLE, order),
    }
}

pub(crate) fn failure_problem<E>(order: Option<&Target>, failure: &Failed<E>) -> Problem {
    let failed = &problems::HANDLER_FAILED;
    match failure {
        Failed::TimedOut => about(&problems::HANDLER_TIMEOUT, order),
        // The key was looked up when the order was granted.
        Failed::Stopped => about(&problems::SHUTTING_DOWN, order).applied(AppliedPart::None),
        Failed::Unreadable(_) => failed.problem().retryable(false).with_detail(format!(
            "{} is stored in a form that this operation cannot read. An operator must look into it.",
            named(order)
        )),
        Failed::Unwritable(_) => failed.problem().retryable(false).with_detail(format!(
            "The operation's result for {} cannot be stored: it is too large, or the store \
             refuses it. Repeating the request does not help.",
            named(order).to_lowercase()
        )),
        Failed::Error(_) | Failed::Attached(_) | Failed::Panicked => about(failed, order),
    }
}

/// The problem of an operation whose mark stays.
pub(crate) fn mark_stays(asked: &Asked) -> Problem {
    let problem = about(&problems::OUTCOME_UNKNOWN, asked.order.as_ref());
    let recovery = asked.recovery.unwrap_or(Recovery::Reconcile);
    may_resume(problem, asked.order.as_ref(), recovery)
        .with_member("operation", asked.operation.as_str())
}

/// While the mark's own key may resume, repeating the request may help.
fn may_resume(problem: Problem, order: Option<&Target>, recovery: Recovery) -> Problem {
    match recovery {
        Recovery::Reconcile => problem,
        Recovery::Resume { .. } => problem.retryable(true).with_detail(format!(
            "{}: {} Repeat the request that started it, with its own key, to resume it. Until it \
             has ended, no other operation runs on the order.",
            named(order),
            problems::OUTCOME_UNKNOWN.what
        )),
    }
}

/// A problem of this kind, with a detail that names the order if there is one yet.
pub(crate) fn about(kind: &ProblemKind, order: Option<&Target>) -> Problem {
    match order {
        Some(_) => {
            kind.problem()
                .with_detail(format!("{}: {} {}", named(order), kind.what, kind.next))
        }
        None => kind.described(),
    }
}

fn named(order: Option<&Target>) -> String {
    order.map_or_else(
        || "The order".to_owned(),
        |target| format!("Order {}", target.order),
    )
}

fn with_running(problem: Problem, running: &Running) -> Problem {
    let problem = match &running.operation {
        Some(operation) => problem.with_member("operation", operation.as_str()),
        None => problem,
    };
    match running.since {
        Some(since) => problem.with_member("since", time(since)),
        None => problem,
    }
}

pub(crate) fn log_failure<E>(order: Option<&Target>, failure: &Failed<E>) {
    let order = named(order);
    match failure {
        Failed::Unreadable(reason) => {
            tracing::error!(
                order,
                reason,
                "the stored order does not fit the handler's type"
            );
        }
        Failed::Unwritable(reason) => {
            tracing::error!(order, reason, "the handler's result cannot be stored");
        }
        Failed::Panicked => tracing::error!(order, "the handler panicked"),
        _ => {}
    }
}

/// A time as every answer shows it: RFC 3339, UTC.
pub(crate) fn time(time: Timestamp) -> String {
    time.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lock_that_only_an_operator_ends_says_so() {
        let mut running = Running {
            operation: None,
            since: None,
            attempt: 1,
            foreign: false,
        };
        let detail = |running: &Running| {
            let problem = denied_problem(None, &Denied::Locked(running.clone()));
            assert_eq!(problem.kind(), "order-locked");
            problem.detail().unwrap().to_owned()
        };
        assert!(!detail(&running).contains("operator"));
        running.foreign = true;
        assert!(detail(&running).contains("operator breaks it"));
    }

    #[test]
    fn a_store_is_told_as_what_it_is() {
        let cause = || "the table `secret` is broken".into();
        let errors = [
            (
                StoreError::NotApplied(cause()),
                "store-unavailable",
                "cannot be reached",
            ),
            (StoreError::Full(cause()), "store-unavailable", "is full"),
            (
                StoreError::ReadOnly(cause()),
                "store-unavailable",
                "no changes now",
            ),
            (StoreError::Corrupt(cause()), "data-damaged", "An operator"),
            (
                StoreError::Unsupported("no views"),
                "handler-failed",
                "no views",
            ),
        ];
        for (error, kind, words) in errors {
            let problem = store_problem(None, &error);
            let detail = problem.detail().unwrap();
            assert_eq!(problem.kind(), kind, "{detail}");
            assert!(detail.contains(words), "{detail}");
            assert!(!detail.contains("secret"), "{detail}");
            assert_eq!(
                problem.is_retryable(),
                kind == "store-unavailable",
                "{detail}"
            );
        }
    }
}
