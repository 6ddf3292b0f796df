//! Time that a test moves by hand, and randomness that it can repeat.

use std::collections::BTreeMap;
use std::fmt;
use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use jiff::{SignedDuration, Timestamp};
use orderlock_core::Runtime;
use tokio::sync::{oneshot, watch};

/// How many turns the tasks of a test get before they count as waiting. A chain of wake-ups from task
/// to task takes one turn for each link.
const TURNS: usize = 100;

/// A [`Runtime`] whose clock moves only when the test moves it: tasks run on Tokio, no real time
/// passes, and the random numbers follow from a seed. [`drive`](Self::drive) moves the clock by
/// itself.
///
/// Clones are the same runtime: they share the clock and never draw the same number twice. Two
/// runtimes of one seed draw the same numbers, so that nodes of one store must share a runtime or
/// have different seeds.
#[derive(Clone)]
pub struct TestRuntime(Arc<Inner>);

struct Inner {
    start: Instant,
    clock: Mutex<Clock>,
    sleeping: watch::Sender<usize>,
}

struct Clock {
    elapsed: Duration,
    /// How far the time of day was set ahead.
    ahead: SignedDuration,
    sleepers: BTreeMap<(Duration, u64), oneshot::Sender<()>>,
    sleepers_ever: u64,
    random: u64,
}

impl TestRuntime {
    /// The time of day at which every test begins: a whole second, so that a store may keep times
    /// as coarse as milliseconds.
    pub const START: Timestamp = Timestamp::constant(1_800_000_000, 0);

    /// A runtime at its start.
    #[must_use]
    pub fn new() -> Self {
        Self::seeded(0)
    }

    /// A runtime at its start with random numbers of its own.
    #[must_use]
    pub fn seeded(seed: u64) -> Self {
        Self(Arc::new(Inner {
            start: Instant::now(),
            clock: Mutex::new(Clock {
                elapsed: Duration::ZERO,
                ahead: SignedDuration::ZERO,
                sleepers: BTreeMap::new(),
                sleepers_ever: 0,
                random: mix(seed),
            }),
            sleeping: watch::Sender::new(0),
        }))
    }

    /// Moves the clock on and wakes every sleeper whose time has come, the earliest first.
    pub fn advance(&self, duration: Duration) {
        let mut clock = self.clock();
        let now = clock.elapsed.saturating_add(duration);
        clock.elapsed = now;
        while let Some(first) = clock.sleepers.first_entry() {
            if first.key().0 > now {
                break;
            }
            // A sleeper that has gone away needs no waking.
            let _ = first.remove().send(());
        }
        self.0.sleeping.send_replace(clock.sleepers.len());
    }

    /// Runs a future to its end, and moves the clock by itself: whenever everything waits, to the time
    /// that the next sleeper waits for. What would take minutes is there at once, and what hangs comes
    /// to its limit instead of hanging the test.
    ///
    /// Everything must run on the test's own thread, as under `#[tokio::test]`, over a store that does
    /// no I/O, such as [`MemoryStore`](crate::MemoryStore): who waits for another thread or a socket
    /// looks as if it waited for nothing.
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// use orderlock_core::Runtime;
    /// use orderlock_testkit::TestRuntime;
    ///
    /// # tokio::runtime::Builder::new_current_thread().build()?.block_on(async {
    /// let runtime = TestRuntime::new();
    /// let day = Duration::from_secs(86_400);
    /// runtime.drive(runtime.sleep(day)).await;
    /// assert_eq!(runtime.elapsed(), day);
    /// # });
    /// # Ok::<(), std::io::Error>(())
    /// ```
    ///
    /// # Panics
    /// If all tasks wait, but none for the clock: the future would never end.
    pub async fn drive<F: Future>(&self, future: F) -> F::Output {
        let mut future = pin!(future);
        loop {
            for _ in 0..TURNS {
                if let Some(output) = future.as_mut().now_or_never() {
                    return output;
                }
                tokio::task::yield_now().await;
            }
            let next = self.clock().sleepers.keys().next().copied();
            let (at, _) = next.expect("everything waits, and nobody for the clock");
            self.advance(at.saturating_sub(self.elapsed()));
        }
    }

    /// Moves the time of day ahead or back, as an administrator sets a clock: no time passes, and
    /// no timer fires.
    pub fn set_clock(&self, ahead: SignedDuration) {
        let mut clock = self.clock();
        clock.ahead = clock.ahead.saturating_add(ahead);
    }

    /// How much time has passed since the start.
    #[must_use]
    pub fn elapsed(&self) -> Duration {
        self.clock().elapsed
    }

    /// How many sleepers wait for the clock.
    #[must_use]
    pub fn sleepers(&self) -> usize {
        self.clock().sleepers.len()
    }

    /// Resolves when at least so many sleepers wait for the clock: the signal that a task has come
    /// to its `sleep`, after which [`advance`](Self::advance) wakes it.
    pub async fn sleeping(&self, count: usize) {
        let mut sleeping = self.0.sleeping.subscribe();
        // The sender lives in `self`, so the channel cannot close in between.
        let _ = sleeping.wait_for(|waiting| *waiting >= count).await;
    }

    fn clock(&self) -> MutexGuard<'_, Clock> {
        self.0.clock.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Default for TestRuntime {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for TestRuntime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TestRuntime({:?})", self.elapsed())
    }
}

impl Runtime for TestRuntime {
    fn spawn(&self, task: BoxFuture<'static, ()>) {
        tokio::spawn(task);
    }

    fn now(&self) -> Instant {
        self.0.start + self.elapsed()
    }

    fn wall(&self) -> Timestamp {
        let clock = self.clock();
        Self::START
            .checked_add(clock.elapsed)
            .and_then(|time| time.checked_add(clock.ahead))
            .unwrap_or(Timestamp::MAX)
    }

    fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()> {
        if duration.is_zero() {
            return std::future::ready(()).boxed();
        }
        let (wake, woken) = oneshot::channel();
        let mut clock = self.clock();
        clock.sleepers_ever += 1;
        let key = (clock.elapsed.saturating_add(duration), clock.sleepers_ever);
        clock.sleepers.insert(key, wake);
        self.0.sleeping.send_replace(clock.sleepers.len());
        drop(clock);
        let sleep = Sleep {
            runtime: self.clone(),
            key,
            woken,
        };
        sleep.boxed()
    }

    fn random(&self) -> u128 {
        let mut clock = self.clock();
        // `mix` maps different numbers to different numbers, so the low half never repeats.
        clock.random = clock.random.wrapping_add(1);
        let low = mix(clock.random);
        u128::from(mix(low)) << 64 | u128::from(low)
    }
}

struct Sleep {
    runtime: TestRuntime,
    key: (Duration, u64),
    woken: oneshot::Receiver<()>,
}

impl Future for Sleep {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        self.woken.poll_unpin(context).map(drop)
    }
}

impl Drop for Sleep {
    fn drop(&mut self) {
        let mut clock = self.runtime.clock();
        if clock.sleepers.remove(&self.key).is_some() {
            let left = clock.sleepers.len();
            self.runtime.0.sleeping.send_replace(left);
        }
    }
}

/// SplitMix64's finisher: a bijection whose output looks random.
fn mix(number: u64) -> u64 {
    let mut z = number.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}
