//! Appending to the journal: an order is changed, and an entry written with what is remembered of its
//! key.

use orderlock_core::store::{Change, Receipt, Retention};
use orderlock_core::{
    Answer, Document, Fence, Fingerprint, KeyId, OperationName, OutcomeKind, Principal, Times,
    Timestamp,
};
use rusqlite::{Connection, params};

use crate::clock::Now;
use crate::file::error::Fault;
use crate::file::key_index::{KeyHash, key_hash};
use crate::file::rows::{Latest, OrderRow, WholeOrder, signed};
use crate::file::time;

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
    /// None for an act that says nothing of a key: nothing is remembered of it.
    pub(crate) record: Option<KeyRecord<'a>>,
}

/// What is remembered of a key with the entry.
#[derive(Debug)]
pub(crate) struct KeyRecord<'a> {
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
    now: Now,
) -> Result<Written, Fault> {
    let mut latest = match change {
        Some(change) => changed(before, change),
        None => before.clone(),
    };
    let number = before.journal.number.saturating_add(1);
    let document = change.map(|_| &latest.whole.document);
    let order = &latest.whole.order;
    let ends = Ends::of(entry, now);
    let position = insert(connection, (order, number), None, document, (entry, ends))?;
    let at = (key_hash(entry.key_id), position);
    latest.journal.push(connection, order.row, at)?;
    update(connection, before, &latest, change.is_some())?;
    Ok(written(connection, latest, position, (entry, ends))?)
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
    now: Now,
) -> rusqlite::Result<Written> {
    let WholeOrder {
        order, document, ..
    } = &latest.whole;
    let (place, ends) = ((order, latest.journal.number), Ends::of(entry, now));
    let entry = (entry, ends);
    insert(connection, place, Some(position), Some(document), entry)?;
    written(connection, latest, position, entry)
}

/// When what is remembered of a key ends.
#[derive(Clone, Copy, Debug)]
struct Ends {
    /// None if nothing is remembered.
    expires: Option<Timestamp>,
    /// None for a creation too: the order itself is the tombstone.
    forgotten: Option<Timestamp>,
    now: Timestamp,
}

impl Ends {
    fn of(entry: &Append<'_>, now: Now) -> Self {
        let retention = entry.record.as_ref().map(|record| record.retention);
        let after = |span| time::after(now.retention.latest, span);
        let lasting = retention.filter(|_| entry.outcome != OutcomeKind::Created);
        Self {
            expires: retention.map(|retention| after(retention.answer)),
            forgotten: lasting.map(|it| after(it.tombstone.max(it.answer))),
            now: now.wall,
        }
    }
}

fn insert(
    connection: &Connection,
    (order, number): (&OrderRow, u64),
    position: Option<i64>,
    document: Option<&Document>,
    (entry, ends): (&Append<'_>, Ends),
) -> rusqlite::Result<i64> {
    let (fence, step) = entry.grant.unzip();
    let mut insert = connection.prepare_cached(
        "INSERT INTO entries (position, order_row, number, version, operation, outcome, actor,
             reason, at, attempt, key_id, fingerprint, fence, step, expires, forgotten, change)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17)",
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
        ends.expires.map(time::to_sql),
        ends.forgotten.map(time::to_sql),
        document.map(|document| &document.as_bytes()[..]),
    ])
}

fn written(
    connection: &Connection,
    latest: Latest,
    position: i64,
    (entry, ends): (&Append<'_>, Ends),
) -> rusqlite::Result<Written> {
    let expires = ends.expires.unwrap_or(ends.now);
    if let Some(answer) = entry.record.as_ref().and_then(|record| record.answer) {
        let mut insert = connection.prepare_cached(
            "INSERT INTO answers (position, expires, status, content_type, location, version, body)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
        )?;
        insert.execute(params![
            position,
            time::to_sql(expires),
            answer.status,
            answer.content_type.as_str(),
            answer.location.as_deref(),
            answer.version.map(|version| signed(version.0)),
            &answer.body[..],
        ])?;
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
