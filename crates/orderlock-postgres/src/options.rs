//! What a store can be told at its opening.

use std::sync::Arc;
use std::time::Duration;

use orderlock_core::{Runtime, TokioRuntime};

use crate::clock::Clock;

/// How a store is opened. Every bound has a default.
#[derive(Clone, Debug)]
pub struct PostgresOptions {
    pub(crate) runtime: Arc<dyn Runtime>,
    pub(crate) clock: Clock,
    pub(crate) connections: usize,
    pub(crate) prepares: bool,
    pub(crate) patience: Duration,
    pub(crate) document_bytes_max: usize,
}

impl Default for PostgresOptions {
    fn default() -> Self {
        Self {
            runtime: Arc::new(TokioRuntime),
            clock: Clock::Database,
            connections: 16,
            prepares: true,
            patience: Duration::from_secs(15),
            document_bytes_max: 1024 * 1024,
        }
    }
}

impl PostgresOptions {
    /// Where the store's clock, tasks and randomness come from: for tests. Without it the clock is
    /// the database's own.
    #[must_use]
    pub fn with_runtime(mut self, runtime: Arc<dyn Runtime>) -> Self {
        self.clock = Clock::Given(Arc::clone(&runtime));
        self.runtime = runtime;
        self
    }

    /// How many connections the store may have in all.
    #[must_use]
    pub fn with_connections(mut self, connections: usize) -> Self {
        self.connections = connections.max(1);
        self
    }

    /// The largest document that the store takes, in bytes.
    #[must_use]
    pub fn with_document_bytes_max(mut self, bytes: usize) -> Self {
        self.document_bytes_max = bytes;
        self
    }
}
