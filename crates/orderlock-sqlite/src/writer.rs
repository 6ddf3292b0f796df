//! The one thread that writes. It takes whatever waits, commits it in one transaction, and answers
//! after the commit has returned; while it flushes, the next batch collects by itself.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;

use orderlock_core::{Runtime, StoreError};
use rusqlite::Connection;
use tokio::sync::mpsc;

use crate::error::{Fault, SqlError, spoils_the_connection};
use crate::job::{Job, Task};
use crate::leases::Leases;
use crate::open;
use crate::turn::{Staged, Turn};

/// Pages in the log from which on an idle moment is used for a checkpoint: 4 MiB.
const LOG_IDLE: i64 = 1_024;
/// Pages in the log from which on it is not waited for an idle moment: 64 MiB.
const LOG_MAX: i64 = 16 * 1_024;

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
    pub(crate) fn start(state: WriterState, queue: usize) -> std::io::Result<Self> {
        let (sender, receiver) = mpsc::channel(queue);
        let thread = std::thread::Builder::new()
            .name("orderlock-sqlite".into())
            .spawn(move || state.run(receiver))?;
        Ok(Self {
            queue: Some(sender),
            thread: Some(thread),
        })
    }

    /// Does the work in the next batch; the answer comes after its commit. Before the work is in
    /// the queue, dropping the future means that nothing happens; after that, it happens.
    pub(crate) async fn run<T, W>(&self, work: W) -> Result<T, StoreError>
    where
        T: Send + 'static,
        W: FnMut(&mut Turn<'_>) -> Result<T, Fault> + Send + 'static,
    {
        let (task, result) = Task::new(work);
        let stopped = || StoreError::NotApplied("the store's writer has stopped".into());
        let queue = self.queue.as_ref().ok_or_else(stopped)?;
        queue.send(Box::new(task)).await.map_err(|_| stopped())?;
        let gone = || StoreError::OutcomeUnknown("the store's writer stopped half way".into());
        result.await.map_err(|_| gone())?
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
#[derive(Debug)]
pub(crate) struct WriterState {
    pub(crate) path: PathBuf,
    /// None after an error that leaves it in doubt; the next batch opens another.
    pub(crate) connection: Option<Connection>,
    pub(crate) owner: i64,
    pub(crate) batch: usize,
    pub(crate) document_bytes_max: usize,
    pub(crate) runtime: Arc<dyn Runtime>,
    pub(crate) leases: Arc<Leases>,
    pub(crate) shared: Arc<Shared>,
}

/// How a batch's transaction ended.
enum End {
    Committed,
    /// Rolled back: nothing happened.
    Undone(SqlError),
    /// Rolled back because of one job or of what they are together: alone, some may succeed.
    Torn(SqlError),
    /// The commit failed in a way that leaves it open.
    Unknown(SqlError),
    /// Another process has taken the file.
    Taken,
}

impl WriterState {
    fn run(mut self, mut queue: mpsc::Receiver<Box<dyn Job>>) {
        while let Some(first) = queue.blocking_recv() {
            let mut jobs = vec![first];
            while jobs.len() < self.batch {
                let Ok(job) = queue.try_recv() else { break };
                jobs.push(job);
            }
            self.batch(jobs);
            self.keep_the_log_short(queue.is_empty());
        }
    }

    /// Carries out a batch and answers every job in it.
    fn batch(&mut self, mut jobs: Vec<Box<dyn Job>>) {
        match self.attempt(&mut jobs) {
            End::Committed => jobs.into_iter().for_each(Job::answer),
            End::Torn(_) if jobs.len() > 1 => {
                // Alone, a job fails for its own reasons only.
                for job in jobs {
                    self.batch(vec![job]);
                }
            }
            End::Undone(error) | End::Torn(error) => {
                tracing::warn!(%error, jobs = jobs.len(), "a commit did not happen");
                for job in jobs {
                    job.fail(error.clone().not_applied());
                }
            }
            End::Unknown(error) => {
                tracing::error!(%error, jobs = jobs.len(), "the outcome of a commit is unknown");
                for job in jobs {
                    job.fail(error.clone().at_commit());
                }
            }
            End::Taken => {
                tracing::error!(path = %self.path.display(), "another process took the file");
                for job in jobs {
                    job.fail(taken());
                }
            }
        }
    }

    fn attempt(&mut self, jobs: &mut [Box<dyn Job>]) -> End {
        if self.shared.taken.load(Ordering::Acquire) {
            return End::Taken;
        }
        let connection = match self
            .connection
            .take()
            .map_or_else(|| open::reopen(&self.path), Ok)
        {
            Ok(connection) => connection,
            Err(error) => return End::Undone(error.into()),
        };
        let mut staged = Staged::default();
        let written = connection.total_changes();
        let end = self.transaction(&connection, &mut staged, jobs);
        if matches!(end, End::Committed) {
            // Counted before anybody is answered, so that whoever was answered finds it counted.
            if connection.total_changes() != written {
                self.shared.commits.fetch_add(1, Ordering::Relaxed);
            }
            let settles = staged.apply(&self.leases);
            self.shared.settles.fetch_add(settles, Ordering::Relaxed);
        } else {
            staged.discard(&self.leases);
        }
        self.connection = match &end {
            End::Committed | End::Taken => Some(connection),
            End::Unknown(_) => None,
            End::Undone(error) | End::Torn(error) => {
                (!spoils_the_connection(error.sqlite())).then_some(connection)
            }
        };
        end
    }

    fn transaction(
        &self,
        connection: &Connection,
        staged: &mut Staged,
        jobs: &mut [Box<dyn Job>],
    ) -> End {
        let statement = |sql| connection.prepare_cached(sql)?.execute([]).map(drop);
        let undone = |error: rusqlite::Error| {
            if !connection.is_autocommit() {
                // If even this fails, closing the connection rolls back.
                let _ = statement("ROLLBACK");
            }
            error.into()
        };
        if let Err(error) = statement("BEGIN IMMEDIATE") {
            return End::Undone(undone(error));
        }
        match self.is_owner(connection) {
            Ok(true) => {}
            Ok(false) => {
                self.shared.taken.store(true, Ordering::Release);
                let _ = statement("ROLLBACK");
                return End::Taken;
            }
            Err(error) => return End::Undone(undone(error)),
        }
        for job in jobs {
            if let Err(error) = self.job(connection, staged, &mut **job) {
                return End::Torn(undone(error));
            }
        }
        match statement("COMMIT") {
            Ok(()) => End::Committed,
            Err(error) => {
                let error: SqlError = undone(error);
                if error.nothing_reached_the_disk() {
                    // No room for all of them may be room enough for some.
                    End::Torn(error)
                } else {
                    End::Unknown(error)
                }
            }
        }
    }

    /// One job in its own savepoint.
    ///
    /// # Errors
    /// When the transaction is lost with it: a job's own failure is the job's result.
    fn job(
        &self,
        connection: &Connection,
        staged: &mut Staged,
        job: &mut dyn Job,
    ) -> rusqlite::Result<()> {
        let statement = |sql| connection.prepare_cached(sql)?.execute([]).map(drop);
        statement("SAVEPOINT job")?;
        let mut turn = Turn {
            connection,
            now: self.runtime.wall(),
            instant: self.runtime.now(),
            document_bytes_max: self.document_bytes_max,
            leases: &self.leases,
            staged: &mut *staged,
        };
        match job.perform(&mut turn) {
            Ok(()) => staged.keep_job(),
            Err(Fault::Sql(error)) if Self::tears(connection, &error) => return Err(error),
            Err(fault) => {
                staged.undo_job();
                statement("ROLLBACK TO job")?;
                job.refuse(fault.into());
            }
        }
        statement("RELEASE job")
    }

    /// Whether a job's error ends the whole transaction: SQLite may have rolled it back (a full
    /// disk), or the connection is not to be trusted with the rest.
    fn tears(connection: &Connection, error: &rusqlite::Error) -> bool {
        connection.is_autocommit() || spoils_the_connection(error)
    }

    fn is_owner(&self, connection: &Connection) -> rusqlite::Result<bool> {
        let owner: i64 = connection
            .prepare_cached("SELECT owner FROM store")?
            .query_row([], |row| row.get(0))?;
        Ok(owner == self.owner)
    }

    /// Copies the log into the file, off the way of commits where that can be. The log is neither
    /// cut nor removed: a flush that overwrites costs half of one that grows the file.
    fn keep_the_log_short(&self, idle: bool) {
        let Some(connection) = &self.connection else {
            return;
        };
        let log = |mode: &str| {
            connection.query_row(&format!("PRAGMA wal_checkpoint({mode})"), [], |row| {
                Ok((row.get::<_, i64>(1)?, row.get::<_, i64>(2)?))
            })
        };
        let bound = if idle { LOG_IDLE } else { LOG_MAX };
        let copied = match log("NOOP") {
            Ok((pages, copied)) if pages - copied >= bound => log("PASSIVE"),
            looked => looked.map(|_| (0, 0)),
        };
        match copied {
            Ok((0, 0)) => {}
            Ok(_) => {
                self.shared.checkpoints.fetch_add(1, Ordering::Relaxed);
            }
            // The log keeps everything, and the next batch tries again.
            Err(error) => tracing::warn!(%error, "a checkpoint failed"),
        }
    }
}

pub(crate) fn taken() -> StoreError {
    let text = "another process has opened the file and owns it now; this one must be restarted";
    StoreError::NotApplied(text.into())
}
