//! Clocks that step, and the runtime that a node is given.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, Instant};

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use orderlock_core::{Runtime, Timestamp, TokioRuntime};
use tokio::runtime::Handle;

/// A wall clock: the machine's, and how far it was put from it.
#[derive(Debug, Default)]
pub(crate) struct Clock {
    off: AtomicI64,
    furthest: AtomicI64,
}

impl Clock {
    /// What it shows.
    pub(crate) fn now(&self) -> Timestamp {
        self.shifted(self.off.load(Ordering::Acquire))
    }

    /// The latest time that it has shown so far, carried on: what is past its retention by this time
    /// may have been found so.
    pub(crate) fn latest(&self) -> Timestamp {
        self.shifted(self.furthest.load(Ordering::Acquire))
    }

    fn shifted(&self, micros: i64) -> Timestamp {
        let now = TokioRuntime.wall().as_microsecond();
        Timestamp::from_microsecond(now.saturating_add(micros)).unwrap_or(Timestamp::MAX)
    }

    /// Steps, forward or back.
    pub(crate) fn step(&self, by: Duration, forward: bool) {
        let by = i64::try_from(by.as_micros()).unwrap_or(i64::MAX);
        let by = if forward { by } else { -by };
        let off = self.off.fetch_add(by, Ordering::AcqRel) + by;
        self.furthest.fetch_max(off, Ordering::AcqRel);
    }

    /// Shows the machine's time again.
    pub(crate) fn right(&self) {
        self.off.store(0, Ordering::Release);
    }
}

/// Tasks and timers of one node, and a clock.
#[derive(Debug)]
pub(crate) struct NodeRuntime {
    pub(crate) handle: Handle,
    pub(crate) clock: Arc<Clock>,
}

impl Runtime for NodeRuntime {
    fn spawn(&self, task: BoxFuture<'static, ()>) {
        self.handle.spawn(task);
    }

    fn now(&self) -> Instant {
        TokioRuntime.now()
    }

    fn wall(&self) -> Timestamp {
        self.clock.now()
    }

    fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()> {
        let _of_the_node = self.handle.enter();
        tokio::time::sleep(duration).boxed()
    }

    fn random(&self) -> u128 {
        TokioRuntime.random()
    }
}
