//! Batches that fail as a script says.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use orderlock_core::{OrderId, Target, Tenant};
use tokio_postgres::error::SqlState;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::*;

/// What is said of each try, one after the other; after that everything is well but for orders
/// that somebody keeps locked.
#[derive(Debug, Default)]
struct Script {
    tries: Mutex<VecDeque<Result<Vec<Reply<u8>>, TransactionError>>>,
    sizes: Mutex<Vec<usize>>,
    locked: Vec<u8>,
    /// Whether it is the whole table, so that a look for single orders finds nothing out.
    table: bool,
}

impl Script {
    fn of(tries: impl IntoIterator<Item = Result<Vec<Reply<u8>>, TransactionError>>) -> Self {
        Self {
            tries: Mutex::new(tries.into_iter().collect()),
            ..Self::default()
        }
    }

    fn locked(locked: impl Into<Vec<u8>>) -> Self {
        Self {
            locked: locked.into(),
            ..Self::default()
        }
    }

    fn sizes(&self) -> Vec<usize> {
        self.sizes.lock().unwrap().clone()
    }

    /// What a batch is told of each request: an answer, or that its order is locked.
    async fn told(&self, requests: Vec<u8>) -> Vec<Result<Result<u8, StoreError>, u8>> {
        let (completions, _) = carry_out(self, self, requests, false).await;
        let told = completions.into_iter().map(|completion| match completion {
            Completion::Answered(told) => Ok(told),
            Completion::Locked { request, .. } => Err(request),
        });
        told.collect()
    }

    async fn answers(&self, requests: Vec<u8>) -> Vec<Result<u8, StoreError>> {
        let told = self.told(requests).await;
        told.into_iter().map(Result::unwrap).collect()
    }
}

impl Locks for Script {
    fn locked<'a>(&'a self, targets: &'a [Target]) -> BoxFuture<'a, Result<Vec<bool>, Failure>> {
        let ours = |target: &Target| {
            let locked = self.locked.iter();
            locked.map(Self::target).any(|it| it == *target)
        };
        let locked = match self.table {
            true => Err(refused(&SqlState::LOCK_NOT_AVAILABLE)),
            false => Ok(targets.iter().map(ours).collect()),
        };
        async move { locked }.boxed()
    }

    fn alone(&self) -> BoxFuture<'_, Result<OwnedSemaphorePermit, Failure>> {
        let permits = Arc::new(Semaphore::new(1));
        async move { Ok(permits.acquire_owned().await.unwrap()) }.boxed()
    }
}

impl Work for Script {
    type Request = u8;
    type Answer = u8;

    const REPEATS: bool = true;

    fn target(request: &u8) -> Target {
        Target {
            tenant: Tenant::single(),
            order: OrderId::parse(&format!("o{request}")).unwrap(),
        }
    }

    fn bytes(_: &u8) -> usize {
        1
    }

    fn ask<'a>(
        &'a self,
        requests: &'a [u8],
        waits: LockWait,
    ) -> BoxFuture<'a, Result<Vec<Reply<u8>>, TransactionError>> {
        self.sizes.lock().unwrap().push(requests.len());
        let locked = requests.iter().any(|it| self.locked.contains(it));
        let well = || match (locked || self.table) && waits == LockWait::Briefly {
            true => Err(TransactionError::NotApplied(refused(
                &SqlState::LOCK_NOT_AVAILABLE,
            ))),
            false => Ok(requests.iter().map(|it| Some(Ok(*it))).collect()),
        };
        let told = self.tries.lock().unwrap().pop_front().unwrap_or_else(well);
        async move { told }.boxed()
    }

    fn refused<'a>(&'a self, _: &'a u8, _: Failure) -> BoxFuture<'a, Result<u8, StoreError>> {
        async move { Ok(99) }.boxed()
    }
}

fn refused(code: &SqlState) -> Failure {
    Failure::Refused {
        code: code.clone(),
        message: "no".into(),
    }
}

fn late() -> TransactionError {
    TransactionError::Unknown(Failure::TimedOut(Duration::ZERO))
}

#[tokio::test]
async fn what_is_left_of_a_batch_is_asked_again() {
    let script = Script::of([Ok(vec![Some(Ok(1)), None, Some(Ok(3))])]);
    let answers = script.answers(vec![1, 2, 3]).await;
    let answers: Vec<_> = answers.into_iter().map(Result::unwrap).collect();
    assert_eq!(answers, [1, 2, 3]);
    assert_eq!(script.sizes(), [3, 1]);
}

#[tokio::test]
async fn an_order_that_does_not_stand_still_is_given_up() {
    let script = Script::of((0..100).map(|_| Ok(vec![None])));
    let answers = script.answers(vec![1]).await;
    assert!(!answers[0].as_ref().unwrap_err().may_have_happened());
    assert_eq!(script.sizes().len(), ROUNDS_MAX);
}

#[tokio::test]
async fn a_deadlock_is_tried_again_within_bounds() {
    let deadlock = || {
        Err(TransactionError::NotApplied(refused(
            &SqlState::T_R_DEADLOCK_DETECTED,
        )))
    };
    let script = Script::of([deadlock()]);
    assert_eq!(*script.answers(vec![7]).await[0].as_ref().unwrap(), 7);
    let script = Script::of((0..100).map(|_| deadlock()));
    let answers = script.answers(vec![7]).await;
    assert!(!answers[0].as_ref().unwrap_err().may_have_happened());
    assert_eq!(script.sizes().len(), ROUNDS_MAX);
}

#[tokio::test]
async fn after_a_try_in_doubt_nothing_is_certain() {
    let over = || {
        Err(TransactionError::NotApplied(refused(
            &SqlState::ADMIN_SHUTDOWN,
        )))
    };
    let answers = Script::of([over()]).answers(vec![1]).await;
    assert!(!answers[0].as_ref().unwrap_err().may_have_happened());
    let answers = Script::of([Err(late()), over()]).answers(vec![1]).await;
    assert!(answers[0].as_ref().unwrap_err().may_have_happened());
    let script = Script::of([Err(late())]);
    assert_eq!(*script.answers(vec![1]).await[0].as_ref().unwrap(), 1);
    let script = Script::of((0..100).map(|_| Err(late())));
    let answers = script.answers(vec![1]).await;
    assert!(answers[0].as_ref().unwrap_err().may_have_happened());
    assert_eq!(script.sizes().len(), 1 + REPEATS_MAX);
}

#[tokio::test]
async fn values_that_are_refused_are_found_one_by_one() {
    let refused = || {
        Err(TransactionError::NotApplied(refused(
            &SqlState::PROGRAM_LIMIT_EXCEEDED,
        )))
    };
    // Together, and then the first one alone.
    let script = Script::of([refused(), refused()]);
    let answers = script.answers(vec![1, 2, 3]).await;
    let answers: Vec<_> = answers.into_iter().map(Result::unwrap).collect();
    assert_eq!(answers, [99, 2, 3]);
    assert_eq!(script.sizes(), [3, 1, 1, 1]);
}

#[tokio::test]
async fn a_locked_order_leaves_the_batch_and_holds_nobody_up() {
    let script = Script::locked([2, 4]);
    let told = script.told(vec![1, 2, 3, 4, 5]).await;
    let told: Vec<_> = told.into_iter().map(|it| it.map(Result::unwrap)).collect();
    assert_eq!(told, [Ok(1), Err(2), Ok(3), Err(4), Ok(5)]);
    assert_eq!(
        script.sizes(),
        [5, 3],
        "once to find out, and once without them"
    );
    let waited = wait_alone(&script, &script, 2, false).await;
    assert_eq!(waited.unwrap(), 2);
}

#[tokio::test]
async fn what_is_known_beforehand_is_not_run_into() {
    let script = Script::locked([2]);
    let (completions, met) = carry_out(&script, &script, vec![1, 2, 3], true).await;
    assert!(matches!(
        completions[1],
        Completion::Locked { request: 2, .. }
    ));
    assert_eq!(met, Met::Beforehand);
    assert_eq!(script.sizes(), [2]);
    let (_, met) = carry_out(&script, &script, vec![1, 3], true).await;
    assert_eq!(met, Met::Nothing);
}

#[tokio::test]
async fn a_lock_on_all_orders_is_waited_for_by_all() {
    let script = Script {
        table: true,
        ..Script::default()
    };
    let told = script.answers(vec![1, 2, 3]).await;
    let told: Vec<_> = told.into_iter().map(Result::unwrap).collect();
    assert_eq!((told, script.sizes()), (vec![1, 2, 3], vec![3, 3]));
}

#[tokio::test]
async fn what_waits_behind_a_doubt_stays_in_doubt() {
    let script = Script {
        tries: Mutex::new([Err(late())].into()),
        ..Script::locked([1])
    };
    let (completions, _) = carry_out(&script, &script, vec![1], false).await;
    let doubtful = matches!(completions[0], Completion::Locked { doubtful: true, .. });
    assert!(doubtful, "{completions:?}");
}
