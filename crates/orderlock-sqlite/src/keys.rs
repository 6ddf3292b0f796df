//! How the journal is asked: what it says of a key, and what its entries hold.

use orderlock_core::store::{Entry, KeyFacts, Receipt};
use orderlock_core::{Fence, KeyId, Target, Timestamp};
use rusqlite::{Connection, OptionalExtension as _, Row, params};

use crate::newest::{Place, find_by_key};
use crate::rows::{entry_columns, entry_row, own_entry_columns, unsigned};
use crate::time;

/// The newest entry of a key that is in the file.
#[derive(Clone, Debug)]
pub(crate) struct KeyRow {
    pub(crate) entry: Box<Entry>,
    /// What it says of the key; nothing, once its tombstone has ended.
    pub(crate) facts: KeyFacts,
}

/// The statements that look at an entry whose key may be the one that is looked for. Each goes by
/// the entry's position.
pub(crate) const KEY_AT: &str = concat!(
    "SELECT ",
    own_entry_columns!(", k.forgotten "),
    "WHERE e.position = ?3 AND e.key_id = ?4 AND k.position IS NOT NULL"
);
pub(crate) const PROGRESS_AT: &str = concat!(
    "SELECT ",
    own_entry_columns!(""),
    "WHERE e.position = ?3 AND e.key_id = ?4 AND k.position IS NOT NULL
         AND e.outcome = 'checkpoint' AND e.attempt < ?5"
);
pub(crate) const ENTRY_AT: &str =
    concat!("SELECT ", own_entry_columns!(""), "WHERE e.position = ?3");
pub(crate) const SETTLE_AT: &str =
    "SELECT e.number, k.expires FROM entries e JOIN keys k ON k.position = e.position
     WHERE e.position = ?1 AND e.key_id = ?2 AND e.fence = ?3 AND e.step = ?4";

/// What the journal says of a key. A final entry is always the key's last one: after it, neither a
/// settle nor a checkpoint of that key is applied.
pub(crate) fn find_key(
    connection: &Connection,
    place: Place<'_>,
    key_id: KeyId,
    now: Timestamp,
) -> rusqlite::Result<Option<KeyRow>> {
    let target = place.target;
    find_by_key(connection, place.journal(), key_id, |position| {
        connection
            .prepare_cached(KEY_AT)?
            .query_row(
                params![
                    target.tenant.as_str(),
                    target.order.as_str(),
                    position,
                    key_id.0
                ],
                |row| key_row(row, now),
            )
            .optional()
    })
}

fn key_row(row: &Row<'_>, now: Timestamp) -> rusqlite::Result<KeyRow> {
    let entry = Box::new(entry_row(row, now)?);
    let expires = time::from_sql(row.get(16)?);
    let forgotten = row.get::<_, Option<i64>>(22)?.map(time::from_sql);
    let fingerprint = entry.fingerprint;
    let facts = if forgotten.is_some_and(|forgotten| forgotten <= now) {
        // Its tombstone has ended, whether or not the row has been removed yet.
        KeyFacts::New
    } else if entry.outcome.is_final() {
        KeyFacts::Final {
            fingerprint,
            retained: expires > now,
        }
    } else {
        KeyFacts::Progress {
            fingerprint,
            attempt: entry.attempt,
        }
    };
    Ok(KeyRow { entry, facts })
}

/// What a settle has written before, if it has: found by the grant and the step that name it.
pub(crate) fn find_settle(
    connection: &Connection,
    place: Place<'_>,
    key_id: KeyId,
    fence: Fence,
    step: u32,
) -> rusqlite::Result<Option<Receipt>> {
    find_by_key(connection, place.journal(), key_id, |position| {
        connection
            .prepare_cached(SETTLE_AT)?
            .query_row(
                params![position, key_id.0, fence.0.to_be_bytes(), step],
                |row| {
                    Ok(Receipt {
                        number: unsigned(row.get(0)?),
                        expires: time::from_sql(row.get(1)?),
                    })
                },
            )
            .optional()
    })
}

/// One entry of an order, whole.
pub(crate) fn entry_at(
    connection: &Connection,
    target: &Target,
    position: i64,
    now: Timestamp,
) -> rusqlite::Result<Entry> {
    connection.prepare_cached(ENTRY_AT)?.query_row(
        params![target.tenant.as_str(), target.order.as_str(), position],
        |row| entry_row(row, now),
    )
}

/// The last checkpoint of a key by a run before this one.
pub(crate) fn progress(
    connection: &Connection,
    place: Place<'_>,
    key_id: KeyId,
    attempt: u32,
    now: Timestamp,
) -> rusqlite::Result<Option<Box<Entry>>> {
    let target = place.target;
    find_by_key(connection, place.journal(), key_id, |position| {
        connection
            .prepare_cached(PROGRESS_AT)?
            .query_row(
                params![
                    target.tenant.as_str(),
                    target.order.as_str(),
                    position,
                    key_id.0,
                    attempt
                ],
                |row| entry_row(row, now).map(Box::new),
            )
            .optional()
    })
}
