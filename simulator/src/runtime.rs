//! Tasks, time and randomness of a node, all from the executor and so from the seed.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, Instant};

use futures_util::future::BoxFuture;
use jiff::{SignedDuration, Timestamp};
use orderlock_core::Runtime;

use super::executor::{Executor, Tag};
use orderlock_testkit::TestRuntime;

/// The [`Runtime`] of one run of a node.
#[derive(Clone, Debug)]
pub(super) struct NodeRuntime {
    pub(super) executor: Executor,
    pub(super) tag: Tag,
    pub(super) clock: WallClock,
}

/// How wrong a wall clock is, in milliseconds. Clones are the same clock.
#[derive(Clone, Debug, Default)]
pub(super) struct WallClock(Arc<AtomicI64>);

impl WallClock {
    /// Puts the clock forward, or back.
    pub(super) fn jump(&self, by: Duration, forward: bool) {
        let by = i64::try_from(by.as_millis()).unwrap_or(i64::MAX);
        let by = if forward { by } else { -by };
        self.0.fetch_add(by, Ordering::Relaxed);
    }

    fn skew(&self) -> SignedDuration {
        SignedDuration::from_millis(self.0.load(Ordering::Relaxed))
    }
}

impl Runtime for NodeRuntime {
    fn spawn(&self, task: BoxFuture<'static, ()>) {
        self.executor.spawn(self.tag, task);
    }

    fn now(&self) -> Instant {
        self.executor.start() + self.executor.elapsed()
    }

    fn wall(&self) -> Timestamp {
        let now = TestRuntime::START.checked_add(self.executor.elapsed());
        now.and_then(|now| now.checked_add(self.clock.skew()))
            .unwrap_or(Timestamp::MAX)
    }

    fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()> {
        self.executor.sleep(duration)
    }

    fn random(&self) -> u128 {
        self.executor.random()
    }
}
