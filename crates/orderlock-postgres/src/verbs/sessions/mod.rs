//! Sessions: how a node says that it is alive, and what ends when it is not.
//!
//! A session is alive while its row stands. Its leases need not be found when it ends: from then on
//! they count as free, and sweeps clear them away, a piece of the table at a time.

pub(crate) mod void;
pub(crate) mod watch;

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use orderlock_core::store::{Join, Joined, Leave, Left, Renew, Renewed, Sweep, Swept};
use orderlock_core::{Fence, Secret, SessionId, StoreError};
use tokio_postgres::types::Type;

use crate::planted::measured;
use crate::pool::Purpose;
use crate::pool::connection::Connection;
use crate::sql::clock::{span_from_sql, span_to_sql};
use crate::sql::error::Failure;
use crate::sql::rows::{Columns, Id, hash};
use crate::sql::statement::{Commit, Sql};
use crate::verbs::Context;
use crate::verbs::fairness::FORGET;
use crate::verbs::sessions::void::Pieces;
use crate::verbs::sessions::watch::Named;

/// The first node's secret stays for ever: every key in the database is hashed under it. The row is
/// taken by each join, so that they come one after the other.
pub(crate) static KEEP_SECRET: Sql = Sql {
    text: "UPDATE store SET secret = coalesce(secret, $1) RETURNING secret",
    types: &[&[Type::BYTEA]],
};

/// Ends every other session of the node, unless the one that is to begin has ended itself: then
/// this is a late duplicate, and it must end nothing that came after it.
pub(crate) static END_OTHERS: Sql = Sql {
    text: "WITH gone AS (
            DELETE FROM sessions WHERE node = $1 AND id <> $2
                AND NOT EXISTS (SELECT FROM ended WHERE session = $2)
            RETURNING id, heard
        )
        INSERT INTO ended (session, heard) SELECT * FROM gone ON CONFLICT DO NOTHING
        RETURNING session",
    types: &[&[Type::TEXT, Type::UUID]],
};

/// A session that is there already goes on: its leases keep their age. Tells its renewals.
pub(crate) static BEGIN: Sql = Sql {
    text: "INSERT INTO sessions (id, node, length)
        SELECT $1, $2, $3 WHERE NOT EXISTS (SELECT FROM ended WHERE session = $1)
        ON CONFLICT (id) DO UPDATE SET node = excluded.node, length = excluded.length
        RETURNING renewals",
    types: &[&[Type::UUID, Type::TEXT, Type::INT8]],
};

/// What a session's last renewal has named; none if it has ended. What was broken is left out: it may
/// be on its way to its node, and is cleared away when two renewals in turn have not named it.
pub(crate) static NAMED: Sql = Sql {
    text: "SELECT s.renewals,
            ARRAY(SELECT k.fence FROM known k WHERE k.session = s.id AND NOT k.broken)
        FROM sessions s WHERE s.id = $1",
    types: &[&[Type::UUID]],
};

/// Renews a session that was renewed so often before, and writes what differs from that renewal: what
/// the node names no more, and what it names for the first time. Tells what operators have broken.
///
/// It voids without a look at the orders: what the node does not name and was granted before the last
/// renewal counts as free from now on (`owned!`), also if it is named again later. Each row is looked
/// up by its key, whatever the planner thinks of the others.
pub(crate) static EXTEND: Sql = Sql {
    text: "WITH extended AS (
            UPDATE sessions SET heard = renewals, renewals = renewals + 1
            WHERE id = $1 AND renewals = $2
            RETURNING id, heard
        ), gone AS (
            DELETE FROM known USING (
                SELECT k.ctid FROM extended e CROSS JOIN unnest($3) AS r (fence)
                    CROSS JOIN LATERAL (
                        SELECT k.ctid FROM known k
                        WHERE k.session = e.id AND k.fence = r.fence OFFSET 0
                    ) k
            ) k
            WHERE known.ctid = k.ctid
        ), named AS (
            INSERT INTO known (session, fence, since)
            SELECT e.id, r.fence, e.heard FROM extended e CROSS JOIN unnest($4) AS r (fence)
            ON CONFLICT (session, fence) DO NOTHING
        )
        SELECT ARRAY(SELECT k.fence FROM known k WHERE k.session = $1 AND k.broken)
        FROM extended",
    types: &[&[Type::UUID, Type::INT8, Type::UUID_ARRAY, Type::UUID_ARRAY]],
};

pub(crate) static END: Sql = Sql {
    text: "WITH gone AS (DELETE FROM sessions WHERE id = $1 RETURNING id, heard)
        INSERT INTO ended (session, heard) SELECT * FROM gone ON CONFLICT DO NOTHING",
    types: &[&[Type::UUID]],
};

/// Every session that goes on, and how often it was renewed.
pub(crate) static ALL: Sql = Sql {
    text: "SELECT id, renewals, length FROM sessions ORDER BY id LIMIT 10000",
    types: &[],
};

/// Ends sessions that have still been renewed no more often, by the newest state of their rows. One that
/// is just being renewed, or whose settle is just being committed, is left to the next sweep.
pub(crate) static END_LAPSED: Sql = Sql {
    text: "WITH lapsed AS (
            SELECT s.id FROM unnest($1, $2) AS r (id, renewals)
                JOIN sessions s ON s.id = r.id AND s.renewals = r.renewals
            ORDER BY s.id LIMIT 64 FOR UPDATE OF s SKIP LOCKED
        ), gone AS (
            DELETE FROM sessions s USING lapsed WHERE s.id = lapsed.id RETURNING s.id, s.heard
        )
        INSERT INTO ended (session, heard) SELECT * FROM gone ON CONFLICT DO NOTHING",
    types: &[&[Type::UUID_ARRAY, Type::INT8_ARRAY]],
};

/// Begins a session and ends every other one of the same node. The leases of those count as free from
/// then on; what is not cleared away quickly here, the sweeps clear away.
pub(crate) async fn join(context: &Context, request: &Join) -> Result<Joined, StoreError> {
    let session = Id::from(request.session);
    let length = span_to_sql(request.length);
    let secret = &request.secret.expose()[..];
    let connection = context.pool.connection(Purpose::Life).await?;
    let [kept, ended, begun] = connection
        .transaction(
            Commit::Flushed,
            [
                (&KEEP_SECRET, &[&secret]),
                (&END_OTHERS, &[&request.node, &session]),
                (&BEGIN, &[&session, &request.node, &length]),
            ],
        )
        .await?;
    let Some(begun) = begun.first() else {
        let why = "the session has ended, and a node joins again under another name for it";
        return Err(Failure::impossible(why).not_applied());
    };
    let renewals = Columns::of(begun).next()?;
    context
        .watch
        .note(request.session, renewals, steady(context));
    let kept = kept.first();
    let kept = kept.ok_or_else(|| Failure::unreadable("the store has no row of its own"))?;
    let secret = Secret::new(hash(Columns::of(kept).next()?)?);
    let mut pieces = Pieces::new(context, &connection, usize::MAX);
    for row in &ended {
        let Id(session) = Columns::of(row).next()?;
        if pieces.of(Some(SessionId(session))).await.is_err() {
            break;
        }
    }
    Ok(Joined { secret })
}

/// How long the answer to a renewal waits for a look at the server.
const LOOKING: Duration = Duration::from_millis(500);

/// How often a renewal is tried again that finds another one beside it.
const RENEWALS_MAX: usize = 3;

/// Extends a session. A crash of the server may lose that, and the leases that came after it.
pub(crate) async fn renew(context: &Context, request: &Renew) -> Result<Renewed, StoreError> {
    let session = request.session;
    let known: BTreeSet<_> = request.known.iter().map(|fence| fence.0).collect();
    let connection = context.pool.connection(Purpose::Life).await?;
    let renewed = extend(context, &connection, session, &known).await;
    // The session is renewed by now, and its node must hear so in time.
    match tokio::time::timeout(LOOKING, context.pool.look(&connection)).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => {
            tracing::warn!(%error, "it is not known what the database promises now");
        }
        Err(_) => tracing::warn!("the database does not say in time what it promises now"),
    }
    renewed
}

async fn extend(
    context: &Context,
    connection: &Connection,
    session: SessionId,
    known: &BTreeSet<u128>,
) -> Result<Renewed, StoreError> {
    for _ in 0..RENEWALS_MAX {
        let before = match context.watch.take_named(session) {
            Some(before) => before,
            None => match named(connection, session).await? {
                Some(before) => before,
                None => return Ok(Renewed::Ended),
            },
        };
        let differ = |one: &BTreeSet<u128>, other: &BTreeSet<u128>| {
            Vec::from_iter(one.difference(other).copied().map(Id))
        };
        let (gone, new) = (differ(&before.fences, known), differ(known, &before.fences));
        let [extended] = connection
            .transaction(
                Commit::Unflushed,
                [(
                    &EXTEND,
                    &[&Id::from(session), &before.renewals, &gone, &new],
                )],
            )
            .await?;
        // Another renewal has come between, or an earlier one was not answered.
        let Some(row) = extended.first() else {
            continue;
        };
        let broken: Vec<Id> = Columns::of(row).next()?;
        let renewals = before.renewals + 1;
        let mut fences = known.clone();
        fences.extend(broken.iter().map(|fence| fence.0));
        context
            .watch
            .keep_named(session, Named { renewals, fences });
        context.watch.note(session, renewals, steady(context));
        let voided = broken.iter().map(|fence| fence.0);
        let voided = voided.filter(|fence| known.contains(fence)).map(Fence);
        return Ok(Renewed::Extended {
            voided: voided.collect(),
        });
    }
    let why = "the session is renewed by somebody else at the same time";
    Err(Failure::impossible(why).not_applied())
}

/// What the last renewal has named, by the database.
async fn named(connection: &Connection, session: SessionId) -> Result<Option<Named>, Failure> {
    let rows = connection.query(&NAMED, &[&Id::from(session)]).await?;
    let Some(row) = rows.first() else {
        return Ok(None);
    };
    let mut columns = Columns::of(row);
    let renewals = columns.next()?;
    let fences: Vec<Id> = columns.next()?;
    Ok(Some(Named {
        renewals,
        fences: fences.into_iter().map(|fence| fence.0).collect(),
    }))
}

/// Ends a session. What it still held is counted as far as one call looks.
pub(crate) async fn leave(context: &Context, request: &Leave) -> Result<Left, StoreError> {
    let session = request.session;
    let connection = context.pool.connection(Purpose::Life).await?;
    connection
        .transaction(Commit::Unflushed, [(&END, &[&Id::from(session)])])
        .await?;
    let mut pieces = Pieces::new(context, &connection, usize::MAX);
    pieces.of(Some(session)).await?;
    Ok(Left {
        voided: pieces.voided,
    })
}

/// The time that sessions are measured by: it never goes back.
fn steady(context: &Context) -> Instant {
    measured(context.runtime.now(), context.clock.parameter())
}

/// Ends the sessions that are lapsed, and clears away what is left of ended ones, within bounds.
pub(crate) async fn sweep(context: &Context, request: &Sweep) -> Result<Swept, StoreError> {
    let now = context.clock.parameter();
    let connection = context.pool.connection(Purpose::Life).await?;
    let asked = steady(context);
    let rows = connection.query(&ALL, &[]).await?;
    let mut all = Vec::with_capacity(rows.len());
    for row in &rows {
        let mut columns = Columns::of(row);
        let Id(id) = columns.next()?;
        all.push((
            SessionId(id),
            columns.next()?,
            span_from_sql(columns.next()?),
        ));
    }
    let lapsed = context.watch.lapsed(&all, asked, steady(context));
    let (ids, renewals): (Vec<_>, Vec<i64>) = lapsed
        .into_iter()
        .map(|(id, renewals)| (Id::from(id), renewals))
        .unzip();
    connection
        .transaction(
            Commit::Unflushed,
            [(&END_LAPSED, &[&ids, &renewals]), (&FORGET, &[&now])],
        )
        .await?;
    let mut pieces = Pieces::new(context, &connection, request.limit.max(1));
    let all = pieces.of(None).await?;
    Ok(Swept {
        voided: pieces.voided,
        more: !all,
    })
}
