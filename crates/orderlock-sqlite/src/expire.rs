//! `expire`: the end of answers, then of tombstones.

use orderlock_core::KeyId;
use orderlock_core::store::{Expire, Expired};
use rusqlite::{Connection, params};

use crate::error::Fault;
use crate::newest::{find_by_key, journal_at};
use crate::rows::signed;
use crate::time;
use crate::turn::Turn;

/// The most answers and tombstones in one transaction, whatever is asked for: others wait behind
/// it.
const BATCH_MAX: usize = 1_024;

pub(crate) fn expire(turn: &mut Turn<'_>, request: &Expire) -> Result<Expired, Fault> {
    let limit = request.limit.clamp(1, BATCH_MAX);
    let now = time::to_sql(turn.now);
    let answers = end_answers(turn.connection, now, limit)?;
    let (rows, tombstones) = end_tombstones(turn.connection, now, limit - answers)?;
    Ok(Expired {
        answers,
        tombstones,
        more: answers + rows >= limit,
        behind: std::time::Duration::ZERO,
    })
}

fn end_answers(connection: &Connection, now: i64, limit: usize) -> rusqlite::Result<usize> {
    connection
        .prepare_cached(
            "UPDATE keys SET status = NULL, content_type = NULL, location = NULL, version = NULL,
                 body = NULL
             WHERE position IN (
                 SELECT position FROM keys WHERE status IS NOT NULL AND expires <= ?1
                 ORDER BY expires LIMIT ?2)",
        )?
        .execute(params![now, signed(limit as u64)])
}

/// With a key's tombstone goes what is remembered of its checkpoints, or else the key would look
/// as if it had begun and never ended. Returns how many rows were due, and how many of them were
/// tombstones: a checkpoint's is not, since it ended nothing.
fn end_tombstones(
    connection: &Connection,
    now: i64,
    limit: usize,
) -> rusqlite::Result<(usize, usize)> {
    let due: Vec<(i64, i64, [u8; 32], bool)> = connection
        .prepare_cached(
            "SELECT k.position, e.order_row, e.key_id, e.outcome = 'checkpoint'
             FROM keys k JOIN entries e ON e.position = k.position
             WHERE k.status IS NULL AND k.forgotten IS NOT NULL AND k.forgotten <= ?1
             ORDER BY k.forgotten LIMIT ?2",
        )?
        .query_map(params![now, signed(limit as u64)], |row| {
            Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?))
        })?
        .collect::<Result<_, _>>()?;
    let rows = due.len();
    let mut tombstones = 0;
    for (position, order, key_id, checkpoint) in due {
        let journal = journal_at(connection, order)?;
        let forget = |of_key: i64| {
            if of_key <= position {
                forget(connection, of_key, key_id)?;
            }
            Ok(None::<()>)
        };
        find_by_key(connection, (order, &journal), KeyId(key_id), forget)?;
        tombstones += usize::from(!checkpoint);
    }
    Ok((rows, tombstones))
}

/// Removes what is remembered of a key with one entry, if that is an entry of the key.
fn forget(connection: &Connection, position: i64, key_id: [u8; 32]) -> rusqlite::Result<()> {
    connection
        .prepare_cached(
            "DELETE FROM keys WHERE position = ?1 AND EXISTS (
                 SELECT 1 FROM entries e
                 WHERE e.position = ?1 AND e.key_id = ?2 AND e.outcome != 'created')",
        )?
        .execute(params![position, key_id])?;
    Ok(())
}
