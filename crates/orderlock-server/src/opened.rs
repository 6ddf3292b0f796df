//! The store that the settings name, opened.

use std::error::Error;
use std::sync::Arc;

use anyhow::anyhow;
use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use orderlock::OrderStore;
use orderlock::mongodb::{MongodbOptions, MongodbStore};
use orderlock::postgres::{PostgresOptions, PostgresStore};
use orderlock::sqlite::{SqliteOptions, SqliteStore};
use orderlock_orders::bounds::{ORDER_BYTES_MOST, STEP_BYTES_MAX};

use crate::config::{Settings, Store};
use crate::http::JournalLag;

/// The largest order that the store accepts, for any value of the setting: the order model refuses
/// earlier, and an order that was stored under a higher setting can still be ended.
const ORDER_BYTES: usize = ORDER_BYTES_MOST + STEP_BYTES_MAX;

/// An opened store. Clones are the same one.
#[derive(Clone, Debug)]
pub(crate) enum Opened {
    Sqlite(SqliteStore),
    Postgres(PostgresStore),
    Mongodb(MongodbStore),
}

impl Opened {
    /// Opens the store, and says what to do where that fails.
    pub(crate) async fn open(settings: &Settings) -> anyhow::Result<Self> {
        let failed = |error: &(dyn Error + 'static)| {
            let failed = format!("the store {} does not open: {error}", settings.store);
            // What lies below the first cause says the same again in the database's words.
            match error.source() {
                Some(cause) => anyhow!("{failed}: {cause}"),
                None => anyhow!(failed),
            }
        };
        match &settings.store {
            Store::Sqlite(file) => {
                let options = SqliteOptions::default().with_document_bytes_max(ORDER_BYTES);
                let opened = SqliteStore::open(file, options);
                opened.map(Self::Sqlite).map_err(|error| failed(&error))
            }
            Store::Postgres(address) => {
                let options = PostgresOptions::default()
                    .with_document_bytes_max(ORDER_BYTES)
                    .with_connections(settings.store_connections.0)
                    .with_patience(settings.store_limit.0);
                let opened = PostgresStore::open(address.expose(), options).await;
                opened.map(Self::Postgres).map_err(|error| failed(&error))
            }
            Store::Mongodb(address) => {
                let options = MongodbOptions::default()
                    // An order with a member that is not the order model's is refused.
                    .with_whole_orders()
                    .with_document_bytes_max(ORDER_BYTES)
                    .with_connections(settings.store_connections.0)
                    .with_patience(settings.store_limit.0);
                let opened = MongodbStore::connect(address.expose(), options).await;
                opened.map(Self::Mongodb).map_err(|error| failed(&error))
            }
        }
    }

    pub(crate) fn store(&self) -> Arc<dyn OrderStore> {
        match self {
            Self::Sqlite(store) => Arc::new(store.clone()),
            Self::Postgres(store) => Arc::new(store.clone()),
            Self::Mongodb(store) => Arc::new(store.clone()),
        }
    }

    /// How far readers of the journal are held back. None for a store where they never are, and
    /// where that is not known.
    pub(crate) fn lag(&self) -> BoxFuture<'static, Option<JournalLag>> {
        let Self::Postgres(store) = self.clone() else {
            return async { None }.boxed();
        };
        async move {
            let lag = store.lag().await.ok()?;
            Some(JournalLag {
                open_transactions: lag.writers,
                oldest_milliseconds: lag
                    .oldest
                    .map(|oldest| u64::try_from(oldest.as_millis()).unwrap_or(u64::MAX)),
            })
        }
        .boxed()
    }

    /// Logs what the embedded store has written; a database tells that itself.
    pub(crate) fn log_statistics(&self) {
        if let Self::Sqlite(store) = self {
            let it = store.statistics();
            tracing::debug!(
                commits = it.commits,
                settles = it.settles,
                checkpoints = it.checkpoints,
                "what the store has written"
            );
        }
    }
}
