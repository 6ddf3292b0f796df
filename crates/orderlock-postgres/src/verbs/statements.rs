//! The statements that move a lease: what grants an order, what lets it go, what settles.
//!
//! Each of them may wait for rows that others are changing. What then decides is in the row itself,
//! which is looked at again after the wait; or the row is asked to be the very one that was seen,
//! and otherwise is left alone; or it was locked before.
//!
//! Requests come in the order of their targets, so that two batches take the same rows in the same
//! order.

use tokio_postgres::types::Type;

use crate::sql::fragments::{
    content_columns, held, here, mark_let_go, moves, no_lease, no_mark_if, owned, position,
    requests,
};
use crate::sql::statement::{Batched, Sql};
use crate::sql::text::text;
use crate::verbs::acquire_rows::GrantRows;
use crate::verbs::fairness::kept_for_another;
use crate::verbs::new_entries::EntryRows;
use crate::verbs::release::ReleaseRows;
use crate::verbs::settle_rows::{HeldRows, SettleRows};

macro_rules! grant {
    ($rows:ident) => {
        text!(
        "WITH clock AS MATERIALIZED (
            SELECT coalesce($1, clock_timestamp()) AS now,
                least(coalesce($1, clock_timestamp()), $17) AS earliest,
                CASE WHEN $16 THEN set_config('synchronous_commit', 'off', true) END
        )
        UPDATE orders o SET ", moves!(), ",
            fence = seen.fence, session = seen.session, since = seen.now,
            attempt = seen.attempt, steps = 0, granted = seen.renewals,
            principal = seen.principal, operation = seen.operation,
            key_id = seen.key_id, fingerprint = seen.fingerprint,
            mark_attempt = CASE WHEN seen.marks THEN seen.attempt END,
            mark_since = CASE WHEN seen.marks THEN coalesce(o.mark_since, seen.now) END,
            mark_times = seen.times, mark_within = seen.within,
            undo_attempt = CASE WHEN seen.marks THEN o.mark_attempt END,
            undo_times = CASE WHEN seen.marks THEN o.mark_times END,
            undo_within = CASE WHEN seen.marks THEN o.mark_within END,
            mark_principal = CASE WHEN seen.marks THEN seen.principal END,
            mark_operation = CASE WHEN seen.marks THEN seen.operation END,
            mark_key_id = CASE WHEN seen.marks THEN seen.key_id END,
            mark_fingerprint = CASE WHEN seen.marks THEN seen.fingerprint END
        FROM (
            SELECT r.*, clock.now, s.renewals, o.writes,
                1 + greatest(o.mark_attempt,
                    CASE WHEN key.forgotten <= clock.earliest THEN 0 ELSE coalesce(key.attempt, 0) END
                ) AS attempt
            FROM clock CROSS JOIN ", requests!($rows: GrantRows), "
                JOIN orders o ON o.tenant = r.tenant AND o.id = r.id
                JOIN sessions s ON s.id = r.session
                LEFT JOIN LATERAL (
                    SELECT e.outcome, e.fingerprint, e.attempt, k.forgotten
                    FROM keys k
                        JOIN entries e ON e.order_row = k.order_row AND e.number = k.number
                    WHERE k.key_hash = r.key_hash AND k.order_row = o.row AND e.key_id = r.key_id
                    ORDER BY k.number DESC LIMIT 1
                ) key ON true
            WHERE NOT ",
        held!(),
        "
                AND (key.outcome IS NULL OR key.forgotten <= clock.earliest
                    OR (key.outcome IN ('checkpoint', 'markCleared')
                        AND key.fingerprint = r.fingerprint))
                AND (o.mark_key_id IS NULL OR (
                    r.marks AND o.mark_key_id = r.key_id AND o.mark_fingerprint = r.fingerprint
                    AND o.mark_attempt < o.mark_times
                    AND clock.now BETWEEN o.mark_since - o.mark_within * interval '1 microsecond'
                        AND o.mark_since + o.mark_within * interval '1 microsecond'))
                AND (r.expected IS NULL OR o.version = r.expected)
                AND (NOT $2 OR o.xmin = pg_current_xact_id()::xid)
                AND NOT ",
        kept_for_another!("o.row", "r.session", "clock.now"),
        "
        ) seen
        WHERE o.tenant = seen.tenant AND o.id = seen.id
            AND o.writes = seen.writes
        RETURNING seen.place, o.since, o.attempt, ",
        content_columns!()
    )
    };
}

/// Grants every request that `decide` would grant; for successors (`$2`), only on orders that this
/// very transaction has let go.
///
/// What is seen of the order, of its key and of both sessions is one moment. The order is granted
/// if its counter still is as it was then: after a wait only the row itself is looked at again, and
/// whatever was decided on moves the counter. Otherwise the facts, which come after, tell why not,
/// or that it is to be asked again. An order that is kept for another node's turn is granted to nobody else.
///
/// The commit waits for no flush if `$16` says so. Tells what was granted, with the order as of the
/// grant.
pub(crate) static GRANT: Batched = Batched {
    one: Sql {
        text: grant!(one),
        types: GRANT_TYPES,
    },
    many: Sql {
        text: grant!(many),
        types: GRANT_TYPES,
    },
};

const GRANT_TYPES: &[&[Type]] = &[
    &[Type::TIMESTAMPTZ, Type::BOOL],
    GrantRows::TYPES,
    &[Type::BOOL, Type::TIMESTAMPTZ],
];

/// Lets go what these fences hold, and tells which of them held. With a step and a version, only
/// if the grant stands there. Of the mark, one of three: it stays, it is cleared, or, as long as the
/// grant has settled nothing, it becomes that of the run before the grant, if there was one.
pub(crate) static LET_GO: Sql = Sql {
    text: text!(
        "UPDATE orders o SET ",
        moves!(),
        ", ",
        no_lease!(),
        ", ",
        mark_let_go!(mark_attempt = undo_attempt, mark_times = undo_times, mark_within = undo_within;
            mark_since, mark_principal, mark_operation, mark_key_id, mark_fingerprint),
        ", undo_attempt = NULL, undo_times = NULL, undo_within = NULL
        FROM ",
        requests!(many: ReleaseRows),
        "
        WHERE o.tenant = r.tenant AND o.id = r.id AND o.fence = r.fence AND ",
        held!(),
        "
            AND (r.step IS NULL OR o.steps = r.step)
            AND (r.version IS NULL OR o.version = r.version)
        RETURNING r.place"
    ),
    types: &[ReleaseRows::TYPES],
};

macro_rules! settle {
    ($rows:ident) => {
        text!(
        "WITH ", here!(), ", alive AS (
            SELECT s.id, s.heard FROM sessions s
            WHERE s.id = ANY (ARRAY(
                SELECT o.session
                FROM ", requests!($rows: HeldRows), "
                    JOIN orders o ON o.tenant = r.tenant AND o.id = r.id AND o.fence = r.fence
            ))
            ORDER BY s.id FOR KEY SHARE
        ), moved AS (
            UPDATE orders o SET ", moves!(), ",
                version = o.version + CASE WHEN r.change IS NULL THEN 0 ELSE 1 END,
                entries = o.entries + 1,
                position = ", position!("r.place"), ",
                updated = CASE WHEN r.change IS NULL THEN o.updated ELSE r.changed_at END,
                status = CASE WHEN r.change IS NULL THEN o.status ELSE r.order_status END,
                customer = CASE WHEN r.change IS NULL THEN o.customer ELSE r.order_customer END,
                document = coalesce(r.change, o.document),
                fence = CASE WHEN r.keeps THEN o.fence END,
                session = CASE WHEN r.keeps THEN o.session END,
                since = CASE WHEN r.keeps THEN o.since END,
                attempt = CASE WHEN r.keeps THEN o.attempt END,
                steps = CASE WHEN r.keeps THEN o.steps + 1 END,
                granted = CASE WHEN r.keeps THEN o.granted END,
                principal = CASE WHEN r.keeps THEN o.principal END,
                operation = CASE WHEN r.keeps THEN o.operation END,
                key_id = CASE WHEN r.keeps THEN o.key_id END,
                fingerprint = CASE WHEN r.keeps THEN o.fingerprint END,
                ", no_mark_if!("r.is_final"), "
            FROM here, alive, ", requests!($rows: EntryRows, HeldRows, SettleRows), "
            WHERE o.tenant = r.tenant AND o.id = r.id AND o.fence = r.fence
                AND o.steps = r.step AND o.version = r.version AND o.session = alive.id
                AND ", owned!("alive.id", "alive.heard"), "
            RETURNING o.row, o.entries, o.position, o.version AS after, r.*
        ), written AS (
            INSERT INTO entries (order_row, number, position, version, at, attempt, fence, step,
                key_hash, key_id, fingerprint, tenant, operation, outcome, actor, change)
            SELECT row, entries, position, after, at, attempt, fence, step,
                key_hash, key_id, fingerprint, tenant, operation, outcome, actor, change
            FROM moved
        ), kept AS (
            INSERT INTO keys (key_hash, order_row, number, expires, forgotten,
                version, answer_status, content_type, location, body)
            SELECT key_hash, row, entries,
                greatest(here.now, $28) + answer_span * interval '1 microsecond',
                greatest(here.now, $28) + greatest(answer_span, tombstone_span) * interval '1 microsecond',
                answer_version, answer_status, answer_type, answer_location, answer_body
            FROM moved, here
        )
        SELECT place, entries, greatest(here.now, $28) + answer_span * interval '1 microsecond'
        FROM moved, here"
    )
    };
}

/// Settles every request that `decide_settle` would apply: change, entry, what is remembered of the
/// key, and what becomes of the lease. Tells the number of the entry and the end of the retention of
/// those that were applied.
///
/// Fence, step and version are in the row. That the key has no final entry was asked after the
/// grant, and since then nobody but the holder has written one. The session stands in another table:
/// its row is locked before the order is, so that it does not end before the settle is committed.
/// The array of sessions is made whole first: a semi-join would stop at the first order of each.
pub(crate) static SETTLE: Batched = Batched {
    one: Sql {
        text: settle!(one),
        types: SETTLE_TYPES,
    },
    many: Sql {
        text: settle!(many),
        types: SETTLE_TYPES,
    },
};

const SETTLE_TYPES: &[&[Type]] = &[
    &[Type::TIMESTAMPTZ],
    EntryRows::TYPES,
    HeldRows::TYPES,
    SettleRows::TYPES,
    &[Type::TIMESTAMPTZ],
];
