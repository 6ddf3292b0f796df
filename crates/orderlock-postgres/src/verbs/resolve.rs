//! What an operator decides about a mark: to clear it, or to settle in the name of its key. Both stand
//! in the journal.

use orderlock_core::store::{Change, Decision, Receipt, Resolve, Resolved, Retention};
use orderlock_core::{Answer, LeaseState, OutcomeKind, StoreError, Target, Timestamp, Version};
use tokio_postgres::Row;
use tokio_postgres::types::Type;

use crate::pool::Purpose;
use crate::pool::settings::LockWait;
use crate::sql::clock::span_to_sql;
use crate::sql::error::{Failure, TransactionError};
use crate::sql::fragments::{held, here, lock_columns, moves, no_lease, position, will_write};
use crate::sql::rows::{Columns, key_hash, signed, unsigned};
use crate::sql::statement::{Commit, Sql};
use crate::verbs::Context;
use crate::verbs::new_entries::unwritable;

/// Takes the order, so that nobody changes what the next statement decides on.
pub(crate) static LOCK: Sql = Sql {
    text: concat!(
        "WITH ",
        will_write!(),
        " SELECT FROM orders WHERE tenant = $1 AND id = $2 FOR NO KEY UPDATE"
    ),
    types: &[&[Type::TEXT, Type::TEXT]],
};

/// Ends the mark of this run of this key, which is remembered either as settled or as bound by the decision, unless somebody attends to it or the order is at another version than
/// the decision was made on. Tells the order as it was: its version, its lock; then what was
/// written.
pub(crate) static RESOLVE: Sql = Sql {
    text: concat!(
        "WITH ",
        here!(),
        ", found AS (
            SELECT o.*, ",
        held!(),
        " AS held FROM orders o WHERE o.tenant = $2 AND o.id = $3
        ), resolved AS (
            UPDATE orders o SET ",
        moves!(),
        ", ",
        no_lease!(),
        ", mark_attempt = NULL, mark_since = NULL, mark_times = NULL, mark_within = NULL,
                undo_attempt = NULL, undo_times = NULL, undo_within = NULL, mark_principal = NULL, mark_operation = NULL, mark_key_id = NULL,
                mark_fingerprint = NULL, entries = o.entries + 1, position = ",
        position!("1"),
        ",
                version = o.version + CASE WHEN $9 IS NULL THEN 0 ELSE 1 END,
                document = coalesce($9, o.document),
                updated = CASE WHEN $9 IS NULL THEN o.updated ELSE $10 END,
                status = CASE WHEN $9 IS NULL THEN o.status ELSE $11 END,
                customer = CASE WHEN $9 IS NULL THEN o.customer ELSE $12 END
            FROM here, found f
            WHERE o.tenant = f.tenant AND o.id = f.id AND o.mark_key_id = $4
                AND o.mark_attempt = $22 AND o.mark_since = $23 AND NOT f.held
                AND ($13 IS NULL OR o.version = $13)
            RETURNING o.row, o.entries, o.position, o.version, f.mark_attempt, f.mark_fingerprint,
                f.mark_operation
        ), written AS (
            INSERT INTO entries (order_row, number, position, version, at, attempt, step,
                key_hash, key_id, fingerprint, tenant, operation, outcome, actor, reason, change)
            SELECT r.row, r.entries, r.position, r.version, here.now, r.mark_attempt, 0,
                $5, $4, r.mark_fingerprint, $2, r.mark_operation, $6, $7, $8, $9
            FROM resolved r, here
        ), kept AS (
            INSERT INTO keys (key_hash, order_row, number, expires, forgotten,
                version, answer_status, content_type, location, body)
            SELECT $5, r.row, r.entries, greatest(here.now, $21) + $14 * interval '1 microsecond',
                greatest(here.now, $21) + $15 * interval '1 microsecond', $16, $17, $18, $19, $20
            FROM resolved r, here
        )
        SELECT o.version, o.held, ",
        lock_columns!(),
        ", r.entries, greatest(here.now, $21) + $14 * interval '1 microsecond'
        FROM here CROSS JOIN found o LEFT JOIN resolved r ON true"
    ),
    types: &[&[
        Type::TIMESTAMPTZ,
        Type::TEXT,
        Type::TEXT,
        Type::BYTEA,
        Type::INT8,
        Type::TEXT,
        Type::TEXT,
        Type::TEXT,
        Type::BYTEA,
        Type::TIMESTAMPTZ,
        Type::TEXT,
        Type::TEXT,
        Type::INT8,
        Type::INT8,
        Type::INT8,
        Type::INT8,
        Type::INT4,
        Type::TEXT,
        Type::TEXT,
        Type::BYTEA,
        Type::TIMESTAMPTZ,
        Type::INT8,
        Type::TIMESTAMPTZ,
    ]],
};

/// A decision as the statement takes it.
struct Parts<'a> {
    outcome: OutcomeKind,
    version: Option<Version>,
    change: Option<&'a Change>,
    answer: Option<&'a Answer>,
    retention: Retention,
}

impl<'a> Parts<'a> {
    fn of(decision: &'a Decision) -> Self {
        match decision {
            Decision::RunAgain { retention } => Self {
                outcome: OutcomeKind::MarkCleared,
                version: None,
                change: None,
                answer: None,
                retention: *retention,
            },
            Decision::Settle {
                version,
                end,
                retention,
            } => Self {
                outcome: end.outcome.kind(),
                version: Some(*version),
                change: end.outcome.change(),
                answer: Some(&end.answer),
                retention: *retention,
            },
        }
    }

    /// Whether the store can take it at all.
    fn check(&self, reason: &str, document_bytes_max: usize) -> Result<(), StoreError> {
        let size = self.change.map_or(0, |change| change.after.size());
        if size > document_bytes_max {
            let why = format!("an order of {size} bytes is too large");
            return Err(Failure::impossible(why).refused());
        }
        let index = self.change.map(|change| &change.index);
        let texts = [
            Some(reason),
            index.and_then(|index| index.status.as_deref()),
            index.and_then(|index| index.customer.as_deref()),
        ];
        match unwritable(texts, self.answer) {
            None => Ok(()),
            Some(why) => Err(Failure::impossible(why).refused()),
        }
    }
}

/// Ends a mark that nobody attends to.
pub(crate) async fn resolve(context: &Context, request: &Resolve) -> Result<Resolved, StoreError> {
    let parts = Parts::of(&request.decision);
    parts.check(&request.reason, context.document_bytes_max)?;
    let Target { tenant, order } = &request.target;
    let (tenant, order) = (tenant.as_str(), order.as_str());
    let (change, answer) = (parts.change, parts.answer);
    let Retention {
        answer: span,
        tombstone,
    } = parts.retention;
    let connection = context
        .pool
        .connection(Purpose::Commit(LockWait::Patiently))
        .await?;
    let [_, rows] = connection
        .transaction(
            Commit::Flushed,
            [
                (&LOCK, &[&tenant, &order]),
                (
                    &RESOLVE,
                    &[
                        &context.clock.parameter(),
                        &tenant,
                        &order,
                        &&request.key_id.0[..],
                        &key_hash(request.key_id),
                        &parts.outcome.as_str(),
                        &request.actor.as_str(),
                        &request.reason,
                        &change.map(|change| &change.after.as_bytes()[..]),
                        &change.map(|change| change.at),
                        &change.and_then(|change| change.index.status.as_deref()),
                        &change.and_then(|change| change.index.customer.as_deref()),
                        &parts.version.map(|version| signed(version.0)),
                        &span_to_sql(span),
                        &span_to_sql(tombstone.max(span)),
                        &answer.and_then(|it| it.version).map(|it| signed(it.0)),
                        &answer.map(|answer| i32::from(answer.status)),
                        &answer.map(|answer| answer.content_type.as_str()),
                        &answer.and_then(|answer| answer.location.as_deref()),
                        &answer.map(|answer| &answer.body[..]),
                        &context.clock.believed(),
                        &i64::from(request.attempt),
                        &request.since,
                    ],
                ),
            ],
        )
        .await
        .map_err(TransactionError::refused)?;
    let resolved = rows.first().map(|row| judge(request, &parts, row));
    let resolved = resolved.transpose()?.unwrap_or(Resolved::NotMarked);
    if matches!(resolved, Resolved::Resolved(_)) {
        context.freed.announce(request.target.clone());
    }
    Ok(resolved)
}

fn judge(request: &Resolve, parts: &Parts<'_>, row: &Row) -> Result<Resolved, Failure> {
    let mut columns = Columns::of(row);
    let current = Version(columns.count()?);
    let held = columns.next()?;
    let lock = columns.lock(&request.target.tenant, held)?;
    let number: Option<i64> = columns.next()?;
    let expires: Timestamp = columns.next()?;
    Ok(match (number, lock) {
        (Some(number), _) => Resolved::Resolved(Receipt {
            number: unsigned(number),
            expires,
        }),
        (None, LeaseState::Unattended(mark))
            if request.is_about(&mark) && parts.version != Some(current) =>
        {
            Resolved::VersionMismatch { current }
        }
        (None, _) => Resolved::NotMarked,
    })
}
