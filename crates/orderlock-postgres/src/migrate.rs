//! The layout of the tables, brought up to date under a lock.

use tokio_postgres::{Config, NoTls};

use crate::error::Failure;

const V1: &str = include_str!("../migrations/V1__orders_and_journal.sql");

pub(crate) async fn migrate(config: &Config) -> Result<(), Failure> {
    let (mut client, connection) = config.connect(NoTls).await?;
    let driver = tokio::spawn(connection);
    let transaction = client.transaction().await?;
    transaction
        .batch_execute("SELECT pg_advisory_xact_lock(7235134918240937)")
        .await?;
    let there = transaction
        .query_one("SELECT to_regclass('store') IS NOT NULL", &[])
        .await?;
    if !there.get::<_, bool>(0) {
        transaction.batch_execute(V1).await?;
    }
    transaction.commit().await?;
    driver.abort();
    Ok(())
}
