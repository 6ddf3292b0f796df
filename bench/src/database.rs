//! The PostgreSQL that the systems of a run share: a schema for each, and what the server counts.

use std::fs;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result};
use tokio::runtime::Runtime;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio_postgres::{Client, NoTls, Row};

use crate::machine::parent_of;
use crate::rest;

/// How often connections are counted during a run. Each look costs the server about a tenth of a millisecond.
const SAMPLE: Duration = Duration::from_millis(100);

/// How long the server may take to notice that its clients are gone.
const QUIET_MAX: Duration = Duration::from_secs(10);

/// From this version on, flushes of the log are counted with all other input and output.
const FLUSHES_MOVED: i32 = 180_000;

/// A server, and a connection on which it is asked about itself.
#[derive(Debug)]
pub(crate) struct Database {
    runtime: Runtime,
    client: Arc<Client>,
    address: String,
    version: i32,
    /// The process above all others of the server, if it runs on this machine.
    pub(crate) postmaster: Option<u32>,
}

impl Database {
    pub(crate) fn connect(address: &str) -> Result<Self> {
        // One thread drives the connection while the load has its own.
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()?;
        let connected = runtime.block_on(async {
            let (client, connection) = tokio_postgres::connect(address, NoTls).await?;
            tokio::spawn(connection);
            client
                .query_one(
                    "SELECT current_setting('server_version_num')::int, pg_backend_pid(),
                        coalesce(inet_server_addr() = inet_client_addr(), true)",
                    &[],
                )
                .await
                .map(|row| (client, row))
        });
        let (client, row) = connected.context("the PostgreSQL of `--postgres`")?;
        let (version, backend, here): (i32, i32, bool) =
            (row.try_get(0)?, row.try_get(1)?, row.try_get(2)?);
        let postmaster = here.then(|| postmaster(backend)).flatten();
        if postmaster.is_none() {
            println!("The PostgreSQL runs elsewhere: its processor time is not measured.");
        }
        Ok(Self {
            runtime,
            client: Arc::new(client),
            address: address.to_owned(),
            version,
            postmaster,
        })
    }

    /// What it is, and the settings that decide what a commit costs.
    pub(crate) fn describe(&self) -> Result<String> {
        let row = self.ask(
            "SELECT 'PostgreSQL ' || current_setting('server_version') || (
                SELECT string_agg(', ' || name || ' ' || current_setting(name), '' ORDER BY name)
                FROM pg_settings WHERE name IN ('commit_delay', 'fsync', 'max_wal_size',
                    'shared_buffers', 'synchronous_commit', 'wal_sync_method'))",
        )?;
        Ok(row.try_get(0)?)
    }

    fn ask(&self, sql: &str) -> Result<Row> {
        Ok(self.runtime.block_on(self.client.query_one(sql, &[]))?)
    }

    /// The bytes of the log so far, and how often it was flushed. The server counts a flush up to a
    /// second late.
    fn log(&self) -> Result<(i64, i64)> {
        let flushes = if self.version < FLUSHES_MOVED {
            "SELECT wal_sync FROM pg_stat_wal"
        } else {
            "SELECT sum(fsyncs) FROM pg_stat_io WHERE object = 'wal'"
        };
        let row = self.ask(&format!(
            "SELECT pg_wal_lsn_diff(pg_current_wal_insert_lsn(), '0/0')::bigint,
                coalesce(({flushes}), 0)::bigint"
        ))?;
        Ok((row.try_get(0)?, row.try_get(1)?))
    }
}

/// The parent of a server's process for one connection, if that is what this process is.
fn postmaster(backend: i32) -> Option<u32> {
    let name = fs::read_to_string(format!("/proc/{backend}/comm")).ok()?;
    (name.trim() == "postgres").then_some(())?;
    parent_of(u32::try_from(backend).ok()?)
}

/// A schema for one system. Dropping it drops the schema.
#[derive(Debug)]
pub(crate) struct Schema {
    database: Rc<Database>,
    name: String,
}

/// What tables hold, and what has happened to the rows of orders.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Tables {
    /// Bytes of the table of orders with its indexes.
    pub(crate) orders: i64,
    /// Bytes of all tables.
    pub(crate) all: i64,
    pub(crate) updates: i64,
    /// Updates that found room on their page and touched no index.
    pub(crate) in_place: i64,
    pub(crate) dead: i64,
}

/// What the server has counted during a run.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Counted {
    pub(crate) log_bytes: i64,
    pub(crate) flushes: i64,
    /// The most connections that were seen at once.
    pub(crate) connections: i64,
}

/// A run that is being watched.
#[derive(Debug)]
pub(crate) struct Watch<'a> {
    schema: &'a Schema,
    before: (i64, i64),
    stop: oneshot::Sender<()>,
    connections: JoinHandle<Result<i64, tokio_postgres::Error>>,
}

impl Schema {
    pub(crate) fn new(database: &Rc<Database>) -> Result<Self> {
        let row = database
            .ask("SELECT 'orderlock_bench_' || replace(gen_random_uuid()::text, '-', '')")?;
        let name: String = row.try_get(0)?;
        let create = format!("CREATE SCHEMA {name}");
        let created = database.client.batch_execute(&create);
        database.runtime.block_on(created)?;
        Ok(Self {
            database: Rc::clone(database),
            name,
        })
    }

    pub(crate) fn postmaster(&self) -> Option<u32> {
        self.database.postmaster
    }

    /// Where a system finds its tables. Its connections are known by the schema's name.
    pub(crate) fn address(&self) -> String {
        let (address, name) = (&self.database.address, &self.name);
        let sign = if address.contains('?') { '&' } else { '?' };
        format!("{address}{sign}application_name={name}&options=-csearch_path%3D{name}")
    }

    /// Writes out what was written so far, so that no row pays for the one before it.
    pub(crate) fn checkpoint(&self) -> Result<()> {
        let database = &self.database;
        let done = database
            .runtime
            .block_on(database.client.batch_execute("CHECKPOINT"));
        done.context("a checkpoint, which a superuser may ask for")
    }

    /// Watches the server until the end of a run.
    pub(crate) fn watch(&self) -> Result<Watch<'_>> {
        let database = &self.database;
        let (stop, stopped) = oneshot::channel();
        let counting = most_connections(Arc::clone(&database.client), self.name.clone(), stopped);
        let connections = database.runtime.spawn(counting);
        Ok(Watch {
            schema: self,
            before: database.log()?,
            stop,
            connections,
        })
    }

    /// Looks at the tables.
    pub(crate) fn tables(&self) -> Result<Tables> {
        let Self { database, name } = self;
        let row = database.ask(&format!(
            "SELECT coalesce(sum(size) FILTER (WHERE relname = 'orders'), 0)::bigint,
                coalesce(sum(size), 0)::bigint,
                coalesce(sum(n_tup_upd) FILTER (WHERE relname = 'orders'), 0)::bigint,
                coalesce(sum(n_tup_hot_upd) FILTER (WHERE relname = 'orders'), 0)::bigint,
                coalesce(sum(n_dead_tup) FILTER (WHERE relname = 'orders'), 0)::bigint
            FROM (SELECT *, pg_total_relation_size(relid) AS size
                FROM pg_stat_user_tables WHERE schemaname = '{name}') AS tables"
        ))?;
        Ok(Tables {
            orders: row.try_get(0)?,
            all: row.try_get(1)?,
            updates: row.try_get(2)?,
            in_place: row.try_get(3)?,
            dead: row.try_get(4)?,
        })
    }

    /// Waits until the connections of ended servers have ended too: only then is everything counted
    /// that they did.
    pub(crate) fn wait_until_unused(&self) -> Result<()> {
        let Database {
            runtime, client, ..
        } = &*self.database;
        let late = "connections of an ended server are still open";
        rest::wait(runtime, QUIET_MAX, late, async || {
            Ok(connections(client, &self.name).await? == 0)
        })
    }
}

impl Drop for Schema {
    fn drop(&mut self) {
        let (database, name) = (&self.database, &self.name);
        let drop = format!("DROP SCHEMA {name} CASCADE");
        let dropped = database
            .runtime
            .block_on(database.client.batch_execute(&drop));
        if let Err(error) = dropped {
            println!("the schema {name} is left behind: {error}");
        }
    }
}

impl Watch<'_> {
    pub(crate) fn end(self) -> Result<Counted> {
        let database = &self.schema.database;
        let (log_bytes, flushes) = database.log()?;
        // It ends by itself only if the server has gone, which its result then says.
        let _ended = self.stop.send(());
        Ok(Counted {
            log_bytes: log_bytes - self.before.0,
            flushes: flushes - self.before.1,
            connections: database.runtime.block_on(self.connections)??,
        })
    }
}

async fn most_connections(
    client: Arc<Client>,
    name: String,
    mut stopped: oneshot::Receiver<()>,
) -> Result<i64, tokio_postgres::Error> {
    let mut most = 0;
    loop {
        most = most.max(connections(&client, &name).await?);
        tokio::select! {
            biased;
            _ = &mut stopped => return Ok(most),
            () = tokio::time::sleep(SAMPLE) => {}
        }
    }
}

async fn connections(client: &Client, name: &str) -> Result<i64, tokio_postgres::Error> {
    let sql = "SELECT count(*) FROM pg_stat_activity WHERE application_name = $1";
    client.query_one(sql, &[&name]).await?.try_get(0)
}
