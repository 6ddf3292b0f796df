//! Reading: a few connections that never write, used on the caller's own thread. A read takes
//! microseconds; it waits for no commit.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard};

use orderlock_core::store::{KeyFacts, Known, Lookup, OrderView};
use orderlock_core::{LeaseView, Target, Timestamp};
use rusqlite::{Connection, Transaction};

use crate::acquire::lock_state;
use crate::error::Fault;
use crate::journal::{entry_at, find_key};
use crate::leases::{Held, lock};
use crate::rows::{OrderRow, WholeOrder, find_order, whole_order_at};

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

    /// Reads in one snapshot of committed state.
    pub(crate) fn read<T>(
        &self,
        work: impl FnOnce(&Connection) -> Result<T, Fault>,
    ) -> Result<T, Fault> {
        let connection = self.take();
        let snapshot = begin(&connection)?;
        work(&snapshot)
    }
}

/// Begins to read. The snapshot is fixed by this, not by the first real read; it ends when the
/// transaction is dropped.
pub(crate) fn begin(connection: &Connection) -> rusqlite::Result<Transaction<'_>> {
    let snapshot = connection.unchecked_transaction()?;
    snapshot
        .prepare_cached("SELECT one FROM store")?
        .query_row([], |_| Ok(()))?;
    Ok(snapshot)
}

/// One order as others see it.
pub(crate) fn read(
    connection: &Connection,
    target: &Target,
    held: Option<&Held>,
) -> Result<Option<OrderView>, Fault> {
    let Some(order) = find_order(connection, target)? else {
        return Ok(None);
    };
    let whole = whole_order_at(connection, order.row)?;
    Ok(Some(view(whole, held)))
}

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
    let Some(order) = find_order(connection, &request.target)? else {
        return Ok(Known::Unknown);
    };
    if let Some(key) = find_key(connection, order.row, request.key_id, now)? {
        match key.facts {
            KeyFacts::Final { retained: true, .. } => {
                return Ok(Known::Settled(entry_at(connection, key.position, now)?));
            }
            KeyFacts::Final { fingerprint, .. } => return Ok(Known::Expired(fingerprint)),
            KeyFacts::Progress { .. } | KeyFacts::New => {}
        }
    }
    let state = lock_state(&order, held);
    Ok(match (state.lease(), state.mark()) {
        (Some(lease), _) if lease.key_id == request.key_id => {
            Known::Running(lease.view(&request.target))
        }
        (None, Some(mark)) if mark.key_id == request.key_id => {
            Known::Marked(Box::new(mark.clone()))
        }
        _ => Known::Unknown,
    })
}
