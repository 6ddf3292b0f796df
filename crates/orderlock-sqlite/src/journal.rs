//! The journal: entries, what is remembered of their keys, and how a key is found.

use orderlock_core::store::{Change, Entry, KeyFacts, Receipt, Retention};
use orderlock_core::{
    Answer, Document, Fence, Fingerprint, KeyId, OperationName, OutcomeKind, Principal, Target,
    Timestamp, Version,
};
use rusqlite::{Connection, OptionalExtension as _, Row, params};

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
    let (fence, step) = entry.grant.unzip();
    let mut insert = connection.prepare_cached(
        "INSERT INTO entries (order_row, number, version, operation, outcome, actor, reason,
             at, attempt, key_id, fingerprint, fence, step, change)
         VALUES (?1, (SELECT coalesce(max(number), 0) + 1 FROM entries WHERE order_row = ?1),
             ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13)
         RETURNING position, number",
    )?;
    let values = params![
        entry.order,
        signed(entry.version.0),
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
        entry.change.map(|document| &document.as_bytes()[..]),
    ];
    let (position, number): (i64, i64) =
        insert.query_row(values, |row| Ok((row.get(0)?, row.get(1)?)))?;
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

/// Gives the order its next version. The version that the decision was made on is asked again
/// here, so that no mistake above can write over a change.
pub(crate) fn apply(
    connection: &Connection,
    order: &OrderRow,
    change: &Change,
) -> Result<Version, Fault> {
    let version = order.version.next();
    let mut update = connection.prepare_cached(
        "UPDATE orders SET version = ?1, status = ?2, customer = ?3, updated = ?4, document = ?5
         WHERE row = ?6 AND version = ?7",
    )?;
    let rows = update.execute(params![
        signed(version.0),
        change.index.status,
        change.index.customer,
        time::to_sql(change.at),
        &change.after.as_bytes()[..],
        order.row,
        signed(order.version.0),
    ])?;
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
     WHERE k.key_hash = ?1 AND e.key_id = ?2 AND +e.order_row = ?3
     ORDER BY k.position DESC LIMIT 1";
pub(crate) const FIND_KEY_OF: &str =
    "SELECT e.position, e.outcome, e.fingerprint, e.attempt, k.expires, k.forgotten
     FROM keys k JOIN entries e ON e.position = k.position JOIN orders o ON o.row = e.order_row
     WHERE k.key_hash = ?1 AND e.key_id = ?2 AND +o.tenant = ?3 AND +o.id = ?4
     ORDER BY k.position DESC LIMIT 1";
pub(crate) const FIND_SETTLE: &str =
    "SELECT e.number, k.expires FROM keys k JOIN entries e ON e.position = k.position
     WHERE k.key_hash = ?1 AND e.key_id = ?2 AND +e.order_row = ?3
         AND e.fence = ?4 AND e.step = ?5";
pub(crate) const FIND_PROGRESS: &str = concat!(
    "SELECT ",
    entry_columns!(),
    "WHERE k.key_hash = ?1 AND e.key_id = ?2 AND +e.order_row = ?3
         AND e.outcome = 'checkpoint' AND e.attempt < ?4
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
    let found = connection
        .prepare_cached(FIND_KEY)?
        .query_row(params![key_hash(key_id), key_id.0, order], |row| {
            Ok(key_row(row, now))
        });
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
        params![
            key_hash(key_id),
            key_id.0,
            target.tenant.as_str(),
            target.order.as_str(),
        ],
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
            params![
                key_hash(key_id),
                key_id.0,
                order,
                fence.0.to_be_bytes(),
                step
            ],
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
            "WHERE e.position = ?1"
        ))?
        .query_row([position], |row| entry_row(row, now).map(Box::new))
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
        .query_row(params![key_hash(key_id), key_id.0, order, attempt], |row| {
            entry_row(row, now).map(Box::new)
        })
        .optional()
}

/// Where a key is looked up: the first 64 bits of its id.
pub(crate) fn key_hash(key_id: KeyId) -> i64 {
    let mut first = [0; 8];
    first.copy_from_slice(&key_id.0[..8]);
    i64::from_be_bytes(first)
}
