//! One transaction of the writer: its jobs, its commit, and the ways in which it fails.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use orderlock_core::StoreError;
use rusqlite::Connection;

use crate::clock::Clock;
use crate::file::error::{Fault, SqlError, spoils_the_connection};
use crate::file::readers::Gate;
use crate::file::run;
use crate::file::wal::LogLength;
use crate::open;
use crate::open::files::Files;
use crate::open::secure::Unsecured;
use crate::state::context::WriteContext;
use crate::state::doubts::Doubts;
use crate::state::durability::Durability;
use crate::state::health::Trouble;
use crate::state::leases::Leases;
use crate::state::shared::Shared;
use crate::state::shared::TAKEN;
use crate::state::shared::taken;
use crate::state::staged::Staged;
use crate::state::view::WriterView;
use crate::writer::job::Job;

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
    /// The file could not be opened again: nothing happened.
    Closed(Arc<io::Error>),
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
            Self::Baseless(error) | Self::Closed(error) => {
                StoreError::NotApplied(Box::new(Arc::clone(error)))
            }
            Self::Taken => taken(),
        }
    }

    /// Whether the batch may be in the file all the same.
    pub(crate) fn is_in_doubt(&self) -> bool {
        matches!(self, Self::Unknown(_) | Self::Unflushed(_))
    }

    /// What it says of the store, in words for an operator; none if it says nothing of it.
    pub(crate) fn trouble(&self) -> Option<Trouble> {
        let words = match self {
            Self::Refused => return None,
            Self::Undone(error) | Self::Torn(error) | Self::Unknown(error) => {
                return Some(Trouble::of(error));
            }
            Self::Unflushed(error) | Self::Baseless(error) => {
                format!("the log could not be brought to the disk: {error}")
            }
            Self::Closed(error) => error.to_string(),
            Self::Taken => TAKEN.to_owned(),
        };
        Some(Trouble::other(words))
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
    pub(crate) files: Files,
    /// None after an error that leaves it in doubt; the next batch opens another.
    pub(crate) connection: Option<Connection>,
    pub(crate) owner: i64,
    pub(crate) document_bytes_max: usize,
    pub(crate) clock: Arc<Clock>,
    pub(crate) leases: Arc<Leases>,
    pub(crate) shared: Arc<Shared>,
    pub(crate) durability: Arc<Durability>,
    pub(crate) readers: Arc<Gate>,
    /// What the last batch has left open, if nobody knows its end.
    pub(crate) doubts: Doubts,
    pub(crate) log: LogLength,
}

impl Transactions {
    /// Begins a transaction. After this, the batch is either committed or has failed.
    pub(crate) fn begin(&mut self) -> Result<Batch, Failure> {
        if self.shared.taken.load(Ordering::Acquire) {
            return Err(Failure::Taken);
        }
        if self.connection.is_none() {
            let reopened = open::reopen(&self.path, &self.files);
            let reopened = reopened.map_err(|error| match error {
                Unsecured::Sql(error) => Failure::Undone(error.into()),
                Unsecured::Io(error) => Failure::Closed(error.into()),
            })?;
            // What the file shows is on the disk: the opening has seen to that.
            let settled = self.doubts.settle(&reopened, &self.leases);
            settled.map_err(|error| Failure::Undone(error.into()))?;
            self.connection = Some(reopened);
            self.durability.flushed();
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
        flushing: Option<&Staged>,
        mut job: Box<dyn Job>,
        alone: bool,
    ) -> Result<(), Failure> {
        let performed = self.job(batch, flushing, &mut *job, alone);
        if performed.is_ok() {
            job.accept();
        }
        batch.jobs.push(job);
        performed.map_err(|failure| self.failed(failure))
    }

    fn job(
        &self,
        batch: &mut Batch,
        flushing: Option<&Staged>,
        job: &mut dyn Job,
        alone: bool,
    ) -> Result<(), Failure> {
        let Some(connection) = &self.connection else {
            return Err(Failure::Torn(rusqlite::Error::InvalidQuery.into()));
        };
        let changes = connection.total_changes();
        let mut context = WriteContext {
            connection,
            now: self.clock.now(),
            document_bytes_max: self.document_bytes_max,
            alone,
            view: WriterView {
                file: connection,
                leases: &self.leases,
                flushing,
                open: &mut batch.staged,
            },
        };
        match job.perform(&mut context) {
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
        self.durability.committing();
        match run(connection, "COMMIT") {
            Ok(()) if unchanged => {
                self.durability.flushed();
                Ok(Committed::Unchanged)
            }
            Ok(()) => Ok(Committed::Written),
            Err(error) => {
                let error = SqlError::from(error);
                Err(self.failed(if error.nothing_reached_the_disk() {
                    self.durability.flushed();
                    // No room for all of them may be room enough for some.
                    Failure::Torn(error)
                } else {
                    self.durability.doubted();
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
            Failure::Unknown(_)
            | Failure::Unflushed(_)
            | Failure::Baseless(_)
            | Failure::Closed(_) => true,
            Failure::Undone(error) | Failure::Torn(error) => spoils_the_connection(error.sqlite()),
        };
        if spoilt {
            self.connection = None;
        }
        failure
    }

    /// Looks whether the files are still there. If not, nothing is written or read until they are.
    pub(crate) fn look_at_the_files(&mut self) {
        if let Err(error) = self.files.check() {
            self.durability.doubted();
            let failure = self.failed(Failure::Closed(error.into()));
            if let Some(trouble) = failure.trouble() {
                self.shared.health.failed(trouble);
            }
        }
    }

    /// Copies the log into the file if it has become long.
    pub(crate) fn keep_the_log_short(&mut self, idle: bool) {
        let Some(connection) = &self.connection else {
            return;
        };
        let now = self.clock.now().instant;
        if self.log.keep_short(connection, &self.readers, (idle, now)) {
            self.shared.checkpoints.fetch_add(1, Ordering::Relaxed);
        }
        let bytes = self.log.bytes().unsigned_abs();
        self.shared.log_bytes.store(bytes, Ordering::Relaxed);
    }

    /// Leaves the file whole, if it can be, and says so in it: then it may be copied alone. Nobody
    /// of ours reads it any more.
    pub(crate) fn close(&mut self) {
        if self.shared.taken.load(Ordering::Acquire) || self.files.check().is_err() {
            return;
        }
        let connection = match self.connection.take() {
            Some(connection) => Some(connection),
            None => open::reopen(&self.path, &self.files).ok(),
        };
        let Some(connection) = connection else {
            return;
        };
        match open::close(connection, self.owner, self.clock.seen()) {
            Ok(true) => {}
            Ok(false) => tracing::warn!(
                path = %self.path.display(),
                "another program reads the file: without its log (-wal) it is not whole"
            ),
            Err(error) => tracing::warn!(
                %error, path = %self.path.display(),
                "the log could not be copied: without it (-wal) the file is not whole"
            ),
        }
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
