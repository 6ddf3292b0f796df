//! One transaction before the handler, which locks the order by a column and notes the key, and one
//! after it, which writes order and answer and unlocks. Each is one statement. The handler holds
//! nothing, and who waits for an order of this process waits without a connection.

use std::time::Duration;

use anyhow::{Result, ensure};
use orderlock::problems::{ORDER_LOCKED, ORDER_NOT_FOUND};
use tokio::time::{Instant, sleep, timeout};
use tokio_postgres::{Client, Statement};

use super::http::{self, Asked, Reply, Rival};
use super::line::Lines;
use super::pool::{Pool, Statements, WAIT_MAX};
use super::work::{Answer, Kept, Settled, Work};
use crate::Store;

/// Locks a free order, unless the key was settled before, and notes the key of the one who got it.
/// One row: the order if it was locked, or else the stored answer if there is one.
const LOCK: &str = "WITH locked AS (
        UPDATE orders SET locked = $2 WHERE id = $1 AND locked IS NULL AND NOT EXISTS (
            SELECT FROM keys WHERE order_id = $1 AND key = $2 AND status IS NOT NULL)
        RETURNING version, created, updated, document),
    noted AS (
        INSERT INTO keys (order_id, key) SELECT $1, $2 FROM locked
        ON CONFLICT (order_id, key) DO NOTHING RETURNING key)
    SELECT locked.*, EXISTS (SELECT FROM noted) AS noted,
        keys.status, keys.version AS answered, keys.answer
    FROM (VALUES (1)) AS one
        LEFT JOIN locked ON true
        LEFT JOIN keys ON order_id = $1 AND key = $2 AND status IS NOT NULL";

/// Writes order and answer, and unlocks.
const SETTLE: &str = "WITH changed AS (
        UPDATE orders SET locked = NULL, version = $3, updated = $4, document = $5
        WHERE id = $1 AND locked = $2 RETURNING id)
    UPDATE keys SET status = $6, version = $7, answer = $8 FROM changed
    WHERE order_id = $1 AND key = $2";

const STORED: &str = "SELECT status, version AS answered, answer FROM keys
    WHERE order_id = $1 AND key = $2 AND status IS NOT NULL";

const UNLOCK: &str = "UPDATE orders SET locked = NULL WHERE id = $1 AND locked = $2";

const EXISTS: &str = "SELECT FROM orders WHERE id = $1";

/// How long a lock of another process is waited for between two tries, at first and at most.
const PAUSE: (Duration, Duration) = (Duration::from_millis(1), Duration::from_millis(50));

pub(crate) fn run(store: &Store) -> Result<()> {
    http::serve::<TwoTransactions>(store)
}

struct TwoTransactions {
    pool: Pool<Prepared>,
    lines: Lines,
}

struct Prepared {
    lock: Statement,
    settle: Statement,
    stored: Statement,
    unlock: Statement,
    exists: Statement,
}

impl Statements for Prepared {
    async fn prepare(client: &Client) -> Result<Self, tokio_postgres::Error> {
        Ok(Self {
            lock: client.prepare(LOCK).await?,
            settle: client.prepare(SETTLE).await?,
            stored: client.prepare(STORED).await?,
            unlock: client.prepare(UNLOCK).await?,
            exists: client.prepare(EXISTS).await?,
        })
    }
}

/// What came of an attempt to lock an order.
enum Attempt {
    Locked(Kept),
    Answered(Answer),
    Held,
    Missing,
}

impl Rival for TwoTransactions {
    async fn open(address: &str, sleepers: usize) -> Result<Self> {
        let pool = Pool::open(address, sleepers).await?;
        let lines = Lines::default();
        Ok(Self { pool, lines })
    }

    async fn create(&self, key: &str, document: Vec<u8>) -> Result<Kept> {
        self.pool.create(key, &document).await
    }

    async fn run(&self, asked: &Asked, work: Work) -> Result<Reply> {
        let deadline = Instant::now() + WAIT_MAX;
        let Ok(_turn) = timeout(WAIT_MAX, self.lines.enter(&asked.order)).await else {
            return Reply::problem(&ORDER_LOCKED.described());
        };
        let mut pause = PAUSE.0;
        let order = loop {
            match self.lock(asked).await? {
                Attempt::Locked(order) => break order,
                Attempt::Answered(answer) => return Ok(Reply::replay(answer)),
                Attempt::Missing => return Reply::problem(&ORDER_NOT_FOUND.described()),
                Attempt::Held if Instant::now() >= deadline => {
                    return Reply::problem(&ORDER_LOCKED.described());
                }
                Attempt::Held => {
                    sleep(pause).await;
                    pause = (pause * 2).min(PAUSE.1);
                }
            }
        };
        match work.run(order).await {
            Ok(settled) => self.settle(asked, settled).await,
            Err(error) => {
                self.unlock(asked).await?;
                Err(error)
            }
        }
    }
}

impl TwoTransactions {
    async fn lock(&self, Asked { order, key }: &Asked) -> Result<Attempt> {
        let connection = self.pool.take().await?;
        let (client, statements) = (&connection.client, &connection.statements);
        let row = client.query_one(&statements.lock, &[order, key]).await?;
        if row.try_get::<_, Option<i64>>("version")?.is_none() {
            if row.try_get::<_, Option<i16>>("status")?.is_some() {
                return Ok(Attempt::Answered(Answer::read(&row)?));
            }
            let exists = client.query_opt(&statements.exists, &[order]).await?;
            return Ok(exists.map_or(Attempt::Missing, |_| Attempt::Held));
        }
        if !row.try_get::<_, bool>("noted")? {
            // The key was there: left by a process that died, or settled after this statement had
            // begun.
            let stored = client.query_opt(&statements.stored, &[order, key]).await?;
            if let Some(stored) = stored {
                client.execute(&statements.unlock, &[order, key]).await?;
                return Ok(Attempt::Answered(Answer::read(&stored)?));
            }
        }
        Ok(Attempt::Locked(Kept::read(order, &row)?))
    }

    async fn settle(&self, Asked { order, key }: &Asked, settled: Settled) -> Result<Reply> {
        let Settled { order: now, answer } = settled;
        let Answer {
            status,
            version,
            body,
        } = &answer;
        let connection = self.pool.take().await?;
        let parameters: [&(dyn tokio_postgres::types::ToSql + Sync); 8] = [
            order,
            key,
            &now.version,
            &now.updated,
            &now.document,
            status,
            version,
            body,
        ];
        let statement = &connection.statements.settle;
        let written = connection.client.execute(statement, &parameters).await?;
        ensure!(written == 1, "the lock was lost");
        Ok(Reply::fresh(answer))
    }

    async fn unlock(&self, Asked { order, key }: &Asked) -> Result<()> {
        let connection = self.pool.take().await?;
        let statement = &connection.statements.unlock;
        connection.client.execute(statement, &[order, key]).await?;
        Ok(())
    }
}
