//! What became of settles that were not applied: repeated, lost, or to be asked again.

use orderlock_core::Timestamp;
use orderlock_core::store::{Loss, Receipt, Settle, SettleFacts, SettleVerdict, decide_settle};
use tokio_postgres::Row;
use tokio_postgres::types::Type;

use crate::pool::connection::Connection;
use crate::sql::clock::ObservedClock;
use crate::sql::columns::columns;
use crate::sql::error::Failure;
use crate::sql::fragments::{held, lock_columns, requests};
use crate::sql::rows::{Columns, Id, key_hash, outcome, unsigned, version};
use crate::sql::statement::Sql;
use crate::sql::text::text;

/// What is known of each settle, in their order: what it has written, if it has; what the journal
/// says of its key; and the order's version and lock.
pub(crate) static SETTLE_FACTS: Sql = Sql {
    text: text!(
        "WITH clock AS (SELECT coalesce($1, clock_timestamp()) AS now)
        SELECT written.number, written.expires, key.outcome, key.forgotten <= least(clock.now, $8),
            o.version, ",
        held!(),
        ", ",
        lock_columns!(),
        "
        FROM clock CROSS JOIN
            ",
        requests!(many: SettleFactRows),
        "
            LEFT JOIN orders o ON o.tenant = r.tenant AND o.id = r.id
            LEFT JOIN LATERAL (
                SELECT k.number, k.expires
                FROM keys k JOIN entries e ON e.order_row = k.order_row AND e.number = k.number
                WHERE k.key_hash = r.key_hash AND k.order_row = o.row AND e.key_id = r.key_id
                    AND e.fence = r.fence AND e.step = r.step
            ) written ON true
            LEFT JOIN LATERAL (
                SELECT e.outcome, k.forgotten
                FROM keys k JOIN entries e ON e.order_row = k.order_row AND e.number = k.number
                WHERE k.key_hash = r.key_hash AND k.order_row = o.row AND e.key_id = r.key_id
                ORDER BY k.number DESC LIMIT 1
            ) key ON true
        ORDER BY r.place"
    ),
    types: &[
        &[Type::TIMESTAMPTZ],
        SettleFactRows::TYPES,
        &[Type::TIMESTAMPTZ],
    ],
};

columns! {
    /// The settles whose facts are asked for.
    pub(crate) struct SettleFactRows<'a> of it: &'a Settle {
        2 tenant: &'a str, TEXT_ARRAY = it.claim.caller.tenant.as_str();
        3 id: &'a str, TEXT_ARRAY = it.claim.order.as_str();
        4 fence: Id, UUID_ARRAY = it.fence.into();
        5 step: i64, INT8_ARRAY = it.step.into();
        6 key_hash: i64, INT8_ARRAY = key_hash(it.claim.key_id);
        7 key_id: &'a [u8], BYTEA_ARRAY = &it.claim.key_id.0[..];
    }
}

/// What is known of a settle that was not applied just now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SettleFate {
    /// It was applied before.
    Repeat(Receipt),
    /// The grant is gone.
    Lost(Loss),
    /// It could have been applied: the order has changed back since.
    Again,
}

/// Asks what became of them, each for itself. It changes nothing.
pub(crate) async fn settle_fates(
    connection: &Connection,
    requests: &[&Settle],
    clock: &ObservedClock,
) -> Result<Vec<Result<SettleFate, Failure>>, Failure> {
    let (now, believed) = (clock.parameter(), clock.believed());
    let settles = SettleFactRows::of(requests.iter().copied());
    let mut parameters = settles.parameters();
    parameters.insert(0, &now);
    parameters.push(&believed);
    let rows = connection.query(&SETTLE_FACTS, &parameters).await?;
    if rows.len() != requests.len() {
        return Err(Failure::unreadable("a settle has no facts"));
    }
    Ok(requests
        .iter()
        .zip(&rows)
        .map(|(it, row)| judge(it, row))
        .collect())
}

fn judge(request: &Settle, row: &Row) -> Result<SettleFate, Failure> {
    let mut columns = Columns::of(row);
    let number: Option<i64> = columns.next()?;
    let expires: Option<Timestamp> = columns.next()?;
    let word: Option<&str> = columns.next()?;
    let forgotten: Option<bool> = columns.next()?;
    let key_settled = match word {
        Some(word) => outcome(word)?.is_final() && forgotten != Some(true),
        None => false,
    };
    let current = columns.next::<Option<i64>>()?.map(version);
    let alive = columns.next()?;
    let lease = columns.lock(&request.claim.caller.tenant, alive)?;
    let receipt = number.zip(expires).map(|(number, expires)| Receipt {
        number: unsigned(number),
        expires,
    });
    let facts = SettleFacts {
        version: current,
        lease: &lease,
        written: receipt,
        key_settled,
    };
    Ok(match decide_settle(request, facts) {
        SettleVerdict::Repeat(receipt) => SettleFate::Repeat(receipt),
        SettleVerdict::Lost(loss) => SettleFate::Lost(loss),
        SettleVerdict::Apply(_) => SettleFate::Again,
    })
}
