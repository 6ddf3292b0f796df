//! The connections: how many there may be, how they are made, and when one is thrown away.

use std::collections::HashMap;
use std::future::poll_fn;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use deadpool::managed::{self, Metrics, RecycleError, RecycleResult};
use tokio_postgres::error::DbError;
use tokio_postgres::{AsyncMessage, Config, NoTls, Socket};

use crate::PostgresOptions;
use crate::connection::{Connection, Link};
use crate::error::Failure;

/// The connections of one store.
#[derive(Clone, Debug)]
pub(crate) struct Pool(managed::Pool<Manager>);

impl Pool {
    pub(crate) fn new(config: Config, options: &PostgresOptions) -> Self {
        let manager = Manager {
            config,
            prepares: !options.pooler,
            patience: options.patience,
        };
        let pool = managed::Pool::builder(manager)
            .max_size(options.connections)
            .runtime(deadpool::Runtime::Tokio1)
            .wait_timeout(Some(options.patience))
            .create_timeout(Some(options.patience))
            .build()
            .expect("a pool with time-outs is given a runtime");
        Self(pool)
    }

    /// A connection for one piece of work.
    pub(crate) async fn connection(&self) -> Result<Connection, Failure> {
        let object = self.0.get().await;
        let object = object.map_err(|error| Failure::Unreachable(error.to_string().into()))?;
        Ok(Connection::new(object))
    }
}

/// Makes connections.
#[derive(Debug)]
pub(crate) struct Manager {
    config: Config,
    prepares: bool,
    patience: Duration,
}

impl managed::Manager for Manager {
    type Type = Link;
    type Error = tokio_postgres::Error;

    async fn create(&self) -> Result<Link, tokio_postgres::Error> {
        let (client, connection) = self.config.connect(NoTls).await?;
        let unconfirmed = Arc::new(AtomicBool::new(false));
        let driver = tokio::spawn(drive(connection, Arc::clone(&unconfirmed)));
        Ok(Link {
            client,
            driver,
            unconfirmed,
            prepares: self.prepares,
            prepared: Mutex::new(HashMap::new()),
            patience: self.patience,
        })
    }

    async fn recycle(&self, link: &mut Link, _: &Metrics) -> RecycleResult<Self::Error> {
        if link.client.is_closed() {
            return Err(RecycleError::message("the connection was closed"));
        }
        Ok(())
    }
}

async fn drive<T>(
    mut connection: tokio_postgres::Connection<Socket, T>,
    unconfirmed: Arc<AtomicBool>,
) where
    T: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin,
{
    while let Some(message) = poll_fn(|context| connection.poll_message(context)).await {
        match message {
            Ok(AsyncMessage::Notice(notice)) if cuts_a_commit_short(&notice) => {
                unconfirmed.store(true, Ordering::Release);
            }
            Ok(_) => {}
            Err(error) => {
                tracing::debug!(%error, "a connection to PostgreSQL has ended");
                return;
            }
        }
    }
}

/// Whether the server warns that it no longer waits for a standby. The warning has no code of its
/// own, and its words depend on the server's language; a commit gives no other warning in this
/// program's use, and one too many in doubt does no harm.
fn cuts_a_commit_short(notice: &DbError) -> bool {
    matches!(notice.severity(), "WARNING")
        || notice.parsed_severity() == Some(tokio_postgres::error::Severity::Warning)
}
