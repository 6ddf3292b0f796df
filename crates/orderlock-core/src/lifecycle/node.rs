//! What all requests of one node share: the store, the clock, the session, the lines, the gate.

use std::fmt;
use std::future::Future;
use std::pin::pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use futures_util::future::{Either, select};
use tokio::sync::{Notify, watch};

use super::ended::Denied;
use super::line::Lines;
use super::session::{Session, SessionState};
use crate::store::{Acquire, Acquired, Cause, MarkFate, Release, Released, StoreFuture, Undo};
use crate::{Answers, Fence, Limits, OrderStore, Runtime, StoreError, Target};

/// How far a shutdown has gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Phase {
    /// Requests are taken.
    Open,
    /// No new request is taken; running handlers may end.
    Draining,
    /// Running handlers are stopped.
    Stopping,
}

pub(crate) struct Node {
    pub(crate) store: Arc<dyn OrderStore>,
    pub(crate) runtime: Arc<dyn Runtime>,
    pub(crate) answers: Arc<dyn Answers>,
    pub(crate) limits: Limits,
    pub(crate) name: String,
    pub(crate) lines: Arc<Lines>,
    pub(crate) session: tokio::sync::Mutex<()>,
    pub(crate) session_state: Mutex<SessionState>,
    phase: watch::Sender<Phase>,
    in_flight: AtomicUsize,
    idle: Notify,
}

impl fmt::Debug for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Node")
            .field("name", &self.name)
            .field("store", &self.store)
            .field("in_flight", &self.in_flight.load(Ordering::Relaxed))
            .finish_non_exhaustive()
    }
}

/// A request that was let in. Dropping it lets the drain go on.
#[derive(Debug)]
pub(crate) struct InFlight(Arc<Node>);

impl Drop for InFlight {
    fn drop(&mut self) {
        if self.0.in_flight.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.0.idle.notify_waiters();
        }
    }
}

impl Node {
    pub(crate) fn new(
        store: Arc<dyn OrderStore>,
        runtime: Arc<dyn Runtime>,
        answers: Arc<dyn Answers>,
        limits: Limits,
        name: Option<String>,
    ) -> Arc<Self> {
        let name = name.unwrap_or_else(|| format!("node-{:032x}", runtime.random()));
        Arc::new(Self {
            lines: Lines::new(limits.line, limits.chain),
            store,
            runtime,
            answers,
            limits,
            name,
            session: tokio::sync::Mutex::default(),
            session_state: Mutex::default(),
            phase: watch::Sender::new(Phase::Open),
            in_flight: AtomicUsize::new(0),
            idle: Notify::new(),
        })
    }

    /// Lets a request in, within the node's bounds.
    pub(crate) fn admit(self: &Arc<Self>) -> Result<InFlight, Denied> {
        let before = self.in_flight.fetch_add(1, Ordering::AcqRel);
        let admitted = InFlight(Arc::clone(self));
        if self.phase() > Phase::Open {
            Err(Denied::ShuttingDown)
        } else if before >= self.limits.in_flight {
            Err(Denied::QueueFull)
        } else {
            Ok(admitted)
        }
    }

    pub(crate) fn in_flight(&self) -> usize {
        self.in_flight.load(Ordering::Acquire)
    }

    pub(crate) fn phase(&self) -> Phase {
        *self.phase.borrow()
    }

    pub(crate) fn enter_phase(&self, phase: Phase) {
        self.phase.send_if_modified(|now| {
            let moves = *now < phase;
            *now = phase.max(*now);
            moves
        });
    }

    /// Resolves when a shutdown has gone at least this far.
    pub(crate) async fn phase_reached(&self, phase: Phase) {
        // The sender lives in `self`, so the wait can end in no other way.
        let mut watched = self.phase.subscribe();
        let _reached = watched.wait_for(|now| *now >= phase).await;
    }

    /// Resolves when no request is in flight.
    pub(crate) async fn idle(&self) {
        loop {
            let mut idle = pin!(self.idle.notified());
            idle.as_mut().enable();
            if self.in_flight() == 0 {
                return;
            }
            idle.await;
        }
    }

    /// Waits for a future, but not longer than this.
    pub(crate) async fn within<F: Future>(&self, limit: Duration, future: F) -> Option<F::Output> {
        let future = pin!(future);
        match select(future, self.runtime.sleep(limit)).await {
            Either::Left((output, _)) => Some(output),
            Either::Right(_) => None,
        }
    }

    /// Waits for a store, but not longer than the limit. The verb goes on by itself.
    pub(crate) async fn ask<T>(
        &self,
        verb: impl Future<Output = Result<T, StoreError>>,
    ) -> Result<T, StoreError> {
        let late = || StoreError::OutcomeUnknown(Cause::from("the store did not answer in time"));
        self.within(self.limits.store, verb)
            .await
            .unwrap_or_else(|| Err(late()))
    }

    /// How long to wait before the n-th repeat: a few milliseconds, doubled, with jitter.
    pub(crate) fn pause(&self, repeat: u32, longest: Duration) -> Duration {
        let bound = Duration::from_millis(10)
            .saturating_mul(1 << repeat.min(10))
            .min(longest);
        let jitter = u32::try_from(self.runtime.random() % 512).unwrap_or(0);
        bound / 2 + bound / 1024 * jitter
    }

    /// Asks for an order. A lost answer is asked for again under the same fence, which is the
    /// same grant; if it stays lost, the grant is undone as far as that is possible.
    pub(crate) async fn acquire(&self, request: &Acquire) -> Result<Acquired, StoreError> {
        let mut repeat = 0;
        loop {
            match self.ask(self.store.acquire(request.clone())).await {
                Err(error) if error.may_have_happened() && repeat < self.limits.repeats => {
                    repeat += 1;
                    self.runtime
                        .sleep(self.pause(repeat, self.limits.store))
                        .await;
                }
                Err(error) if error.may_have_happened() => {
                    // No handler has run under this fence.
                    let target = request.claim.target();
                    let _best_effort = self.undo(&target, request.fence, None).await;
                    return Err(error);
                }
                answered => return answered,
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

    /// Takes back a grant under which no handler has run, with what is asked for the next in line.
    /// Repeated within bounds.
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
        let mut repeat = 0;
        loop {
            match self.ask(verb()).await {
                Err(_) if repeat < self.limits.repeats => {
                    repeat += 1;
                    self.runtime
                        .sleep(self.pause(repeat, self.limits.store))
                        .await;
                }
                answered => return answered,
            }
        }
    }

    pub(crate) fn new_fence(&self) -> Fence {
        Fence(self.runtime.random())
    }

    pub(crate) fn now(&self) -> Instant {
        self.runtime.now()
    }

    pub(crate) fn current_session(&self) -> Option<Arc<Session>> {
        self.session_state().joined().cloned()
    }
}
