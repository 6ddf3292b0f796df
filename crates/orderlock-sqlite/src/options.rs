//! Options of a store: its bounds, its clock, its timeout.

use std::sync::Arc;
use std::time::Duration;

use orderlock_core::{Runtime, TokioRuntime};

/// How a store is opened. Every bound has a default.
#[derive(Clone, Debug)]
pub struct SqliteOptions {
    pub(crate) runtime: Arc<dyn Runtime>,
    pub(crate) queue: usize,
    pub(crate) batch: usize,
    pub(crate) readers: usize,
    pub(crate) document_bytes_max: usize,
    pub(crate) order_memory: usize,
    pub(crate) answer_memory: usize,
    pub(crate) timeout: Duration,
    pub(crate) new_epoch: bool,
}

impl Default for SqliteOptions {
    fn default() -> Self {
        Self {
            runtime: Arc::new(TokioRuntime),
            queue: 4_096,
            batch: 512,
            readers: 4,
            document_bytes_max: 1024 * 1024,
            order_memory: 24 * 1024 * 1024,
            answer_memory: 16 * 1024 * 1024,
            timeout: Duration::from_secs(5),
            new_epoch: false,
        }
    }
}

impl SqliteOptions {
    /// Where the store's clock and randomness come from.
    #[must_use]
    pub fn with_runtime(mut self, runtime: Arc<dyn Runtime>) -> Self {
        self.runtime = runtime;
        self
    }

    /// How many writes may wait for the writer; one more waits for room before it is sent.
    #[must_use]
    pub fn with_queue(mut self, writes: usize) -> Self {
        self.queue = writes.max(1);
        self
    }

    /// How many writes one commit may carry.
    #[must_use]
    pub fn with_batch(mut self, writes: usize) -> Self {
        self.batch = writes.max(1);
        self
    }

    /// How many connections read at the same time, each on a thread of its own: half of them pages,
    /// the others single orders and keys. At least two.
    #[must_use]
    pub fn with_readers(mut self, connections: usize) -> Self {
        self.readers = connections.max(2);
        self
    }

    /// How long anything is waited for: room in the queue, the disk, a thread that reads. After that
    /// whoever asked is told so; what was sent to the writer may still happen.
    #[must_use]
    pub fn with_timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// The largest document that the store takes, in bytes.
    #[must_use]
    pub fn with_document_bytes_max(mut self, bytes: usize) -> Self {
        self.document_bytes_max = bytes;
        self
    }

    /// How many bytes of memory the orders may take, about, that were used last. What fits need not
    /// be read again; with 0, every order is read from the file each time. Nobody but this store may
    /// write the file: it would not see that.
    #[must_use]
    pub fn with_order_memory(mut self, bytes: usize) -> Self {
        self.order_memory = bytes;
        self
    }

    /// How many bytes of memory stored answers may take, about, that were asked for lately. A retry
    /// that comes again is then answered without the file; with 0, each one reads it.
    #[must_use]
    pub fn with_answer_memory(mut self, bytes: usize) -> Self {
        self.answer_memory = bytes;
        self
    }

    /// Begins a new epoch of the journal. Say so when the file is a restored backup: what
    /// subscribers have read of the journal may be lost, and they must begin again.
    #[must_use]
    pub fn with_new_epoch(mut self) -> Self {
        self.new_epoch = true;
        self
    }
}
