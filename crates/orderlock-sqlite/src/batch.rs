//! What the writer carries out in one transaction.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use orderlock_core::{Runtime, StoreError};
use rusqlite::Connection;

use crate::error::{Fault, SqlError, spoils_the_connection};
use crate::horizon::Horizon;
use crate::job::Job;
use crate::leases::Leases;
use crate::log::LogLength;
use crate::open;
use crate::staged::Staged;
use crate::turn::Turn;
use crate::writer::{Shared, taken};

/// Jobs that share a transaction, with what they do to the leases.
#[derive(Default)]
pub(crate) struct Batch {
    pub(crate) jobs: Vec<Box<dyn Job>>,
    pub(crate) staged: Staged,
    /// What the connection had changed before.
    changes: u64,
}

impl Batch {
    /// Whether one job stands alone in it, and nobody has been told of it yet.
    pub(crate) fn is_single(&self) -> bool {
        matches!(&self.jobs[..], [job] if !job.is_accepted())
    }
}

/// Why a batch did not go through.
#[derive(Clone)]
pub(crate) enum Failure {
    /// Rolled back: nothing happened.
    Undone(SqlError),
    /// Rolled back because of one job or of what they are together: alone, some may succeed.
    Torn(SqlError),
    /// Rolled back because a job failed after it had written something. It knows its error.
    Refused,
    /// The commit failed in a way that leaves it open.
    Unknown(SqlError),
    /// It was committed, and the log could not be flushed.
    Unflushed(Arc<io::Error>),
    /// Rolled back because it was built on one of which that is true.
    Baseless(Arc<io::Error>),
    /// Another process has taken the file.
    Taken,
}

impl Failure {
    /// What every job of the batch is told.
    pub(crate) fn error(&self) -> StoreError {
        match self {
            Self::Undone(error) | Self::Torn(error) => error.clone().not_applied(),
            Self::Refused => StoreError::NotApplied("a neighbour has failed".into()),
            Self::Unknown(error) => error.clone().at_commit(),
            Self::Unflushed(error) => StoreError::OutcomeUnknown(Box::new(Arc::clone(error))),
            Self::Baseless(error) => StoreError::NotApplied(Box::new(Arc::clone(error))),
            Self::Taken => taken(),
        }
    }

    pub(crate) fn log(&self, jobs: usize) {
        match self {
            Self::Refused => tracing::warn!(jobs, "a write was refused half way"),
            Self::Undone(error) | Self::Torn(error) => {
                tracing::warn!(%error, jobs, "a commit did not happen");
            }
            Self::Unknown(error) => {
                tracing::error!(%error, jobs, "the outcome of a commit is unknown");
            }
            Self::Unflushed(error) | Self::Baseless(error) => {
                tracing::error!(%error, jobs, "the log could not be flushed");
            }
            Self::Taken => tracing::error!(jobs, "another process took the file"),
        }
    }
}

/// What a committed batch still needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Committed {
    /// A flush of the log.
    Written,
    /// Nothing: it wrote nothing.
    Unchanged,
}

/// The connection that writes, and what its jobs work on.
#[derive(Debug)]
pub(crate) struct Transactions {
    pub(crate) path: PathBuf,
    /// None after an error that leaves it in doubt; the next batch opens another.
    pub(crate) connection: Option<Connection>,
    pub(crate) owner: i64,
    pub(crate) document_bytes_max: usize,
    pub(crate) runtime: Arc<dyn Runtime>,
    pub(crate) leases: Arc<Leases>,
    pub(crate) shared: Arc<Shared>,
    pub(crate) horizon: Arc<Horizon>,
    pub(crate) log: LogLength,
}

impl Transactions {
    /// Begins a transaction. After this, the batch is either committed or has failed.
    pub(crate) fn begin(&mut self) -> Result<Batch, Failure> {
        if self.shared.taken.load(Ordering::Acquire) {
            return Err(Failure::Taken);
        }
        if self.connection.is_none() {
            let reopened = open::reopen(&self.path);
            self.connection = Some(reopened.map_err(|error| Failure::Undone(error.into()))?);
            // What the file shows has been copied and flushed with the opening.
            self.horizon.flushed();
        }
        match self.open_transaction() {
            Ok(Some(batch)) => Ok(batch),
            Ok(None) => {
                self.shared.taken.store(true, Ordering::Release);
                Err(self.failed(Failure::Taken))
            }
            Err(error) => Err(self.failed(Failure::Undone(error.into()))),
        }
    }

    /// Carries a job out in the open transaction. It has no savepoint of its own: those cost as
    /// much as a small write, and a job that fails after it has written something is rare. Then
    /// the whole batch is rolled back and each job carried out `alone`.
    ///
    /// # Errors
    /// When the transaction is lost with it: a job that fails before it has written anything has
    /// that as its result.
    pub(crate) fn perform(
        &mut self,
        batch: &mut Batch,
        below: Option<&Staged>,
        mut job: Box<dyn Job>,
        alone: bool,
    ) -> Result<(), Failure> {
        let performed = self.job(batch, below, &mut *job, alone);
        if performed.is_ok() {
            job.accept();
        }
        batch.jobs.push(job);
        performed.map_err(|failure| self.failed(failure))
    }

    fn job(
        &self,
        batch: &mut Batch,
        below: Option<&Staged>,
        job: &mut dyn Job,
        alone: bool,
    ) -> Result<(), Failure> {
        let Some(connection) = &self.connection else {
            return Err(Failure::Torn(rusqlite::Error::InvalidQuery.into()));
        };
        let changes = connection.total_changes();
        let mut turn = Turn {
            connection,
            now: self.runtime.wall(),
            instant: self.runtime.now(),
            document_bytes_max: self.document_bytes_max,
            alone,
            leases: &self.leases,
            below,
            staged: &mut batch.staged,
        };
        match job.perform(&mut turn) {
            Ok(()) => {
                batch.staged.keep_job();
                Ok(())
            }
            Err(Fault::Sql(error)) if tears(connection, &error) => Err(Failure::Torn(error.into())),
            Err(fault) => {
                job.refuse(fault.into());
                if connection.total_changes() != changes {
                    return Err(Failure::Refused);
                }
                batch.staged.undo_job();
                Ok(())
            }
        }
    }

    /// Writes the batch to the log. It is not on the disk yet.
    pub(crate) fn commit(&mut self, batch: &Batch) -> Result<Committed, Failure> {
        let Some(connection) = &self.connection else {
            return Err(Failure::Undone(rusqlite::Error::InvalidQuery.into()));
        };
        let unchanged = connection.total_changes() == batch.changes;
        self.horizon.committing();
        match run(connection, "COMMIT") {
            Ok(()) if unchanged => {
                self.horizon.flushed();
                Ok(Committed::Unchanged)
            }
            Ok(()) => Ok(Committed::Written),
            Err(error) => {
                let error = SqlError::from(error);
                Err(self.failed(if error.nothing_reached_the_disk() {
                    self.horizon.flushed();
                    // No room for all of them may be room enough for some.
                    Failure::Torn(error)
                } else {
                    self.horizon.broken();
                    Failure::Unknown(error)
                }))
            }
        }
    }

    /// Rolls the transaction back, and gives the connection up where it is not to be trusted.
    pub(crate) fn failed(&mut self, failure: Failure) -> Failure {
        if let Some(connection) = &self.connection
            && !connection.is_autocommit()
        {
            // If even this fails, closing the connection rolls back.
            let _ = run(connection, "ROLLBACK");
        }
        let spoilt = match &failure {
            Failure::Taken | Failure::Refused => false,
            Failure::Unknown(_) | Failure::Unflushed(_) | Failure::Baseless(_) => true,
            Failure::Undone(error) | Failure::Torn(error) => spoils_the_connection(error.sqlite()),
        };
        if spoilt {
            self.connection = None;
        }
        failure
    }

    /// Copies the log into the file if it has become long. Whether it was.
    pub(crate) fn keep_the_log_short(&mut self, idle: bool) -> bool {
        let connection = self.connection.as_ref();
        connection.is_some_and(|connection| self.log.keep_short(connection, idle))
    }

    /// None if another process owns the file.
    fn open_transaction(&self) -> rusqlite::Result<Option<Batch>> {
        let Some(connection) = &self.connection else {
            return Err(rusqlite::Error::InvalidQuery);
        };
        let changes = connection.total_changes();
        run(connection, "BEGIN IMMEDIATE")?;
        let owner: i64 = connection
            .prepare_cached("SELECT owner FROM store")?
            .query_row([], |row| row.get(0))?;
        let batch = Batch {
            changes,
            ..Batch::default()
        };
        Ok((owner == self.owner).then_some(batch))
    }
}

/// Whether a job's error ends the whole transaction: SQLite may have rolled it back (a full
/// disk), or the connection is not to be trusted with the rest.
fn tears(connection: &Connection, error: &rusqlite::Error) -> bool {
    connection.is_autocommit() || spoils_the_connection(error)
}

/// Runs a statement without parameters and without rows.
pub(crate) fn run(connection: &Connection, statement: &str) -> rusqlite::Result<()> {
    connection.prepare_cached(statement)?.execute([]).map(drop)
}
