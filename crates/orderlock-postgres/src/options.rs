//! The options that a store is opened with.

use std::sync::Arc;
use std::time::Duration;

use orderlock_core::{Runtime, TokioRuntime};

use crate::sql::clock::Clock;
use crate::sql::fragments::ROWS_MAX;

/// The most connections of one store. A server takes a hundred by default, from all its clients.
const CONNECTIONS_MAX: usize = 1_000;

/// The shortest and the longest patience: below, every answer is late; above, nobody waits.
const PATIENCE: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(600));

/// The most that a value of a row can hold is a gigabyte, and each is held in memory several times.
const DOCUMENT_BYTES_MAX: usize = 64 * 1024 * 1024;

/// The most batches of one kind: more than a server has processors for.
const LANES_MAX: usize = 64;

/// How a store is opened. Every bound has a default.
#[derive(Clone, Debug)]
pub struct PostgresOptions {
    pub(crate) runtime: Arc<dyn Runtime>,
    pub(crate) clock: Clock,
    pub(crate) connections: usize,
    pub(crate) pooler: bool,
    pub(crate) patience: Duration,
    pub(crate) document_bytes_max: usize,
    pub(crate) lanes: usize,
    pub(crate) batch_rows: usize,
    pub(crate) batch_bytes: usize,
    pub(crate) queue: usize,
}

impl Default for PostgresOptions {
    fn default() -> Self {
        Self {
            runtime: Arc::new(TokioRuntime),
            clock: Clock::Database,
            connections: 16,
            pooler: false,
            patience: Duration::from_secs(5),
            document_bytes_max: 1024 * 1024,
            lanes: 2,
            batch_rows: ROWS_MAX,
            batch_bytes: 1024 * 1024,
            queue: 4_096,
        }
    }
}

impl PostgresOptions {
    /// Where the store's clock, tasks and randomness come from: for tests. Without it the clock is
    /// the database's own, so that the clocks of nodes do not matter.
    #[must_use]
    pub fn with_runtime(mut self, runtime: Arc<dyn Runtime>) -> Self {
        self.clock = Clock::Given(Arc::clone(&runtime));
        self.runtime = runtime;
        self
    }

    /// How many connections the store may have in all, and processes of the server: 16 by default, at
    /// most 1,000. Each is held only while a statement runs, so that few serve many. Some are kept for
    /// the signs of life, and neither reads nor commits that nobody confirms take all of the others.
    #[must_use]
    pub fn with_connections(mut self, connections: usize) -> Self {
        self.connections = connections.clamp(1, CONNECTIONS_MAX);
        self
    }

    /// How long an answer of the database may take, and the wait for a connection: 5 seconds by
    /// default, from 100 milliseconds to 10 minutes. The server is told to give up a little
    /// earlier, so that most of what is late is known not to have happened.
    #[must_use]
    pub fn with_patience(mut self, patience: Duration) -> Self {
        self.patience = patience.clamp(PATIENCE.0, PATIENCE.1);
        self
    }

    /// Says that a pooler stands between that gives each transaction to another session of the
    /// server, such as PgBouncer in transaction mode; `?orderlock_pooler=transaction` in the
    /// address says the same. Nothing is then kept in a session: no prepared statement, no setting.
    /// Each transaction begins with the settings that it rests on.
    #[must_use]
    pub fn with_pooler(mut self) -> Self {
        self.pooler = true;
        self
    }

    /// The largest document that the store takes, in bytes: 1 MiB by default, at most 64 MiB.
    #[must_use]
    pub fn with_document_bytes_max(mut self, bytes: usize) -> Self {
        self.document_bytes_max = bytes.min(DOCUMENT_BYTES_MAX);
        self
    }

    /// How many batches of each kind of verb may be under way, 2 by default. A second one leaves only
    /// where many verbs wait. Each takes a connection while it is under way.
    #[must_use]
    pub fn with_lanes(mut self, batches: usize) -> Self {
        self.lanes = batches.clamp(1, LANES_MAX);
        self
    }

    /// How many verbs of one kind one batch may carry, 64 at most.
    #[must_use]
    pub fn with_batch(mut self, verbs: usize) -> Self {
        self.batch_rows = verbs.clamp(1, ROWS_MAX);
        self
    }

    /// How many verbs of one kind may wait or be under way; one more waits for room before it is
    /// taken in.
    #[must_use]
    pub fn with_queue(mut self, verbs: usize) -> Self {
        self.queue = verbs.max(1);
        self
    }
}
