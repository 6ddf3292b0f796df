//! A statement as it stands in the program, and a connection as the pool keeps it.

use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::task::JoinHandle;
use tokio_postgres::types::{ToSql, Type};
use tokio_postgres::{Client, Statement};

use crate::pool::health::Backend;
use crate::pool::parked::Alive;
use crate::pool::settings::{Begins, Level};

/// A statement as it stands in the program. It is always a `static`: its address is its name.
#[derive(Debug)]
pub(crate) struct Sql {
    pub(crate) text: &'static str,
    /// The types of its parameters, given so that they need not be asked for.
    pub(crate) types: &'static [Type],
}

/// A statement over a batch of requests, in two forms that do the same. Most of what the form for many
/// costs is setting out its joins, and a batch of one has no use for them.
#[derive(Debug)]
pub(crate) struct Batched {
    pub(crate) one: Sql,
    pub(crate) many: Sql,
}

/// The parameters of a statement.
pub(crate) type Parameters<'a> = &'a [&'a (dyn ToSql + Sync)];

/// What a commit waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Commit {
    /// Until it survives power loss, and a fail-over where the server is set up for it.
    Flushed,
    /// Nothing: a crash of the server may lose it.
    Unflushed,
}

/// A connection as the pool keeps it.
pub(crate) struct Link {
    pub(crate) client: Client,
    /// Reads and writes the socket; ends with the link.
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

impl fmt::Debug for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Link").finish_non_exhaustive()
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        self.driver.abort();
    }
}
