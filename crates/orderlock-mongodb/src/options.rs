//! Settings of the store, with their defaults and bounds.

use std::sync::Arc;
use std::time::Duration;

use mongodb::event::EventHandler;
use mongodb::event::command::CommandEvent;
use orderlock_core::{Runtime, TokioRuntime};

use crate::database::clock::TimeSource;

/// The shortest and the longest patience: below, every answer is late; above, nobody waits.
const PATIENCE: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(600));

/// The largest document: with its entry and the text of its numbers it must fit into the 16 MiB
/// that MongoDB allows for one.
const DOCUMENT_BYTES_MAX: usize = 4 * 1024 * 1024;

/// The most connections of one store to one server.
const CONNECTIONS_MAX: u32 = 1_000;

/// How a store is opened. Every bound has a default.
#[derive(Clone)]
pub struct MongodbOptions {
    pub(crate) runtime: Arc<dyn Runtime>,
    pub(crate) time: TimeSource,
    pub(crate) connections: u32,
    pub(crate) patience: Duration,
    pub(crate) document_bytes_max: usize,
    pub(crate) pending_entries_max: usize,
    pub(crate) pending_bytes_max: usize,
    pub(crate) whole_orders: bool,
    pub(crate) watch: Option<EventHandler<CommandEvent>>,
}

impl Default for MongodbOptions {
    fn default() -> Self {
        let runtime: Arc<dyn Runtime> = Arc::new(TokioRuntime);
        Self {
            time: TimeSource::server(Arc::clone(&runtime)),
            runtime,
            connections: 64,
            patience: Duration::from_secs(5),
            document_bytes_max: 1024 * 1024,
            pending_entries_max: 64,
            pending_bytes_max: 4 * 1024 * 1024,
            whole_orders: false,
            watch: None,
        }
    }
}

impl std::fmt::Debug for MongodbOptions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("MongodbOptions")
            .field("connections", &self.connections)
            .field("patience", &self.patience)
            .field("document_bytes_max", &self.document_bytes_max)
            .field("pending_entries_max", &self.pending_entries_max)
            .field("pending_bytes_max", &self.pending_bytes_max)
            .field("whole_orders", &self.whole_orders)
            .finish_non_exhaustive()
    }
}

impl MongodbOptions {
    /// Where the store's clock, tasks and randomness come from: for tests. Without it the time is
    /// the server's own, so that the clocks of nodes do not matter.
    #[must_use]
    pub fn with_runtime(mut self, runtime: Arc<dyn Runtime>) -> Self {
        self.time = TimeSource::given(Arc::clone(&runtime));
        self.runtime = runtime;
        self
    }

    /// How many connections the store may have to each server: 64 by default, at most 1,000. Each
    /// is held only while a command runs.
    #[must_use]
    pub fn with_connections(mut self, connections: usize) -> Self {
        let connections = u32::try_from(connections).unwrap_or(CONNECTIONS_MAX);
        self.connections = connections.clamp(1, CONNECTIONS_MAX);
        self
    }

    /// How long a command may take, and the search for a server: 5 seconds by default, from 100
    /// milliseconds to 10 minutes. A write that is not answered in time counts as in doubt.
    #[must_use]
    pub fn with_patience(mut self, patience: Duration) -> Self {
        self.patience = patience.clamp(PATIENCE.0, PATIENCE.1);
        self
    }

    /// The largest order that the store takes, as JSON text in bytes: 1 MiB by default, at most
    /// 4 MiB, because MongoDB takes no document over 16 MiB and the entry is written beside the
    /// order.
    #[must_use]
    pub fn with_document_bytes_max(mut self, bytes: usize) -> Self {
        self.document_bytes_max = bytes.min(DOCUMENT_BYTES_MAX);
        self
    }

    /// How many entries, and how many bytes of them, may wait in one order for the relay: 64 and
    /// 4 MiB by default. At the bound an operation is refused before its handler runs.
    #[must_use]
    pub fn with_pending(mut self, entries: usize, bytes: usize) -> Self {
        self.pending_entries_max = entries.clamp(1, 1_000);
        self.pending_bytes_max = bytes.clamp(1, DOCUMENT_BYTES_MAX);
        self
    }

    /// Says that the orders' type knows every member of an order, and refuses to read one that it
    /// does not know (`#[serde(deny_unknown_fields)]`, at every level). A member that a handler leaves
    /// out is then removed, whoever wrote it; without this it stays in orders that other services
    /// have written to.
    #[must_use]
    pub fn with_whole_orders(mut self) -> Self {
        self.whole_orders = true;
        self
    }

    /// Tells each command that is sent, and what became of it. Commands hold the data of orders:
    /// keep them out of logs.
    #[must_use]
    pub fn with_command_events(
        mut self,
        watch: impl Fn(CommandEvent) + Send + Sync + 'static,
    ) -> Self {
        self.watch = Some(EventHandler::callback(watch));
        self
    }
}
