//! A client as the pool keeps it: its connection, its prepared statements and its settings.

use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::task::JoinHandle;
use tokio_postgres::{Client, Statement};

use crate::pool::health::Backend;
use crate::pool::parked::Alive;
use crate::pool::settings::{Begins, Level};

/// A connection as the pool keeps it.
pub(crate) struct PooledClient {
    pub(crate) client: Client,
    /// Reads and writes the socket; ends with the pooled.
    pub(crate) driver: JoinHandle<()>,
    /// Set when a commit was cut short while it waited for a standby.
    pub(crate) unconfirmed: Arc<AtomicBool>,
    /// Whether the statements are prepared once. Otherwise each is sent whole.
    pub(crate) prepares: bool,
    pub(crate) prepared: Mutex<HashMap<usize, Statement>>,
    /// How long an answer may take.
    pub(crate) patience: Duration,
    /// How a transaction begins.
    pub(crate) begins: Begins,
    /// What its commits wait for.
    pub(crate) level: Level,
    /// The server's process, if that is known.
    pub(crate) backend: Option<Backend>,
    pub(crate) _alive: Alive,
}

impl fmt::Debug for PooledClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PooledClient").finish_non_exhaustive()
    }
}

impl Drop for PooledClient {
    fn drop(&mut self) {
        self.driver.abort();
    }
}
