//! The connections: how many there may be, and when one is thrown away.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use deadpool::managed::{self, Metrics, PoolError, QueueMode, RecycleError, RecycleResult};

use crate::PostgresOptions;
use crate::answers::Answers;
use crate::connect::{Connected, Connector};
use crate::connection::{Connection, Link};
use crate::error::{Failure, chain};

/// The connections of one store.
#[derive(Clone, Debug)]
pub(crate) struct Pool(managed::Pool<Manager>);

impl Pool {
    pub(crate) fn new(connector: Connector, prepares: bool, options: &PostgresOptions) -> Self {
        let manager = Manager {
            connector,
            prepares,
            patience: options.patience,
            answers: Arc::default(),
        };
        let pool = managed::Pool::builder(manager)
            .max_size(options.connections)
            // The one that was used last has its statements prepared, and its socket warm.
            .queue_mode(QueueMode::Lifo)
            .runtime(deadpool::Runtime::Tokio1)
            .wait_timeout(Some(options.patience))
            .create_timeout(Some(options.patience))
            .build()
            .expect("a pool with time-outs is given a runtime");
        Self(pool)
    }

    /// The stored answers that were read over these connections.
    pub(crate) fn answers(&self) -> &Answers {
        &self.0.manager().answers
    }

    /// A connection for one piece of work: one that is there, or a new one. So a store that lost
    /// its server goes on as soon as the server is back.
    pub(crate) async fn connection(&self) -> Result<Connection, Failure> {
        let object = self.0.get().await;
        object.map(Connection::new).map_err(|error| {
            Failure::Unreachable(match error {
                PoolError::Backend(error) => chain(&error).into(),
                PoolError::Timeout(managed::TimeoutType::Wait) => {
                    "all connections of this store are in use".into()
                }
                other => other.to_string().into(),
            })
        })
    }
}

/// Makes connections, and looks at those that come back.
#[derive(Debug)]
pub(crate) struct Manager {
    connector: Connector,
    prepares: bool,
    patience: Duration,
    answers: Arc<Answers>,
}

impl managed::Manager for Manager {
    type Type = Link;
    type Error = tokio_postgres::Error;

    async fn create(&self) -> Result<Link, tokio_postgres::Error> {
        let Connected {
            client,
            driver,
            unconfirmed,
        } = self.connector.connect().await?;
        // It may be that of another server, which has never had what was read before.
        self.answers.empty();
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
