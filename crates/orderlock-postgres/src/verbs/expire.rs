//! The end of answers and of tombstones, in small batches that pass by what others work on. Each of
//! the two has its own share, so that neither waits for the other.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use orderlock_core::store::{Expire, Expired};
use orderlock_core::{StoreError, Timestamp};
use tokio_postgres::Row;
use tokio_postgres::types::{ToSql, Type};

use crate::pool::Purpose;
use crate::pool::settings::LockWait;
use crate::sql::error::Failure;
use crate::sql::rows::{Columns, signed};
use crate::sql::statement::{Commit, Sql};
use crate::verbs::Context;
use crate::verbs::retention;

/// The most answers, and the most tombstones, in one call, whatever is asked for.
const BATCH_MAX: usize = 1_024;

/// Tells how many answers were ended, and when the last of them was due. Of those that are due at one
/// time the creation of an order comes last: no tombstone follows it.
pub(crate) static END_ANSWERS: Sql = Sql {
    text: "WITH due AS (
            SELECT key_hash, order_row, number, expires FROM keys
            WHERE answer_status IS NOT NULL AND expires <= $1
                AND expires >= coalesce($3, '-infinity')
            ORDER BY expires, number DESC LIMIT $2 FOR UPDATE SKIP LOCKED
        ), ended AS (
            UPDATE keys k SET answer_status = NULL, content_type = NULL, location = NULL,
                version = NULL, body = NULL
            FROM due d
            WHERE k.key_hash = d.key_hash AND k.order_row = d.order_row AND k.number = d.number
            RETURNING d.expires
        )
        SELECT count(*), max(expires) FROM ended",
    types: &[&[Type::TIMESTAMPTZ, Type::INT8, Type::TIMESTAMPTZ]],
};

/// With a key's tombstone goes what is remembered of its checkpoints, or else the key would look as
/// if it had begun and never ended. Tells how many rows were due, when the last of them was, and how
/// many of them were tombstones: what only binds its key is not, since it ended nothing.
pub(crate) static END_TOMBSTONES: Sql = Sql {
    text: "WITH due AS (
            SELECT k.key_hash, k.order_row, k.number, k.forgotten, e.key_id, e.outcome
            FROM keys k JOIN entries e ON e.order_row = k.order_row AND e.number = k.number
            WHERE k.answer_status IS NULL AND k.forgotten <= $1
                AND k.forgotten >= coalesce($3, '-infinity')
            ORDER BY k.forgotten LIMIT $2 FOR UPDATE OF k SKIP LOCKED
        ), gone AS (
            DELETE FROM keys k USING due d
            WHERE k.key_hash = d.key_hash AND k.order_row = d.order_row AND k.number <= d.number
                AND EXISTS (
                    SELECT FROM entries e
                    WHERE e.order_row = k.order_row AND e.number = k.number
                        AND e.key_id = d.key_id AND e.outcome <> 'created')
        )
        SELECT count(*), max(forgotten),
            count(*) FILTER (WHERE outcome NOT IN ('checkpoint', 'markCleared'))
        FROM due",
    types: &[&[Type::TIMESTAMPTZ, Type::INT8, Type::TIMESTAMPTZ]],
};

/// When the oldest of what is left is due.
pub(crate) static LEFT: Sql = Sql {
    text: "SELECT (SELECT expires FROM keys
                WHERE answer_status IS NOT NULL AND expires >= coalesce($1, '-infinity')
                ORDER BY expires LIMIT 1),
            (SELECT forgotten FROM keys
                WHERE answer_status IS NULL AND forgotten >= coalesce($2, '-infinity')
                ORDER BY forgotten LIMIT 1)",
    types: &[&[Type::TIMESTAMPTZ, Type::TIMESTAMPTZ]],
};

/// How far a run of calls has come that each had more to do: the next one begins there, and need not
/// pass by the index entries of all that the ones before it have ended. A new run begins at the
/// beginning, for what was passed by.
#[derive(Debug, Default)]
pub(crate) struct ExpiryProgress(Mutex<Reached>);

#[derive(Clone, Copy, Debug, Default)]
struct Reached {
    answers: Option<Timestamp>,
    tombstones: Option<Timestamp>,
}

impl ExpiryProgress {
    /// Each change is one step, so that a panic elsewhere leaves it whole.
    fn lock(&self) -> MutexGuard<'_, Reached> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Ends what is due by the time that is believed. A crash of the server may undo it, and the next
/// call does it again.
pub(crate) async fn expire(context: &Context, request: &Expire) -> Result<Expired, StoreError> {
    let limit = request.limit.clamp(1, BATCH_MAX);
    let most = signed(limit as u64);
    let connection = context
        .pool
        .connection(Purpose::Commit(LockWait::Patiently))
        .await?;
    let now = retention::look(&connection, &context.clock).await?;
    let reached = *context.expiry.lock();
    let [ended] = connection
        .transaction(
            Commit::Unflushed,
            [(&END_ANSWERS, &[&now, &most, &reached.answers])],
        )
        .await?;
    let (answers, last_answer, _) = counts(&ended, false)?;
    let [ended] = connection
        .transaction(
            Commit::Unflushed,
            [(&END_TOMBSTONES, &[&now, &most, &reached.tombstones])],
        )
        .await?;
    let (due, last_due, tombstones) = counts(&ended, true)?;
    let reached = Reached {
        answers: last_answer.filter(|_| answers >= limit),
        tombstones: last_due.filter(|_| due >= limit),
    };
    *context.expiry.lock() = reached;
    let more = answers >= limit || due >= limit;
    let behind = if more {
        let from: [&(dyn ToSql + Sync); 2] = [&reached.answers, &reached.tombstones];
        behind(&connection.query(&LEFT, &from).await?, now)?
    } else {
        Duration::ZERO
    };
    Ok(Expired {
        answers,
        tombstones,
        more,
        behind,
    })
}

fn counts(rows: &[Row], three: bool) -> Result<(usize, Option<Timestamp>, usize), Failure> {
    let row = rows.first();
    let row = row.ok_or_else(|| Failure::unreadable("a count is missing"))?;
    let mut columns = Columns::of(row);
    let count = usize::try_from(columns.count()?).unwrap_or(usize::MAX);
    let last = columns.next()?;
    let more = if three { columns.count()? } else { 0 };
    Ok((count, last, usize::try_from(more).unwrap_or(usize::MAX)))
}

/// For how long the oldest has been due.
fn behind(rows: &[Row], now: Timestamp) -> Result<Duration, Failure> {
    let row = rows.first();
    let row = row.ok_or_else(|| Failure::unreadable("nothing is told of what is left"))?;
    let mut columns = Columns::of(row);
    let left: [Option<Timestamp>; 2] = [columns.next()?, columns.next()?];
    let spans = left
        .into_iter()
        .flatten()
        .map(|due| now.duration_since(due));
    let longest = spans.max().and_then(|span| Duration::try_from(span).ok());
    Ok(longest.unwrap_or_default())
}
