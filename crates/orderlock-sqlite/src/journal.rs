//! The journal: how an order is changed, and an entry written with what is remembered of its key.

use orderlock_core::store::{Change, Receipt, Retention};
use orderlock_core::{
    Answer, Document, Fence, Fingerprint, KeyId, OperationName, OutcomeKind, Principal, Times,
    Timestamp,
};
use rusqlite::{Connection, params};

use crate::error::Fault;
use crate::keys::key_hash;
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
    /// Whether the order was changed with it: then it keeps the order as it is now.
    pub(crate) changed: bool,
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
    /// Where its key is looked up, if it has one.
    pub(crate) key: Option<i64>,
    pub(crate) receipt: Receipt,
}

/// Writes an entry of an order, which is as its change has left it, and what is remembered of the
/// entry's key.
pub(crate) fn append(
    connection: &Connection,
    before: Latest,
    entry: &Append<'_>,
    now: Timestamp,
) -> rusqlite::Result<Written> {
    let latest = Latest {
        number: before.number.saturating_add(1),
        ..before
    };
    let WholeOrder {
        order, document, ..
    } = &latest.whole;
    let (fence, step) = entry.grant.unzip();
    let mut insert = connection.prepare_cached(
        "INSERT INTO entries (order_row, number, version, operation, outcome, actor, reason,
             at, attempt, key_id, fingerprint, fence, step, change)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14)",
    )?;
    let position = insert.insert(params![
        order.row,
        signed(latest.number),
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
        entry.changed.then(|| &document.as_bytes()[..]),
    ])?;
    let mut expires = now;
    if let Some(memory) = &entry.memory {
        expires = time::after(now, memory.retention.answer);
        remember(connection, position, entry, memory, now)?;
    }
    Ok(Written {
        receipt: Receipt {
            number: latest.number,
            expires,
        },
        key: entry.memory.as_ref().map(|_| key_hash(entry.key_id)),
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
        "INSERT INTO keys (position, key_hash, expires, forgotten,
             status, content_type, location, version, body)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
    )?;
    insert.execute(params![
        position,
        key_hash(entry.key_id),
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

/// How an order is changed, with some more columns.
macro_rules! change_statement {
    ($columns:literal) => {
        concat!(
            "UPDATE orders SET version = ?1, updated = ?2, document = ?3",
            $columns,
            " WHERE row = ?4 AND version = ?5"
        )
    };
}

/// Changes the order and gives it its next version. The version that the decision was made on is
/// asked again here, so that no mistake above can write over a change.
pub(crate) fn apply(
    connection: &Connection,
    before: &Latest,
    change: &Change,
) -> Result<Latest, Fault> {
    let order = &before.whole.order;
    let version = order.version.next();
    let (was, is) = (&before.whole.index, &change.index);
    // A statement that names an indexed column writes its index, whether or not the value is new:
    // each leaves out the columns that stay as they are.
    let (statement, parameters) = match (is.status == was.status, is.customer == was.customer) {
        (true, true) => (change_statement!(""), 5),
        (false, true) => (change_statement!(", status = ?6"), 6),
        (_, false) => (change_statement!(", status = ?6, customer = ?7"), 7),
    };
    let values = params![
        signed(version.0),
        time::to_sql(change.at),
        &change.after.as_bytes()[..],
        order.row,
        signed(order.version.0),
        is.status,
        is.customer,
    ];
    let mut update = connection.prepare_cached(statement)?;
    let rows = update.execute(&values[..parameters])?;
    if rows != 1 {
        return Err(Fault::damaged("an order changed outside its writer"));
    }
    Ok(Latest {
        whole: WholeOrder {
            order: OrderRow {
                version,
                ..order.clone()
            },
            index: change.index.clone(),
            times: Times {
                updated: time::as_kept(change.at),
                ..before.whole.times
            },
            // A copy of its own, which keeps no larger buffer in memory.
            document: Document::trusted(change.after.as_bytes().to_vec()),
        },
        number: before.number,
    })
}
