//! The layout of the tables, brought up to date by whoever comes first.
//!
//! A step is one transaction that holds its tables for a moment. What takes long on large tables, an
//! index, is built beside the work of other nodes and outside of any transaction, before the step
//! that rests on it.

use std::time::{Duration, Instant};

use refinery::error::Kind;
use refinery::{Migration, Runner};
use tokio_postgres::error::SqlState;
use tokio_postgres::{Client, SimpleQueryMessage, Transaction};

use crate::connect::Connector;
use crate::connect::error::OpenError;
use crate::open::rights;
use crate::sql::error::chain;

/// Every step of the layout. One that was released is never changed again: its checksum stands in
/// each database that has taken it.
const STEPS: [(&str, &str); 4] = [
    (
        "V1__orders_and_journal",
        include_str!("../../migrations/V1__orders_and_journal.sql"),
    ),
    ("V2__waits", include_str!("../../migrations/V2__waits.sql")),
    (
        "V3__orders_by_row",
        include_str!("../../migrations/V3__orders_by_row.sql"),
    ),
    (
        "V4__writes",
        include_str!("../../migrations/V4__writes.sql"),
    ),
];

/// Indexes that came later than their tables, each with its kind and what it is of. The first ones name
/// only columns that the tables of 0.1 have too.
const INDEXES: [(&str, &str, &str); 2] = [
    // Written only by operations that begin or end with a mark: the others stay without a touch of
    // any index.
    (
        "orders_by_mark",
        "INDEX",
        "orders (tenant, mark_since, row) WHERE mark_attempt IS NOT NULL",
    ),
    // One order for each key that makes one, whatever its id. Nothing is looked up by it: without a
    // condition, which every order meets and no statement names, a server that has not analyzed the
    // table yet finds one order in it by a walk through all of its tenant's.
    (
        "orders_by_derived",
        "UNIQUE INDEX",
        "orders (tenant, (coalesce(derived, id))) WHERE created > '-infinity'",
    ),
];

/// How many of them can be built before the steps are taken.
const BEFORE: usize = 1;

/// Where the database keeps which steps it has taken.
const TABLE: &str = "orderlock_migrations";

/// Takes the lock under which one node at a time changes the layout, and keeps it until its
/// transaction ends. It belongs to a transaction, not to a session, so that it holds behind a
/// pooler too. "Olckmigr", as a number.
///
/// Nobody waits for it inside the database: whoever builds an index has to wait for every statement
/// that is under way, and it would be one.
const LOCK: &str = "SELECT pg_try_advisory_xact_lock(5722250475938671474)";

/// How long a change of the layout may take, and how long others wait for it; and the pause between
/// two questions whether it is done.
const PATIENCE: Duration = Duration::from_secs(3600);
const PATIENCE_SQL: &str = "SET statement_timeout = '1h'";
const PAUSE: Duration = Duration::from_millis(250);

/// Brings the layout up to date. Any number of nodes may do so at once.
pub(crate) async fn migrate(
    connector: &Connector,
    client: &mut Client,
    pooler: bool,
) -> Result<(), OpenError> {
    let runner = runner()?;
    let begun = Instant::now();
    while !fits(&runner, client).await? {
        let mut other = connector.connect().await?;
        let lock = other.client.transaction().await?;
        if take(&lock).await? {
            bring_up_to_date(&runner, client, pooler).await?;
            lock.commit().await?;
            break;
        }
        drop(lock);
        if begun.elapsed() > PATIENCE {
            return Err(OpenError::Locked);
        }
        // The wait is for another node, whatever clock the store is given.
        tokio::time::sleep(PAUSE).await;
    }
    rights::check(client).await
}

async fn take(lock: &Transaction<'_>) -> Result<bool, OpenError> {
    // The transaction says nothing for as long as the change takes.
    let idle = "SET LOCAL idle_in_transaction_session_timeout = 0";
    lock.batch_execute(idle).await?;
    // As a simple query, which leaves no snapshot behind: an index waits for those as well.
    let told = lock.simple_query(LOCK).await?;
    Ok(told.iter().any(|message| match message {
        SimpleQueryMessage::Row(row) => row.get(0) == Some("t"),
        _ => false,
    }))
}

/// Does what is left to do, under the lock. Whoever had it before has done it all, most likely.
async fn bring_up_to_date(
    runner: &Runner,
    client: &mut Client,
    pooler: bool,
) -> Result<(), OpenError> {
    if !pooler {
        // A pooler would give the setting to whoever comes next.
        client.batch_execute(PATIENCE_SQL).await?;
    }
    let new = applied(runner, client).await?.is_empty();
    if !new {
        // While the nodes of the version before still work.
        build_indexes(client, &INDEXES[..BEFORE], "CONCURRENTLY").await?;
    }
    if let Err(error) = runner.run_async(client).await {
        return Err(judge(client, error).await);
    }
    // On tables that are empty it takes a moment, and need not wait for whoever else uses the database.
    build_indexes(client, &INDEXES, if new { "" } else { "CONCURRENTLY" }).await
}

/// Builds the indexes that are missing. One that is not valid is what is left of a try that ended
/// half way.
async fn build_indexes(
    client: &Client,
    indexes: &[(&str, &str, &str)],
    concurrently: &str,
) -> Result<(), OpenError> {
    for (name, kind, of) in indexes {
        match is_valid(client, name).await? {
            Some(true) => continue,
            Some(false) => {
                let drop = format!("DROP INDEX CONCURRENTLY {name}");
                client.batch_execute(&drop).await?;
            }
            None => {}
        }
        let index = format!("CREATE {kind} {concurrently} {name} ON {of}");
        if let Err(error) = client.batch_execute(&index).await {
            return Err(match error.code() {
                Some(&SqlState::INSUFFICIENT_PRIVILEGE) => rights::refused(client, &error).await,
                Some(&SqlState::LOCK_NOT_AVAILABLE) => OpenError::Locked,
                _ => OpenError::Migration(chain(&error).into()),
            });
        }
    }
    Ok(())
}

/// Whether an index is complete; none if it is not there.
async fn is_valid(client: &Client, name: &str) -> Result<Option<bool>, OpenError> {
    let look = "SELECT indisvalid FROM pg_index WHERE indexrelid = to_regclass($1::text)";
    let found = client.query_opt(look, &[&name]).await?;
    Ok(found.map(|row| row.try_get(0)).transpose()?)
}

fn runner() -> Result<Runner, OpenError> {
    let steps = STEPS.map(|(name, sql)| Migration::unapplied(name, sql));
    let steps: Result<Vec<_>, _> = steps.into_iter().collect();
    let steps = steps.map_err(|error| OpenError::Migration(error.into()))?;
    let mut runner = Runner::new(&steps);
    runner.set_migration_table_name(TABLE);
    Ok(runner)
}

/// The steps that the database has taken.
async fn applied(runner: &Runner, client: &mut Client) -> Result<Vec<Migration>, OpenError> {
    let there = "SELECT to_regclass($1::text) IS NOT NULL";
    if !client.query_one(there, &[&TABLE]).await?.try_get(0)? {
        return Ok(Vec::new());
    }
    match runner.get_applied_migrations_async(client).await {
        Ok(applied) => Ok(applied),
        Err(error) => Err(judge(client, error).await),
    }
}

/// Whether there is nothing to do. Asked first, because it needs neither the lock nor the right to
/// create tables, which a node's role need not have.
///
/// A later version may have gone on: if it says that programs of this layout may still work beside
/// it, there is nothing to do either.
async fn fits(runner: &Runner, client: &mut Client) -> Result<bool, OpenError> {
    let applied = applied(runner, client).await?;
    let own = runner.get_migrations();
    for step in own {
        let taken = applied.iter().find(|it| it.version() == step.version());
        if taken.is_some_and(|taken| taken.checksum() != step.checksum()) {
            return Err(OpenError::Changed(step.to_string()));
        }
    }
    let newest = own.iter().map(Migration::version).max().unwrap_or(0);
    let later = applied.iter().find(|step| step.version() > newest);
    let all = own.iter().all(|step| applied.contains(step));
    if let Some(later) = later
        && !(all && oldest(client).await? <= newest)
    {
        return Err(OpenError::Newer(later.to_string()));
    }
    for (name, ..) in INDEXES {
        if is_valid(client, name).await? != Some(true) {
            return Ok(false);
        }
    }
    Ok(all)
}

/// The oldest layout whose programs may work with the database as it is.
async fn oldest(client: &Client) -> Result<i32, OpenError> {
    let oldest = client.query_one("SELECT oldest_layout FROM store", &[]);
    Ok(oldest.await?.try_get(0)?)
}

/// What a person can do about a migration that failed.
async fn judge(client: &Client, error: refinery::Error) -> OpenError {
    let Kind::Connection(_, below) = error.kind() else {
        return match error.kind() {
            Kind::MissingVersion(step) => OpenError::Newer(step.to_string()),
            Kind::DivergentVersion(step, _) => OpenError::Changed(step.to_string()),
            _ => OpenError::Migration(chain(&error).into()),
        };
    };
    let server: Option<&tokio_postgres::Error> = below.downcast_ref();
    match server.and_then(|error| Some((error, error.code()?))) {
        Some((error, &SqlState::INSUFFICIENT_PRIVILEGE)) => rights::refused(client, error).await,
        Some((_, &SqlState::DUPLICATE_TABLE)) => OpenError::Foreign(chain(&error).into()),
        Some((_, &SqlState::READ_ONLY_SQL_TRANSACTION)) => OpenError::ReadOnly,
        Some((_, &SqlState::LOCK_NOT_AVAILABLE)) => OpenError::Locked,
        _ => OpenError::Migration(chain(&error).into()),
    }
}
