//! The journal: entries, what is remembered of their keys, and how a key is found.

use orderlock_core::store::{Change, Entry, KeyFacts, Receipt, Retention};
use orderlock_core::{
    Answer, Document, Fence, Fingerprint, KeyId, OperationName, OutcomeKind, Principal, Target,
    Timestamp, Version,
};
use rusqlite::{Connection, OptionalExtension as _, Row, named_params};

use crate::error::Fault;
use crate::rows::{OrderRow, entry_columns, entry_row, signed, unsigned};
use crate::time;

/// An entry on its way into the journal. Position and number are given by the journal.
#[derive(Debug)]
pub(crate) struct Append<'a> {
    pub(crate) order: i64,
    pub(crate) version: Version,
    pub(crate) operation: &'a OperationName,
    pub(crate) outcome: OutcomeKind,
    pub(crate) actor: &'a Principal,
    pub(crate) reason: Option<&'a str>,
    pub(crate) at: Timestamp,
    pub(crate) attempt: u32,
    pub(crate) key_id: KeyId,
    pub(crate) fingerprint: Fingerprint,
    pub(crate) grant: Option<(Fence, u32)>,
    pub(crate) change: Option<&'a Document>,
    /// None for an operator's act that settles no key: nothing is remembered of it.
    pub(crate) memory: Option<Memory<'a>>,
}

/// What is remembered of a key with the entry.
#[derive(Debug)]
pub(crate) struct Memory<'a> {
    pub(crate) answer: Option<&'a Answer>,
    pub(crate) retention: Retention,
}

/// Writes an entry, and what is remembered of its key.
pub(crate) fn append(
    connection: &Connection,
    entry: &Append<'_>,
    now: Timestamp,
) -> rusqlite::Result<Receipt> {
    let (position, number): (i64, i64) = connection
        .prepare_cached(
            "INSERT INTO entries (order_row, number, version, operation, outcome, actor, reason,
                 at, attempt, key_id, fingerprint, fence, step, change)
             VALUES (:order,
                 (SELECT coalesce(max(number), 0) + 1 FROM entries WHERE order_row = :order),
                 :version, :operation, :outcome, :actor, :reason,
                 :at, :attempt, :key_id, :fingerprint, :fence, :step, :change)
             RETURNING position, number",
        )?
        .query_row(
            named_params! {
                ":order": entry.order,
                ":version": signed(entry.version.0),
                ":operation": entry.operation.as_str(),
                ":outcome": entry.outcome.as_str(),
                ":actor": entry.actor.as_str(),
                ":reason": entry.reason,
                ":at": time::to_sql(entry.at),
                ":attempt": entry.attempt,
                ":key_id": entry.key_id.0,
                ":fingerprint": entry.fingerprint.0,
                ":fence": entry.grant.map(|(fence, _)| fence.0.to_be_bytes()),
                ":step": entry.grant.map_or(0, |(_, step)| step),
                ":change": entry.change.map(|document| &document.as_bytes()[..]),
            },
            |row| Ok((row.get(0)?, row.get(1)?)),
        )?;
    let mut expires = now;
    if let Some(memory) = &entry.memory {
        expires = time::after(now, memory.retention.answer);
        remember(connection, position, entry, memory, now)?;
    }
    Ok(Receipt {
        number: unsigned(number),
        expires,
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
    connection
        .prepare_cached(
            "INSERT INTO keys (position, key_hash, expires, forgotten,
                 status, content_type, location, version, body)
             VALUES (:position, :key_hash, :expires, :forgotten,
                 :status, :content_type, :location, :version, :body)",
        )?
        .execute(named_params! {
            ":position": position,
            ":key_hash": key_hash(entry.key_id),
            ":expires": time::to_sql(time::after(now, answer)),
            ":forgotten": (!created).then_some(forgotten),
            ":status": memory.answer.map(|answer| answer.status),
            ":content_type": memory.answer.map(|answer| answer.content_type.as_str()),
            ":location": memory.answer.and_then(|answer| answer.location.as_deref()),
            ":version": memory.answer.and_then(|answer| answer.version).map(|it| signed(it.0)),
            ":body": memory.answer.map(|answer| &answer.body[..]),
        })?;
    Ok(())
}

/// Gives the order its next version. The version that the decision was made on is asked again
/// here, so that no mistake above can write over a change.
pub(crate) fn apply(
    connection: &Connection,
    order: &OrderRow,
    change: &Change,
) -> Result<Version, Fault> {
    let version = order.version.next();
    let rows = connection
        .prepare_cached(
            "UPDATE orders SET version = :version, status = :status, customer = :customer,
                 updated = :updated, document = :document
             WHERE row = :row AND version = :before",
        )?
        .execute(named_params! {
            ":version": signed(version.0),
            ":status": change.index.status,
            ":customer": change.index.customer,
            ":updated": time::to_sql(change.at),
            ":document": &change.after.as_bytes()[..],
            ":row": order.row,
            ":before": signed(order.version.0),
        })?;
    if rows == 1 {
        Ok(version)
    } else {
        Err(Fault::damaged("an order changed outside its writer"))
    }
}

/// The newest entry of a key that is in the file.
#[derive(Debug)]
pub(crate) struct KeyRow {
    pub(crate) position: i64,
    /// What it says of the key; nothing, once its tombstone has ended.
    pub(crate) facts: KeyFacts,
}

/// The statements that look for a key. Each goes by the key's hash; the plus keeps SQLite from
/// going through all entries of the order instead, which takes longer with each settle of it.
pub(crate) const FIND_KEY: &str =
    "SELECT e.position, e.outcome, e.fingerprint, e.attempt, k.expires, k.forgotten
     FROM keys k JOIN entries e ON e.position = k.position
     WHERE k.key_hash = :key_hash AND e.key_id = :key_id AND +e.order_row = :order
     ORDER BY k.position DESC LIMIT 1";
pub(crate) const FIND_KEY_OF: &str =
    "SELECT e.position, e.outcome, e.fingerprint, e.attempt, k.expires, k.forgotten
     FROM keys k JOIN entries e ON e.position = k.position JOIN orders o ON o.row = e.order_row
     WHERE k.key_hash = :key_hash AND e.key_id = :key_id AND +o.tenant = :tenant AND +o.id = :id
     ORDER BY k.position DESC LIMIT 1";
pub(crate) const FIND_SETTLE: &str =
    "SELECT e.number, k.expires FROM keys k JOIN entries e ON e.position = k.position
     WHERE k.key_hash = :key_hash AND e.key_id = :key_id AND +e.order_row = :order
         AND e.fence = :fence AND e.step = :step";
pub(crate) const FIND_PROGRESS: &str = concat!(
    "SELECT ",
    entry_columns!(),
    "WHERE k.key_hash = :key_hash AND e.key_id = :key_id AND +e.order_row = :order
         AND e.outcome = 'checkpoint' AND e.attempt < :attempt
     ORDER BY +e.position DESC LIMIT 1"
);

/// What the journal says of a key. A final entry is always the key's last one: after it, neither a
/// settle nor a checkpoint of that key is applied.
pub(crate) fn find_key(
    connection: &Connection,
    order: i64,
    key_id: KeyId,
    now: Timestamp,
) -> Result<Option<KeyRow>, Fault> {
    let found = connection.prepare_cached(FIND_KEY)?.query_row(
        named_params! {
            ":key_hash": key_hash(key_id), ":key_id": key_id.0, ":order": order,
        },
        |row| Ok(key_row(row, now)),
    );
    found.optional()?.transpose()
}

/// The same, of an order that has not been looked up.
pub(crate) fn find_key_of(
    connection: &Connection,
    target: &Target,
    key_id: KeyId,
    now: Timestamp,
) -> Result<Option<KeyRow>, Fault> {
    let found = connection.prepare_cached(FIND_KEY_OF)?.query_row(
        named_params! {
            ":key_hash": key_hash(key_id), ":key_id": key_id.0,
            ":tenant": target.tenant.as_str(), ":id": target.order.as_str(),
        },
        |row| Ok(key_row(row, now)),
    );
    found.optional()?.transpose()
}

fn key_row(row: &Row<'_>, now: Timestamp) -> Result<KeyRow, Fault> {
    let outcome = OutcomeKind::parse(&row.get::<_, String>(1)?)
        .ok_or_else(|| Fault::damaged("an entry has an unknown outcome"))?;
    let fingerprint = Fingerprint(row.get(2)?);
    let expires = time::from_sql(row.get(4)?);
    let forgotten = row.get::<_, Option<i64>>(5)?.map(time::from_sql);
    let facts = if forgotten.is_some_and(|forgotten| forgotten <= now) {
        // Its tombstone has ended, whether or not the row has been removed yet.
        KeyFacts::New
    } else if outcome.is_final() {
        KeyFacts::Final {
            fingerprint,
            retained: expires > now,
        }
    } else {
        KeyFacts::Progress {
            fingerprint,
            attempt: row.get(3)?,
        }
    };
    Ok(KeyRow {
        position: row.get(0)?,
        facts,
    })
}

/// What a settle has written before, if it has: found by the grant and the step that name it.
pub(crate) fn find_settle(
    connection: &Connection,
    order: i64,
    key_id: KeyId,
    fence: Fence,
    step: u32,
) -> rusqlite::Result<Option<Receipt>> {
    connection
        .prepare_cached(FIND_SETTLE)?
        .query_row(
            named_params! {
                ":key_hash": key_hash(key_id), ":key_id": key_id.0, ":order": order,
                ":fence": fence.0.to_be_bytes(), ":step": step,
            },
            |row| {
                Ok(Receipt {
                    number: unsigned(row.get(0)?),
                    expires: time::from_sql(row.get(1)?),
                })
            },
        )
        .optional()
}

/// One entry, whole.
pub(crate) fn entry_at(
    connection: &Connection,
    position: i64,
    now: Timestamp,
) -> rusqlite::Result<Box<Entry>> {
    connection
        .prepare_cached(concat!(
            "SELECT ",
            entry_columns!(),
            "WHERE e.position = :position"
        ))?
        .query_row(named_params! { ":position": position }, |row| {
            entry_row(row, now).map(Box::new)
        })
}

/// The last checkpoint of a key by a run before this one.
pub(crate) fn progress(
    connection: &Connection,
    order: i64,
    key_id: KeyId,
    attempt: u32,
    now: Timestamp,
) -> rusqlite::Result<Option<Box<Entry>>> {
    connection
        .prepare_cached(FIND_PROGRESS)?
        .query_row(
            named_params! {
                ":key_hash": key_hash(key_id), ":key_id": key_id.0, ":order": order,
                ":attempt": attempt,
            },
            |row| entry_row(row, now).map(Box::new),
        )
        .optional()
}

/// Where a key is looked up: the first 64 bits of its id.
pub(crate) fn key_hash(key_id: KeyId) -> i64 {
    let mut first = [0; 8];
    first.copy_from_slice(&key_id.0[..8]);
    i64::from_be_bytes(first)
}
