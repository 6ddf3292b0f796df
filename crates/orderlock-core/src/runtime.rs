//! The one source of tasks, time and randomness. The core uses no other, so that a test can drive
//! all of them from one seed.

use std::fmt::Debug;
use std::time::{Duration, Instant};

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;

use crate::Timestamp;

/// Gives tasks, time and randomness.
pub trait Runtime: Debug + Send + Sync + 'static {
    /// Runs a future to its end, whoever waits for it or not.
    fn spawn(&self, task: BoxFuture<'static, ()>);

    /// A clock that never goes back.
    fn now(&self) -> Instant;

    /// The time of day.
    fn wall(&self) -> Timestamp;

    /// Resolves after the duration.
    fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()>;

    /// 128 random bits that nobody can guess.
    fn random(&self) -> u128;
}

/// The runtime of production: Tokio's tasks and timers, the machine's clocks and randomness.
#[derive(Clone, Copy, Debug, Default)]
pub struct TokioRuntime;

impl Runtime for TokioRuntime {
    fn spawn(&self, task: BoxFuture<'static, ()>) {
        tokio::spawn(task);
    }

    fn now(&self) -> Instant {
        tokio::time::Instant::now().into_std()
    }

    #[allow(
        clippy::disallowed_methods,
        reason = "this is the one place that reads the clock"
    )]
    fn wall(&self) -> Timestamp {
        Timestamp::now()
    }

    fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()> {
        tokio::time::sleep(duration).boxed()
    }

    fn random(&self) -> u128 {
        let mut bytes = [0; 16];
        // A machine without randomness cannot name a grant, and a grant without a name of its own
        // would break promise 5: there is nothing better to do than to stop.
        getrandom::fill(&mut bytes).expect("the operating system gives randomness");
        u128::from_le_bytes(bytes)
    }
}
