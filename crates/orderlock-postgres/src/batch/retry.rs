//! Retries a batch that failed: it is sent again whole, or each of its requests by itself, within
//! bounds. In the end every request has its answer, or an error that says whether it may have happened.

use futures_util::{StreamExt as _, stream};
use orderlock_core::StoreError;

use crate::batch::locks::Locks;
use crate::batch::{Met, Reply, Work};
use crate::planted::{Planted, is_planted};
use crate::pool::settings::LockWait;
use crate::sql::error::{Failure, TransactionError};

/// How often a batch is sent again because others stood in its way, or rows did not stand still.
const ROUNDS_MAX: usize = 10;

/// How often a batch is sent again because nobody knows what became of it.
const REPEATS_MAX: usize = 2;

/// How many requests of a batch that failed through one of them are tried at the same time.
const ALONE_MAX: usize = 4;

/// How a batch has ended for one of its requests.
#[derive(Debug)]
pub(crate) enum Completion<W: Work> {
    Answered(Result<W::Answer, StoreError>),
    /// Somebody else keeps the order locked: it is to be waited for, by this request alone.
    Locked {
        request: W::Request,
        /// Whether an earlier try may have happened.
        doubtful: bool,
    },
}

/// Carries a batch out, and what is left of it again, within bounds. Every request gets its answer
/// or the truth: not applied, or not known. Nobody waits for an order that somebody else keeps
/// locked; if some may be, it is looked for them beforehand.
pub(crate) async fn carry_out<W: Work>(
    work: &W,
    locks: &dyn Locks,
    requests: Vec<W::Request>,
    careful: bool,
) -> (Vec<Completion<W>>, Met) {
    let mut batch = Batch {
        work,
        locks,
        completions: requests.iter().map(|_| None).collect(),
        places: (0..requests.len()).collect(),
        requests,
        budget: RetryBudget::default(),
        waits: LockWait::Briefly,
    };
    let mut met = Met::Nothing;
    if careful && batch.pass_by_locked().await.is_ok_and(|locked| locked > 0) {
        met = Met::Beforehand;
    }
    while !batch.requests.is_empty() {
        let error = match work.ask(&batch.requests, batch.waits).await {
            Ok(told) => {
                batch.take_down(told);
                continue;
            }
            Err(error) => error,
        };
        match batch.budget.judge::<W>(&error) {
            NextStep::Again => {}
            NextStep::Locked if batch.waits == LockWait::Briefly => {
                met = Met::ByWaiting;
                batch.find_locked().await;
            }
            NextStep::Alone => batch.each_alone().await,
            NextStep::Locked | NextStep::End => batch.end(&error.into_failure()),
        }
    }
    (batch.completions(), met)
}

/// A batch on its way.
struct Batch<'a, W: Work> {
    work: &'a W,
    locks: &'a dyn Locks,
    completions: Vec<Option<Completion<W>>>,
    /// What is still open, and where its verdicts go.
    requests: Vec<W::Request>,
    places: Vec<usize>,
    budget: RetryBudget,
    waits: LockWait,
}

impl<W: Work> Batch<'_, W> {
    /// Takes the replies down. A request without one is sent again, within bounds.
    fn take_down(&mut self, told: Vec<Reply<W::Answer>>) {
        let places = std::mem::take(&mut self.places);
        let asked = std::mem::take(&mut self.requests);
        for ((place, request), told) in places.into_iter().zip(asked).zip(told) {
            match told {
                Some(told) => {
                    let told = told.map_err(|failure| self.budget.error(failure));
                    self.completions[place] = Some(Completion::Answered(told));
                }
                None => {
                    self.places.push(place);
                    self.requests.push(request);
                }
            }
        }
        if matches!(self.budget.round(), NextStep::End) {
            self.end(&restless());
        }
    }

    /// Finds what somebody else keeps locked. What stands in the way otherwise, a lock on the whole
    /// table, is waited for by all, and the rest is found out by each alone.
    async fn find_locked(&mut self) {
        if is_planted(Planted::OneLane) {
            return self.each_alone().await;
        }
        if self.requests.len() == 1 {
            return self.set_aside(&[true]);
        }
        match self.pass_by_locked().await {
            Ok(locked) if locked > 0 => {}
            Err(failure) if failure.is_of_a_lock() => self.waits = LockWait::Patiently,
            Ok(_) | Err(_) => self.each_alone().await,
        }
    }

    /// Has the requests leave the batch whose orders are locked, and tells how many.
    async fn pass_by_locked(&mut self) -> Result<usize, Failure> {
        let targets: Vec<_> = self.requests.iter().map(W::target).collect();
        let locked = self.locks.locked(&targets).await?;
        self.set_aside(&locked);
        Ok(locked.into_iter().filter(|locked| *locked).count())
    }

    fn set_aside(&mut self, locked: &[bool]) {
        let places = std::mem::take(&mut self.places);
        let requests = std::mem::take(&mut self.requests);
        let open = places.into_iter().zip(requests);
        for ((place, request), locked) in open.zip(locked) {
            if *locked {
                self.completions[place] = Some(Completion::Locked {
                    request,
                    doubtful: self.budget.doubtful,
                });
            } else {
                self.places.push(place);
                self.requests.push(request);
            }
        }
    }

    async fn each_alone(&mut self) {
        let doubtful = self.budget.doubtful;
        let work = self.work;
        let each = self.requests.drain(..);
        let each = each.map(|request| try_alone(work, request, doubtful, LockWait::Briefly));
        let told: Vec<_> = stream::iter(each).buffered(ALONE_MAX).collect().await;
        for (place, completion) in self.places.drain(..).zip(told) {
            self.completions[place] = Some(completion);
        }
    }

    fn end(&mut self, failure: &Failure) {
        self.requests.clear();
        for place in self.places.drain(..) {
            let told = Err(self.budget.error(failure.clone()));
            self.completions[place] = Some(Completion::Answered(told));
        }
    }

    fn completions(self) -> Vec<Completion<W>> {
        let missing = || Err(Failure::impossible("a request was passed over").not_applied());
        let completions = self.completions.into_iter();
        completions
            .map(|completion| completion.unwrap_or_else(|| Completion::Answered(missing())))
            .collect()
    }
}

/// Waits for an order that somebody else keeps locked, among few who do so.
pub(crate) async fn wait_alone<W: Work>(
    work: &W,
    locks: &dyn Locks,
    request: W::Request,
    doubtful: bool,
) -> Result<W::Answer, StoreError> {
    let budget = RetryBudget {
        doubtful,
        ..RetryBudget::default()
    };
    let _alone = locks
        .alone()
        .await
        .map_err(|failure| budget.error(failure))?;
    match try_alone(work, request, doubtful, LockWait::Patiently).await {
        Completion::Answered(told) => told,
        Completion::Locked { doubtful, .. } => Err(RetryBudget {
            doubtful,
            ..RetryBudget::default()
        }
        .error(locked())),
    }
}

/// Carries one request out by itself, without waiting for what somebody else keeps locked.
pub(crate) async fn alone<W: Work>(work: &W, request: W::Request) -> Result<W::Answer, StoreError> {
    match try_alone(work, request, false, LockWait::Briefly).await {
        Completion::Answered(told) => told,
        Completion::Locked { doubtful, .. } => Err(RetryBudget {
            doubtful,
            ..RetryBudget::default()
        }
        .error(locked())),
    }
}

fn restless() -> Failure {
    Failure::impossible("the order does not stand still")
}

fn locked() -> Failure {
    Failure::impossible("somebody else keeps the order locked")
}

/// Carries one request out that failed beside others, or whose values may be at fault.
async fn try_alone<W: Work>(
    work: &W,
    request: W::Request,
    doubtful: bool,
    waits: LockWait,
) -> Completion<W> {
    let mut budget = RetryBudget {
        doubtful,
        ..RetryBudget::default()
    };
    let request = [request];
    let failure = loop {
        match work.ask(&request, waits).await {
            Ok(mut told) => match (told.pop().flatten(), budget.round()) {
                (Some(told), _) => {
                    return Completion::Answered(told.map_err(|failure| budget.error(failure)));
                }
                (None, NextStep::Again) => {}
                (None, _) => break restless(),
            },
            Err(error) => match budget.judge::<W>(&error) {
                NextStep::Again => {}
                NextStep::Locked if waits == LockWait::Briefly && !is_planted(Planted::OneLane) => {
                    let [request] = request;
                    let doubtful = budget.doubtful;
                    return Completion::Locked { request, doubtful };
                }
                NextStep::Alone | NextStep::Locked | NextStep::End => break error.into_failure(),
            },
        }
    };
    if failure.is_of_the_values() {
        let [request] = &request;
        return Completion::Answered(work.refused(request, failure).await);
    }
    Completion::Answered(Err(budget.error(failure)))
}

/// The tries that a batch, or one of its requests, has left.
#[derive(Debug, Default)]
struct RetryBudget {
    rounds: usize,
    repeats: usize,
    /// Whether a try may have happened: then a later one that did not says nothing about it.
    doubtful: bool,
}

/// What is to be done after a try.
enum NextStep {
    Again,
    /// Each request by itself, to find the one that is at fault.
    Alone,
    /// To find what somebody else keeps locked.
    Locked,
    End,
}

impl RetryBudget {
    fn round(&mut self) -> NextStep {
        self.rounds += 1;
        if self.rounds < ROUNDS_MAX {
            NextStep::Again
        } else {
            NextStep::End
        }
    }

    fn judge<W: Work>(&mut self, error: &TransactionError) -> NextStep {
        match error {
            TransactionError::NotApplied(failure) if failure.is_of_the_moment() => self.round(),
            TransactionError::NotApplied(failure) if failure.is_of_a_lock() => NextStep::Locked,
            TransactionError::NotApplied(failure) if failure.is_of_the_values() => NextStep::Alone,
            TransactionError::NotApplied(_) => NextStep::End,
            TransactionError::Unknown(_) => {
                self.doubtful = true;
                self.repeats += 1;
                if W::REPEATS && self.repeats <= REPEATS_MAX {
                    NextStep::Again
                } else {
                    NextStep::End
                }
            }
        }
    }

    fn error(&self, failure: Failure) -> StoreError {
        if self.doubtful {
            failure.unknown()
        } else {
            failure.not_applied()
        }
    }
}

#[cfg(test)]
mod tests;
