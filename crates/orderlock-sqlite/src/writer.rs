//! The one thread that writes. It takes what waits into one transaction and commits it; while that
//! is flushed, beside it, the next batch collects and is carried out already.
//!
//! Jobs are answered once their batch is on the disk. Only a settle that hands its order over is
//! answered before, with the promise to say what became of it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;

use orderlock_core::StoreError;
use tokio::sync::mpsc;

use crate::batch::{Batch, Committed, Failure, Transactions};
use crate::error::Fault;
use crate::flusher::{Flusher, Log};
use crate::job::{Job, SettleTask, Task};
use crate::turn::Turn;

/// What the writer shares with those who ask.
#[derive(Debug, Default)]
pub(crate) struct Shared {
    /// Another process has taken the file: no more work, not even in memory.
    pub(crate) taken: AtomicBool,
    pub(crate) commits: AtomicU64,
    pub(crate) settles: AtomicU64,
    pub(crate) checkpoints: AtomicU64,
}

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
        let state = WriterState {
            transactions,
            flusher: Flusher::start(log)?,
            batch,
            open: None,
            flushing: None,
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
    pub(crate) async fn run<T, W>(&self, work: W) -> Result<T, StoreError>
    where
        T: Send + 'static,
        W: FnMut(&mut Turn<'_>) -> Result<T, Fault> + Send + 'static,
    {
        let (task, result) = Task::new(work);
        self.send(Box::new(task)).await?;
        result.await.map_err(|_| gone())?
    }

    /// Settles in the next batch. If the order is handed over, the answer comes before that is on
    /// the disk.
    pub(crate) async fn settle(
        &self,
        request: orderlock_core::store::Settle,
    ) -> Result<orderlock_core::store::Settled, StoreError> {
        let (task, result) = SettleTask::new(request);
        self.send(Box::new(task)).await?;
        result.await.map_err(|_| gone())?
    }

    async fn send(&self, job: Box<dyn Job>) -> Result<(), StoreError> {
        let stopped = || StoreError::NotApplied("the store's writer has stopped".into());
        let queue = self.queue.as_ref().ok_or_else(stopped)?;
        queue.send(job).await.map_err(|_| stopped())
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
            if self.flushing.is_none() {
                self.commit(queue.is_empty()).await;
                let idle = self.flushing.is_none() && queue.is_empty();
                if self.transactions.keep_the_log_short(idle) {
                    let checkpoints = &self.transactions.shared.checkpoints;
                    checkpoints.fetch_add(1, Ordering::Relaxed);
                }
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
                Err(failure) => return tell(vec![job], &failure),
            },
        };
        let below = self.flushing.as_ref().map(|batch| &batch.staged);
        match self.transactions.perform(&mut batch, below, job, false) {
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
            self.transactions.horizon.flushed();
            // Counted before anybody is answered, so that whoever was answered finds it counted.
            let shared = &self.transactions.shared;
            shared.commits.fetch_add(1, Ordering::Relaxed);
            return self.finish(batch);
        };
        self.transactions.horizon.broken();
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

    fn discard(&self, batch: Batch, failure: &Failure) {
        batch.staged.discard(&self.transactions.leases);
        tell(batch.jobs, failure);
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
            Err(failure) => return tell(vec![job], &failure),
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

/// Tells jobs that they have failed together.
fn tell(jobs: Vec<Box<dyn Job>>, failure: &Failure) {
    failure.log(jobs.len());
    for job in jobs {
        job.fail(failure.error());
    }
}

fn gone() -> StoreError {
    StoreError::OutcomeUnknown("the store's writer stopped half way".into())
}

pub(crate) fn taken() -> StoreError {
    let text = "another process has opened the file and owns it now; this one must be restarted";
    StoreError::NotApplied(text.into())
}
