//! Reading: a few connections that never write, used on the caller's own thread. A read takes
//! microseconds; it waits for no commit.

use std::ops::Deref;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard};

use orderlock_core::store::{KeyFacts, Known, Lookup, OrderView};
use orderlock_core::{LeaseView, Mark, Timestamp};
use rusqlite::Connection;

use crate::acquire::lock_state;
use crate::error::Fault;
use crate::keys::find_key;
use crate::leases::{Held, lock};
use crate::newest::{Place, find_journal};
use crate::rows::{OrderRow, WholeOrder, find_order};

/// The connections that read. Whoever needs a part of the leases too locks that first.
#[derive(Debug)]
pub(crate) struct Readers {
    connections: Vec<Mutex<Connection>>,
    next: AtomicUsize,
}

impl Readers {
    pub(crate) fn new(connections: Vec<Connection>) -> Self {
        Self {
            connections: connections.into_iter().map(Mutex::new).collect(),
            next: AtomicUsize::new(0),
        }
    }

    /// A connection that nobody uses, or else the next one in turn.
    pub(crate) fn take(&self) -> MutexGuard<'_, Connection> {
        let free = self.connections.iter().find_map(|it| it.try_lock().ok());
        free.unwrap_or_else(|| {
            let turn = self.next.fetch_add(1, Ordering::Relaxed) % self.connections.len();
            lock(&self.connections[turn])
        })
    }

    /// Reads with one statement: that is a snapshot by itself.
    pub(crate) fn look<T>(
        &self,
        work: impl FnOnce(&Connection) -> rusqlite::Result<T>,
    ) -> rusqlite::Result<T> {
        work(&self.take())
    }

    /// Reads in one snapshot of committed state.
    pub(crate) fn read<T>(
        &self,
        work: impl FnOnce(&Connection) -> Result<T, Fault>,
    ) -> Result<T, Fault> {
        let connection = self.take();
        let snapshot = Snapshot::begin(&connection)?;
        work(&snapshot)
    }
}

/// A connection's look at one moment of the file. It ends when this is dropped.
#[derive(Debug)]
pub(crate) struct Snapshot<'a>(&'a Connection);

impl<'a> Snapshot<'a> {
    /// Begins to read. The moment is that of the first statement.
    pub(crate) fn begin(connection: &'a Connection) -> rusqlite::Result<Self> {
        connection.prepare_cached("BEGIN")?.execute([])?;
        Ok(Self(connection))
    }

    /// Begins to read at this very moment.
    pub(crate) fn begin_now(connection: &'a Connection) -> rusqlite::Result<Self> {
        let snapshot = Self::begin(connection)?;
        snapshot
            .prepare_cached("SELECT one FROM store")?
            .query_row([], |_| Ok(()))?;
        Ok(snapshot)
    }
}

impl Deref for Snapshot<'_> {
    type Target = Connection;

    fn deref(&self) -> &Connection {
        self.0
    }
}

impl Drop for Snapshot<'_> {
    fn drop(&mut self) {
        let ended = self
            .0
            .prepare_cached("COMMIT")
            .and_then(|mut it| it.execute([]));
        if let Err(error) = ended {
            // The next reader would find an old snapshot, or none.
            tracing::warn!(%error, "a read could not be ended");
            let _ = self.0.execute_batch("ROLLBACK");
        }
    }
}

/// An order as others see it.
pub(crate) fn view(whole: WholeOrder, held: Option<&Held>) -> OrderView {
    OrderView {
        lease: lease_view(&whole.order, held),
        target: whole.order.target,
        version: whole.order.version,
        document: whole.document,
        index: whole.index,
        times: whole.times,
    }
}

pub(crate) fn lease_view(order: &OrderRow, held: Option<&Held>) -> Option<LeaseView> {
    let state = lock_state(order, held);
    match (state.lease(), state.mark()) {
        (Some(lease), _) => Some(lease.view(&order.target)),
        (None, Some(mark)) => Some(mark.view(&order.target)),
        (None, None) => None,
    }
}

/// What became of a key.
pub(crate) fn lookup(
    connection: &Connection,
    request: &Lookup,
    held: Option<&Held>,
    now: Timestamp,
) -> Result<Known, Fault> {
    let target = &request.target;
    let Some((row, journal)) = find_journal(connection, target)? else {
        return Ok(Known::Unknown);
    };
    let place = Place {
        target,
        row,
        journal: &journal,
    };
    if let Some(key) = find_key(connection, place, request.key_id, now)? {
        match key.facts {
            KeyFacts::Final { retained: true, .. } => return Ok(Known::Settled(key.entry)),
            KeyFacts::Final { fingerprint, .. } => return Ok(Known::Expired(fingerprint)),
            KeyFacts::Progress { .. } | KeyFacts::New => {}
        }
    }
    let mark = match held {
        Some(_) => None,
        None => find_order(connection, target)?.and_then(|order| order.mark),
    };
    Ok(unsettled(request, mark.as_ref(), held))
}

/// What is to be told of a key that is not settled.
pub(crate) fn unsettled(request: &Lookup, mark: Option<&Mark>, held: Option<&Held>) -> Known {
    if let Some(held) = held {
        let lease = held.lease();
        return if lease.key_id == request.key_id {
            Known::Running(lease.view(&request.target))
        } else {
            Known::Unknown
        };
    }
    let mine = mark.filter(|mark| mark.key_id == request.key_id);
    mine.map_or(Known::Unknown, |mark| Known::Marked(Box::new(mark.clone())))
}
