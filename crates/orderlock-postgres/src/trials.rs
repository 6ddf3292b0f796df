//! What is done about a batch that did not come to its answers: it is sent again, or each request by
//! itself, within bounds; and in the end everybody is told the truth.

use futures_util::{StreamExt as _, stream};
use orderlock_core::StoreError;

use crate::batch::{Met, Told, Work};
use crate::error::{Broken, Failure};
use crate::locks::Locks;
use crate::settings::Waits;

/// How often a batch is sent again because others stood in its way, or rows did not stand still.
const ROUNDS_MAX: usize = 10;

/// How often a batch is sent again because nobody knows what became of it.
const REPEATS_MAX: usize = 2;

/// How many requests of a batch that failed through one of them are tried at the same time.
const ALONE_MAX: usize = 4;

/// What a batch has come to for one of its requests.
#[derive(Debug)]
pub(crate) enum Verdict<W: Work> {
    Told(Result<W::Answer, StoreError>),
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
) -> (Vec<Verdict<W>>, Met) {
    let mut batch = Batch {
        work,
        locks,
        verdicts: requests.iter().map(|_| None).collect(),
        places: (0..requests.len()).collect(),
        requests,
        trials: Trials::default(),
        waits: Waits::Hardly,
    };
    let mut met = Met::Nothing;
    if careful && batch.pass_by_locked().await.is_ok_and(|locked| locked > 0) {
        met = Met::Beforehand;
    }
    while !batch.requests.is_empty() {
        let told = match work.ask(&batch.requests, batch.waits).await {
            Ok(told) => {
                batch.told(told);
                continue;
            }
            Err(broken) => broken,
        };
        match batch.trials.judge::<W>(&told) {
            Next::Again => {}
            Next::Locked if batch.waits == Waits::Hardly => {
                met = Met::ByWaiting;
                batch.find_locked().await;
            }
            Next::Alone => batch.each_alone().await,
            Next::Locked | Next::End => batch.end(&told.into_failure()),
        }
    }
    (batch.verdicts(), met)
}

/// A batch on its way.
struct Batch<'a, W: Work> {
    work: &'a W,
    locks: &'a dyn Locks,
    verdicts: Vec<Option<Verdict<W>>>,
    /// What is still open, and where its verdicts go.
    requests: Vec<W::Request>,
    places: Vec<usize>,
    trials: Trials,
    waits: Waits,
}

impl<W: Work> Batch<'_, W> {
    /// Takes down what was told. Who was told nothing is asked again, within bounds.
    fn told(&mut self, told: Vec<Told<W::Answer>>) {
        let places = std::mem::take(&mut self.places);
        let asked = std::mem::take(&mut self.requests);
        for ((place, request), told) in places.into_iter().zip(asked).zip(told) {
            match told {
                Some(told) => {
                    let told = told.map_err(|failure| self.trials.error(failure));
                    self.verdicts[place] = Some(Verdict::Told(told));
                }
                None => {
                    self.places.push(place);
                    self.requests.push(request);
                }
            }
        }
        if matches!(self.trials.round(), Next::End) {
            self.end(&restless());
        }
    }

    /// Finds what somebody else keeps locked. What stands in the way otherwise, a lock on the whole
    /// table, is waited for by all, and the rest is found out by each alone.
    async fn find_locked(&mut self) {
        if self.requests.len() == 1 {
            return self.set_aside(&[true]);
        }
        match self.pass_by_locked().await {
            Ok(locked) if locked > 0 => {}
            Err(failure) if failure.is_of_a_lock() => self.waits = Waits::Patiently,
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
                self.verdicts[place] = Some(Verdict::Locked {
                    request,
                    doubtful: self.trials.doubtful,
                });
            } else {
                self.places.push(place);
                self.requests.push(request);
            }
        }
    }

    async fn each_alone(&mut self) {
        let doubtful = self.trials.doubtful;
        let work = self.work;
        let each = self.requests.drain(..);
        let each = each.map(|request| try_alone(work, request, doubtful, Waits::Hardly));
        let told: Vec<_> = stream::iter(each).buffered(ALONE_MAX).collect().await;
        for (place, verdict) in self.places.drain(..).zip(told) {
            self.verdicts[place] = Some(verdict);
        }
    }

    fn end(&mut self, failure: &Failure) {
        self.requests.clear();
        for place in self.places.drain(..) {
            let told = Err(self.trials.error(failure.clone()));
            self.verdicts[place] = Some(Verdict::Told(told));
        }
    }

    fn verdicts(self) -> Vec<Verdict<W>> {
        let missing = || Err(Failure::impossible("a request was passed over").not_applied());
        let verdicts = self.verdicts.into_iter();
        verdicts
            .map(|verdict| verdict.unwrap_or_else(|| Verdict::Told(missing())))
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
    let trials = Trials {
        doubtful,
        ..Trials::default()
    };
    let _alone = locks
        .alone()
        .await
        .map_err(|failure| trials.error(failure))?;
    match try_alone(work, request, doubtful, Waits::Patiently).await {
        Verdict::Told(told) => told,
        Verdict::Locked { doubtful, .. } => Err(Trials {
            doubtful,
            ..Trials::default()
        }
        .error(locked())),
    }
}

/// Carries one request out by itself, without waiting for what somebody else keeps locked.
pub(crate) async fn alone<W: Work>(work: &W, request: W::Request) -> Result<W::Answer, StoreError> {
    match try_alone(work, request, false, Waits::Hardly).await {
        Verdict::Told(told) => told,
        Verdict::Locked { doubtful, .. } => Err(Trials {
            doubtful,
            ..Trials::default()
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
    waits: Waits,
) -> Verdict<W> {
    let mut trials = Trials {
        doubtful,
        ..Trials::default()
    };
    let request = [request];
    let failure = loop {
        match work.ask(&request, waits).await {
            Ok(mut told) => match (told.pop().flatten(), trials.round()) {
                (Some(told), _) => {
                    return Verdict::Told(told.map_err(|failure| trials.error(failure)));
                }
                (None, Next::Again) => {}
                (None, _) => break restless(),
            },
            Err(broken) => match trials.judge::<W>(&broken) {
                Next::Again => {}
                Next::Locked if waits == Waits::Hardly => {
                    let [request] = request;
                    let doubtful = trials.doubtful;
                    return Verdict::Locked { request, doubtful };
                }
                Next::Alone | Next::Locked | Next::End => break broken.into_failure(),
            },
        }
    };
    if failure.is_of_the_values() {
        let [request] = &request;
        return Verdict::Told(work.refused(request, failure).await);
    }
    Verdict::Told(Err(trials.error(failure)))
}

/// What has been tried for a batch.
#[derive(Debug, Default)]
struct Trials {
    rounds: usize,
    repeats: usize,
    /// Whether a try may have happened: then a later one that did not says nothing about it.
    doubtful: bool,
}

/// What is to be done after a try.
enum Next {
    Again,
    /// Each request by itself, to find the one that is at fault.
    Alone,
    /// To find what somebody else keeps locked.
    Locked,
    End,
}

impl Trials {
    fn round(&mut self) -> Next {
        self.rounds += 1;
        if self.rounds < ROUNDS_MAX {
            Next::Again
        } else {
            Next::End
        }
    }

    fn judge<W: Work>(&mut self, broken: &Broken) -> Next {
        match broken {
            Broken::NotApplied(failure) if failure.is_of_the_moment() => self.round(),
            Broken::NotApplied(failure) if failure.is_of_a_lock() => Next::Locked,
            Broken::NotApplied(failure) if failure.is_of_the_values() => Next::Alone,
            Broken::NotApplied(_) => Next::End,
            Broken::Unknown(_) => {
                self.doubtful = true;
                self.repeats += 1;
                if W::REPEATS && self.repeats <= REPEATS_MAX {
                    Next::Again
                } else {
                    Next::End
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
mod tests {
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
        tries: Mutex<VecDeque<Result<Vec<Told<u8>>, Broken>>>,
        sizes: Mutex<Vec<usize>>,
        locked: Vec<u8>,
        /// Whether it is the whole table, so that a look for single orders finds nothing out.
        table: bool,
    }

    impl Script {
        fn of(tries: impl IntoIterator<Item = Result<Vec<Told<u8>>, Broken>>) -> Self {
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
            let (verdicts, _) = carry_out(self, self, requests, false).await;
            let told = verdicts.into_iter().map(|verdict| match verdict {
                Verdict::Told(told) => Ok(told),
                Verdict::Locked { request, .. } => Err(request),
            });
            told.collect()
        }

        async fn answers(&self, requests: Vec<u8>) -> Vec<Result<u8, StoreError>> {
            let told = self.told(requests).await;
            told.into_iter().map(Result::unwrap).collect()
        }
    }

    impl Locks for Script {
        fn locked<'a>(
            &'a self,
            targets: &'a [Target],
        ) -> BoxFuture<'a, Result<Vec<bool>, Failure>> {
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
            waits: Waits,
        ) -> BoxFuture<'a, Result<Vec<Told<u8>>, Broken>> {
            self.sizes.lock().unwrap().push(requests.len());
            let locked = requests.iter().any(|it| self.locked.contains(it));
            let well = || match (locked || self.table) && waits == Waits::Hardly {
                true => Err(Broken::NotApplied(refused(&SqlState::LOCK_NOT_AVAILABLE))),
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

    fn late() -> Broken {
        Broken::Unknown(Failure::TimedOut(Duration::ZERO))
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
            Err(Broken::NotApplied(refused(
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
        let over = || Err(Broken::NotApplied(refused(&SqlState::ADMIN_SHUTDOWN)));
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
            Err(Broken::NotApplied(refused(
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
        let (verdicts, met) = carry_out(&script, &script, vec![1, 2, 3], true).await;
        assert!(matches!(verdicts[1], Verdict::Locked { request: 2, .. }));
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
        let (verdicts, _) = carry_out(&script, &script, vec![1], false).await;
        let doubtful = matches!(verdicts[0], Verdict::Locked { doubtful: true, .. });
        assert!(doubtful, "{verdicts:?}");
    }
}
