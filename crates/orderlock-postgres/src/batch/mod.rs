//! Collects requests of one kind into batches, which share a round trip: while some are under way, the
//! next one collects.
//!
//! A request that finds nothing under way leaves at once; one that does waits no longer than the
//! batch before it takes. Where many wait, more batches leave beside each other: few large ones cost
//! the database less than many small ones. Whoever asked may go away: what was taken in is carried
//! out.
//!
//! A batch does not wait for an order that somebody else keeps locked: the request for it leaves the
//! batch, and waits alone, beside the lanes.

pub(crate) mod locks;
pub(crate) mod order_gate;
pub(crate) mod retry;

use std::collections::VecDeque;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use orderlock_core::{Runtime, StoreError, Target};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};

use crate::batch::order_gate::OrderPass;
use crate::batch::retry::{Completion, carry_out, wait_alone};
use crate::planted::{Planted, is_planted};
use crate::pool::Pool;
use crate::pool::settings::LockWait;
use crate::sql::error::{Failure, TransactionError};

/// How many requests must wait before a batch leaves beside another.
const CROWD: usize = 16;

/// For how many batches after one that met a locked order it is looked beforehand which orders are
/// locked, so that no further batch has to wait to find out.
const CAREFUL: u32 = 64;

/// The reply to one request of a batch. None if the request has to be sent again, because another
/// writer was faster; a failure concerns this request alone, and not the others of the batch.
pub(crate) type Reply<T> = Option<Result<T, Failure>>;

/// A kind of request, and how a batch of them is carried out.
pub(crate) trait Work: fmt::Debug + Send + Sync + 'static {
    type Request: Send + Sync + 'static;
    type Answer: Send + 'static;

    /// Whether a batch may be sent again although it may have happened: whether a repeat gives the
    /// same answer.
    const REPEATS: bool;

    fn target(request: &Self::Request) -> Target;

    /// Roughly how much of the batch's room it takes.
    fn bytes(request: &Self::Request) -> usize;

    /// Carries out a batch, each request about another order, in order of their targets.
    fn ask<'a>(
        &'a self,
        requests: &'a [Self::Request],
        waits: LockWait,
    ) -> BoxFuture<'a, Result<Vec<Reply<Self::Answer>>, TransactionError>>;

    /// What becomes of a request whose values the database refuses.
    fn refused<'a>(
        &'a self,
        request: &'a Self::Request,
        failure: Failure,
    ) -> BoxFuture<'a, Result<Self::Answer, StoreError>>;
}

/// The bounds of a batcher.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bounds {
    /// How many batches may be under way.
    pub(crate) lanes: usize,
    /// How many requests one batch takes.
    pub(crate) rows: usize,
    /// How many bytes one batch takes; its first request is taken however large it is.
    pub(crate) bytes: usize,
    /// How many requests may wait or be under way; one more waits for room before it is taken in.
    pub(crate) queue: usize,
}

/// What has been carried out of one kind of request since the store was opened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Batches {
    /// Requests that were answered.
    pub requests: u64,
    /// Batches in which they were. Each is one round trip to the database, unless something stood
    /// in its way.
    pub batches: u64,
    /// Batches that had to wait, until they found that somebody else keeps an order locked.
    pub held_up: u64,
}

impl Batches {
    /// Both together.
    pub(crate) fn and(self, other: Self) -> Self {
        Self {
            requests: self.requests + other.requests,
            batches: self.batches + other.batches,
            held_up: self.held_up + other.held_up,
        }
    }
}

/// Collects requests of one kind.
pub(crate) struct Batcher<W: Work> {
    shared: Arc<Shared<W>>,
}

struct Shared<W: Work> {
    work: W,
    pool: Pool,
    bounds: Bounds,
    runtime: Arc<dyn Runtime>,
    room: Arc<Semaphore>,
    queue: Mutex<Queue<W>>,
}

struct Queue<W: Work> {
    waiting: VecDeque<Job<W>>,
    under_way: usize,
    done: Batches,
    /// How many of the next batches are to be looked at beforehand.
    careful: u32,
}

struct Job<W: Work> {
    request: W::Request,
    answer: oneshot::Sender<Result<W::Answer, StoreError>>,
    _pass: Option<OrderPass>,
    _room: OwnedSemaphorePermit,
}

impl<W: Work> fmt::Debug for Batcher<W> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Batcher")
            .field("work", &self.shared.work)
            .field("bounds", &self.shared.bounds)
            .finish_non_exhaustive()
    }
}

impl<W: Work> Batcher<W> {
    pub(crate) fn new(work: W, pool: Pool, bounds: Bounds, runtime: Arc<dyn Runtime>) -> Self {
        let room = Arc::new(Semaphore::new(bounds.queue));
        let queue = Mutex::new(Queue {
            waiting: VecDeque::new(),
            under_way: 0,
            done: Batches::default(),
            careful: 0,
        });
        Self {
            shared: Arc::new(Shared {
                work,
                pool,
                bounds,
                runtime,
                room,
                queue,
            }),
        }
    }

    /// What has been carried out so far.
    pub(crate) fn done(&self) -> Batches {
        self.shared.lock().done
    }

    /// Takes a request in and waits for its answer.
    pub(crate) async fn run(
        &self,
        pass: Option<OrderPass>,
        request: W::Request,
    ) -> Result<W::Answer, StoreError> {
        let room = Arc::clone(&self.shared.room).acquire_owned().await;
        let room = room.expect("a batcher's room is never closed");
        let (answer, answered) = oneshot::channel();
        self.shared.take_in(Job {
            request,
            answer,
            _pass: pass,
            _room: room,
        });
        // Only a panic ends a lane without an answer.
        let unanswered = || Failure::impossible("the batch was not carried out to its end");
        answered
            .await
            .unwrap_or_else(|_| Err(unanswered().unknown()))
    }
}

impl<W: Work> Shared<W> {
    fn take_in(self: &Arc<Self>, job: Job<W>) {
        let mut queue = self.lock();
        queue.waiting.push_back(job);
        let crowded = queue.waiting.len() >= CROWD && queue.under_way < self.bounds.lanes;
        if queue.under_way == 0 || crowded {
            queue.under_way += 1;
            let lane = Lane::new(self);
            drop(queue);
            self.runtime.spawn(lane.run().boxed());
        }
    }

    /// The next batch, if requests wait.
    fn next(&self) -> Vec<Job<W>> {
        let mut queue = self.lock();
        let (mut rows, mut bytes) = (0, 0);
        for job in &queue.waiting {
            bytes += W::bytes(&job.request);
            if rows > 0 && (rows == self.bounds.rows || bytes > self.bounds.bytes) {
                break;
            }
            rows += 1;
        }
        queue.waiting.drain(..rows).collect()
    }

    /// Counts a batch, and tells from what it met how the next ones are to be carried out.
    fn count(&self, requests: usize, met: Met) {
        let mut queue = self.lock();
        queue.done.batches += 1;
        queue.done.requests += requests as u64;
        queue.done.held_up += u64::from(met == Met::ByWaiting);
        queue.careful = match met {
            Met::Nothing => queue.careful.saturating_sub(1),
            _ if is_planted(Planted::OneLane) => 0,
            Met::ByWaiting | Met::Beforehand => CAREFUL,
        };
    }

    /// Each change is one step, so that a panic elsewhere leaves it whole.
    fn lock(&self) -> MutexGuard<'_, Queue<W>> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What a batch met of orders that somebody else keeps locked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Met {
    Nothing,
    /// Found by a look before it was sent.
    Beforehand,
    /// Found because it had to wait.
    ByWaiting,
}

/// One batch after the other, until nobody waits.
struct Lane<W: Work> {
    shared: Arc<Shared<W>>,
    /// Whether it came to its end, and was not dropped on its way.
    ended: bool,
}

impl<W: Work> Lane<W> {
    fn new(shared: &Arc<Shared<W>>) -> Self {
        Self {
            shared: Arc::clone(shared),
            ended: false,
        }
    }

    async fn run(mut self) {
        loop {
            let mut jobs = self.shared.next();
            if jobs.is_empty() {
                self.ended = true;
                break;
            }
            // Each batch locks its orders in this order, so that none waits for another in a ring.
            jobs.sort_by_cached_key(|job| W::target(&job.request));
            let (requests, waiters): (Vec<_>, Vec<_>) = jobs
                .into_iter()
                .map(|job| (job.request, (job.answer, job._pass, job._room)))
                .unzip();
            let careful = self.shared.lock().careful > 0;
            let (completions, met) =
                carry_out(&self.shared.work, &self.shared.pool, requests, careful).await;
            self.shared.count(completions.len(), met);
            for (waiter, completion) in waiters.into_iter().zip(completions) {
                let (answer, pass, room) = waiter;
                match completion {
                    Completion::Answered(told) => {
                        // The next verb on this order may leave before whoever asked has heard.
                        drop(pass);
                        let _gone = answer.send(told);
                    }
                    Completion::Locked { request, doubtful } => {
                        let shared = Arc::clone(&self.shared);
                        let alone = async move {
                            let told =
                                wait_alone(&shared.work, &shared.pool, request, doubtful).await;
                            drop((pass, room));
                            let _gone = answer.send(told);
                        };
                        self.shared.runtime.spawn(alone.boxed());
                    }
                }
            }
        }
    }
}

impl<W: Work> Drop for Lane<W> {
    fn drop(&mut self) {
        let mut queue = self.shared.lock();
        queue.under_way -= 1;
        if !self.ended && !std::thread::panicking() {
            // Its runtime has ended, and drops whatever it is given: nobody carries out what waits.
            let left = std::mem::take(&mut queue.waiting);
            drop(queue);
            drop(left);
            return;
        }
        // A request may have come in after the last look.
        if !queue.waiting.is_empty() && queue.under_way == 0 {
            queue.under_way += 1;
            let lane = Self::new(&self.shared);
            drop(queue);
            self.shared.runtime.spawn(lane.run().boxed());
        }
    }
}
