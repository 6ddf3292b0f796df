//! Runs statements and transactions on one connection, while a piece of work has it.
//!
//! Nothing is kept in the server's session but prepared statements, and those only where no pooler
//! stands between.

use std::pin::pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use deadpool::managed::Object;
use futures_util::TryStreamExt as _;
use futures_util::future::{join, join_all, join3};
use tokio_postgres::{Client, Row, Statement};

use crate::planted::twisted;
use crate::pool::client::PooledClient;
use crate::pool::parked::Parked;
use crate::pool::settings::LockWait;
use crate::pool::{Manager, Purpose, Share};
use crate::sql::error::{Failure, TransactionError};
use crate::sql::statement::{Batched, Commit, Parameters, Sql};

/// How often a transaction is sent again because others stood in its way.
const AGAIN_MAX: usize = 3;

/// A statement that is ready to run on one connection.
#[derive(Debug)]
enum Ready {
    Prepared(Statement),
    Whole(&'static Sql),
}

/// A connection while a piece of work has it. If the work is dropped in the middle of a statement,
/// or a statement ends in a way that leaves the session in doubt, the connection does not go back
/// to the pool; it keeps its place until the server has answered.
#[derive(Debug)]
pub(crate) struct Connection {
    /// None only while it is dropped, as is its share.
    object: Option<Object<Manager>>,
    share: Option<Share>,
    parked: Arc<Parked>,
    waits: LockWait,
    in_doubt: AtomicBool,
    /// Whether a commit that waits for more than this machine may be under way.
    commits: AtomicBool,
}

impl Connection {
    pub(crate) fn new(
        object: Object<Manager>,
        share: Share,
        parked: Arc<Parked>,
        purpose: Purpose,
    ) -> Self {
        let waits = match purpose {
            Purpose::Life | Purpose::Reading => LockWait::Patiently,
            Purpose::Work(waits) | Purpose::Commit(waits) => waits,
        };
        Self {
            object: Some(object),
            share: Some(share),
            parked,
            waits,
            in_doubt: AtomicBool::new(false),
            commits: AtomicBool::new(matches!(purpose, Purpose::Commit(_))),
        }
    }

    fn client(&self) -> &PooledClient {
        self.object
            .as_ref()
            .expect("a connection has its client until it is dropped")
    }

    /// The form of a statement for so many requests. One that is not prepared is planned each time,
    /// and gains nothing by its form.
    pub(crate) fn form(&self, statement: &'static Batched, requests: usize) -> &'static Sql {
        if requests == 1 && self.client().prepares {
            &statement.one
        } else {
            &statement.many
        }
    }

    /// Runs one statement, which is a transaction of its own. Only for what may be asked again,
    /// such as a read: of a failure it does not say whether the statement took effect.
    pub(crate) async fn query(
        &self,
        sql: &'static Sql,
        parameters: Parameters<'_>,
    ) -> Result<Vec<Row>, Failure> {
        if self.client().prepares {
            let work = async {
                let ready = self.ready(sql).await?;
                self.run(&ready, parameters).await
            };
            match self.patiently(work).await {
                Err(failure) if failure.is_of_the_moment() => {}
                // A session waits hardly, so that nothing has to be set for what is done most.
                Err(failure) if failure.is_of_a_lock() && self.waits == LockWait::Patiently => {}
                told => return told,
            }
        }
        let told = self
            .transaction(Commit::Unflushed, [(sql, parameters)])
            .await;
        let [rows] = told.map_err(TransactionError::into_failure)?;
        Ok(rows)
    }

    /// Runs one statement that writes, which is a transaction of its own: the server hears nothing of
    /// a transaction but the statement. Every statement that is run so tells a row of whatever it has
    /// written; the server sends no row before all is written, and commits after the last one.
    pub(crate) async fn write(
        &self,
        sql: &'static Sql,
        parameters: Parameters<'_>,
    ) -> Result<Vec<Row>, TransactionError> {
        if !self.client().prepares || self.waits == LockWait::Patiently {
            let [rows] = self
                .transaction(Commit::Flushed, [(sql, parameters)])
                .await?;
            return Ok(rows);
        }
        let ready = self.patiently(self.ready(sql)).await;
        let ready = ready.map_err(TransactionError::NotApplied)?;
        self.open().map_err(TransactionError::NotApplied)?;
        let pooled = self.client();
        pooled.unconfirmed.store(false, Ordering::Release);
        let work = async { Ok(self.told(&ready, parameters).await) };
        let (rows, ended) = self
            .patiently(work)
            .await
            .map_err(TransactionError::Unknown)?;
        let Err(failure) = ended else {
            return self.confirmed(rows);
        };
        let refused = matches!(failure, Failure::Refused { .. });
        if !refused || failure.ends_the_connection() {
            self.doubt();
        }
        // What fails behind its rows fails at the commit.
        let written = !rows.is_empty() && !failure.denies_the_commit();
        Err(if refused && !written {
            TransactionError::NotApplied(failure)
        } else {
            self.doubt();
            TransactionError::Unknown(failure)
        })
    }

    /// The rows of a statement as they come, and how it ended.
    async fn told(
        &self,
        ready: &Ready,
        parameters: Parameters<'_>,
    ) -> (Vec<Row>, Result<(), Failure>) {
        let client = &self.client().client;
        let parameters = parameters.iter().copied();
        let stream = match ready {
            Ready::Prepared(statement) => client.query_raw(statement, parameters).await,
            Ready::Whole(sql) => {
                let typed = parameters.zip(sql.types());
                client.query_typed_raw(sql.text, typed).await
            }
        };
        let mut rows = Vec::new();
        let mut stream = match stream {
            Ok(stream) => pin!(stream),
            Err(error) => return (rows, Err(error.into())),
        };
        loop {
            match stream.try_next().await {
                Ok(Some(row)) => rows.push(row),
                Ok(None) => return (rows, Ok(())),
                Err(error) => return (rows, Err(error.into())),
            }
        }
    }

    /// Says if the connection is closed: then nothing is sent over it.
    fn open(&self) -> Result<(), Failure> {
        if self.client().client.is_closed() {
            self.doubt();
            let closed: Arc<str> = "the connection was closed".into();
            return Err(Failure::Unreachable(closed));
        }
        Ok(())
    }

    /// What a commit has told, if it has waited for the standby.
    fn confirmed<T>(&self, told: T) -> Result<T, TransactionError> {
        if self.client().unconfirmed.load(Ordering::Acquire) {
            self.doubt();
            return Err(TransactionError::Unknown(Failure::Unconfirmed));
        }
        Ok(told)
    }

    /// Runs one transaction, sent in one go: one round trip, however many statements it has. Each
    /// statement sees what was committed before that statement began, and what those before it did.
    /// One that was rolled back because others stood in its way is sent again, within bounds.
    pub(crate) async fn transaction<const N: usize>(
        &self,
        commit: Commit,
        statements: [(&'static Sql, Parameters<'_>); N],
    ) -> Result<[Vec<Row>; N], TransactionError> {
        for _ in 1..AGAIN_MAX {
            match self.send(commit, statements).await {
                Err(TransactionError::NotApplied(failure)) if failure.is_of_the_moment() => {}
                told => return told,
            }
        }
        self.send(commit, statements).await
    }

    async fn send<const N: usize>(
        &self,
        commit: Commit,
        statements: [(&'static Sql, Parameters<'_>); N],
    ) -> Result<[Vec<Row>; N], TransactionError> {
        if commit == Commit::Flushed {
            self.commits.store(true, Ordering::Release);
        }
        let prepared = self.patiently(async {
            let mut prepared = Vec::with_capacity(N);
            for (sql, _) in statements {
                prepared.push(self.ready(sql).await?);
            }
            Ok(prepared)
        });
        let prepared = prepared.await.map_err(TransactionError::NotApplied)?;
        self.open().map_err(TransactionError::NotApplied)?;
        let pooled = self.client();
        pooled.unconfirmed.store(false, Ordering::Release);
        let runs = prepared
            .iter()
            .zip(statements)
            .map(|(ready, (_, parameters))| self.run(ready, parameters));
        // Polled in this order, and therefore sent in this order.
        let work = join3(
            pooled
                .client
                .batch_execute(pooled.begins.of(self.waits, commit)),
            join_all(runs),
            end(&pooled.client, commit),
        );
        let work = async { Ok(work.await) };
        let (begun, rows, committed) = self
            .patiently(work)
            .await
            .map_err(TransactionError::Unknown)?;
        self.judge(begun, rows, committed)
    }

    /// What became of a transaction that was sent whole: the first statement that failed decides.
    fn judge<const N: usize>(
        &self,
        begun: Result<(), tokio_postgres::Error>,
        rows: Vec<Result<Vec<Row>, Failure>>,
        committed: Result<(), tokio_postgres::Error>,
    ) -> Result<[Vec<Row>; N], TransactionError> {
        let before = begun.map_err(Failure::from);
        let before = before.and_then(|()| rows.into_iter().collect::<Result<Vec<_>, _>>());
        let rows = match before {
            Ok(rows) => rows,
            // The server said so of a statement before the commit: nothing was committed.
            Err(failure @ Failure::Refused { .. }) => {
                if failure.ends_the_connection() {
                    self.doubt();
                }
                return Err(TransactionError::NotApplied(failure));
            }
            // A row that was read wrongly, or a lost connection: the commit was sent all the same.
            Err(failure) => {
                self.doubt();
                return Err(TransactionError::Unknown(failure));
            }
        };
        if let Err(error) = committed {
            let failure = Failure::from(error);
            if failure.denies_the_commit() {
                return Err(TransactionError::NotApplied(failure));
            }
            self.doubt();
            return Err(TransactionError::Unknown(failure));
        }
        let rows = rows.try_into();
        self.confirmed(rows.expect("each statement has given its rows"))
    }

    /// Throws the connection away when it is dropped.
    fn doubt(&self) {
        self.in_doubt.store(true, Ordering::Release);
    }

    /// Waits for work on the connection, for as long as an answer may take. Work that is not waited
    /// for to its end leaves the session in doubt.
    async fn patiently<T>(
        &self,
        work: impl Future<Output = Result<T, Failure>>,
    ) -> Result<T, Failure> {
        let patience = self.client().patience;
        self.doubt();
        let done = tokio::time::timeout(patience, work).await;
        let done = done.map_err(|_| Failure::TimedOut(patience))?;
        let spoiled = match &done {
            Err(failure @ Failure::Refused { .. }) => failure.ends_the_connection(),
            Err(Failure::Lost(_)) => true,
            _ => false,
        };
        self.in_doubt.store(spoiled, Ordering::Release);
        done
    }

    async fn ready(&self, sql: &'static Sql) -> Result<Ready, Failure> {
        let pooled = self.client();
        if !pooled.prepares {
            return Ok(Ready::Whole(sql));
        }
        let address = std::ptr::from_ref(sql).addr();
        if let Some(statement) = lock(&pooled.prepared).get(&address) {
            return Ok(Ready::Prepared(statement.clone()));
        }
        let statement = self.prepare(sql).await?;
        lock(&pooled.prepared).insert(address, statement.clone());
        Ok(Ready::Prepared(statement))
    }

    /// Even to be looked through, a statement needs its tables.
    async fn prepare(&self, sql: &'static Sql) -> Result<Statement, Failure> {
        let pooled = self.client();
        let text = twisted(sql.text);
        let types: Vec<_> = sql.types().collect();
        let prepare = || pooled.client.prepare_typed(&text, &types);
        match prepare().await.map_err(Failure::from) {
            Err(failure) if failure.is_of_a_lock() && self.waits == LockWait::Patiently => {
                let begin = pooled.begins.of(self.waits, Commit::Unflushed);
                let begin = pooled.client.batch_execute(begin);
                let end = pooled.client.batch_execute("COMMIT");
                Ok(join3(begin, prepare(), end).await.1?)
            }
            prepared => prepared,
        }
    }

    async fn run(&self, ready: &Ready, parameters: Parameters<'_>) -> Result<Vec<Row>, Failure> {
        let client = &self.client().client;
        Ok(match ready {
            Ready::Prepared(statement) => client.query(statement, parameters).await?,
            Ready::Whole(sql) => {
                let typed = parameters.iter().copied().zip(sql.types());
                client
                    .query_typed(sql.text, &typed.collect::<Vec<_>>())
                    .await?
            }
        })
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        let in_doubt = *self.in_doubt.get_mut();
        if let Some(object) = self.object.take()
            && let Some(share) = self.share.take()
            && in_doubt
        {
            let commits = *self.commits.get_mut();
            self.parked.keep(object, share, commits);
        }
    }
}

/// Commits. A commit is never cancelled: one that is cancelled while it waits for a standby is
/// committed all the same, and only a warning says that it did not wait. In a transaction that has
/// failed the first of the two fails too, and the second one rolls back.
async fn end(client: &Client, commit: Commit) -> Result<(), tokio_postgres::Error> {
    match commit {
        Commit::Flushed => {
            let patient = client.batch_execute("SET LOCAL statement_timeout = 0");
            join(patient, client.batch_execute("COMMIT")).await.1
        }
        Commit::Unflushed => client.batch_execute("COMMIT").await,
    }
}

/// Each of these values is changed in one step, so that a panic elsewhere leaves it whole.
fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
