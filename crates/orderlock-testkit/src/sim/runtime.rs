//! Tasks, time and randomness of a node, all from the executor and so from the seed.

use std::time::{Duration, Instant};

use futures_util::future::BoxFuture;
use jiff::Timestamp;
use orderlock_core::Runtime;

use super::executor::{Executor, Tag};
use crate::TestRuntime;

/// The [`Runtime`] of one run of a node.
#[derive(Clone, Debug)]
pub(super) struct NodeRuntime {
    pub(super) executor: Executor,
    pub(super) tag: Tag,
    /// How wrong its wall clock is.
    pub(super) skew: Duration,
}

impl Runtime for NodeRuntime {
    fn spawn(&self, task: BoxFuture<'static, ()>) {
        self.executor.spawn(self.tag, task);
    }

    fn now(&self) -> Instant {
        self.executor.start() + self.executor.elapsed()
    }

    fn wall(&self) -> Timestamp {
        let since = self.executor.elapsed().saturating_add(self.skew);
        TestRuntime::START
            .checked_add(since)
            .unwrap_or(Timestamp::MAX)
    }

    fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()> {
        self.executor.sleep(duration)
    }

    fn random(&self) -> u128 {
        self.executor.random()
    }
}
