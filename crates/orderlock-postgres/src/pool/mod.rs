//! The connection pool: how many connections there may be, and when one is thrown away.

pub(crate) mod client;
pub(crate) mod connection;
pub(crate) mod health;
pub(crate) mod parked;
pub(crate) mod settings;
pub(crate) mod shares;

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use deadpool::managed::{self, Metrics, PoolError, QueueMode, RecycleError, RecycleResult};
use tokio::sync::OwnedSemaphorePermit;
use tokio_postgres::Client;
use tokio_postgres::types::{ToSql, Type};

use crate::connect::{Connected, Connector, NotConnected};
use crate::options::PostgresOptions;
use crate::pool::client::PooledClient;
use crate::pool::connection::Connection;
use crate::pool::health::{Health, LOOK, ServerReport, ServerRun};
use crate::pool::parked::Parked;
use crate::pool::settings::{KEEPALIVE, Setting, Settings};
use crate::pool::shares::Shares;
pub(crate) use crate::pool::shares::{Purpose, Share};
use crate::sql::error::{Failure, chain};

/// The pause between two looks for processes of the server's that are to end.
const PAUSE: Duration = Duration::from_millis(20);

/// Gives a session its settings: all that the server knows, but for those that the store's address
/// gives otherwise, unless a promise rests on them. Commits wait for the disk at least.
const GIVE: &str = "SELECT set_config(s.name, given.value, false)
    FROM unnest($1, $2, $3) AS given (name, value, firm) JOIN pg_settings s ON s.name = given.name
    WHERE given.firm OR s.source <> 'client'
    UNION ALL SELECT set_config('synchronous_commit', CASE current_setting('synchronous_commit')
        WHEN 'remote_apply' THEN 'remote_apply' ELSE 'on' END, false)";

/// The connections of one store.
#[derive(Clone, Debug)]
pub(crate) struct Pool(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    clients: managed::Pool<Manager>,
    shares: Shares,
}

impl Pool {
    pub(crate) fn new(
        connector: Connector,
        pooled: bool,
        options: &PostgresOptions,
        health: Health,
    ) -> Self {
        let manager = Manager {
            connector,
            pooled,
            settings: Settings {
                patience: options.patience,
            },
            most: options.connections,
            connections: Connections::new(!pooled),
            health,
            parked: Arc::default(),
        };
        let clients = managed::Pool::builder(manager)
            .max_size(options.connections)
            // The one that was used last has its statements prepared, and its socket warm.
            .queue_mode(QueueMode::Lifo)
            .runtime(deadpool::Runtime::Tokio1)
            .wait_timeout(Some(options.patience))
            .create_timeout(Some(options.patience))
            .build()
            .expect("a pool with time-outs is given a runtime");
        Self(Arc::new(Inner {
            clients,
            shares: Shares::of(options.connections),
        }))
    }

    /// What tells of new connections.
    pub(crate) fn connections(&self) -> Connections {
        self.manager().connections.clone()
    }

    /// How long an answer may take.
    pub(crate) fn patience(&self) -> Duration {
        self.manager().settings.patience
    }

    /// What is known of the server.
    pub(crate) fn health(&self) -> &Health {
        &self.manager().health
    }

    /// Looks again at what the server promises, and at what was left behind there.
    pub(crate) async fn look(&self, connection: &Connection) -> Result<(), Failure> {
        let manager = self.manager();
        let left = manager.parked.left_behind();
        let pids: Vec<_> = left.iter().map(|it| it.pid).collect();
        let began: Vec<_> = left.iter().map(|it| it.began).collect();
        let none: [&str; 0] = [];
        let none = none.as_slice();
        let rows = connection
            .query(&LOOK, &[&none, &none, &pids, &began])
            .await?;
        let row = rows.first();
        let row = row.ok_or_else(|| Failure::unreadable("the server says nothing of itself"))?;
        let looked = ServerReport::read(row)?;
        manager.parked.ended(&left, &looked.still_there);
        manager.health.looked(looked.seen);
        Ok(())
    }

    /// What keeps the store from its promises now, as far as was seen.
    pub(crate) fn trouble(&self) -> Option<String> {
        let seen = self.health().seen();
        if seen.read_only {
            let why = "the database takes no writes: it is a standby, or was made read-only";
            return Some(why.to_owned());
        }
        let commits = self.manager().parked.commits();
        let patience = self.manager().settings.patience;
        let waited_for = match seen.standbys {
            true => "the standbys that `synchronous_standby_names` asks for do not confirm them",
            false => "the server does not answer, or its disk is slow",
        };
        (commits > 0).then(|| {
            format!("{commits} commits were not answered within {patience:?}: {waited_for}")
        })
    }

    /// A connection for one piece of work: one that is there, or a new one. So a store that lost
    /// its server goes on as soon as the server is back.
    pub(crate) async fn connection(&self, purpose: Purpose) -> Result<Connection, Failure> {
        let patience = self.manager().settings.patience;
        let share = tokio::time::timeout(patience, self.0.shares.take(purpose));
        let share = share.await.map_err(|_| self.in_use())?;
        let object = self.0.clients.get().await;
        let object = object.map_err(|error| match error {
            PoolError::Backend(error) => Failure::Unreachable(chain(&error).into()),
            PoolError::Timeout(managed::TimeoutType::Wait) => self.in_use(),
            other => Failure::Unreachable(other.to_string().into()),
        })?;
        let parked = Arc::clone(&self.manager().parked);
        Ok(Connection::new(object, share, parked, purpose))
    }

    /// Waits for the right to wait for a row alone. Few do so at a time, and for the others there
    /// are connections left.
    pub(crate) async fn alone(&self) -> Result<OwnedSemaphorePermit, Failure> {
        let alone = self.0.shares.alone();
        let patience = self.manager().settings.patience;
        let alone = tokio::time::timeout(patience, alone).await;
        alone.map_err(|_| {
            Failure::Unreachable("others wait already for orders that are locked".into())
        })
    }

    fn manager(&self) -> &Manager {
        self.0.clients.manager()
    }

    fn in_use(&self) -> Failure {
        Failure::Unreachable(match self.manager().parked.commits() {
            0 => "all connections of this store are in use".into(),
            commits => format!(
                "all connections of this store are in use, {commits} of them by commits that are \
                 not confirmed"
            )
            .into(),
        })
    }
}

/// Tells what keeps in mind what was read over connections when a new one leads to another server, which
/// may never have had it.
#[derive(Clone, Debug)]
pub(crate) struct Connections {
    servers: Arc<AtomicU64>,
    last: Arc<Mutex<Option<ServerRun>>>,
    end_with_the_server: bool,
}

impl Connections {
    pub(crate) fn new(end_with_the_server: bool) -> Self {
        Self {
            servers: Arc::default(),
            last: Arc::default(),
            end_with_the_server,
        }
    }

    /// To how many servers they have led so far, one after another.
    pub(crate) fn servers(&self) -> u64 {
        self.servers.load(Ordering::Acquire)
    }

    /// Whether no connection survives its server: not so behind a pooler.
    pub(crate) fn end_with_the_server(&self) -> bool {
        self.end_with_the_server
    }

    /// Notes to which server a new one leads, before anything else is read over it.
    pub(crate) fn note(&self, run: ServerRun) {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        if last.replace(run) != Some(run) {
            self.servers.fetch_add(1, Ordering::AcqRel);
        }
    }
}

/// Why a connection is of no use.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Unfit {
    #[error("{}", chain(.0))]
    Driver(#[from] tokio_postgres::Error),
    #[error(transparent)]
    Away(#[from] NotConnected),
    #[error(
        "the settings of the session do not hold ({0}); if a pooler stands between, say \
         `orderlock_pooler=transaction` in the store's address"
    )]
    Settings(String),
    #[error("{0} processes of the server are still at work for this store, and it has no more")]
    Many(usize),
    #[error(transparent)]
    Look(#[from] Failure),
}

/// Makes connections, and looks at those that come back.
#[derive(Debug)]
pub(crate) struct Manager {
    connector: Connector,
    /// Whether a pooler stands between: then nothing is kept in a session.
    pooled: bool,
    settings: Settings,
    most: usize,
    connections: Connections,
    health: Health,
    parked: Arc<Parked>,
}

impl Manager {
    /// Gives a session what the store rests on.
    async fn give(&self, client: &Client, settings: &[Setting]) -> Result<(), Unfit> {
        let given = settings
            .iter()
            .map(|it| (it.name, it.value.as_str(), it.firm));
        // Over a socket of the machine's own these are of no use, and not kept.
        let given = given.chain(KEEPALIVE.map(|(name, value)| (name, value, false)));
        let (mut names, mut values, mut firm) = (Vec::new(), Vec::new(), Vec::new());
        for (name, value, is_firm) in given {
            names.push(name);
            values.push(value);
            firm.push(is_firm);
        }
        let parameters: [(&(dyn ToSql + Sync), Type); 3] = [
            (&names, Type::TEXT_ARRAY),
            (&values, Type::TEXT_ARRAY),
            (&firm, Type::BOOL_ARRAY),
        ];
        client.query_typed(GIVE, &parameters).await?;
        Ok(())
    }

    /// Looks at the server over a new connection, and at what was left behind there.
    async fn look(&self, client: &Client, settings: &[Setting]) -> Result<ServerReport, Unfit> {
        let firm = || settings.iter().filter(|setting| setting.firm);
        let names: Vec<_> = firm().map(|it| it.name).collect();
        let values: Vec<_> = firm().map(|it| it.value.as_str()).collect();
        let left = self.parked.left_behind();
        let pids: Vec<_> = left.iter().map(|it| it.pid).collect();
        let began: Vec<_> = left.iter().map(|it| it.began).collect();
        let parameters: [&(dyn ToSql + Sync); 4] = [&names, &values, &pids, &began];
        let typed: Vec<_> = parameters.into_iter().zip(LOOK.types()).collect();
        let rows = client.query_typed(LOOK.text, &typed).await?;
        let row = rows.first();
        let row = row.ok_or_else(|| Failure::unreadable("the server says nothing of itself"))?;
        let looked = ServerReport::read(row)?;
        self.parked.ended(&left, &looked.still_there);
        Ok(looked)
    }

    /// Waits until the server has no more processes for this store than it may have.
    async fn fits(&self, client: &Client) -> Result<(), Unfit> {
        let mut waited = Duration::ZERO;
        while self.parked.processes() > self.most && !self.parked.left_behind().is_empty() {
            if waited > self.settings.patience / 2 {
                return Err(Unfit::Many(self.parked.processes() - 1));
            }
            // A process that only has to notice that its client has gone ends at once.
            tokio::time::sleep(PAUSE).await;
            waited += PAUSE;
            self.look(client, &[]).await?;
        }
        Ok(())
    }
}

impl managed::Manager for Manager {
    type Type = PooledClient;
    type Error = Unfit;

    async fn create(&self) -> Result<PooledClient, Unfit> {
        let alive = self.parked.alive();
        let Connected {
            client,
            driver,
            unconfirmed,
        } = self.connector.connect().await?;
        let settings = match self.pooled {
            true => Vec::new(),
            false => self.settings.of_a_session(),
        };
        if !self.pooled {
            self.give(&client, &settings).await?;
        }
        let looked = self.look(&client, &settings).await?;
        if !looked.lost.is_empty() {
            return Err(Unfit::Settings(looked.lost.join(", ")));
        }
        // Another server may never have had what was read before.
        self.connections.note(looked.run);
        self.fits(&client).await?;
        self.health.connected(looked.seen);
        let level = looked.seen.level;
        let pooled = self.pooled.then_some(looked.version);
        Ok(PooledClient {
            client,
            driver,
            unconfirmed,
            prepares: !self.pooled,
            prepared: Mutex::new(HashMap::new()),
            patience: self.settings.patience,
            begins: self.settings.begins(pooled, level),
            level,
            backend: looked.backend.filter(|_| !self.pooled),
            _alive: alive,
        })
    }

    async fn recycle(&self, pooled: &mut PooledClient, _: &Metrics) -> RecycleResult<Self::Error> {
        if pooled.client.is_closed() {
            return Err(RecycleError::message("the connection was closed"));
        }
        if pooled.level < self.health.seen().level {
            return Err(RecycleError::message("commits are to wait for more by now"));
        }
        Ok(())
    }
}
