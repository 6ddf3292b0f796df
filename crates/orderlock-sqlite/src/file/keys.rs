//! Queries of the journal: what it says of a key, and what its entries hold.

use orderlock_core::store::{Entry, KeyFacts, Receipt};
use orderlock_core::{Fence, KeyId, Target, Timestamp};
use rusqlite::{Connection, OptionalExtension as _, Row, params};

use crate::clock::Now;
use crate::file::key_index::{Indexed, find_by_key};
use crate::file::rows::{entry_columns, entry_row, own_entry_columns, unsigned};
use crate::file::time;

/// The newest entry of a key that is in the file.
#[derive(Clone, Debug)]
pub(crate) struct KeyRow {
    pub(crate) entry: Box<Entry>,
    /// What it says of the key; nothing, once its tombstone has ended.
    pub(crate) facts: KeyFacts,
    /// The key's last checkpoint by a run before the one that is asked for.
    pub(crate) progress: Option<Box<Entry>>,
}

/// The statements that look at an entry whose key may be the one that is looked for. Each goes by
/// the entry's position.
pub(crate) const KEY_AT: &str = concat!(
    "SELECT ",
    own_entry_columns!(", e.forgotten "),
    "WHERE e.position = ?3 AND e.key_id = ?4 AND e.expires IS NOT NULL"
);
pub(crate) const PROGRESS_AT: &str = concat!(
    "SELECT ",
    own_entry_columns!(""),
    "WHERE e.position = ?3 AND e.key_id = ?4 AND e.outcome = 'checkpoint' AND e.attempt < ?5
         AND e.forgotten > ?6"
);
pub(crate) const ENTRY_AT: &str =
    concat!("SELECT ", own_entry_columns!(""), "WHERE e.position = ?3");
pub(crate) const SETTLE_AT: &str = "SELECT e.number, e.expires FROM entries e
     WHERE e.position = ?1 AND e.key_id = ?2 AND e.fence = ?3 AND e.step = ?4";

/// What the journal says of a key, to this run of it. A final entry is always the key's last one:
/// after it, neither a settle nor a checkpoint of that key is applied.
pub(crate) fn find_key(
    connection: &Connection,
    place: Indexed<'_>,
    (key_id, run): (KeyId, Run),
    now: Now,
) -> rusqlite::Result<Option<KeyRow>> {
    let target = place.target;
    let found = find_by_key(connection, place.journal(), key_id, |position| {
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
    })?;
    let Some(mut found) = found else {
        return Ok(None);
    };
    if matches!(found.facts, KeyFacts::Progress { .. }) {
        found.progress = progress(connection, place, (key_id, run), now)?;
    }
    Ok(Some(found))
}

/// Which run of its key asks: it is told of the checkpoints of those before it.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Run {
    /// One that is still to be granted.
    Next,
    /// The one that holds the order.
    Held(u32),
}

fn key_row(row: &Row<'_>, now: Now) -> rusqlite::Result<KeyRow> {
    let entry = Box::new(entry_row(row, now.wall)?);
    let forgotten = row.get::<_, Option<i64>>(22)?.map(time::from_sql);
    let fingerprint = entry.fingerprint;
    let facts = if forgotten.is_some_and(|forgotten| forgotten <= now.retention.earliest) {
        KeyFacts::New
    } else if entry.outcome.is_final() {
        KeyFacts::Final {
            fingerprint,
            // An answer that was removed is not retained, even if the clock was set back since.
            retained: entry.answer.is_some(),
        }
    } else {
        KeyFacts::Progress {
            fingerprint,
            attempt: entry.attempt,
        }
    };
    Ok(KeyRow {
        entry,
        facts,
        progress: None,
    })
}

/// What a settle has written before, if it has: found by the grant and the step that name it.
pub(crate) fn find_settle(
    connection: &Connection,
    place: Indexed<'_>,
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
fn progress(
    connection: &Connection,
    place: Indexed<'_>,
    (key_id, run): (KeyId, Run),
    now: Now,
) -> rusqlite::Result<Option<Box<Entry>>> {
    let target = place.target;
    let before = match run {
        Run::Next => u32::MAX,
        Run::Held(attempt) => attempt,
    };
    find_by_key(connection, place.journal(), key_id, |position| {
        connection
            .prepare_cached(PROGRESS_AT)?
            .query_row(
                params![
                    target.tenant.as_str(),
                    target.order.as_str(),
                    position,
                    key_id.0,
                    before,
                    time::to_sql(now.retention.earliest),
                ],
                |row| entry_row(row, now.wall).map(Box::new),
            )
            .optional()
    })
}
