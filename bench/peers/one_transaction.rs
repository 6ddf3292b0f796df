//! One transaction round the handler: the row's lock is the order's lock, and all of it is one
//! commit. The handler holds a connection, and so does each request that waits for the row.

use anyhow::{Result, ensure};
use deadpool::managed::Object;
use futures_util::future::{try_join, try_join3};
use orderlock::problems::ORDER_NOT_FOUND;
use tokio_postgres::{Client, Statement};

use super::http::{self, Asked, Reply, Rival};
use super::pool::{Connection, Pool, Statements};
use super::work::{Answer, Kept, Settled, Work};
use crate::Store;

/// An equal key that runs is waited for here, by the unique index.
const CLAIM: &str =
    "INSERT INTO keys (order_id, key) VALUES ($1, $2) ON CONFLICT (order_id, key) DO NOTHING";

/// Locks the order, unless the key was settled before: a replay writes nothing.
const LOCK: &str = "SELECT version, created, updated, document FROM orders
    WHERE id = $1 AND EXISTS (
        SELECT FROM keys WHERE order_id = $1 AND key = $2 AND status IS NULL)
    FOR UPDATE";

const STORED: &str = "SELECT status, version AS answered, answer FROM keys
    WHERE order_id = $1 AND key = $2 AND status IS NOT NULL";

const CHANGE: &str = "UPDATE orders SET version = $2, updated = $3, document = $4 WHERE id = $1";

const STORE: &str =
    "UPDATE keys SET status = $3, version = $4, answer = $5 WHERE order_id = $1 AND key = $2";

pub(crate) fn run(store: &Store) -> Result<()> {
    http::serve::<OneTransaction>(store)
}

struct OneTransaction {
    pool: Pool<Prepared>,
}

struct Prepared {
    claim: Statement,
    lock: Statement,
    stored: Statement,
    change: Statement,
    store: Statement,
}

impl Statements for Prepared {
    async fn prepare(client: &Client) -> Result<Self, tokio_postgres::Error> {
        Ok(Self {
            claim: client.prepare(CLAIM).await?,
            lock: client.prepare(LOCK).await?,
            stored: client.prepare(STORED).await?,
            change: client.prepare(CHANGE).await?,
            store: client.prepare(STORE).await?,
        })
    }
}

impl Rival for OneTransaction {
    async fn open(address: &str, sleepers: usize) -> Result<Self> {
        let pool = Pool::open(address, sleepers).await?;
        Ok(Self { pool })
    }

    async fn create(&self, key: &str, document: Vec<u8>) -> Result<Kept> {
        self.pool.create(key, &document).await
    }

    async fn run(&self, asked: &Asked, work: Work) -> Result<Reply> {
        let connection = self.pool.take().await?;
        let ended = transaction(&connection, asked, work).await;
        if ended.is_err() {
            // The transaction ends with its connection in any case.
            drop(Object::take(connection));
        }
        ended
    }
}

/// Two round trips: statements that are polled together, in this order, are sent together.
async fn transaction(
    connection: &Connection<Prepared>,
    asked: &Asked,
    work: Work,
) -> Result<Reply> {
    let Connection {
        client, statements, ..
    } = connection;
    let Asked { order, key } = asked;
    let (_, claimed, locked) = try_join3(
        client.batch_execute("BEGIN"),
        client.execute(&statements.claim, &[order, key]),
        client.query_opt(&statements.lock, &[order, key]),
    )
    .await?;
    let Some(row) = locked else {
        let (stored, ()) = try_join(
            client.query_opt(&statements.stored, &[order, key]),
            client.batch_execute("ROLLBACK"),
        )
        .await?;
        return match stored {
            Some(stored) => Ok(Reply::replay(Answer::read(&stored)?)),
            None => Reply::problem(&ORDER_NOT_FOUND.described()),
        };
    };
    ensure!(claimed == 1, "a key without an answer was committed");
    let Settled { order: now, answer } = work.run(Kept::read(order, &row)?).await?;
    let Answer {
        status,
        version,
        body,
    } = &answer;
    try_join3(
        client.execute(
            &statements.change,
            &[order, &now.version, &now.updated, &now.document],
        ),
        client.execute(&statements.store, &[order, key, status, version, body]),
        client.batch_execute("COMMIT"),
    )
    .await?;
    Ok(Reply::fresh(answer))
}
