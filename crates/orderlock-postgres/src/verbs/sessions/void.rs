//! The leases of ended sessions. They count as free already; here they are found, a piece of the table at a
//! time, and cleared away.

use std::time::Instant;

use orderlock_core::SessionId;
use tokio_postgres::types::Type;

use crate::pool::connection::Connection;
use crate::sql::error::{Failure, TransactionError};
use crate::sql::fragments::{moves, no_lease, owned};
use crate::sql::rows::{Columns, Id, signed};
use crate::sql::statement::{Commit, Sql};
use crate::verbs::Context;

/// How many orders one piece of a sweep looks at, and how many pieces one call does: a session's
/// leases are found by a look at all orders, and nobody waits for it.
const PIECE: i64 = 16_384;
const PIECES_MAX: usize = 8;

/// How many the first piece looks at: each further one twice as many, as long as they are quick. On a
/// large table that is not in memory a piece is slow, and nothing else may have to wait for it.
const PIECE_MIN: i64 = 1_024;

/// How much of the store's patience the pieces of one call take, before the last one begins.
const PIECES_PART: u32 = 8;

/// Clears away leases of an ended session, or, without a name, of all those that stand at the same
/// order, the first one: looks at the next `$2` orders, and clears at most `$3`. An order that
/// somebody else changes right now is passed by: it is being granted anew. Tells whether the end of
/// the table was reached for the last of them, and the orders; a lease that the last renewal had
/// voided is cleared away too, and not told.
pub(crate) static VOID: Sql = Sql {
    text: concat!(
        "WITH start AS MATERIALIZED (
            SELECT tenant, row FROM ended WHERE $1 IS NULL OR session = $1
            ORDER BY tenant, row LIMIT 1
        ), turn AS MATERIALIZED (
            SELECT e.* FROM ended e JOIN start s ON e.tenant = s.tenant AND e.row = s.row
            WHERE $1 IS NULL OR e.session = $1
        ), piece AS MATERIALIZED (
            SELECT o.tenant, o.row, o.id, o.session
            FROM start s CROSS JOIN LATERAL (
                SELECT o.tenant, o.row, o.id, o.session FROM orders o
                WHERE o.row > 0 AND (o.tenant, o.row) > (s.tenant, s.row)
                ORDER BY o.tenant, o.row LIMIT $2
            ) o
        ), found AS MATERIALIZED (
            SELECT tenant, row, id FROM piece WHERE session IN (SELECT session FROM turn)
            ORDER BY tenant, row LIMIT $3
        ), free AS (
            SELECT o.tenant, o.id, ",
        owned!("t.session", "t.heard"),
        " AS counted
            FROM found f CROSS JOIN LATERAL (
                    SELECT * FROM orders o WHERE o.tenant = f.tenant AND o.id = f.id
                    FOR NO KEY UPDATE SKIP LOCKED
                ) o JOIN turn t ON t.session = o.session
        ), voided AS (
            UPDATE orders o SET ",
        moves!(),
        ", ",
        no_lease!(),
        "
            FROM free f WHERE o.tenant = f.tenant AND o.id = f.id
            RETURNING o.tenant, o.id, f.counted
        ), seen AS MATERIALIZED (
            SELECT tenant, row FROM found
            UNION ALL SELECT tenant, row FROM piece WHERE (SELECT count(*) FROM found) < $3
        ), looked AS MATERIALIZED (
            SELECT tenant, row, (SELECT count(*) FROM piece) < $2
                AND (SELECT count(*) FROM found) < $3 AS all
            FROM (SELECT * FROM seen UNION ALL SELECT * FROM start) seen
            ORDER BY tenant DESC, row DESC LIMIT 1
        ), moved AS (
            UPDATE ended e SET tenant = l.tenant, row = l.row
            FROM looked l, turn t WHERE e.session = t.session AND NOT l.all
        ), finished AS (
            DELETE FROM ended e USING looked l, turn t WHERE e.session = t.session AND l.all
            RETURNING e.session
        ), forgotten AS (
            DELETE FROM known k USING finished f WHERE k.session = f.session
        )
        SELECT coalesce((SELECT l.all AND (SELECT count(*) FROM turn) = (
                SELECT count(*) FROM ended WHERE $1 IS NULL OR session = $1) FROM looked l), true),
            v.tenant, v.id
        FROM (SELECT) one LEFT JOIN voided v ON v.counted"
    ),
    types: &[&[Type::UUID, Type::INT8, Type::INT8]],
};

/// The pieces of one call.
pub(crate) struct Pieces<'a> {
    context: &'a Context,
    connection: &'a Connection,
    limit: usize,
    left: usize,
    pub(crate) voided: usize,
    piece: i64,
    begun: Instant,
}

impl<'a> Pieces<'a> {
    pub(crate) fn new(context: &'a Context, connection: &'a Connection, limit: usize) -> Self {
        Self {
            context,
            connection,
            limit,
            left: PIECES_MAX,
            voided: 0,
            piece: PIECE_MIN,
            begun: context.runtime.now(),
        }
    }

    /// Clears away the leases of an ended session, or of all of them, as far as the call's bounds
    /// allow. Tells whether nothing is left.
    pub(crate) async fn of(
        &mut self,
        session: Option<SessionId>,
    ) -> Result<bool, TransactionError> {
        let session = session.map(Id::from);
        let most_time = self.context.pool.patience() / PIECES_PART;
        while self.left > 0 && self.voided < self.limit {
            let took = self
                .context
                .runtime
                .now()
                .saturating_duration_since(self.begun);
            if took > most_time {
                break;
            }
            self.left -= 1;
            let most = signed((self.limit - self.voided) as u64);
            let [rows] = self
                .connection
                .transaction(
                    Commit::Unflushed,
                    [(&VOID, &[&session, &self.piece, &most])],
                )
                .await?;
            self.piece = (self.piece * 2).min(PIECE);
            if self.count(&rows).map_err(TransactionError::NotApplied)? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn count(&mut self, rows: &[tokio_postgres::Row]) -> Result<bool, Failure> {
        let mut all = true;
        for row in rows {
            let mut columns = Columns::of(row);
            all = columns.next()?;
            if columns.peek::<Option<&str>>()?.is_some() {
                self.voided += 1;
                self.context.freed.announce(columns.target()?);
            }
        }
        Ok(all)
    }
}
