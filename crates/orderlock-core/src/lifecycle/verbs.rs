//! How the store is asked: within a time, and again while that may help.
//!
//! A request has one deadline, from which each of its steps takes what is left: by then its client
//! is told, whatever the store does. What has to go on after that, such as taking a grant back, asks
//! without a deadline, a bounded number of times.

use std::future::Future;
use std::time::{Duration, Instant};

use super::node::Node;
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

/// An `acquire` that was not answered.
pub(crate) struct Unanswered {
    pub(crate) error: StoreError,
    /// Whether it may have been granted all the same: then it is to be taken back.
    pub(crate) in_doubt: bool,
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

    /// Waits before a verb is asked once more. False if that was often enough, or no time is left.
    pub(crate) async fn again(&self, repeats: &mut u32, by: Option<Deadline>) -> bool {
        if *repeats >= self.limits.repeats {
            return false;
        }
        *repeats += 1;
        let pause = self.pause(*repeats, self.limits.store);
        if by.is_some_and(|by| self.left(by) <= pause) {
            return false;
        }
        self.runtime.sleep(pause).await;
        true
    }

    /// Asks for an order. A lost answer is asked for again under the same fence, which is the same
    /// grant.
    pub(crate) async fn acquire(
        &self,
        request: &Acquire,
        by: Deadline,
    ) -> Result<Acquired, Unanswered> {
        let (mut repeats, mut in_doubt) = (0, false);
        loop {
            let acquire = self.store.acquire(request.clone());
            let error = match self.ask_by(by, acquire).await {
                Ok(acquired) => return Ok(acquired),
                Err(error) => error,
            };
            in_doubt |= error.may_have_happened();
            // That a later try did not happen says nothing about the one that is in doubt.
            if !in_doubt || !self.again(&mut repeats, Some(by)).await {
                return Err(Unanswered { error, in_doubt });
            }
        }
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
        self.until_answered(|| self.store.release(request())).await
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
        self.until_answered(|| self.store.undo(request())).await
    }

    /// Asks the store again, within bounds, while it fails: for verbs that may be repeated.
    async fn until_answered<'a, T>(
        &self,
        verb: impl Fn() -> StoreFuture<'a, T>,
    ) -> Result<T, StoreError> {
        let mut repeats = 0;
        loop {
            match self.ask(verb()).await {
                Err(_) if self.again(&mut repeats, None).await => {}
                answered => return answered,
            }
        }
    }
}
