//! Orders that somebody else keeps locked: which they are, and who may wait for one.

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use orderlock_core::Target;
use tokio::sync::OwnedSemaphorePermit;
use tokio_postgres::types::Type;

use crate::pool::settings::LockWait;
use crate::pool::{Pool, Purpose};
use crate::sql::error::{Failure, TransactionError};
use crate::sql::rows::{Columns, place};
use crate::sql::statement::{Commit, Sql};

/// The places of those orders that are there and cannot be locked right now.
pub(crate) static LOCKED: Sql = Sql {
    text: "SELECT r.place
        FROM unnest($1, $2) WITH ORDINALITY AS r (tenant, id, place)
            JOIN orders o ON o.tenant = r.tenant AND o.id = r.id
            LEFT JOIN LATERAL (
                SELECT true AS free FROM orders l WHERE l.tenant = r.tenant AND l.id = r.id
                FOR NO KEY UPDATE SKIP LOCKED
            ) l ON true
        WHERE l.free IS NULL",
    types: &[Type::TEXT_ARRAY, Type::TEXT_ARRAY],
};

/// What those who carry out batches ask about locks.
pub(crate) trait Locks: Send + Sync {
    /// Which of these orders somebody else keeps locked.
    fn locked<'a>(&'a self, targets: &'a [Target]) -> BoxFuture<'a, Result<Vec<bool>, Failure>>;

    /// The right to wait for one.
    fn alone(&self) -> BoxFuture<'_, Result<OwnedSemaphorePermit, Failure>>;
}

impl Locks for Pool {
    fn locked<'a>(&'a self, targets: &'a [Target]) -> BoxFuture<'a, Result<Vec<bool>, Failure>> {
        locked(self, targets).boxed()
    }

    fn alone(&self) -> BoxFuture<'_, Result<OwnedSemaphorePermit, Failure>> {
        self.alone().boxed()
    }
}

async fn locked(pool: &Pool, targets: &[Target]) -> Result<Vec<bool>, Failure> {
    let tenants: Vec<_> = targets.iter().map(|it| it.tenant.as_str()).collect();
    let orders: Vec<_> = targets.iter().map(|it| it.order.as_str()).collect();
    let connection = pool.connection(Purpose::Work(LockWait::Briefly)).await?;
    // The locks of those that were free end with the transaction.
    let [rows] = connection
        .transaction(Commit::Unflushed, [(&LOCKED, &[&tenants, &orders])])
        .await
        .map_err(TransactionError::into_failure)?;
    let mut locked = vec![false; targets.len()];
    for row in &rows {
        *place(&mut locked, Columns::of(row).next()?)? = true;
    }
    Ok(locked)
}
