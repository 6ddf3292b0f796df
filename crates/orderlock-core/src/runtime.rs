//! The one source of tasks, time and randomness. The core uses no other, so that a test can drive
//! all of them from one seed.

use std::cell::RefCell;
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
        POOL.with_borrow_mut(Pool::take)
    }
}

/// How many numbers one question to the operating system brings.
const POOL_NUMBERS: usize = 64;

thread_local! {
    static POOL: RefCell<Pool> = const { RefCell::new(Pool::EMPTY) };
}

/// Random numbers that a thread has fetched and not given out yet: a request takes two or three,
/// and a system call for each would cost more than all that is made of them.
struct Pool {
    bytes: [u8; 16 * POOL_NUMBERS],
    left: usize,
}

impl Pool {
    const EMPTY: Self = Self {
        bytes: [0; 16 * POOL_NUMBERS],
        left: 0,
    };

    fn take(&mut self) -> u128 {
        if self.left == 0 {
            // A machine without randomness cannot name a grant, and a grant without a name of its
            // own would break promise 5: there is nothing better to do than to stop.
            getrandom::fill(&mut self.bytes).expect("the operating system gives randomness");
            self.left = POOL_NUMBERS;
        }
        self.left -= 1;
        let mut number = [0; 16];
        // What is given out leaves the pool: a secret may be made of it.
        number.swap_with_slice(&mut self.bytes[16 * self.left..][..16]);
        u128::from_le_bytes(number)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn no_number_is_given_out_twice_over_many_fetches_and_threads() {
        let numbers = || -> Vec<u128> {
            let draws = 0..10 * POOL_NUMBERS;
            draws.map(|_| TokioRuntime.random()).collect()
        };
        let threads: Vec<_> = (0..4).map(|_| std::thread::spawn(numbers)).collect();
        let drawn: Vec<u128> = threads
            .into_iter()
            .flat_map(|thread| thread.join().unwrap())
            .collect();
        let different: HashSet<u128> = drawn.iter().copied().collect();
        assert_eq!(different.len(), drawn.len());
        assert!(!different.contains(&0), "an empty pool gives nothing out");
    }
}
