//! How the store is asked: within a time, and again while that may help.
//!
//! A request has one deadline, from which each of its steps takes what is left: by then its client
//! is told, whatever the store does. What has to go on after that, such as taking a grant back, asks
//! without a deadline, a bounded number of times.

use std::future::Future;
use std::time::{Duration, Instant};

use super::node::Node;
use super::tries::{Retry, Tries};
use crate::store::{Acquire, Acquired, Cause, MarkFate, Release, Released, StoreFuture, Undo};
use crate::{Fence, OrderStore as _, StoreError, Target};

/// When a client is told at the latest.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Deadline(Instant);

impl Deadline {
    pub(crate) fn new(at: Instant) -> Self {
        Self(at)
    }
}

/// A verb that was not answered.
pub(crate) struct Unanswered {
    /// What the last try came to.
    pub(crate) error: StoreError,
    /// Whether any try may have happened all the same.
    pub(crate) in_doubt: bool,
}

impl Unanswered {
    /// The error of the verb as a whole: one that may have happened, if any try may have.
    pub(crate) fn into_error(self) -> StoreError {
        if self.in_doubt && !self.error.may_have_happened() {
            StoreError::OutcomeUnknown(self.error.into())
        } else {
            self.error
        }
    }
}

impl Node {
    /// The deadline of what waits for nothing but the store.
    pub(crate) fn deadline(&self) -> Deadline {
        Deadline(self.now() + self.limits.store)
    }

    pub(crate) fn left(&self, by: Deadline) -> Duration {
        by.0.saturating_duration_since(self.now())
    }

    /// Waits for a store, but not longer than the limit. The verb goes on by itself.
    pub(crate) async fn ask<T>(
        &self,
        verb: impl Future<Output = Result<T, StoreError>>,
    ) -> Result<T, StoreError> {
        self.ask_for(self.limits.store, verb).await
    }

    /// The same for a client who is told at a time: after that the store is not asked any more.
    pub(crate) async fn ask_by<T>(
        &self,
        by: Deadline,
        verb: impl Future<Output = Result<T, StoreError>>,
    ) -> Result<T, StoreError> {
        let left = self.left(by);
        if left.is_zero() {
            let late = Cause::from("the time was over before the store was asked");
            return Err(StoreError::NotApplied(late));
        }
        self.ask_for(left.min(self.limits.store), verb).await
    }

    async fn ask_for<T>(
        &self,
        time: Duration,
        verb: impl Future<Output = Result<T, StoreError>>,
    ) -> Result<T, StoreError> {
        self.within(time, verb).await.unwrap_or_else(|| {
            let late = Cause::from("the store did not answer in time");
            Err(StoreError::OutcomeUnknown(late))
        })
    }

    /// How long to wait before the n-th repeat: a few milliseconds, doubled, with jitter.
    pub(crate) fn pause(&self, repeat: u32, longest: Duration) -> Duration {
        let bound = Duration::from_millis(10)
            .saturating_mul(1 << repeat.min(10))
            .min(longest);
        let jitter = u32::try_from(self.runtime.random() % 512).unwrap_or(0);
        bound / 2 + bound / 1024 * jitter
    }

    /// Asks for an order. A lost answer is asked for again under the same fence, which is the same
    /// grant.
    pub(crate) async fn acquire(
        &self,
        request: &Acquire,
        by: Deadline,
    ) -> Result<Acquired, Unanswered> {
        let acquire = || self.store.acquire(request.clone());
        self.until_answered(Retry::InDoubt, Some(by), acquire).await
    }

    /// Lets an order go, with what is asked for the next in line. Repeated within bounds.
    pub(crate) async fn release(
        &self,
        target: &Target,
        fence: Fence,
        mark: MarkFate,
        next: Option<&Acquire>,
    ) -> Result<Released, StoreError> {
        let request = || Release {
            target: target.clone(),
            fence,
            mark,
            next: next.map(|next| Box::new(next.clone())),
        };
        let release = || self.store.release(request());
        let released = self.until_answered(Retry::MayPass, None, release).await;
        released.map_err(Unanswered::into_error)
    }

    /// Takes a grant back as if it had never been, with what is asked for the next in line. Repeated
    /// within bounds.
    pub(crate) async fn undo(
        &self,
        target: &Target,
        fence: Fence,
        next: Option<&Acquire>,
    ) -> Result<Released, StoreError> {
        let request = || Undo {
            target: target.clone(),
            fence,
            next: next.map(|next| Box::new(next.clone())),
        };
        let undo = || self.store.undo(request());
        let undone = self.until_answered(Retry::MayPass, None, undo).await;
        undone.map_err(Unanswered::into_error)
    }

    /// Asks the store, and asks again within bounds, for verbs that may be repeated. A client who is
    /// told at a time bounds each try and the pauses between them.
    pub(super) async fn until_answered<'a, T>(
        &self,
        retry: Retry,
        by: Option<Deadline>,
        verb: impl Fn() -> StoreFuture<'a, T>,
    ) -> Result<T, Unanswered> {
        let mut tries = Tries::new(self, retry, by);
        loop {
            let answered = match by {
                Some(by) => self.ask_by(by, verb()).await,
                None => self.ask(verb()).await,
            };
            let error = match answered {
                Ok(answer) => return Ok(answer),
                Err(error) => error,
            };
            if !tries.again(&error).await {
                let in_doubt = tries.in_doubt();
                return Err(Unanswered { error, in_doubt });
            }
        }
    }
}
