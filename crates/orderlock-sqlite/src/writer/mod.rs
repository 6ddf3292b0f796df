//! The writer thread: it takes the jobs that wait into one transaction, commits it, and answers them
//! when the log is flushed. Meanwhile the next transaction collects.
//!
//! ```text
//!   verb                 writer thread                               flusher thread
//!   ----                 -------------                               --------------
//!   Writer::run -> queue -> take: perform the job                         .
//!                           in the open batch                             .
//!                             |                                           .
//!                           commit: COMMIT writes the log -- begin --> Log::flush
//!                             |                                           |
//!                           the next batch opens, on                      |
//!                           top of the one being flushed                  |
//!                             |                                           |
//!        <---- answer ----- flushed: the batch becomes  <--- done --------+
//!                           visible in memory, its jobs
//!                           are answered
//! ```
//!
//! Where the flush fails, both batches are thrown away: the flushed one in doubt, the open one for
//! certain. A job that waits alone is flushed on the writer thread. Only a settle that hands its order
//! over is answered before the flush, with a future of what becomes of it.

pub(crate) mod batch;
pub(crate) mod flusher;
pub(crate) mod job;

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use orderlock_core::StoreError;
use orderlock_core::store::{Settle, Settled};
use tokio::sync::mpsc;

use crate::deadline::Deadline;
use crate::file::error::Fault;
use crate::open::migrate::keep_time;
use crate::state::context::WriteContext;
use crate::state::doubts::Doubts;
use crate::writer::batch::{Batch, Committed, Failure, Transactions};
use crate::writer::flusher::{Flusher, Log};
use crate::writer::job::{Awaited, Job, SettleTask, Task};

/// How often the surroundings are looked at, at most: with each renewal of a session.
const LOOK: Duration = Duration::from_secs(3);
/// How often the time is kept that was seen last.
const KEEP: Duration = Duration::from_secs(60);

/// The way to the writing thread. Dropping it lets the thread finish what is queued, and waits.
#[derive(Debug)]
pub(crate) struct Writer {
    queue: Option<mpsc::Sender<Box<dyn Job>>>,
    thread: Option<JoinHandle<()>>,
}

impl Writer {
    /// Starts the thread. At most `queue` jobs wait for it, and `batch` share a transaction.
    pub(crate) fn start(
        transactions: Transactions,
        log: Box<dyn Log>,
        queue: usize,
        batch: usize,
    ) -> std::io::Result<Self> {
        let (sender, receiver) = mpsc::channel(queue);
        // It waits for two things at once, the queue and the flush: that takes an executor, but
        // neither timers nor sockets.
        let executor = tokio::runtime::Builder::new_current_thread().build()?;
        let now = transactions.clock.now().instant;
        let state = WriterState {
            transactions,
            flusher: Flusher::start(log)?,
            batch,
            open: None,
            flushing: None,
            looked: now,
            files_are_due: false,
            kept: now,
        };
        let thread = std::thread::Builder::new()
            .name("orderlock-sqlite".into())
            .spawn(move || executor.block_on(state.run(receiver)))?;
        Ok(Self {
            queue: Some(sender),
            thread: Some(thread),
        })
    }

    /// Does the work in the next batch; the answer comes when that is on the disk. Before the work
    /// is in the queue, dropping the future means that nothing happens; after that, it happens.
    pub(crate) async fn run<T, W>(&self, work: W, deadline: Deadline) -> Result<T, StoreError>
    where
        T: Send + 'static,
        W: FnMut(&mut WriteContext<'_>) -> Result<T, Fault> + Send + 'static,
    {
        let (task, result) = Task::new(work);
        self.perform(Box::new(task), result, deadline).await
    }

    /// Settles in the next batch. If the order is handed over, the answer comes before that is on
    /// the disk.
    pub(crate) async fn settle(
        &self,
        request: Settle,
        deadline: Deadline,
    ) -> Result<Settled, StoreError> {
        let (task, result) = SettleTask::new(request);
        self.perform(Box::new(task), result, deadline).await
    }

    async fn perform<T>(
        &self,
        job: Box<dyn Job>,
        result: Awaited<T>,
        mut deadline: Deadline,
    ) -> Result<T, StoreError> {
        let stopped = || StoreError::NotApplied("the store's writer has stopped".into());
        let queue = self.queue.as_ref().ok_or_else(stopped)?;
        match deadline.within(queue.send(job)).await {
            Some(sent) => sent.map_err(|_| stopped())?,
            None => {
                let late = "the store had too many writes before this one";
                return Err(StoreError::NotApplied(late.into()));
            }
        }
        let late = || StoreError::OutcomeUnknown("the store did not answer in time".into());
        let result = deadline.within(result).await.ok_or_else(late)?;
        result.map_err(|_| gone())?
    }

    /// Whether it takes no work any more, although it should.
    pub(crate) fn has_died(&self) -> bool {
        self.thread.as_ref().is_some_and(JoinHandle::is_finished)
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.queue = None;
        let ended = self.thread.take().map(JoinHandle::join);
        if let Some(Err(_)) = ended {
            tracing::error!("the store's writing thread had panicked");
        }
    }
}

/// What the thread owns.
struct WriterState {
    transactions: Transactions,
    flusher: Flusher,
    /// How many jobs one transaction may carry.
    batch: usize,
    /// The transaction that is open.
    open: Option<Batch>,
    /// The batch that is committed and not on the disk yet.
    flushing: Option<Batch>,
    /// When the surroundings were looked at last, and when the time was kept.
    looked: Instant,
    /// Whether the files are to be looked at. Each flush does that too.
    files_are_due: bool,
    kept: Instant,
}

enum Event {
    Job(Box<dyn Job>),
    Flushed(std::io::Result<()>),
    Closed,
}

impl WriterState {
    async fn run(mut self, mut queue: mpsc::Receiver<Box<dyn Job>>) {
        loop {
            while self.has_room()
                && let Ok(job) = queue.try_recv()
            {
                self.take(job).await;
            }
            self.look_around().await;
            if self.flushing.is_none() {
                self.commit(queue.is_empty()).await;
                let flushed = self.flushing.is_none();
                if flushed && std::mem::take(&mut self.files_are_due) {
                    self.transactions.look_at_the_files();
                }
                let idle = flushed && queue.is_empty();
                self.transactions.keep_the_log_short(idle);
            }
            match self.next(&mut queue).await {
                Event::Job(job) => self.take(job).await,
                Event::Flushed(result) => self.flushed(result),
                Event::Closed => break,
            }
        }
        self.settle_down().await;
        self.commit(true).await;
        self.settle_down().await;
        self.transactions.close();
    }

    /// Looks now and then whether the files are still there, keeps the time that was seen last, and,
    /// while nothing can be written, tries whether it can. Whoever renews a session wakes the writer
    /// for it.
    async fn look_around(&mut self) {
        let now = self.transactions.clock.now().instant;
        let is_due = |last, pause| now.saturating_duration_since(last) >= pause;
        if !is_due(self.looked, LOOK) {
            return;
        }
        self.looked = now;
        self.files_are_due = true;
        let health = &self.transactions.shared.health;
        if is_due(self.kept, KEEP) || !health.is_well() {
            self.kept = now;
            let seen = self.transactions.clock.seen();
            let keep =
                move |context: &mut WriteContext<'_>| Ok(keep_time(context.connection, seen)?);
            self.take(Box::new(Task::new(keep).0)).await;
        }
    }

    fn has_room(&self) -> bool {
        let jobs = self.open.as_ref().map_or(0, |batch| batch.jobs.len());
        jobs < self.batch
    }

    async fn next(&mut self, queue: &mut mpsc::Receiver<Box<dyn Job>>) -> Event {
        let (room, flushing) = (self.has_room(), self.flushing.is_some());
        tokio::select! {
            biased;
            result = self.flusher.done(), if flushing => Event::Flushed(result),
            job = queue.recv(), if room || !flushing => job.map_or(Event::Closed, Event::Job),
        }
    }

    /// Carries a job out in the open transaction.
    async fn take(&mut self, job: Box<dyn Job>) {
        let mut batch = match self.open.take() {
            Some(batch) => batch,
            None => match self.transactions.begin() {
                Ok(batch) => batch,
                Err(failure) => return self.tell(vec![job], &failure),
            },
        };
        let flushing = self.flushing.as_ref().map(|batch| &batch.staged);
        match self.transactions.perform(&mut batch, flushing, job, false) {
            Ok(()) => self.open = Some(batch),
            Err(failure) => self.undone(batch, failure).await,
        }
    }

    /// Commits what is open and begins to flush it. Nothing else is being flushed. A single job
    /// that nobody waits behind is flushed at once.
    async fn commit(&mut self, idle: bool) {
        let Some(batch) = self.open.take() else {
            return;
        };
        match self.transactions.commit(&batch) {
            Ok(Committed::Unchanged) => self.finish(batch),
            Ok(Committed::Written) if idle && batch.is_single() => {
                self.flushing = Some(batch);
                let result = self.flusher.flush_here();
                self.flushed(result);
            }
            Ok(Committed::Written) => {
                self.flusher.begin();
                self.flushing = Some(batch);
            }
            Err(failure) => self.undone(batch, failure).await,
        }
    }

    /// What was being flushed is on the disk, or nobody knows whether it is.
    fn flushed(&mut self, result: std::io::Result<()>) {
        let Some(batch) = self.flushing.take() else {
            return;
        };
        let Err(error) = result else {
            // Counted before anybody is answered, so that whoever was answered finds it counted.
            let shared = &self.transactions.shared;
            shared.commits.fetch_add(1, Ordering::Relaxed);
            shared.health.written(|| self.transactions.files.room());
            self.finish(batch);
            // Who reads what is on the disk sees no lease any more that ended with it.
            return self.transactions.durability.flushed();
        };
        self.transactions.durability.doubted();
        // What is open was built on it.
        let cause = Arc::new(error);
        let baseless = Failure::Baseless(Arc::clone(&cause));
        let undone = self.open.take();
        let failure = self.transactions.failed(Failure::Unflushed(cause));
        self.discard(batch, &failure);
        if let Some(undone) = undone {
            self.discard(undone, &baseless);
        }
    }

    fn discard(&mut self, batch: Batch, failure: &Failure) {
        let leases = &self.transactions.leases;
        if failure.is_in_doubt() {
            self.transactions.doubts = Doubts::of(&batch.staged, leases);
        }
        batch.staged.discard(leases);
        self.tell(batch.jobs, failure);
    }

    /// Tells jobs that they have failed together.
    fn tell(&self, jobs: Vec<Box<dyn Job>>, failure: &Failure) {
        match failure.trouble() {
            Some(trouble) => self.transactions.shared.health.failed(trouble),
            None => tracing::warn!(jobs = jobs.len(), "a write was refused half way"),
        }
        for job in jobs {
            job.fail(failure.error());
        }
    }

    /// Makes a batch visible and answers its jobs.
    fn finish(&mut self, batch: Batch) {
        let above = self.open.as_ref().map(|open| &open.staged);
        let settles = batch.staged.apply(&self.transactions.leases, above);
        let shared = &self.transactions.shared;
        shared.settles.fetch_add(settles, Ordering::Relaxed);
        batch.jobs.into_iter().for_each(Job::answer);
    }

    /// The transaction is rolled back, or nobody knows. Alone, a job fails for its own reasons
    /// only.
    async fn undone(&mut self, batch: Batch, failure: Failure) {
        if !matches!(failure, Failure::Torn(_) | Failure::Refused) {
            return self.discard(batch, &failure);
        }
        self.settle_down().await;
        batch.staged.discard(&self.transactions.leases);
        for job in batch.jobs {
            self.alone(job).await;
        }
    }

    async fn alone(&mut self, job: Box<dyn Job>) {
        let mut batch = match self.transactions.begin() {
            Ok(batch) => batch,
            Err(failure) => return self.tell(vec![job], &failure),
        };
        let performed = self.transactions.perform(&mut batch, None, job, true);
        match performed.and_then(|()| self.transactions.commit(&batch)) {
            Ok(Committed::Unchanged) => self.finish(batch),
            Ok(Committed::Written) => {
                self.flusher.begin();
                self.flushing = Some(batch);
                self.settle_down().await;
            }
            Err(Failure::Refused) => {
                batch.staged.discard(&self.transactions.leases);
                batch.jobs.into_iter().for_each(Job::answer);
            }
            Err(failure) => self.discard(batch, &failure),
        }
    }

    /// Waits for the flush that is under way, if there is one.
    async fn settle_down(&mut self) {
        if self.flushing.is_some() {
            let result = self.flusher.done().await;
            self.flushed(result);
        }
    }
}

fn gone() -> StoreError {
    StoreError::OutcomeUnknown("the store's writer stopped half way".into())
}
