//! The journal: how an order is changed, and an entry written with what is remembered of its key.

use orderlock_core::store::{Change, Receipt, Retention};
use orderlock_core::{
    Answer, Document, Fence, Fingerprint, KeyId, OperationName, OutcomeKind, Principal, Times,
    Timestamp,
};
use rusqlite::{Connection, params};

use crate::error::Fault;
use crate::newest::{KeyHash, key_hash};
use crate::rows::{Latest, OrderRow, WholeOrder, signed};
use crate::time;

/// An entry on its way into the journal, which gives it position, number and version.
#[derive(Debug)]
pub(crate) struct Append<'a> {
    pub(crate) operation: &'a OperationName,
    pub(crate) outcome: OutcomeKind,
    pub(crate) actor: &'a Principal,
    pub(crate) reason: Option<&'a str>,
    pub(crate) at: Timestamp,
    pub(crate) attempt: u32,
    pub(crate) key_id: KeyId,
    pub(crate) fingerprint: Fingerprint,
    pub(crate) grant: Option<(Fence, u32)>,
    /// None for an operator's act that settles no key: nothing is remembered of it.
    pub(crate) memory: Option<Memory<'a>>,
}

/// What is remembered of a key with the entry.
#[derive(Debug)]
pub(crate) struct Memory<'a> {
    pub(crate) answer: Option<&'a Answer>,
    pub(crate) retention: Retention,
}

/// What stands in the transaction, and memory has still to take in.
#[derive(Debug)]
#[must_use = "memory must not fall behind the file"]
pub(crate) struct Written {
    /// The order as the entry leaves it.
    pub(crate) latest: Latest,
    /// Where its key is looked up.
    pub(crate) key: KeyHash,
    pub(crate) receipt: Receipt,
}

/// Changes an order, if there is a change, and writes an entry of it with what is remembered of
/// the entry's key.
pub(crate) fn append(
    connection: &Connection,
    before: &Latest,
    change: Option<&Change>,
    entry: &Append<'_>,
    now: Timestamp,
) -> Result<Written, Fault> {
    let mut latest = match change {
        Some(change) => changed(before, change),
        None => before.clone(),
    };
    let number = before.journal.number.saturating_add(1);
    let document = change.map(|_| &latest.whole.document);
    let order = &latest.whole.order;
    let position = insert(connection, (order, number), None, document, entry)?;
    let at = (key_hash(entry.key_id), position);
    latest.journal.push(connection, order.row, at)?;
    update(connection, before, &latest, change.is_some())?;
    Ok(written(connection, latest, position, entry, now)?)
}

/// The position of the next entry. Nobody else writes the file.
pub(crate) fn next_position(connection: &Connection) -> rusqlite::Result<i64> {
    connection
        .prepare_cached("SELECT coalesce(max(position), 0) + 1 FROM entries")?
        .query_row([], |row| row.get(0))
}

/// Writes the first entry of an order, whose row tells it already.
pub(crate) fn begin(
    connection: &Connection,
    latest: Latest,
    position: i64,
    entry: &Append<'_>,
    now: Timestamp,
) -> rusqlite::Result<Written> {
    let WholeOrder {
        order, document, ..
    } = &latest.whole;
    let place = (order, latest.journal.number);
    insert(connection, place, Some(position), Some(document), entry)?;
    written(connection, latest, position, entry, now)
}

fn insert(
    connection: &Connection,
    (order, number): (&OrderRow, u64),
    position: Option<i64>,
    document: Option<&Document>,
    entry: &Append<'_>,
) -> rusqlite::Result<i64> {
    let (fence, step) = entry.grant.unzip();
    let mut insert = connection.prepare_cached(
        "INSERT INTO entries (position, order_row, number, version, operation, outcome, actor,
             reason, at, attempt, key_id, fingerprint, fence, step, change)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15)",
    )?;
    insert.insert(params![
        position,
        order.row,
        signed(number),
        signed(order.version.0),
        entry.operation.as_str(),
        entry.outcome.as_str(),
        entry.actor.as_str(),
        entry.reason,
        time::to_sql(entry.at),
        entry.attempt,
        entry.key_id.0,
        entry.fingerprint.0,
        fence.map(|fence| fence.0.to_be_bytes()),
        step.unwrap_or(0),
        document.map(|document| &document.as_bytes()[..]),
    ])
}

fn written(
    connection: &Connection,
    latest: Latest,
    position: i64,
    entry: &Append<'_>,
    now: Timestamp,
) -> rusqlite::Result<Written> {
    let mut expires = now;
    if let Some(memory) = &entry.memory {
        expires = time::after(now, memory.retention.answer);
        remember(connection, position, entry, memory, now)?;
    }
    Ok(Written {
        receipt: Receipt {
            number: latest.journal.number,
            expires,
        },
        key: key_hash(entry.key_id),
        latest,
    })
}

fn remember(
    connection: &Connection,
    position: i64,
    entry: &Append<'_>,
    memory: &Memory<'_>,
    now: Timestamp,
) -> rusqlite::Result<()> {
    let Retention { answer, tombstone } = memory.retention;
    let forgotten = time::to_sql(time::after(now, tombstone.max(answer)));
    let created = entry.outcome == OutcomeKind::Created;
    let answered = memory.answer;
    let mut insert = connection.prepare_cached(
        "INSERT INTO keys (position, expires, forgotten, status, content_type, location, version,
             body)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
    )?;
    insert.execute(params![
        position,
        time::to_sql(time::after(now, answer)),
        (!created).then_some(forgotten),
        answered.map(|answer| answer.status),
        answered.map(|answer| answer.content_type.as_str()),
        answered.and_then(|answer| answer.location.as_deref()),
        answered
            .and_then(|answer| answer.version)
            .map(|version| signed(version.0)),
        answered.map(|answer| &answer.body[..]),
    ])?;
    Ok(())
}

/// How an order's row is written, with some more columns.
macro_rules! order_statement {
    ($columns:literal) => {
        concat!(
            "UPDATE orders SET number = ?3, newest = ?4",
            $columns,
            " WHERE row = ?1 AND number = ?2 AND version = ?5"
        )
    };
}

/// Writes the order as its entry leaves it. The state that the decision was made on is asked again
/// here, so that no mistake above can write over a change.
fn update(
    connection: &Connection,
    before: &Latest,
    after: &Latest,
    changed: bool,
) -> Result<(), Fault> {
    let (was, is) = (&before.whole.index, &after.whole.index);
    // A statement that names an indexed column writes its index, whether or not the value is new:
    // each leaves out the columns that stay as they are.
    let (statement, parameters) = match (is.status == was.status, is.customer == was.customer) {
        _ if !changed => (order_statement!(""), 5),
        (true, true) => (
            order_statement!(", version = ?6, updated = ?7, document = ?8"),
            8,
        ),
        (false, true) => (
            order_statement!(", version = ?6, updated = ?7, document = ?8, status = ?9"),
            9,
        ),
        (_, false) => (
            order_statement!(
                ", version = ?6, updated = ?7, document = ?8, status = ?9, customer = ?10"
            ),
            10,
        ),
    };
    let values = params![
        before.whole.order.row,
        signed(before.journal.number),
        signed(after.journal.number),
        after.journal.newest,
        signed(before.whole.order.version.0),
        signed(after.whole.order.version.0),
        time::to_sql(after.whole.times.updated),
        &after.whole.document.as_bytes()[..],
        is.status,
        is.customer,
    ];
    let mut update = connection.prepare_cached(statement)?;
    let rows = update.execute(&values[..parameters])?;
    if rows != 1 {
        return Err(Fault::damaged("an order changed outside its writer"));
    }
    Ok(())
}

/// The order as a change leaves it, with its next version.
fn changed(before: &Latest, change: &Change) -> Latest {
    let whole = &before.whole;
    Latest {
        whole: WholeOrder {
            order: OrderRow {
                version: whole.order.version.next(),
                ..whole.order.clone()
            },
            index: change.index.clone(),
            times: Times {
                updated: time::as_kept(change.at),
                ..whole.times
            },
            // A copy of its own, which keeps no larger buffer in memory.
            document: Document::trusted(change.after.as_bytes().to_vec()),
        },
        journal: before.journal,
    }
}
