//! Sessions: how a node says that it is alive, and what ends when it is not.
//!
//! A session is alive while its row stands. Its leases need not be found when it ends: from then on
//! they count as free, and sweeps clear them away, a piece of the table at a time.

use std::collections::BTreeSet;

use orderlock_core::store::{Join, Joined, Leave, Left, Renew, Renewed, Sweep, Swept};
use orderlock_core::{Secret, SessionId, StoreError};
use tokio_postgres::types::Type;

use crate::clock::span_to_sql;
use crate::connection::{Commit, Connection, Sql};
use crate::error::{Broken, Failure};
use crate::fragments::{moves, no_lease, owned};
use crate::pool::For;
use crate::rows::{Columns, Id, hash, signed};
use crate::store::Inner;
use crate::waits::FORGET;

/// How many orders one piece of a sweep looks at, and how many pieces one call does: a session's
/// leases are found by a look at all orders, and nobody waits for it.
const PIECE: i64 = 16_384;
const PIECES_MAX: usize = 8;

/// The first node's secret stays for ever: every key in the database is hashed under it. The row is
/// taken by each join, so that they come one after the other.
pub(crate) static KEEP_SECRET: Sql = Sql {
    text: "UPDATE store SET secret = coalesce(secret, $1) RETURNING secret",
    types: &[Type::BYTEA],
};

/// Ends every other session of the node, unless the one that is to begin has ended itself: then
/// this is a late duplicate, and it must end nothing that came after it.
pub(crate) static END_OTHERS: Sql = Sql {
    text: "WITH gone AS (
            DELETE FROM sessions WHERE node = $1 AND id <> $2
                AND NOT EXISTS (SELECT FROM ended WHERE session = $2)
            RETURNING id, heard, known, named
        )
        INSERT INTO ended (session, heard, known, named) SELECT * FROM gone ON CONFLICT DO NOTHING
        RETURNING session",
    types: &[Type::TEXT, Type::UUID],
};

/// A session that is there already goes on: its leases keep their age.
pub(crate) static BEGIN: Sql = Sql {
    text: "INSERT INTO sessions (id, node, length, deadline)
        SELECT $2, $3, $4, coalesce($1, clock_timestamp()) + $4 * interval '1 microsecond'
        WHERE NOT EXISTS (SELECT FROM ended WHERE session = $2)
        ON CONFLICT (id) DO UPDATE
            SET node = excluded.node, length = excluded.length, deadline = excluded.deadline
        RETURNING true",
    types: &[Type::TIMESTAMPTZ, Type::UUID, Type::TEXT, Type::INT8],
};

/// Voids without a look at the orders: what the node does not name and was granted before the last
/// renewal counts as free from now on (`owned!`), also if it is named again later.
pub(crate) static EXTEND: Sql = Sql {
    text: "UPDATE sessions s
        SET deadline = coalesce($1, clock_timestamp()) + length * interval '1 microsecond',
            heard = renewals, known = $3, renewals = renewals + 1,
            named = ARRAY(
                SELECT coalesce(before.named, s.renewals)
                FROM unnest($3) WITH ORDINALITY AS now (fence, place)
                    LEFT JOIN unnest(s.known, s.named) AS before (fence, named)
                        ON before.fence = now.fence
                ORDER BY now.place)
        WHERE id = $2
        RETURNING true",
    types: &[Type::TIMESTAMPTZ, Type::UUID, Type::UUID_ARRAY],
};

pub(crate) static END: Sql = Sql {
    text: "WITH gone AS (DELETE FROM sessions WHERE id = $1 RETURNING id, heard, known, named)
        INSERT INTO ended (session, heard, known, named) SELECT * FROM gone ON CONFLICT DO NOTHING",
    types: &[Type::UUID],
};

/// Ends the sessions that are lapsed now, by the newest state of their rows. One that is just being
/// renewed, or whose settle is just being committed, is left to the next sweep.
pub(crate) static END_LAPSED: Sql = Sql {
    text: "WITH lapsed AS (
            SELECT id FROM sessions WHERE deadline <= coalesce($1, clock_timestamp())
            ORDER BY id LIMIT 64 FOR UPDATE SKIP LOCKED
        ), gone AS (
            DELETE FROM sessions s USING lapsed WHERE s.id = lapsed.id
            RETURNING s.id, s.heard, s.known, s.named
        )
        INSERT INTO ended (session, heard, known, named) SELECT * FROM gone ON CONFLICT DO NOTHING",
    types: &[Type::TIMESTAMPTZ],
};

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
            SELECT o.tenant, o.row, o.session
            FROM start s CROSS JOIN LATERAL (
                SELECT o.tenant, o.row, o.session FROM orders o
                WHERE o.row > 0 AND (o.tenant, o.row) > (s.tenant, s.row)
                ORDER BY o.tenant, o.row LIMIT $2
            ) o
        ), found AS MATERIALIZED (
            SELECT tenant, row FROM piece WHERE session IN (SELECT session FROM turn)
            ORDER BY tenant, row LIMIT $3
        ), free AS (
            SELECT o.tenant, o.row, ",
        owned!("t"),
        " AS counted
            FROM found f CROSS JOIN LATERAL (
                    SELECT * FROM orders o WHERE o.tenant = f.tenant AND o.row = f.row AND o.row > 0
                    FOR NO KEY UPDATE SKIP LOCKED
                ) o JOIN turn t ON t.session = o.session
        ), voided AS (
            UPDATE orders o SET ",
        moves!(),
        ", ",
        no_lease!(),
        "
            FROM free f WHERE o.tenant = f.tenant AND o.row = f.row AND o.row > 0
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
        )
        SELECT coalesce((SELECT l.all AND (SELECT count(*) FROM turn) = (
                SELECT count(*) FROM ended WHERE $1 IS NULL OR session = $1) FROM looked l), true),
            v.tenant, v.id
        FROM (SELECT) one LEFT JOIN voided v ON v.counted"
    ),
    types: &[Type::UUID, Type::INT8, Type::INT8],
};

/// Begins a session and ends every other one of the same node.
pub(crate) async fn join(inner: &Inner, request: &Join) -> Result<Joined, StoreError> {
    let (now, session) = (inner.clock.parameter(), Id::from(request.session));
    let length = span_to_sql(request.length);
    let secret = &request.secret.expose()[..];
    let connection = inner.pool.connection(For::Life).await?;
    let [kept, ended, begun] = connection
        .transaction(
            Commit::Flushed,
            [
                (&KEEP_SECRET, &[&secret]),
                (&END_OTHERS, &[&request.node, &session]),
                (&BEGIN, &[&now, &session, &request.node, &length]),
            ],
        )
        .await?;
    if begun.is_empty() {
        let why = "the session has ended, and a node joins again under another name for it";
        return Err(Failure::impossible(why).not_applied());
    }
    let kept = kept.first();
    let kept = kept.ok_or_else(|| Failure::unreadable("the store has no row of its own"))?;
    let secret = hash(Columns::of(kept).next()?)?;
    let mut pieces = Pieces::new(inner, &connection, usize::MAX);
    for row in &ended {
        let Id(session) = Columns::of(row).next()?;
        // They count as free already: what is left here, the sweeps clear away.
        if pieces.of(Some(SessionId(session))).await.is_err() {
            break;
        }
    }
    Ok(Joined {
        secret: Secret::new(secret),
    })
}

/// Extends a session. A crash of the server may lose that, and the leases that came after it.
pub(crate) async fn renew(inner: &Inner, request: &Renew) -> Result<Renewed, StoreError> {
    let (now, session) = (inner.clock.parameter(), Id::from(request.session));
    let known: BTreeSet<_> = request.known.iter().copied().map(Id::from).collect();
    let known = Vec::from_iter(known);
    let connection = inner.pool.connection(For::Life).await?;
    let [extended] = connection
        .transaction(Commit::Unflushed, [(&EXTEND, &[&now, &session, &known])])
        .await?;
    if let Err(error) = inner.pool.look(&connection).await {
        tracing::warn!(%error, "it is not known what the database promises now");
    }
    Ok(if extended.is_empty() {
        Renewed::Ended
    } else {
        Renewed::Extended { voided: Vec::new() }
    })
}

/// Ends a session. What it still held is counted as far as one call looks.
pub(crate) async fn leave(inner: &Inner, request: &Leave) -> Result<Left, StoreError> {
    let session = request.session;
    let connection = inner.pool.connection(For::Life).await?;
    connection
        .transaction(Commit::Unflushed, [(&END, &[&Id::from(session)])])
        .await?;
    let mut pieces = Pieces::new(inner, &connection, usize::MAX);
    pieces.of(Some(session)).await?;
    Ok(Left {
        voided: pieces.voided,
    })
}

/// Ends the sessions that are lapsed, and clears away what is left of ended ones, within bounds.
pub(crate) async fn sweep(inner: &Inner, request: &Sweep) -> Result<Swept, StoreError> {
    let now = inner.clock.parameter();
    let connection = inner.pool.connection(For::Life).await?;
    connection
        .transaction(
            Commit::Unflushed,
            [(&END_LAPSED, &[&now]), (&FORGET, &[&now])],
        )
        .await?;
    let mut pieces = Pieces::new(inner, &connection, request.limit.max(1));
    let all = pieces.of(None).await?;
    Ok(Swept {
        voided: pieces.voided,
        more: !all,
    })
}

/// The pieces of one call.
struct Pieces<'a> {
    inner: &'a Inner,
    connection: &'a Connection,
    limit: usize,
    left: usize,
    voided: usize,
}

impl<'a> Pieces<'a> {
    fn new(inner: &'a Inner, connection: &'a Connection, limit: usize) -> Self {
        Self {
            inner,
            connection,
            limit,
            left: PIECES_MAX,
            voided: 0,
        }
    }

    /// Clears away the leases of an ended session, or of all of them, as far as the call's bounds
    /// allow. Tells whether nothing is left.
    async fn of(&mut self, session: Option<SessionId>) -> Result<bool, Broken> {
        let session = session.map(Id::from);
        while self.left > 0 && self.voided < self.limit {
            self.left -= 1;
            let most = signed((self.limit - self.voided) as u64);
            let [rows] = self
                .connection
                .transaction(Commit::Unflushed, [(&VOID, &[&session, &PIECE, &most])])
                .await?;
            if self.count(&rows).map_err(Broken::NotApplied)? {
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
                self.inner.writes.announce(columns.target()?);
            }
        }
        Ok(all)
    }
}
