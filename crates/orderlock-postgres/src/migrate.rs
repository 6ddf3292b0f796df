//! The layout of the tables, brought up to date by whoever comes first.

use refinery::error::Kind;
use refinery::{Migration, Runner};
use tokio_postgres::Client;
use tokio_postgres::error::SqlState;

use crate::OpenError;
use crate::connect::Connector;

/// Every step of the layout. One that was released is never changed again: its checksum stands in
/// each database that has taken it.
const STEPS: [(&str, &str); 3] = [
    (
        "V1__orders_and_journal",
        include_str!("../migrations/V1__orders_and_journal.sql"),
    ),
    ("V2__waits", include_str!("../migrations/V2__waits.sql")),
    (
        "V3__orders_by_row",
        include_str!("../migrations/V3__orders_by_row.sql"),
    ),
];

/// Where the database keeps which steps it has taken.
const TABLE: &str = "orderlock_migrations";

/// Takes the lock under which one node at a time changes the layout, and keeps it until its
/// transaction ends. It belongs to a transaction, not to a session, so that it holds behind a
/// pooler too. The others wait for as long as a migration may take. "Olckmigr", as a number.
const LOCK: &str = "SET LOCAL statement_timeout = '1h';
    SET LOCAL lock_timeout = '1h';
    SET LOCAL idle_in_transaction_session_timeout = 0;
    SELECT pg_advisory_xact_lock(5722250475938671474)";

/// Brings the layout up to date. Any number of nodes may do so at once.
pub(crate) async fn migrate(connector: &Connector, client: &mut Client) -> Result<(), OpenError> {
    let runner = runner()?;
    if is_up_to_date(&runner, client).await? {
        return Ok(());
    }
    let mut other = connector
        .connect()
        .await
        .map_err(|error| OpenError::connecting(&error))?;
    let lock = other.client.transaction().await?;
    lock.batch_execute(LOCK).await?;
    // Whoever had the lock before has made it, most likely; then nothing is left to do here.
    runner.run_async(client).await.map_err(judge)?;
    lock.commit().await?;
    Ok(())
}

fn runner() -> Result<Runner, OpenError> {
    let steps = STEPS.map(|(name, sql)| Migration::unapplied(name, sql));
    let steps: Result<Vec<_>, _> = steps.into_iter().collect();
    let mut runner = Runner::new(&steps.map_err(judge)?);
    runner.set_migration_table_name(TABLE);
    Ok(runner)
}

/// Whether there is nothing to do. Asked first, because it needs neither the lock nor the right to
/// create tables, which a node's role need not have.
async fn is_up_to_date(runner: &Runner, client: &mut Client) -> Result<bool, OpenError> {
    let there = client
        .query_one("SELECT to_regclass($1::text) IS NOT NULL", &[&TABLE])
        .await?;
    if !there.try_get::<_, bool>(0)? {
        return Ok(false);
    }
    let applied = runner.get_applied_migrations_async(client).await;
    Ok(applied.map_err(judge)? == *runner.get_migrations())
}

/// What a person can do about a migration that failed.
fn judge(error: refinery::Error) -> OpenError {
    match error.kind() {
        Kind::MissingVersion(step) => OpenError::Newer(step.to_string()),
        Kind::DivergentVersion(step, _) => OpenError::Changed(step.to_string()),
        Kind::Connection(_, below) => match code(below.as_ref()) {
            Some(SqlState::DUPLICATE_TABLE) => OpenError::Foreign(error.into()),
            Some(SqlState::READ_ONLY_SQL_TRANSACTION) => OpenError::ReadOnly,
            _ => OpenError::Migration(error.into()),
        },
        _ => OpenError::Migration(error.into()),
    }
}

fn code(error: &(dyn std::error::Error + 'static)) -> Option<SqlState> {
    let error = error.downcast_ref::<tokio_postgres::Error>()?;
    error.code().cloned()
}
