//! The statement that writes segments of chains, and its parameters.

use orderlock_core::Timestamp;
use orderlock_core::store::Settle;
use tokio_postgres::types::{ToSql, Type};

use crate::pipeline::write::{Link, RowState, Segment};
use crate::sql::clock::ObservedClock;
use crate::sql::fragments::{here, moves, owned, position, requests};
use crate::sql::rows::{Id, signed};
use crate::sql::statement::{Batched, Sql};
use crate::verbs::fairness::kept_for_another;
use crate::verbs::new_entries::{NewEntries, NewEntryRow};

macro_rules! segment {
    ($rows:ident) => {
        concat!(
        "WITH ",
        here!(),
        ", alive AS (
            SELECT s.id, s.heard FROM sessions s
            WHERE s.id = ANY (ARRAY(
                SELECT o.session
                FROM ", requests!($rows: 2 tenant, 3 id, 4 fence), "
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
            FROM here, alive, ", requests!($rows: 2 tenant, 3 id, 4 fence, 5 step, 6 version, 7 before, 8 links, 9 after,
                10 changed_at, 11 change, 12 order_status, 13 order_customer, 14 next,
                15 next_session, 16 since, 17 attempt, 18 principal, 19 operation,
                20 key_id, 21 fingerprint), "
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
            FROM moved JOIN unnest($22, $23, $24, $25, $26, $27, $28, $29, $30, $31, $32, $33, $34,
                    $35, $36, $37, $38, $39, $40, $41, $42, $43)
                AS e (place, link, after, fence, step, change, settled, actor, operation, outcome,
                    attempt, at, key_hash, key_id, fingerprint, answer_span, tombstone_span,
                    answer_status, answer_type, answer_location, answer_version, answer_body)
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

const WRITE_TYPES: &[Type] = &[
    Type::TIMESTAMPTZ,
    Type::TEXT_ARRAY,
    Type::TEXT_ARRAY,
    Type::UUID_ARRAY,
    Type::INT8_ARRAY,
    Type::INT8_ARRAY,
    Type::INT8_ARRAY,
    Type::INT8_ARRAY,
    Type::INT8_ARRAY,
    Type::TIMESTAMPTZ_ARRAY,
    Type::BYTEA_ARRAY,
    Type::TEXT_ARRAY,
    Type::TEXT_ARRAY,
    Type::UUID_ARRAY,
    Type::UUID_ARRAY,
    Type::TIMESTAMPTZ_ARRAY,
    Type::INT8_ARRAY,
    Type::TEXT_ARRAY,
    Type::TEXT_ARRAY,
    Type::BYTEA_ARRAY,
    Type::BYTEA_ARRAY,
    Type::INT8_ARRAY,
    Type::INT8_ARRAY,
    Type::INT8_ARRAY,
    Type::UUID_ARRAY,
    Type::INT8_ARRAY,
    Type::BYTEA_ARRAY,
    Type::TIMESTAMPTZ_ARRAY,
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
];

/// A batch of segments, a column for each of their parts.
#[derive(Debug)]
pub(crate) struct Rows<'a> {
    now: Option<Timestamp>,
    orders: Orders<'a>,
    next: Next<'a>,
    links: Links<'a>,
}

/// What is expected of the orders, and what becomes of them.
#[derive(Debug)]
struct Orders<'a> {
    tenants: Vec<&'a str>,
    orders: Vec<&'a str>,
    fences: Vec<Id>,
    steps: Vec<i64>,
    versions: Vec<i64>,
    before: Vec<i64>,
    links: Vec<i64>,
    after: Vec<i64>,
    changed: Vec<Option<Timestamp>>,
    changes: Vec<Option<&'a [u8]>>,
    statuses: Vec<Option<&'a str>>,
    customers: Vec<Option<&'a str>>,
}

/// Who holds them then.
#[derive(Debug)]
struct Next<'a> {
    fences: Vec<Id>,
    sessions: Vec<Id>,
    since: Vec<Timestamp>,
    attempts: Vec<i64>,
    principals: Vec<&'a str>,
    operations: Vec<&'a str>,
    key_ids: Vec<&'a [u8]>,
    fingerprints: Vec<&'a [u8]>,
}

/// Their entries.
#[derive(Debug)]
struct Links<'a> {
    places: Vec<i64>,
    numbers: Vec<i64>,
    after: Vec<i64>,
    fences: Vec<Id>,
    steps: Vec<i64>,
    changes: Vec<Option<&'a [u8]>>,
    settled: Vec<Timestamp>,
    entries: NewEntries<'a>,
}

impl<'a> Rows<'a> {
    pub(crate) fn of(segments: &'a [Segment], clock: &ObservedClock) -> Self {
        let links = segments.iter().zip(1_i64..).flat_map(|(segment, place)| {
            let links = segment.links.iter().zip(1_i64..);
            links.map(move |(link, number)| (place, number, link))
        });
        Self {
            now: clock.parameter(),
            orders: Orders::of(segments),
            next: Next::of(
                &segments
                    .iter()
                    .filter_map(Segment::last)
                    .collect::<Vec<_>>(),
            ),
            links: Links::of(&links.collect::<Vec<_>>()),
        }
    }

    /// The parameters of [`WRITE`].
    pub(crate) fn parameters(&self) -> Vec<&(dyn ToSql + Sync)> {
        let (orders, next, links) = (&self.orders, &self.next, &self.links);
        let rows: [&(dyn ToSql + Sync); 28] = [
            &self.now,
            &orders.tenants,
            &orders.orders,
            &orders.fences,
            &orders.steps,
            &orders.versions,
            &orders.before,
            &orders.links,
            &orders.after,
            &orders.changed,
            &orders.changes,
            &orders.statuses,
            &orders.customers,
            &next.fences,
            &next.sessions,
            &next.since,
            &next.attempts,
            &next.principals,
            &next.operations,
            &next.key_ids,
            &next.fingerprints,
            &links.places,
            &links.numbers,
            &links.after,
            &links.fences,
            &links.steps,
            &links.changes,
            &links.settled,
        ];
        rows.into_iter().chain(links.entries.parameters()).collect()
    }
}

impl<'a> Orders<'a> {
    fn of(segments: &'a [Segment]) -> Self {
        let all = || segments.iter();
        let after = |segment: &Segment| segment.last().map_or(segment.before, |link| link.after);
        let before =
            |number: fn(&RowState) -> u64| all().map(|it| signed(number(&it.before))).collect();
        Self {
            tenants: all().map(|it| it.target.tenant.as_str()).collect(),
            orders: all().map(|it| it.target.order.as_str()).collect(),
            fences: all().map(|it| it.before.fence.into()).collect(),
            steps: all().map(|it| it.before.step.into()).collect(),
            versions: before(|row| row.version.0),
            before: before(|row| row.entries),
            links: all().map(|it| signed(it.links.len() as u64)).collect(),
            after: all().map(|it| signed(after(it).version.0)).collect(),
            changed: all().map(|it| it.change().map(|it| it.at)).collect(),
            changes: all()
                .map(|it| it.change().map(|it| &it.after.as_bytes()[..]))
                .collect(),
            statuses: all().map(|it| it.index()?.status.as_deref()).collect(),
            customers: all().map(|it| it.index()?.customer.as_deref()).collect(),
        }
    }
}

impl<'a> Next<'a> {
    fn of(links: &[&'a Link]) -> Self {
        let leases = || links.iter().map(|link| &link.lease);
        Self {
            fences: leases().map(|it| it.fence.into()).collect(),
            sessions: leases().map(|it| it.session.into()).collect(),
            since: leases().map(|it| it.since).collect(),
            attempts: leases().map(|it| it.attempt.into()).collect(),
            principals: leases().map(|it| it.caller.principal.as_str()).collect(),
            operations: leases().map(|it| it.operation.as_str()).collect(),
            key_ids: leases().map(|it| &it.key_id.0[..]).collect(),
            fingerprints: leases().map(|it| &it.fingerprint.0[..]).collect(),
        }
    }
}

impl<'a> Links<'a> {
    fn of(links: &[(i64, i64, &'a Link)]) -> Self {
        let all = || links.iter().map(|(_, _, link)| *link);
        let settles = || all().map(|link| &link.settle);
        let changes = || settles().map(Settle::change);
        Self {
            places: links.iter().map(|(place, _, _)| *place).collect(),
            numbers: links.iter().map(|(_, number, _)| *number).collect(),
            after: all().map(|it| signed(it.after.version.0)).collect(),
            fences: settles().map(|it| it.fence.into()).collect(),
            steps: settles().map(|it| it.step.into()).collect(),
            changes: changes()
                .map(|it| it.map(|it| &it.after.as_bytes()[..]))
                .collect(),
            settled: all().map(|it| it.settled).collect(),
            entries: NewEntries::of(settles().map(NewEntryRow::of_settle)),
        }
    }
}
