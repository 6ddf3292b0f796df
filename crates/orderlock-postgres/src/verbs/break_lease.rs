//! What an operator decides about a lease: to break it. It stands in the journal.

use orderlock_core::store::{BreakLease, Broken};
use orderlock_core::{OutcomeKind, StoreError};
use tokio_postgres::types::Type;

use crate::pool::Purpose;
use crate::pool::settings::LockWait;
use crate::sql::error::Failure;
use crate::sql::fragments::{held, here, lock_columns, moves, no_lease, position, target_columns};
use crate::sql::rows::{Columns, Id};
use crate::sql::statement::{Commit, Sql};
use crate::verbs::Context;
use crate::verbs::new_entries::unwritable;

/// Voids the grant of this fence on this order; a mark stays.
pub(crate) static BREAK: Sql = Sql {
    text: concat!(
        "WITH ",
        here!(),
        ", found AS (
            SELECT o.row, ",
        target_columns!(),
        ", ",
        lock_columns!(),
        "
            FROM orders o WHERE o.tenant = $2 AND o.id = $7 AND o.fence = $3 AND ",
        held!(),
        "
            FOR NO KEY UPDATE
        ), broken AS (
            UPDATE orders o SET ",
        moves!(),
        ", ",
        no_lease!(),
        ", entries = o.entries + 1, position = ",
        position!("1"),
        "
            FROM here, found f
            WHERE o.tenant = f.tenant AND o.id = f.id AND o.fence = $3
            RETURNING o.entries, o.position, o.version, f.row, f.attempt, f.key_id, f.fingerprint,
                f.operation
        ), written AS (
            INSERT INTO entries (order_row, number, position, version, at, attempt, step,
                key_hash, key_id, fingerprint, tenant, operation, outcome, actor, reason)
            SELECT b.row, b.entries, b.position, b.version, here.now, b.attempt, 0,
                ('x' || encode(substr(b.key_id, 1, 8), 'hex'))::bit(64)::bigint, b.key_id,
                b.fingerprint, $2, b.operation, $4, $5, $6
            FROM broken b, here
        ), told AS (
            INSERT INTO known (session, fence, since, broken)
            SELECT f.session, f.fence, 9223372036854775807, true
            FROM found f JOIN broken b ON b.row = f.row
            ON CONFLICT (session, fence) DO UPDATE SET since = excluded.since, broken = true
        )
        SELECT f.* FROM found f JOIN broken b ON b.row = f.row"
    ),
    types: &[&[
        Type::TIMESTAMPTZ,
        Type::TEXT,
        Type::UUID,
        Type::TEXT,
        Type::TEXT,
        Type::TEXT,
        Type::TEXT,
    ]],
};

/// Voids one grant.
pub(crate) async fn break_lease(
    context: &Context,
    request: &BreakLease,
) -> Result<Broken, StoreError> {
    let Some((fence, order)) = request.lease.grant() else {
        return Ok(Broken::NotFound);
    };
    if let Some(why) = unwritable([Some(request.reason.as_str())], None) {
        return Err(Failure::impossible(why).refused());
    }
    let connection = context
        .pool
        .connection(Purpose::Commit(LockWait::Patiently))
        .await?;
    let [broken] = connection
        .transaction(
            Commit::Flushed,
            [(
                &BREAK,
                &[
                    &context.clock.parameter(),
                    &request.tenant.as_str(),
                    &Id::from(fence),
                    &OutcomeKind::LeaseBroken.as_str(),
                    &request.actor.as_str(),
                    &request.reason,
                    &order.as_str(),
                ],
            )],
        )
        .await?;
    let Some(row) = broken.first() else {
        return Ok(Broken::NotFound);
    };
    let mut columns = Columns::of(row);
    columns.skip(1);
    let target = columns.target()?;
    let lock = columns.lock(&target.tenant, true)?;
    let lease = lock.lease().map(|lease| lease.view(&target));
    let lease = lease.ok_or_else(|| Failure::unreadable("a broken lease is none"))?;
    context.freed.announce(target);
    Ok(Broken::Broken(lease))
}
