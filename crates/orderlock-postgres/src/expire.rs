//! The end of answers, and then of tombstones, in small batches that pass by what others work on.

use orderlock_core::StoreError;
use orderlock_core::store::{Expire, Expired};
use tokio_postgres::types::Type;

use crate::connection::{Commit, Sql};
use crate::error::Failure;
use crate::pool::For;
use crate::rows::{Columns, signed};
use crate::settings::Waits;
use crate::store::Inner;

/// The most answers and tombstones in one call, whatever is asked for.
const BATCH_MAX: usize = 1_024;

pub(crate) static END_ANSWERS: Sql = Sql {
    text: "WITH clock AS MATERIALIZED (SELECT coalesce($1, clock_timestamp()) AS now), due AS (
            SELECT key_hash, order_row, number FROM keys
            WHERE answer_status IS NOT NULL AND expires <= (SELECT now FROM clock)
            ORDER BY expires LIMIT $2 FOR UPDATE SKIP LOCKED
        ), ended AS (
            UPDATE keys k SET answer_status = NULL, content_type = NULL, location = NULL,
                version = NULL, body = NULL
            FROM due d
            WHERE k.key_hash = d.key_hash AND k.order_row = d.order_row AND k.number = d.number
            RETURNING 1
        )
        SELECT count(*) FROM ended",
    types: &[Type::TIMESTAMPTZ, Type::INT8],
};

/// With a key's tombstone goes what is remembered of its checkpoints, or else the key would look as
/// if it had begun and never ended. Tells how many rows were due, and how many of them were
/// tombstones: a checkpoint's is not, since it ended nothing.
pub(crate) static END_TOMBSTONES: Sql = Sql {
    text: "WITH clock AS MATERIALIZED (SELECT coalesce($1, clock_timestamp()) AS now), due AS (
            SELECT k.key_hash, k.order_row, k.number, e.key_id, e.outcome
            FROM keys k JOIN entries e ON e.order_row = k.order_row AND e.number = k.number
            WHERE k.answer_status IS NULL AND k.forgotten <= (SELECT now FROM clock)
            ORDER BY k.forgotten LIMIT $2 FOR UPDATE OF k SKIP LOCKED
        ), gone AS (
            DELETE FROM keys k USING due d
            WHERE k.key_hash = d.key_hash AND k.order_row = d.order_row AND k.number <= d.number
                AND EXISTS (
                    SELECT FROM entries e
                    WHERE e.order_row = k.order_row AND e.number = k.number
                        AND e.key_id = d.key_id AND e.outcome <> 'created')
        )
        SELECT count(*), count(*) FILTER (WHERE outcome <> 'checkpoint') FROM due",
    types: &[Type::TIMESTAMPTZ, Type::INT8],
};

/// Ends what is due. A crash of the server may undo it, and the next call does it again.
pub(crate) async fn expire(inner: &Inner, request: &Expire) -> Result<Expired, StoreError> {
    let limit = request.limit.clamp(1, BATCH_MAX);
    let now = inner.clock.parameter();
    let connection = inner.pool.connection(For::Commit(Waits::Patiently)).await?;
    let most = signed(limit as u64);
    let [ended] = connection
        .transaction(Commit::Unflushed, [(&END_ANSWERS, &[&now, &most])])
        .await?;
    let [answers] = counts(&ended)?;
    let (mut due, mut tombstones) = (0, 0);
    if answers < limit {
        let most = signed((limit - answers) as u64);
        let [ended] = connection
            .transaction(Commit::Unflushed, [(&END_TOMBSTONES, &[&now, &most])])
            .await?;
        [due, tombstones] = counts(&ended)?;
    }
    Ok(Expired {
        answers,
        tombstones,
        more: answers + due >= limit,
        behind: std::time::Duration::ZERO,
    })
}

fn counts<const N: usize>(rows: &[tokio_postgres::Row]) -> Result<[usize; N], Failure> {
    let row = rows.first();
    let row = row.ok_or_else(|| Failure::unreadable("a count is missing"))?;
    let mut columns = Columns::of(row);
    let mut counts = [0; N];
    for count in &mut counts {
        *count = usize::try_from(columns.count()?).unwrap_or(usize::MAX);
    }
    Ok(counts)
}
