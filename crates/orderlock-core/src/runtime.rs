//! The one source of tasks, time and randomness. The core uses no other, so that a test can drive
//! all of them from one seed.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fmt::Debug;
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::thread;
use std::time::{Duration, Instant};

use futures_util::FutureExt as _;
use futures_util::future::{BoxFuture, select};

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

    /// Resolves after the duration, for a limit that must hold although what it is set for blocks
    /// the threads that run tasks: nothing that such a thread would have to do stands in its way.
    fn alarm(&self, duration: Duration) -> BoxFuture<'static, ()> {
        self.sleep(duration)
    }

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

    /// Tokio's timers are moved on by whichever worker waits for them. While the one that did runs
    /// a task that blocks, it may be that none does, and that none is woken to. So an alarm is set
    /// twice, and its task is woken by whoever comes first.
    fn alarm(&self, duration: Duration) -> BoxFuture<'static, ()> {
        let sleep = self.sleep(duration);
        match Instant::now().checked_add(duration) {
            Some(at) => select(sleep, Alarm { at, set: None }).map(drop).boxed(),
            None => sleep,
        }
    }

    fn random(&self) -> u128 {
        POOL.with_borrow_mut(Pool::take)
    }
}

/// Wakes tasks at their time, from a thread of its own that runs none of them.
struct Alarms {
    set: Mutex<AlarmsSet>,
    changed: Condvar,
}

struct AlarmsSet {
    pending: BTreeMap<(Instant, u64), Waker>,
    ever: u64,
    watched: bool,
}

static ALARMS: Alarms = Alarms {
    set: Mutex::new(AlarmsSet {
        pending: BTreeMap::new(),
        ever: 0,
        watched: false,
    }),
    changed: Condvar::new(),
};

impl Alarms {
    /// Each change is one step, so that a panic elsewhere leaves them whole.
    fn lock(&self) -> MutexGuard<'_, AlarmsSet> {
        self.set.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn set(&'static self, at: Instant, number: Option<u64>, waker: Waker) -> u64 {
        let mut alarms = self.lock();
        let number = number.unwrap_or_else(|| {
            alarms.ever += 1;
            alarms.ever
        });
        let before = alarms.pending.insert((at, number), waker);
        let next = alarms.pending.keys().next() == Some(&(at, number));
        if !alarms.watched {
            let watch = thread::Builder::new().name("orderlock-alarm".into());
            // Without the thread Tokio's timer is there all the same; the next one tries again.
            alarms.watched = watch.spawn(|| self.watch()).is_ok();
        }
        drop(alarms);
        drop(before);
        if next {
            self.changed.notify_one();
        }
        number
    }

    fn watch(&self) {
        let mut alarms = self.lock();
        loop {
            let now = Instant::now();
            alarms = match alarms.pending.first_key_value() {
                Some(((at, _), _)) if *at <= now => {
                    let due = alarms.pending.pop_first();
                    drop(alarms);
                    // What a foreign waker does must not end the alarms of all others.
                    let wake = || due.map(|(_, waker)| waker.wake());
                    let _panicked = catch_unwind(AssertUnwindSafe(wake));
                    self.lock()
                }
                Some(((at, _), _)) => {
                    let left = *at - now;
                    let waited = self.changed.wait_timeout(alarms, left);
                    waited.unwrap_or_else(PoisonError::into_inner).0
                }
                None => {
                    let waited = self.changed.wait(alarms);
                    waited.unwrap_or_else(PoisonError::into_inner)
                }
            };
        }
    }
}

/// One alarm. It is set when it is first waited for.
struct Alarm {
    at: Instant,
    set: Option<u64>,
}

impl Future for Alarm {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        if self.at <= Instant::now() {
            return Poll::Ready(());
        }
        self.set = Some(ALARMS.set(self.at, self.set, context.waker().clone()));
        Poll::Pending
    }
}

impl Drop for Alarm {
    fn drop(&mut self) {
        if let Some(number) = self.set {
            let unset = ALARMS.lock().pending.remove(&(self.at, number));
            drop(unset);
        }
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
    use std::sync::mpsc;

    use super::*;

    /// The thread of the test stands still, and so do Tokio's timers, which it would have to move.
    #[tokio::test]
    async fn an_alarm_wakes_its_task_though_nobody_moves_the_timers() {
        struct Bell(mpsc::Sender<()>);
        impl std::task::Wake for Bell {
            fn wake(self: std::sync::Arc<Self>) {
                self.0.send(()).unwrap();
            }
        }
        let (rings, rung) = mpsc::channel();
        let waker = Waker::from(std::sync::Arc::new(Bell(rings)));
        let mut context = Context::from_waker(&waker);
        let alarms = [50, 20].map(Duration::from_millis);
        let mut alarms = alarms.map(|after| TokioRuntime.alarm(after));
        for alarm in &mut alarms {
            assert!(alarm.poll_unpin(&mut context).is_pending());
        }
        let mut never = TokioRuntime.alarm(Duration::from_secs(3_600));
        assert!(never.poll_unpin(&mut context).is_pending());
        drop(never);
        for alarm in alarms.iter_mut().rev() {
            rung.recv().unwrap();
            assert!(alarm.poll_unpin(&mut context).is_ready());
        }
        drop(alarms);
        assert_eq!(ALARMS.lock().pending.len(), 0);
    }

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
