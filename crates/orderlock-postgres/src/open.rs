//! Opening the store: what the address means, and whether the server is one to work with.

use tokio_postgres::Config;

use crate::PostgresOptions;
use crate::error::Failure;
use crate::migrate;
use crate::pool::Pool;

/// Why a store could not be opened.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// The address is not one of a PostgreSQL database.
    #[error("the address is not one of a PostgreSQL database")]
    Address(#[source] tokio_postgres::Error),
    /// The database could not be reached, or refused.
    #[error("the database could not be opened")]
    Database(#[source] Box<dyn std::error::Error + Send + Sync>),
}

impl From<Failure> for OpenError {
    fn from(failure: Failure) -> Self {
        Self::Database(Box::new(failure))
    }
}

/// A database that is ready for work.
#[derive(Debug)]
pub(crate) struct Opened {
    pub(crate) pool: Pool,
    pub(crate) location: String,
}

pub(crate) async fn open(url: &str, options: &PostgresOptions) -> Result<Opened, OpenError> {
    let config: Config = url.parse().map_err(OpenError::Address)?;
    let location = config.get_dbname().unwrap_or_default().to_owned();
    migrate::migrate(&config).await?;
    let pool = Pool::new(config, options);
    Ok(Opened { pool, location })
}
