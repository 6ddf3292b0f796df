//! The connections of a rival, each with its statements prepared.

use std::marker::PhantomData;
use std::time::Duration;

use anyhow::{Context as _, Result};
use deadpool::managed::{self, Metrics, RecycleError, RecycleResult};
use orderlock::{Runtime as _, TokioRuntime};
use tokio_postgres::types::ToSql;
use tokio_postgres::{Client, Config, NoTls, Statement};

use super::work::Kept;

/// How many connections there are: many enough to keep two dozen processors busy.
const SIZE: usize = 32;

/// How long a request waits for a connection, a lock or a statement.
pub(super) const WAIT_MAX: Duration = Duration::from_secs(30);

/// The statements of a rival, as they are prepared on one connection.
pub(super) trait Statements: Sized + Send + Sync + 'static {
    fn prepare(client: &Client)
    -> impl Future<Output = Result<Self, tokio_postgres::Error>> + Send;
}

/// A connection as the pool keeps it.
pub(super) struct Connection<S> {
    pub(super) client: Client,
    pub(super) statements: S,
    /// How an order is made, which is the same for all rivals.
    pub(super) create: Statement,
}

/// A connection while a request has it.
pub(super) type Taken<S> = managed::Object<Manager<S>>;

/// The connections of a rival.
pub(super) struct Pool<S: Statements>(managed::Pool<Manager<S>>);

/// Makes connections, and looks at those that come back.
pub(super) struct Manager<S> {
    config: Config,
    statements: PhantomData<fn() -> S>,
}

/// Makes an order, unless its key has made it before.
const CREATE: &str = "INSERT INTO orders (id, version, created, updated, document)
    VALUES ('ord_' || left(md5($1), 26), 1, $2, $2, $3)
    ON CONFLICT (id) DO UPDATE SET id = excluded.id
    RETURNING id, version, created, updated, document";

/// Orders for handlers that sleep.
const SLEEPERS: &str = "INSERT INTO orders (id, version, created, updated, document)
    SELECT 'o' || number, 1, now(), now(), '{\"count\":0}'
    FROM generate_series(0, $1::bigint - 1) AS number";

impl<S: Statements> Pool<S> {
    /// Makes the tables and, in them, orders for handlers that sleep.
    pub(super) async fn open(address: &str, sleepers: usize) -> Result<Self> {
        let mut config: Config = address.parse()?;
        let options = config.get_options().unwrap_or_default();
        let limit = WAIT_MAX.as_millis();
        // A statement waits for a row no longer than a client waits for its answer.
        let options = format!("{options} -c lock_timeout={limit} -c jit=off");
        config.options(options);
        let (client, connection) = config.connect(NoTls).await?;
        tokio::spawn(connection);
        client.batch_execute(include_str!("tables.sql")).await?;
        client
            .execute(SLEEPERS, &[&i64::try_from(sleepers)?])
            .await?;
        let manager = Manager {
            config,
            statements: PhantomData,
        };
        let pool = managed::Pool::builder(manager)
            .max_size(SIZE)
            .runtime(deadpool::Runtime::Tokio1)
            .wait_timeout(Some(WAIT_MAX))
            .create_timeout(Some(WAIT_MAX))
            .build()?;
        Ok(Self(pool))
    }

    /// Makes an order, unless its key has made it before.
    pub(super) async fn create(&self, key: &str, document: &[u8]) -> Result<Kept> {
        let connection = self.take().await?;
        let now = TokioRuntime.wall();
        let parameters: [&(dyn ToSql + Sync); 3] = [&key, &now, &document];
        let made = connection.client.query_one(&connection.create, &parameters);
        let row = made.await?;
        Ok(Kept::read(row.try_get("id")?, &row)?)
    }

    pub(super) async fn take(&self) -> Result<Taken<S>> {
        self.0.get().await.context("no connection is free")
    }
}

impl<S: Statements> managed::Manager for Manager<S> {
    type Type = Connection<S>;
    type Error = tokio_postgres::Error;

    async fn create(&self) -> Result<Connection<S>, tokio_postgres::Error> {
        let (client, connection) = self.config.connect(NoTls).await?;
        tokio::spawn(connection);
        let statements = S::prepare(&client).await?;
        let create = client.prepare(CREATE).await?;
        Ok(Connection {
            client,
            statements,
            create,
        })
    }

    async fn recycle(
        &self,
        connection: &mut Connection<S>,
        _: &Metrics,
    ) -> RecycleResult<tokio_postgres::Error> {
        if connection.client.is_closed() {
            return Err(RecycleError::message("the connection was closed"));
        }
        Ok(())
    }
}
