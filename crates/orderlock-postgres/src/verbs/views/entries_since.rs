//! The journal as a stream: one order for every reader, which no late commit can disturb.
//!
//! The position of an entry begins with its transaction's number, and a reader is given what lies
//! below a number for which this holds: every transaction below it that may write entries has ended
//! before the reader's snapshot was taken. Behind that, nothing can appear any more.
//!
//! The oldest number that is under way in the reader's own snapshot is such a number: it is part of
//! the very thing that says which entries are seen, so that it cannot be read half. But any
//! transaction of the server's that writes anything holds it back, in whichever database and for
//! however long. So where it holds entries back, a second number is asked for, that of the oldest
//! transaction that may write *entries* ([`HORIZON`]).

use std::time::Duration;

use orderlock_core::store::{Cursor, Entries, EntriesSince, Entry};
use orderlock_core::{StoreError, Timestamp};
use tokio_postgres::Row;
use tokio_postgres::types::{ToSql, Type};

use crate::open::epoch;
use crate::pool::Purpose;
use crate::sql::clock::span_from_sql;
use crate::sql::error::Failure;
use crate::sql::fragments::{entry_columns, order_at, remembered, target_columns};
use crate::sql::rows::{Columns, Id, key_hash, signed, unsigned};
use crate::sql::statement::Sql;
use crate::verbs::Context;
use crate::verbs::views::pages::{BOUNDS, bounded, bytes_max, limit, number, one_more, take};

/// The number below which no open transaction can write an entry any more, for a statement that
/// follows: the least number of those that have the lock of a writer, below the next number that the
/// server gives.
///
/// Why it holds: a writer has the lock on `entries` before it has a number (`will_write!`), and gives
/// it up after it has ended. The snapshot of this statement is older than its look at the locks, and
/// the snapshot of the one that follows is younger. So a writer below the next number that is still
/// under way in that later snapshot had its number, and before that its lock, when the locks were
/// looked at. It counts with its number if that is seen there too. The server gives a number a
/// moment before it notes it among the locks: so for a writer whose number is not seen, the oldest
/// one counts that is under way in this snapshot. It is not above the writer's.
///
/// Locks name a transaction by the low 32 bits of its number. One that is not below the next number
/// has begun since, and does not count.
pub(crate) static HORIZON: Sql = Sql {
    text: "WITH next AS MATERIALIZED (
            SELECT pg_snapshot_xmax(pg_current_snapshot())::text::bigint AS number,
                pg_snapshot_xmin(pg_current_snapshot())::text::bigint AS oldest
        ), locks AS MATERIALIZED (
            SELECT l.* FROM next CROSS JOIN LATERAL (
                SELECT * FROM pg_locks WHERE next.number IS NOT NULL AND granted
            ) l
        ), writers AS (
            SELECT coalesce(
                (next.number - own.transactionid::text::bigint) & 4294967295,
                next.number - next.oldest) AS behind
            FROM next CROSS JOIN locks writes
                LEFT JOIN locks own ON own.virtualtransaction = writes.virtualtransaction
                    AND own.locktype = 'transactionid' AND own.mode = 'ExclusiveLock'
            WHERE writes.locktype = 'relation' AND writes.mode = 'RowExclusiveLock'
                AND writes.relation = 'entries'::regclass
                AND writes.database = (SELECT oid FROM pg_database WHERE datname = current_database())
        )
        SELECT number - coalesce((SELECT max(behind) FROM writers WHERE behind < 2147483648), 0)
        FROM next",
    types: &[],
};

/// A piece of the journal below a number, or without one, below the oldest that is under way; the
/// entry that the cursor names; whether the database was restored since its newest entry was
/// written; and whether an entry is held back by the oldest that is under way.
///
/// Of each entry its order is looked up by itself, so that no plan begins with the orders.
pub(crate) static SINCE: Sql = Sql {
    text: concat!(
        "WITH clock AS MATERIALIZED (SELECT coalesce($1, clock_timestamp()) AS now),
        place AS MATERIALIZED (
            SELECT epoch, newest >> 20
                    >= base + pg_snapshot_xmax(pg_current_snapshot())::text::bigint AS restored,
                (base + coalesce($5, oldest)) << 20 AS until,
                newest >= (base + oldest) << 20 AS held_back
            FROM store, (
                SELECT pg_snapshot_xmin(pg_current_snapshot())::text::bigint AS oldest,
                    (SELECT max(position) FROM entries WHERE tenant = $2) AS newest
            ) seen
        )
        SELECT clock.now, place.epoch, place.restored, place.held_back,
            last.key_hash, last.at, page.*
        FROM clock CROSS JOIN place
            LEFT JOIN entries last ON last.tenant = $2 AND last.position = $3
            LEFT JOIN LATERAL (",
        bounded!(concat!(
            "SELECT coalesce(octet_length(e.change), 0) + coalesce(octet_length(k.body), 0) AS size,
            ",
            target_columns!(),
            ", ",
            entry_columns!(),
            " FROM (
                SELECT * FROM entries e
                WHERE e.tenant = $2 AND e.position > $3 AND e.position < place.until
                ORDER BY e.position LIMIT $4
            ) e CROSS JOIN LATERAL (",
            order_at!("o.tenant, o.id", "e.tenant", "e.order_row"),
            ") o ",
            remembered!()
        )),
        ") page ON page.before < ",
        bytes_max!(),
        " ORDER BY page.position"
    ),
    types: &[&[
        Type::TIMESTAMPTZ,
        Type::TEXT,
        Type::INT8,
        Type::INT8,
        Type::INT8,
    ]],
};

/// Where a reader stands: behind an entry, or before the first one.
///
/// The entry is named by more than its position, because a server that has failed over may give a
/// position again whose entry it has lost. Then the reader has seen what is not there any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Place {
    epoch: u128,
    position: i64,
    seal: u64,
}

impl Place {
    fn cursor(self) -> Cursor {
        let Self {
            epoch,
            position,
            seal,
        } = self;
        Cursor(format!("e{epoch:032x}.{position}.{seal:016x}").into())
    }

    fn parse(cursor: &Cursor) -> Option<Self> {
        let mut parts = cursor.0.strip_prefix('e')?.split('.');
        let place = Self {
            epoch: u128::from_str_radix(parts.next()?, 16).ok()?,
            position: number(parts.next()?)?,
            seal: u64::from_str_radix(parts.next()?, 16).ok()?,
        };
        // Only the one way to write it is its name.
        (place.cursor() == *cursor).then_some(place)
    }
}

/// What tells an entry from another one at the same position.
fn seal(key_hash: i64, at: Timestamp) -> u64 {
    let at = at.as_microsecond().unsigned_abs();
    key_hash.unsigned_abs().rotate_left(1) ^ at
}

/// A piece of the journal.
pub(crate) async fn entries_since(
    context: &Context,
    request: &EntriesSince,
) -> Result<Entries, StoreError> {
    let start = match &request.cursor {
        None => None,
        Some(cursor) => Some(Place::parse(cursor).ok_or(StoreError::InvalidCursor)?),
    };
    let after = start.map_or(0, |place| place.position);
    let limit = limit(request.limit);
    let connection = context.pool.connection(Purpose::Reading).await?;
    let (now, most) = (context.clock.parameter(), one_more(limit));
    let since = async |below: Option<i64>| {
        let since: [&(dyn ToSql + Sync); 5] =
            [&now, &request.tenant.as_str(), &after, &most, &below];
        let rows = connection.query(&SINCE, &since).await?;
        let head = rows.first();
        let head = head.ok_or_else(|| Failure::unreadable("the store has no row of its own"))?;
        Ok::<_, Failure>((Head::read(head)?, rows))
    };
    let (mut head, mut rows) = since(None).await?;
    let full = rows.len() > limit;
    if head.held_back && !full {
        let horizon = connection.query(&HORIZON, &[]).await?;
        let horizon = horizon.first();
        let horizon = horizon.ok_or_else(|| Failure::unreadable("the server counts no locks"))?;
        (head, rows) = since(Some(Columns::of(horizon).next()?)).await?;
    }
    if head.restored {
        // Found here only if the database was restored while this store was open.
        epoch::begin(&connection).await?;
        return Ok(Entries::NewEpoch);
    }
    if start.is_some_and(|start| !head.knows(start)) {
        return Ok(Entries::NewEpoch);
    }
    let entries = head.entries(&rows, limit)?;
    let next = match entries.last() {
        None => start.unwrap_or(Place {
            epoch: head.epoch,
            position: 0,
            seal: 0,
        }),
        Some((entry, seal)) => Place {
            epoch: head.epoch,
            position: signed(entry.position.0),
            seal: *seal,
        },
    };
    Ok(Entries::Some {
        entries: entries.into_iter().map(|(entry, _)| entry).collect(),
        next: next.cursor(),
    })
}

/// How many columns a piece begins with.
const HEAD: usize = 6;

/// What a piece of the journal begins with.
struct Head {
    now: Timestamp,
    epoch: u128,
    restored: bool,
    /// Whether there are entries from the oldest number on that is under way.
    held_back: bool,
    /// The seal of the entry at the cursor's position, if there is one.
    last: Option<u64>,
    found: Option<u64>,
}

impl Head {
    fn read(row: &Row) -> Result<Self, Failure> {
        let mut columns = Columns::of(row);
        let now = columns.next()?;
        let Id(epoch) = columns.next()?;
        let restored = columns.next::<Option<bool>>()?;
        let held_back = columns.next::<Option<bool>>()?;
        let last: (Option<i64>, Option<Timestamp>) = (columns.next()?, columns.next()?);
        let found = columns.next::<Option<i64>>()?;
        Ok(Self {
            now,
            epoch,
            restored: restored == Some(true),
            held_back: held_back == Some(true),
            last: last.0.zip(last.1).map(|(key_hash, at)| seal(key_hash, at)),
            found: found.map(unsigned),
        })
    }

    /// Whether a reader that stands there has read this journal and no other.
    fn knows(&self, start: Place) -> bool {
        let at_the_start = start.position == 0;
        start.epoch == self.epoch && (at_the_start || self.last == Some(start.seal))
    }

    /// The entries, each with its seal.
    fn entries(&self, rows: &[Row], limit: usize) -> Result<Vec<(Entry, u64)>, Failure> {
        if self.found.is_none() {
            return Ok(Vec::new());
        }
        let (entries, _) = take(rows, limit, 0, |row| {
            let mut columns = Columns::of(row);
            columns.skip(HEAD + BOUNDS);
            let target = columns.target()?;
            let entry = columns.entry(target, self.now)?;
            let seal = seal(key_hash(entry.key_id), entry.at);
            Ok((entry, seal))
        })?;
        Ok(entries)
    }
}

/// How far the readers of the journal are held back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lag {
    /// How many transactions may still write an entry: what came after the oldest of them is not
    /// read yet.
    pub writers: u64,
    /// For how long the oldest of them has been open, as far as the database's role may see: of
    /// other roles' transactions only with `pg_read_all_stats`.
    pub oldest: Option<Duration>,
}

pub(crate) static LAG: Sql = Sql {
    text: "SELECT count(*), (extract(epoch FROM max(
                clock_timestamp() - coalesce(a.xact_start, p.prepared))) * 1000000)::bigint
        FROM pg_locks l
            LEFT JOIN pg_stat_activity a ON a.pid = l.pid
            LEFT JOIN pg_prepared_xacts p
                ON l.virtualtransaction = '-1/' || p.transaction::text
        WHERE l.locktype = 'relation' AND l.mode = 'RowExclusiveLock' AND l.granted
            AND l.relation = 'entries'::regclass
            AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())",
    types: &[],
};

/// How far the journal's readers are held back.
pub(crate) async fn lag(context: &Context) -> Result<Lag, StoreError> {
    let connection = context.pool.connection(Purpose::Reading).await?;
    let rows = connection.query(&LAG, &[]).await?;
    let row = rows.first();
    let row = row.ok_or_else(|| Failure::unreadable("the server counts no locks"))?;
    let mut columns = Columns::of(row);
    Ok(Lag {
        writers: columns.count()?,
        oldest: columns.next::<Option<i64>>()?.map(span_from_sql),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_is_read_back_and_nothing_else_is() {
        let place = Place {
            epoch: 0xab << 96,
            position: 77 << 20,
            seal: 9,
        };
        let cursor = place.cursor();
        assert_eq!(Place::parse(&cursor), Some(place));
        let text = cursor.0.to_string();
        for odd in [
            text.to_uppercase(),
            format!("{text}0"),
            format!("{text}.0"),
            text.replace(".8", ".-8"),
            text.replace('e', "h"),
            "e".to_owned(),
        ] {
            assert_eq!(Place::parse(&Cursor(odd.as_str().into())), None, "{odd}");
        }
    }
}
