//! Runs the tasks of several nodes in one thread: the seed picks which ready task is polled next,
//! and the clock jumps when nothing is ready.

use std::any::Any;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Wake, Waker};
use std::time::{Duration, Instant};

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;

use super::trace::Trace;
use crate::Dice;

/// Whose task it is: a run of a node, or one of those below.
pub(super) type Tag = u64;

/// The clients and the harness itself: never killed, never paused.
pub(super) const OUTSIDE: Tag = 0;

/// Clones are the same executor.
#[derive(Clone)]
pub(super) struct Executor(Arc<Shared>);

struct Shared {
    start: Instant,
    state: Mutex<State>,
    woken: Arc<Mutex<Vec<u64>>>,
    trace: Trace,
}

struct State {
    elapsed: Duration,
    tasks: BTreeMap<u64, Task>,
    tasks_ever: u64,
    ready: Vec<(u64, Tag)>,
    timers: BTreeMap<(Duration, u64), Waker>,
    timers_ever: u64,
    dead: BTreeSet<Tag>,
    paused: BTreeMap<Tag, Duration>,
    schedule: Dice,
    random: Dice,
}

struct Task {
    tag: Tag,
    /// None while it is polled.
    future: Option<BoxFuture<'static, ()>>,
    waker: Arc<TaskWaker>,
}

struct TaskWaker {
    task: u64,
    queued: AtomicBool,
    woken: Arc<Mutex<Vec<u64>>>,
}

impl Wake for TaskWaker {
    fn wake(self: Arc<Self>) {
        if !self.queued.swap(true, Ordering::Relaxed) {
            let mut woken = self.woken.lock().unwrap_or_else(PoisonError::into_inner);
            woken.push(self.task);
        }
    }
}

/// What a step of the executor was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// One task was polled.
    Polled,
    /// It panicked. Handlers' panics are caught below, so this is a fault of the lifecycle.
    Panicked,
    /// Nothing was ready: the clock has moved.
    Jumped,
    /// Nothing is ready and nothing will be.
    Idle,
}

impl Executor {
    pub(super) fn new(seed: u64, trace: Trace) -> Self {
        Self(Arc::new(Shared {
            start: Instant::now(),
            state: Mutex::new(State {
                elapsed: Duration::ZERO,
                tasks: BTreeMap::new(),
                tasks_ever: 0,
                ready: Vec::new(),
                timers: BTreeMap::new(),
                timers_ever: 0,
                dead: BTreeSet::new(),
                paused: BTreeMap::new(),
                schedule: Dice::new(seed, 1),
                random: Dice::new(seed, 2),
            }),
            woken: Arc::default(),
            trace,
        }))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn elapsed(&self) -> Duration {
        self.state().elapsed
    }

    pub(super) fn start(&self) -> Instant {
        self.0.start
    }

    pub(super) fn random(&self) -> u128 {
        let mut state = self.state();
        u128::from(state.random.number()) << 64 | u128::from(state.random.number())
    }

    pub(super) fn spawn(&self, tag: Tag, future: BoxFuture<'static, ()>) {
        let mut state = self.state();
        if state.dead.contains(&tag) {
            drop(state);
            return discard(future);
        }
        state.tasks_ever += 1;
        let task = state.tasks_ever;
        let waker = Arc::new(TaskWaker {
            task,
            queued: AtomicBool::new(true),
            woken: Arc::clone(&self.0.woken),
        });
        let future = Some(future);
        state.tasks.insert(task, Task { tag, future, waker });
        state.ready.push((task, tag));
    }

    /// Polls one ready task, whichever the seed says, or moves the clock to the next timer.
    pub(super) fn step(&self) -> Step {
        let mut state = self.state();
        let mut woken = std::mem::take(&mut *self.woken());
        // Some of Tokio's channels wake their waiters in an order that differs from run to run.
        woken.sort_unstable();
        for task in woken {
            if let Some(tag) = state.tasks.get(&task).map(|task| task.tag) {
                state.ready.push((task, tag));
            }
        }
        let Some(task) = state.pick() else {
            return state.jump();
        };
        let Some((mut future, waker)) = state
            .tasks
            .get_mut(&task)
            .and_then(|task| Some((task.future.take()?, Arc::clone(&task.waker))))
        else {
            return Step::Polled;
        };
        drop(state);
        self.0.trace.polled(task);
        waker.queued.store(false, Ordering::Relaxed);
        let waker = Waker::from(waker);
        let mut context = Context::from_waker(&waker);
        let polled = catch_unwind(AssertUnwindSafe(|| future.as_mut().poll(&mut context)));
        let done = !matches!(polled, Ok(Poll::Pending));
        let gone = {
            let mut state = self.state();
            match state.tasks.get_mut(&task) {
                Some(place) if !done => {
                    place.future = Some(future);
                    None
                }
                _ => {
                    state.tasks.remove(&task);
                    Some(future)
                }
            }
        };
        gone.into_iter().for_each(discard);
        match polled {
            Ok(_) => Step::Polled,
            Err(payload) => {
                self.0
                    .trace
                    .note(format_args!("panic: {}", said(&*payload)));
                Step::Panicked
            }
        }
    }

    fn woken(&self) -> MutexGuard<'_, Vec<u64>> {
        self.0.woken.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Ends every task of a node's run, as when its process is killed. Its store must know before.
    pub(super) fn kill(&self, tag: Tag) {
        let mut state = self.state();
        state.dead.insert(tag);
        let (dead, alive) = std::mem::take(&mut state.tasks)
            .into_iter()
            .partition(|(_, task)| task.tag == tag);
        state.tasks = alive;
        drop(state);
        let dead: BTreeMap<u64, Task> = dead;
        dead.into_values()
            .filter_map(|task| task.future)
            .for_each(discard);
    }

    /// Ends everything, so that nothing holds on to anything.
    pub(super) fn end(&self) {
        let mut tags: BTreeSet<Tag> = self.state().tasks.values().map(|task| task.tag).collect();
        tags.insert(OUTSIDE);
        tags.into_iter().for_each(|tag| self.kill(tag));
    }

    /// A node does nothing for so long, as a process that is stopped.
    pub(super) fn pause(&self, tag: Tag, duration: Duration) {
        let mut state = self.state();
        let until = state.elapsed + duration;
        state.paused.insert(tag, until);
    }

    pub(super) fn is_paused(&self, tag: Tag) -> bool {
        let state = self.state();
        let until = state.paused.get(&tag);
        until.is_some_and(|until| *until > state.elapsed)
    }

    pub(super) fn resume_all(&self) {
        self.state().paused.clear();
    }

    pub(super) fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()> {
        if duration.is_zero() {
            return std::future::ready(()).boxed();
        }
        let mut state = self.state();
        state.timers_ever += 1;
        let key = (state.elapsed.saturating_add(duration), state.timers_ever);
        drop(state);
        let executor = self.clone();
        Sleep { executor, key }.boxed()
    }

    /// Lets the seed pick other tasks so many times.
    pub(super) async fn yields(times: usize) {
        for _ in 0..times {
            let mut yielded = false;
            std::future::poll_fn(|context| {
                if std::mem::replace(&mut yielded, true) {
                    return Poll::Ready(());
                }
                context.waker().wake_by_ref();
                Poll::Pending
            })
            .await;
        }
    }
}

impl State {
    fn pick(&mut self) -> Option<u64> {
        let elapsed = self.elapsed;
        self.paused.retain(|_, until| *until > elapsed);
        if self.paused.is_empty() {
            if self.ready.is_empty() {
                return None;
            }
            let at = self.schedule.below(self.ready.len());
            return Some(self.ready.swap_remove(at).0);
        }
        let paused = &self.paused;
        let places = self.ready.iter().enumerate();
        let awake: Vec<usize> = places
            .filter(|(_, (_, tag))| !paused.contains_key(tag))
            .map(|(at, _)| at)
            .collect();
        if awake.is_empty() {
            return None;
        }
        let at = self.schedule.one_of(&awake);
        Some(self.ready.swap_remove(at).0)
    }

    fn jump(&mut self) -> Step {
        let timer = self.timers.keys().next().map(|(at, _)| *at);
        let woken_up = self.paused.values().min().copied();
        let Some(next) = timer.into_iter().chain(woken_up).min() else {
            return Step::Idle;
        };
        self.elapsed = self.elapsed.max(next);
        while let Some(first) = self.timers.first_entry() {
            if first.key().0 > self.elapsed {
                break;
            }
            first.remove().wake();
        }
        Step::Jumped
    }
}

impl fmt::Debug for Executor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Executor({:?})", self.elapsed())
    }
}

/// Drops a future whose drop may panic: that of a handler may.
fn discard(future: BoxFuture<'static, ()>) {
    if let Err(payload) = catch_unwind(AssertUnwindSafe(move || drop(future))) {
        drop(payload);
    }
}

fn said(payload: &(dyn Any + Send)) -> &str {
    let text = payload.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| payload.downcast_ref::<&str>().copied())
        .unwrap_or("without a word")
}

struct Sleep {
    executor: Executor,
    key: (Duration, u64),
}

impl Future for Sleep {
    type Output = ();

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let mut state = self.executor.state();
        if self.key.0 <= state.elapsed {
            return Poll::Ready(());
        }
        state.timers.insert(self.key, context.waker().clone());
        Poll::Pending
    }
}

impl Drop for Sleep {
    fn drop(&mut self) {
        let removed = self.executor.state().timers.remove(&self.key);
        drop(removed);
    }
}
