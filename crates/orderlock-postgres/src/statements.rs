//! The statements that move a lease: what locks an order, what grants it, what lets it go.
//!
//! Whoever changes leases in a batch locks the orders first, in the order in which they are given,
//! and decides in a later statement. That one sees what was committed before the locks were there,
//! and nobody changes it any more: what it decides on cannot be older than what it writes on.

use tokio_postgres::types::Type;

use crate::connection::Sql;
use crate::rows::{held, here, no_lease, no_mark_if, position, will_write};

/// Locks the orders that may be granted: those that nobody holds, as far as can be seen without a
/// lock, for keys that are not settled. A request that is left out is refused by its facts, or
/// asked again.
pub(crate) static LOCK_FREE: Sql = Sql {
    text: concat!(
        "WITH clock AS (SELECT coalesce($1, clock_timestamp()) AS now)
        SELECT 1
        FROM clock CROSS JOIN unnest($2, $3, $4, $5) AS r (tenant, id, key_hash, key_id)
            CROSS JOIN LATERAL (
                SELECT FROM orders o
                WHERE o.tenant = r.tenant AND o.id = r.id AND NOT ",
        held!(),
        "
                    AND NOT EXISTS (
                        SELECT FROM keys k
                            JOIN entries e ON e.order_row = k.order_row AND e.number = k.number
                        WHERE k.key_hash = r.key_hash AND k.order_row = o.row
                            AND e.key_id = r.key_id AND e.outcome <> 'checkpoint'
                            AND (k.forgotten IS NULL OR k.forgotten > clock.now))
                FOR NO KEY UPDATE
            ) free"
    ),
    types: &[
        Type::TIMESTAMPTZ,
        Type::TEXT_ARRAY,
        Type::TEXT_ARRAY,
        Type::INT8_ARRAY,
        Type::BYTEA_ARRAY,
    ],
};

/// Grants every request that `decide` would grant, under the locks of [`LOCK_FREE`]; for
/// successors (`$2`), only on orders that this very transaction has let go.
pub(crate) static GRANT: Sql = Sql {
    text: concat!(
        "WITH clock AS (SELECT coalesce($1, clock_timestamp()) AS now)
        UPDATE orders o SET
            fence = f.fence, session = f.session, since = f.now,
            attempt = 1 + greatest(f.reached, o.mark_attempt), steps = 0,
            renewals = f.renewals, principal = f.principal, operation = f.operation,
            key_id = f.key_id, fingerprint = f.fingerprint,
            mark_attempt = CASE WHEN f.marks THEN 1 + greatest(f.reached, o.mark_attempt) END,
            mark_since = CASE WHEN f.marks THEN coalesce(o.mark_since, f.now) END,
            mark_times = f.times, mark_within = f.within,
            mark_principal = CASE WHEN f.marks THEN f.principal END,
            mark_operation = CASE WHEN f.marks THEN f.operation END,
            mark_key_id = CASE WHEN f.marks THEN f.key_id END,
            mark_fingerprint = CASE WHEN f.marks THEN f.fingerprint END
        FROM (
            SELECT r.*, clock.now, s.renewals,
                CASE WHEN key.forgotten <= clock.now THEN 0 ELSE coalesce(key.attempt, 0) END
                    AS reached
            FROM clock CROSS JOIN unnest($3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15)
                    AS r (tenant, id, fence, session, principal, operation, key_hash, key_id,
                        fingerprint, expected, marks, times, within)
                JOIN sessions s ON s.id = r.session
                LEFT JOIN LATERAL (
                    SELECT e.outcome, e.fingerprint, e.attempt, k.forgotten
                    FROM keys k
                        JOIN entries e ON e.order_row = k.order_row AND e.number = k.number
                    WHERE k.key_hash = r.key_hash AND e.key_id = r.key_id
                    ORDER BY k.number DESC LIMIT 1
                ) key ON true
            WHERE key.outcome IS NULL OR key.forgotten <= clock.now
                OR (key.outcome = 'checkpoint' AND key.fingerprint = r.fingerprint)
        ) f
        WHERE o.tenant = f.tenant AND o.id = f.id AND NOT ",
        held!(),
        "
            AND (o.mark_key_id IS NULL OR (
                f.marks AND o.mark_key_id = f.key_id AND o.mark_fingerprint = f.fingerprint
                AND o.mark_attempt < o.mark_times
                AND f.now BETWEEN o.mark_since - o.mark_within * interval '1 microsecond'
                    AND o.mark_since + o.mark_within * interval '1 microsecond'))
            AND (f.expected IS NULL OR o.version = f.expected)
            AND (NOT $2 OR o.xmin = pg_current_xact_id()::xid)"
    ),
    types: &[
        Type::TIMESTAMPTZ,
        Type::BOOL,
        Type::TEXT_ARRAY,
        Type::TEXT_ARRAY,
        Type::UUID_ARRAY,
        Type::UUID_ARRAY,
        Type::TEXT_ARRAY,
        Type::TEXT_ARRAY,
        Type::INT8_ARRAY,
        Type::BYTEA_ARRAY,
        Type::BYTEA_ARRAY,
        Type::INT8_ARRAY,
        Type::BOOL_ARRAY,
        Type::INT8_ARRAY,
        Type::INT8_ARRAY,
    ],
};

/// Locks the orders that these fences hold.
pub(crate) static LOCK_HELD: Sql = Sql {
    text: "SELECT 1
        FROM unnest($1, $2, $3) AS r (tenant, id, fence)
            CROSS JOIN LATERAL (
                SELECT FROM orders o
                WHERE o.tenant = r.tenant AND o.id = r.id AND o.fence = r.fence
                FOR NO KEY UPDATE
            ) held",
    types: &[Type::TEXT_ARRAY, Type::TEXT_ARRAY, Type::UUID_ARRAY],
};

/// Locks the orders that these fences hold, and keeps their sessions from ending before the
/// transaction does. The array is made whole before a session is looked at: a semi-join would stop
/// at the first order of each.
pub(crate) static LOCK_TO_SETTLE: Sql = Sql {
    text: concat!(
        "WITH ",
        will_write!(),
        ", held AS (
            SELECT held.session
            FROM unnest($1, $2, $3) AS r (tenant, id, fence)
                CROSS JOIN LATERAL (
                    SELECT o.session FROM orders o
                    WHERE o.tenant = r.tenant AND o.id = r.id AND o.fence = r.fence
                    FOR NO KEY UPDATE
                ) held
        )
        SELECT 1 FROM sessions s WHERE s.id = ANY (ARRAY(SELECT session FROM held))
        ORDER BY s.id FOR KEY SHARE"
    ),
    types: &[Type::TEXT_ARRAY, Type::TEXT_ARRAY, Type::UUID_ARRAY],
};

/// Lets go what these fences hold, and tells which of them held. With a step and a version, only
/// if the grant stands there.
pub(crate) static LET_GO: Sql = Sql {
    text: concat!(
        "UPDATE orders o SET ",
        no_lease!(),
        ", ",
        no_mark_if!("r.clears"),
        "
        FROM unnest($1, $2, $3, $4, $5, $6) WITH ORDINALITY
            AS r (tenant, id, fence, clears, step, version, place)
        WHERE o.tenant = r.tenant AND o.id = r.id AND o.fence = r.fence AND ",
        held!(),
        "
            AND (r.step IS NULL OR o.steps = r.step)
            AND (r.version IS NULL OR o.version = r.version)
        RETURNING r.place"
    ),
    types: &[
        Type::TEXT_ARRAY,
        Type::TEXT_ARRAY,
        Type::UUID_ARRAY,
        Type::BOOL_ARRAY,
        Type::INT8_ARRAY,
        Type::INT8_ARRAY,
    ],
};

/// Settles every request that `decide_settle` would apply, under the locks of [`LOCK_TO_SETTLE`]:
/// change, entry, what is remembered of the key, and what becomes of the lease, in one statement.
/// Tells the number of the entry and the end of the retention of those that were applied.
pub(crate) static SETTLE: Sql = Sql {
    text: concat!(
        "WITH ", here!(), ", moved AS (
            UPDATE orders o SET
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
                renewals = CASE WHEN r.keeps THEN o.renewals END,
                principal = CASE WHEN r.keeps THEN o.principal END,
                operation = CASE WHEN r.keeps THEN o.operation END,
                key_id = CASE WHEN r.keeps THEN o.key_id END,
                fingerprint = CASE WHEN r.keeps THEN o.fingerprint END,
                ", no_mark_if!("r.final"), "
            FROM here, unnest($2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17,
                    $18, $19, $20, $21, $22, $23, $24, $25, $26, $27) WITH ORDINALITY
                AS r (tenant, id, fence, step, version, keeps, final, change, changed_at,
                    order_status, order_customer, actor, operation, outcome, attempt, at,
                    key_hash, key_id, fingerprint, answer_span, tombstone_span, answer_status,
                    answer_type, answer_location, answer_version, answer_body, place)
            WHERE o.tenant = r.tenant AND o.id = r.id AND o.fence = r.fence
                AND o.steps = r.step AND o.version = r.version AND ", held!(), "
            RETURNING o.row, o.entries, o.position, o.version AS after, r.*
        ), written AS (
            INSERT INTO entries (order_row, number, position, version, at, attempt, fence, step,
                key_hash, key_id, fingerprint, tenant, operation, outcome, actor, change)
            SELECT row, entries, position, after, at, attempt, fence, step,
                key_hash, key_id, fingerprint, tenant, operation, outcome, actor, change
            FROM moved
        ), kept AS (
            INSERT INTO keys (key_hash, order_row, number, expires, forgotten,
                version, status, content_type, location, body)
            SELECT key_hash, row, entries,
                here.now + answer_span * interval '1 microsecond',
                here.now + greatest(answer_span, tombstone_span) * interval '1 microsecond',
                answer_version, answer_status, answer_type, answer_location, answer_body
            FROM moved, here
        )
        SELECT place, entries, here.now + answer_span * interval '1 microsecond' FROM moved, here"
    ),
    types: &[
        Type::TIMESTAMPTZ,
        Type::TEXT_ARRAY,
        Type::TEXT_ARRAY,
        Type::UUID_ARRAY,
        Type::INT8_ARRAY,
        Type::INT8_ARRAY,
        Type::BOOL_ARRAY,
        Type::BOOL_ARRAY,
        Type::BYTEA_ARRAY,
        Type::TIMESTAMPTZ_ARRAY,
        Type::TEXT_ARRAY,
        Type::TEXT_ARRAY,
        Type::TEXT_ARRAY,
        Type::TEXT_ARRAY,
        Type::TEXT_ARRAY,
        Type::INT8_ARRAY,
        Type::TIMESTAMPTZ_ARRAY,
        Type::INT8_ARRAY,
        Type::BYTEA_ARRAY,
        Type::BYTEA_ARRAY,
        Type::INT8_ARRAY,
        Type::INT8_ARRAY,
        Type::INT4_ARRAY,
        Type::TEXT_ARRAY,
        Type::TEXT_ARRAY,
        Type::INT8_ARRAY,
        Type::BYTEA_ARRAY,
    ],
};
