//! What is done about a batch that did not come to its answers: it is sent again, or each request by
//! itself, within bounds; and in the end everybody is told the truth.

use std::sync::Arc;

use futures_util::{StreamExt as _, stream};
use orderlock_core::StoreError;

use crate::batch::Work;
use crate::error::{Broken, Failure};

/// How often a batch is sent again because others stood in its way, or rows did not stand still.
const ROUNDS_MAX: usize = 10;

/// How often a batch is sent again because nobody knows what became of it.
const REPEATS_MAX: usize = 2;

/// How many requests of a batch that failed through one of them are tried at the same time.
const ALONE_MAX: usize = 4;

/// Carries a batch out, and what is left of it again, within bounds. Every request gets its answer
/// or the truth: not applied, or not known.
pub(crate) async fn carry_out<W: Work>(
    work: &W,
    requests: Vec<W::Request>,
) -> Vec<Result<W::Answer, StoreError>> {
    let mut answers: Vec<_> = requests.iter().map(|_| None).collect();
    let mut trials = Trials::default();
    let mut open: Vec<_> = (0..requests.len()).collect();
    let mut requests = requests;
    while !open.is_empty() {
        let failure = match work.ask(&requests).await {
            Ok(told) => {
                let places = std::mem::take(&mut open);
                let asked = std::mem::take(&mut requests);
                for ((place, request), told) in places.into_iter().zip(asked).zip(told) {
                    match told {
                        Some(told) => {
                            answers[place] = Some(told.map_err(|it| trials.error(it)));
                        }
                        None => {
                            open.push(place);
                            requests.push(request);
                        }
                    }
                }
                let restless: Arc<str> = "the order does not stand still".into();
                match trials.round() {
                    Next::End if !open.is_empty() => Failure::impossible(restless),
                    _ => continue,
                }
            }
            Err(broken) => match trials.judge::<W>(&broken) {
                Next::Again => continue,
                Next::Alone => {
                    let doubtful = trials.doubtful;
                    let each = requests.drain(..).map(|it| alone(work, it, doubtful));
                    let told: Vec<_> = stream::iter(each).buffered(ALONE_MAX).collect().await;
                    for (place, answer) in open.drain(..).zip(told) {
                        answers[place] = Some(answer);
                    }
                    break;
                }
                Next::End => broken.into_failure(),
            },
        };
        for place in open.drain(..) {
            answers[place] = Some(Err(trials.error(failure.clone())));
        }
    }
    let missing = || Err(Failure::impossible("a request was passed over").not_applied());
    let told = answers.into_iter();
    told.map(|answer| answer.unwrap_or_else(missing)).collect()
}

/// Carries one request out that failed beside others, or whose values may be at fault.
pub(crate) async fn alone<W: Work>(
    work: &W,
    request: W::Request,
    doubtful: bool,
) -> Result<W::Answer, StoreError> {
    let mut trials = Trials {
        doubtful,
        ..Trials::default()
    };
    let request = [request];
    loop {
        let failure = match work.ask(&request).await {
            Ok(mut told) => match (told.pop().flatten(), trials.round()) {
                (Some(told), _) => return told.map_err(|failure| trials.error(failure)),
                (None, Next::Again) => continue,
                (None, _) => Failure::impossible("the order does not stand still"),
            },
            Err(broken) => match trials.judge::<W>(&broken) {
                Next::Again => continue,
                Next::Alone | Next::End => {
                    let failure = broken.into_failure();
                    if failure.is_of_the_values() {
                        let [request] = &request;
                        return work.refused(request, failure).await;
                    }
                    failure
                }
            },
        };
        return Err(trials.error(failure));
    }
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
            Broken::NotApplied(failure) if failure.is_of_one_row() => Next::Alone,
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
    use std::sync::Mutex;
    use std::time::Duration;

    use futures_util::FutureExt as _;
    use futures_util::future::BoxFuture;
    use orderlock_core::{OrderId, Target, Tenant};
    use tokio_postgres::error::SqlState;

    use super::*;
    use crate::batch::Told;

    /// What is said of each try, one after the other; after that everything is well.
    #[derive(Debug, Default)]
    struct Script {
        tries: Mutex<VecDeque<Result<Vec<Told<u8>>, Broken>>>,
        sizes: Mutex<Vec<usize>>,
    }

    impl Script {
        fn of(tries: impl IntoIterator<Item = Result<Vec<Told<u8>>, Broken>>) -> Self {
            Self {
                tries: Mutex::new(tries.into_iter().collect()),
                sizes: Mutex::default(),
            }
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

        fn ask<'a>(&'a self, requests: &'a [u8]) -> BoxFuture<'a, Result<Vec<Told<u8>>, Broken>> {
            self.sizes.lock().unwrap().push(requests.len());
            let well = || Ok(requests.iter().map(|it| Some(Ok(*it))).collect());
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
        let answers = carry_out(&script, vec![1, 2, 3]).await;
        let answers: Vec<_> = answers.into_iter().map(Result::unwrap).collect();
        assert_eq!(answers, [1, 2, 3]);
        assert_eq!(*script.sizes.lock().unwrap(), [3, 1]);
    }

    #[tokio::test]
    async fn an_order_that_does_not_stand_still_is_given_up() {
        let script = Script::of((0..100).map(|_| Ok(vec![None])));
        let answers = carry_out(&script, vec![1]).await;
        assert!(!answers[0].as_ref().unwrap_err().may_have_happened());
        assert_eq!(script.sizes.lock().unwrap().len(), ROUNDS_MAX);
    }

    #[tokio::test]
    async fn a_deadlock_is_tried_again_within_bounds() {
        let deadlock = || {
            Err(Broken::NotApplied(refused(
                &SqlState::T_R_DEADLOCK_DETECTED,
            )))
        };
        let script = Script::of([deadlock()]);
        assert_eq!(*carry_out(&script, vec![7]).await[0].as_ref().unwrap(), 7);
        let script = Script::of((0..100).map(|_| deadlock()));
        let answers = carry_out(&script, vec![7]).await;
        assert!(!answers[0].as_ref().unwrap_err().may_have_happened());
        assert_eq!(script.sizes.lock().unwrap().len(), ROUNDS_MAX);
    }

    #[tokio::test]
    async fn after_a_try_in_doubt_nothing_is_certain() {
        let over = || Err(Broken::NotApplied(refused(&SqlState::ADMIN_SHUTDOWN)));
        let answers = carry_out(&Script::of([over()]), vec![1]).await;
        assert!(!answers[0].as_ref().unwrap_err().may_have_happened());
        let answers = carry_out(&Script::of([Err(late()), over()]), vec![1]).await;
        assert!(answers[0].as_ref().unwrap_err().may_have_happened());
        let script = Script::of([Err(late())]);
        assert_eq!(*carry_out(&script, vec![1]).await[0].as_ref().unwrap(), 1);
        let script = Script::of((0..100).map(|_| Err(late())));
        let answers = carry_out(&script, vec![1]).await;
        assert!(answers[0].as_ref().unwrap_err().may_have_happened());
        assert_eq!(script.sizes.lock().unwrap().len(), 1 + REPEATS_MAX);
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
        let answers = carry_out(&script, vec![1, 2, 3]).await;
        let answers: Vec<_> = answers.into_iter().map(Result::unwrap).collect();
        assert_eq!(answers, [99, 2, 3]);
        assert_eq!(*script.sizes.lock().unwrap(), [3, 1, 1, 1]);
    }
}
