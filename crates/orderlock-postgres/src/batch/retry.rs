//! What is done about a batch that did not come to its answers: it is sent again, or each request by
//! itself, within bounds; and in the end everybody is told the truth.

use futures_util::{StreamExt as _, stream};
use orderlock_core::StoreError;

use crate::batch::locks::Locks;
use crate::batch::{Met, Told, Work};
use crate::planted::{Planted, is_planted};
use crate::pool::settings::Waits;
use crate::sql::error::{Broken, Failure};

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
        if is_planted(Planted::OneLane) {
            return self.each_alone().await;
        }
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
                Next::Locked if waits == Waits::Hardly && !is_planted(Planted::OneLane) => {
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
mod tests;
