//! How a connection is made: the same way for the pool, the migrations and the first look.

use std::fmt;
use std::future::poll_fn;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::task::JoinHandle;
use tokio_postgres::config::TargetSessionAttrs;
use tokio_postgres::error::{DbError, Severity};
use tokio_postgres::{AsyncMessage, Client, Config, NoTls, Socket};
use tokio_postgres_rustls::MakeRustlsConnect;

use crate::address::{Address, Protection};
use crate::{OpenError, PostgresOptions, tls};

/// The name under which a database administrator finds the store's connections.
const APPLICATION: &str = "orderlock";

/// How long a connection is silent before the other end is asked whether it is still there, and how
/// often and for how long it is asked.
const KEEPALIVE_IDLE: Duration = Duration::from_secs(15);
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(5);
const KEEPALIVE_RETRIES: u32 = 3;

/// Makes connections to one address.
#[derive(Clone)]
pub(crate) struct Connector {
    config: Config,
    tls: Option<MakeRustlsConnect>,
    /// How long the first words of a server may take: the network's way there, for each host, and
    /// its answer.
    limit: Duration,
}

impl fmt::Debug for Connector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connector")
            .field("config", &self.config)
            .field("tls", &self.tls.is_some())
            .finish()
    }
}

/// A connection, and the task that reads and writes its socket.
#[derive(Debug)]
pub(crate) struct Connected {
    pub(crate) client: Client,
    pub(crate) driver: JoinHandle<()>,
    /// Set when a commit was cut short while it waited for a standby.
    pub(crate) unconfirmed: Arc<AtomicBool>,
}

impl Connector {
    /// A connector to one address.
    pub(crate) fn new(address: &Address, options: &PostgresOptions) -> Result<Self, OpenError> {
        let mut config = address.config.clone();
        if config.get_application_name().is_none() {
            config.application_name(APPLICATION);
        }
        // Of many hosts, the first may be gone without a word: each gets its part of the time.
        let hosts = config.get_hosts().len().max(config.get_hostaddrs().len());
        let parts = u32::try_from(hosts.max(1)).unwrap_or(u32::MAX);
        let way = config.get_connect_timeout().copied();
        let way = way.unwrap_or(options.patience / parts);
        config.connect_timeout(way);
        if config.get_tcp_user_timeout().is_none() {
            config.tcp_user_timeout(options.patience);
        }
        config
            .keepalives_idle(KEEPALIVE_IDLE)
            .keepalives_interval(KEEPALIVE_INTERVAL)
            .keepalives_retries(KEEPALIVE_RETRIES);
        if hosts > 1 {
            // Of several servers, the one that takes writes is wanted.
            config.target_session_attrs(TargetSessionAttrs::ReadWrite);
        }
        let tls = match &address.protection {
            Protection::None => None,
            Protection::Verified(authorities) => Some(tls::verified(authorities.as_deref())?),
        };
        Ok(Self {
            config,
            tls,
            limit: way.saturating_mul(parts).saturating_add(options.patience),
        })
    }

    /// Makes a connection while the store is opened, when there is no pool yet that bounds it. The
    /// driver bounds the network's way alone: a server that is stopped, or something else that
    /// listens there, takes the connection and says nothing.
    pub(crate) async fn open(&self) -> Result<Connected, OpenError> {
        self.within(async {
            let connected = self.connect().await;
            connected.map_err(|error| OpenError::connecting(&error))
        })
        .await
    }

    /// Does something with a server that may never answer.
    pub(crate) async fn within<T>(
        &self,
        done: impl Future<Output = Result<T, OpenError>>,
    ) -> Result<T, OpenError> {
        let silent = |_| {
            let limit = self.limit;
            OpenError::Unreachable(format!("it did not answer within {limit:?}").into())
        };
        tokio::time::timeout(self.limit, done)
            .await
            .map_err(silent)?
    }

    /// Makes a connection.
    pub(crate) async fn connect(&self) -> Result<Connected, tokio_postgres::Error> {
        let unconfirmed = Arc::new(AtomicBool::new(false));
        let (client, driver) = match &self.tls {
            None => {
                let (client, connection) = self.config.connect(NoTls).await?;
                let driving = drive(connection, Arc::clone(&unconfirmed));
                (client, tokio::spawn(driving))
            }
            Some(tls) => {
                let (client, connection) = self.config.connect(tls.clone()).await?;
                let driving = drive(connection, Arc::clone(&unconfirmed));
                (client, tokio::spawn(driving))
            }
        };
        Ok(Connected {
            client,
            driver,
            unconfirmed,
        })
    }
}

/// Reads and writes the socket until it is closed.
async fn drive<T>(
    mut connection: tokio_postgres::Connection<Socket, T>,
    unconfirmed: Arc<AtomicBool>,
) where
    T: AsyncRead + AsyncWrite + Unpin,
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
    matches!(notice.severity(), "WARNING") || notice.parsed_severity() == Some(Severity::Warning)
}
