//! How the journal is asked: what it says of a key, and what its entries hold.

use orderlock_core::store::{Entry, KeyFacts, Receipt};
use orderlock_core::{Fence, Fingerprint, KeyId, OutcomeKind, Target, Timestamp};
use rusqlite::{Connection, OptionalExtension as _, Row, params};

use crate::error::Fault;
use crate::rows::{entry_columns, entry_row, signed, unsigned};
use crate::time;

/// The newest entry of a key that is in the file.
#[derive(Clone, Copy, Debug)]
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

/// Where the keys of an order are looked up, at most so many, a key with checkpoints more than once.
pub(crate) fn key_hashes(
    connection: &Connection,
    order: i64,
    limit: usize,
) -> rusqlite::Result<Vec<i64>> {
    connection
        .prepare_cached(
            "SELECT k.key_hash FROM entries e JOIN keys k ON k.position = e.position
             WHERE e.order_row = ?1 LIMIT ?2",
        )?
        .query_map(params![order, signed(limit as u64)], |row| row.get(0))?
        .collect()
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
