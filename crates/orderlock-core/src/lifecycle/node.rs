//! What all requests of one node share: the store, the clock, the session, the lines, the gate.

use std::fmt;
use std::future::Future;
use std::pin::pin;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::{Duration, Instant};

use futures_util::future::{Either, select};
use tokio::sync::{Notify, watch};

use super::ended::Denied;
use super::line::Lines;
use super::session::{Session, SessionState};
use crate::{Answers, Document, Fence, Limits, OrderStore, Runtime, Secret};

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
    /// The installation's secret, once the node has joined: it outlives every session.
    pub(crate) secret: OnceLock<Secret>,
    /// Wakes the keeper to renew soon: a renewal tells which grants are void.
    pub(crate) look: Arc<Notify>,
    /// For how long the oldest of what is still to be expired has been due, in microseconds.
    pub(crate) behind: AtomicU64,
    phase: watch::Sender<Phase>,
    in_flight: AtomicUsize,
    /// How many requests are looked up that the node takes no more.
    refusing: AtomicUsize,
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
            secret: OnceLock::new(),
            look: Arc::default(),
            behind: AtomicU64::new(0),
            phase: watch::Sender::new(Phase::Open),
            in_flight: AtomicUsize::new(0),
            refusing: AtomicUsize::new(0),
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
            Err(Denied::NodeFull)
        } else {
            Ok(admitted)
        }
    }

    /// Runs what is to be found out about a request that is refused, if there is room for it. A
    /// drain does not wait for it.
    pub(crate) async fn while_refusing<T>(&self, look: impl Future<Output = T>) -> Option<T> {
        struct Counted<'a>(&'a AtomicUsize);
        impl Drop for Counted<'_> {
            fn drop(&mut self) {
                self.0.fetch_sub(1, Ordering::AcqRel);
            }
        }
        let before = self.refusing.fetch_add(1, Ordering::AcqRel);
        let _counted = Counted(&self.refusing);
        if before >= self.limits.in_flight {
            return None;
        }
        Some(look.await)
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

    /// Whether the store takes a document of this size, or what to say if it does not: asked before a
    /// verb that would be refused.
    pub(crate) fn fits(&self, document: &Document) -> Result<(), String> {
        let most = self.store.describe().document_bytes_max;
        if document.size() > most {
            return Err(format!("an order may have at most {most} bytes"));
        }
        Ok(())
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
