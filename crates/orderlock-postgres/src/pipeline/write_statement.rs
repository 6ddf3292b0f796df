//! The statement that writes segments of chains.

use tokio_postgres::types::Type;

use crate::pipeline::write_rows::{LinkRows, SegmentRows};
use crate::sql::fragments::{here, moves, owned, position, requests};
use crate::sql::statement::{Batched, Sql};
use crate::sql::text::text;
use crate::verbs::fairness::kept_for_another;
use crate::verbs::new_entries::EntryRows;
use crate::verbs::settle_rows::HeldRows;

macro_rules! segment {
    ($rows:ident) => {
        text!(
        "WITH ",
        here!(),
        ", alive AS (
            SELECT s.id, s.heard FROM sessions s
            WHERE s.id = ANY (ARRAY(
                SELECT o.session
                FROM ", requests!($rows: HeldRows), "
                    JOIN orders o ON o.tenant = r.tenant AND o.id = r.id AND o.fence = r.fence
            ))
            ORDER BY s.id FOR KEY SHARE
        ), moved AS (
            UPDATE orders o SET ",
        moves!(),
        ",
                version = r.after, entries = o.entries + r.links,
                position = ",
        position!("r.place"),
        " + r.links - 1,
                updated = coalesce(r.changed_at, o.updated),
                status = CASE WHEN r.change IS NULL THEN o.status ELSE r.order_status END,
                customer = CASE WHEN r.change IS NULL THEN o.customer ELSE r.order_customer END,
                document = coalesce(r.change, o.document),
                fence = r.next, session = r.next_session, since = r.since, attempt = r.attempt,
                steps = 0,
                granted = coalesce(
                    (SELECT s.renewals FROM sessions s WHERE s.id = r.next_session), 0),
                principal = r.principal,
                operation = r.operation, key_id = r.key_id, fingerprint = r.fingerprint
            FROM here, alive, ", requests!($rows: HeldRows, SegmentRows), "
            WHERE o.tenant = r.tenant AND o.id = r.id AND o.fence = r.fence
                AND o.steps = r.step AND o.version = r.version AND o.entries = r.before
                AND o.mark_key_id IS NULL AND o.session = alive.id AND ",
        owned!("alive.id", "alive.heard"),
        "
            RETURNING o.row, o.tenant, o.entries - r.links AS before,
                o.position - r.links AS position, r.next_session, r.place
        ), settled AS (
            SELECT moved.row, moved.tenant, moved.before + e.link AS number,
                moved.position + e.link AS position, e.*
            FROM moved JOIN unnest(", EntryRows::PARAMETERS, ", ", LinkRows::PARAMETERS, ")
                AS e (", EntryRows::NAMES, ", ", LinkRows::NAMES, ")
                ON e.place = moved.place
        ), written AS (
            INSERT INTO entries (order_row, number, position, version, at, attempt, fence, step,
                key_hash, key_id, fingerprint, tenant, operation, outcome, actor, change)
            SELECT row, number, position, after, at, attempt, fence, step,
                key_hash, key_id, fingerprint, tenant, operation, outcome, actor, change
            FROM settled
        ), kept AS (
            INSERT INTO keys (key_hash, order_row, number, expires, forgotten,
                version, answer_status, content_type, location, body)
            SELECT key_hash, row, number,
                settled + answer_span * interval '1 microsecond',
                settled + greatest(answer_span, tombstone_span) * interval '1 microsecond',
                answer_version, answer_status, answer_type, answer_location, answer_body
            FROM settled
        )
        SELECT place, ",
        kept_for_another!("moved.row", "moved.next_session", "here.now"),
        ", here.now FROM moved, here"
    )
    };
}

/// Writes every segment whose row is still as it is expected, as `SETTLE` does with one settle. Tells which, and whether
/// it is another node's turn then.
pub(crate) static WRITE: Batched = Batched {
    one: Sql {
        text: segment!(one),
        types: WRITE_TYPES,
    },
    many: Sql {
        text: segment!(many),
        types: WRITE_TYPES,
    },
};

const WRITE_TYPES: &[&[Type]] = &[
    &[Type::TIMESTAMPTZ],
    EntryRows::TYPES,
    HeldRows::TYPES,
    SegmentRows::TYPES,
    LinkRows::TYPES,
];
