//! Finds the orders that another transaction keeps locked, and bounds who waits for one.

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use orderlock_core::Target;
use tokio::sync::OwnedSemaphorePermit;

use crate::pool::settings::LockWait;
use crate::pool::{Pool, Purpose};
use crate::sql::columns::columns;
use crate::sql::error::{Failure, TransactionError};
use crate::sql::fragments::requests;
use crate::sql::rows::{Columns, place};
use crate::sql::statement::{Commit, Sql};
use crate::sql::text::text;

columns! {
    /// Orders.
    pub(crate) struct TargetRows<'a> of it: &'a Target {
        1 tenant: &'a str, TEXT_ARRAY = it.tenant.as_str();
        2 id: &'a str, TEXT_ARRAY = it.order.as_str();
    }
}

/// The places of those orders that are there and cannot be locked right now.
pub(crate) static LOCKED: Sql = Sql {
    text: text!(
        "SELECT r.place
        FROM ",
        requests!(many: TargetRows),
        "
            JOIN orders o ON o.tenant = r.tenant AND o.id = r.id
            LEFT JOIN LATERAL (
                SELECT true AS free FROM orders l WHERE l.tenant = r.tenant AND l.id = r.id
                FOR NO KEY UPDATE SKIP LOCKED
            ) l ON true
        WHERE l.free IS NULL"
    ),
    types: &[TargetRows::TYPES],
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
    let orders = TargetRows::of(targets.iter());
    let parameters = orders.parameters();
    let connection = pool.connection(Purpose::Work(LockWait::Briefly)).await?;
    // The locks of those that were free end with the transaction.
    let [rows] = connection
        .transaction(Commit::Unflushed, [(&LOCKED, &parameters[..])])
        .await
        .map_err(TransactionError::into_failure)?;
    let mut locked = vec![false; targets.len()];
    for row in &rows {
        *place(&mut locked, Columns::of(row).next()?)? = true;
    }
    Ok(locked)
}
