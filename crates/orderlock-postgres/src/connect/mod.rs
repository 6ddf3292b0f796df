//! Makes connections, the same way for the pool, the migrations and the first look at the server.

pub(crate) mod address;
pub(crate) mod error;
pub(crate) mod tls;

use std::fmt;
use std::future::poll_fn;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::task::JoinHandle;
use tokio_postgres::config::{Host, TargetSessionAttrs};
use tokio_postgres::error::{DbError, Severity};
use tokio_postgres::{AsyncMessage, Client, Config, NoTls, Socket};
use tokio_postgres_rustls::MakeRustlsConnect;

use crate::connect::address::{Address, Protection};
use crate::connect::error::OpenError;
use crate::options::PostgresOptions;
use crate::sql::error::chain;

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
    /// One for each host.
    hosts: Vec<Config>,
    tls: Option<MakeRustlsConnect>,
    /// How long a server may take to let the store in, or to say what it is.
    patience: Duration,
    /// Which host did so last. It is asked first: the others may be gone without a word.
    last: Arc<AtomicUsize>,
}

impl fmt::Debug for Connector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connector")
            .field("hosts", &self.hosts)
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
        if config.get_connect_timeout().is_none() {
            config.connect_timeout(options.patience);
        }
        if config.get_tcp_user_timeout().is_none() {
            config.tcp_user_timeout(options.patience);
        }
        config
            .keepalives_idle(KEEPALIVE_IDLE)
            .keepalives_interval(KEEPALIVE_INTERVAL)
            .keepalives_retries(KEEPALIVE_RETRIES);
        let hosts = each_host(&config);
        let tls = match &address.protection {
            Protection::None => None,
            Protection::Verified(authorities) => Some(tls::verified(authorities.as_deref())?),
        };
        Ok(Self {
            hosts,
            tls,
            patience: options.patience,
            last: Arc::default(),
        })
    }

    /// Does something with a server that may never answer, while there is no pool yet that bounds
    /// it.
    pub(crate) async fn within<T>(
        &self,
        done: impl Future<Output = Result<T, OpenError>>,
    ) -> Result<T, OpenError> {
        match tokio::time::timeout(self.patience, done).await {
            Ok(done) => done,
            Err(_) => Err(NotConnected::Silent(self.patience).into()),
        }
    }

    /// Makes a connection to the first host that takes one. Each has its part of the time, from the
    /// first packet to the last word of the log-in: one that is stopped, or whose disk hangs, still
    /// takes connections and says nothing, and the driver would wait there for ever.
    pub(crate) async fn connect(&self) -> Result<Connected, NotConnected> {
        let (count, last) = (self.hosts.len(), self.last.load(Ordering::Relaxed));
        let part = self.patience / u32::try_from(count).unwrap_or(u32::MAX);
        let mut failed = NotConnected::Silent(part);
        for host in (last..count).chain(0..last) {
            let made = self.connect_to(&self.hosts[host]);
            failed = match tokio::time::timeout(part, made).await {
                Ok(Ok(connected)) => {
                    self.last.store(host, Ordering::Relaxed);
                    return Ok(connected);
                }
                Ok(Err(error)) => error.into(),
                Err(_) => NotConnected::Silent(part),
            };
        }
        Err(failed)
    }

    async fn connect_to(&self, host: &Config) -> Result<Connected, tokio_postgres::Error> {
        let unconfirmed = Arc::new(AtomicBool::new(false));
        let (client, driver) = match &self.tls {
            None => {
                let (client, connection) = host.connect(NoTls).await?;
                let driving = drive(connection, Arc::clone(&unconfirmed));
                (client, tokio::spawn(driving))
            }
            Some(tls) => {
                let (client, connection) = host.connect(tls.clone()).await?;
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

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NotConnected {
    #[error("{}", chain(.0))]
    Driver(#[from] tokio_postgres::Error),
    #[error("the server did not answer within {0:?}")]
    Silent(Duration),
}

/// The same for each host of an address by itself, at least one. The driver goes through the hosts
/// alone too, but has no limit for one of them.
fn each_host(all: &Config) -> Vec<Config> {
    let (names, addresses, ports) = (all.get_hosts(), all.get_hostaddrs(), all.get_ports());
    let count = names.len().max(addresses.len());
    let each = |given: usize| given == 0 || given == count;
    let says =
        each(names.len()) && each(addresses.len()) && (ports.len() == 1 || each(ports.len()));
    if count < 2 || !says {
        // One host; or the driver says what is wrong.
        return vec![all.clone()];
    }
    let one = |index: usize| {
        let mut one = without_hosts(all);
        match names.get(index) {
            Some(Host::Tcp(name)) => one.host(name),
            #[cfg(unix)]
            Some(Host::Unix(folder)) => one.host_path(folder),
            None => &mut one,
        };
        if let Some(address) = addresses.get(index) {
            one.hostaddr(*address);
        }
        if let Some(port) = ports.get(index).or(ports.first()) {
            one.port(*port);
        }
        // Of several servers, the one that takes writes is wanted.
        one.target_session_attrs(TargetSessionAttrs::ReadWrite);
        one
    };
    (0..count).map(one).collect()
}

/// All that an address says besides its hosts.
fn without_hosts(all: &Config) -> Config {
    let mut config = Config::new();
    if let Some(user) = all.get_user() {
        config.user(user);
    }
    if let Some(password) = all.get_password() {
        config.password(password);
    }
    if let Some(database) = all.get_dbname() {
        config.dbname(database);
    }
    if let Some(options) = all.get_options() {
        config.options(options);
    }
    if let Some(name) = all.get_application_name() {
        config.application_name(name);
    }
    if let Some(time) = all.get_connect_timeout() {
        config.connect_timeout(*time);
    }
    if let Some(time) = all.get_tcp_user_timeout() {
        config.tcp_user_timeout(*time);
    }
    config
        .ssl_mode(all.get_ssl_mode())
        .ssl_negotiation(all.get_ssl_negotiation())
        .channel_binding(all.get_channel_binding())
        .keepalives(all.get_keepalives())
        .keepalives_idle(KEEPALIVE_IDLE)
        .keepalives_interval(KEEPALIVE_INTERVAL)
        .keepalives_retries(KEEPALIVE_RETRIES);
    config
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

#[cfg(test)]
mod tests {
    use super::*;

    fn hosts(address: &str) -> Vec<Config> {
        each_host(&address.parse().unwrap())
    }

    #[test]
    fn each_host_is_asked_with_all_that_the_address_says() {
        let two = "postgres://u:p@a:1,b:2/d?options=-csearch_path%3Ds&application_name=n";
        let found = hosts(two);
        for (host, name, port) in [(&found[0], "a", 1), (&found[1], "b", 2)] {
            assert_eq!(host.get_hosts(), [Host::Tcp(name.to_owned())]);
            assert_eq!(host.get_ports(), [port]);
            assert_eq!(host.get_user(), Some("u"));
            assert_eq!(host.get_password(), Some(&b"p"[..]));
            assert_eq!(host.get_dbname(), Some("d"));
            assert_eq!(host.get_options(), Some("-csearch_path=s"));
            assert_eq!(host.get_application_name(), Some("n"));
            let wanted = host.get_target_session_attrs();
            assert_eq!(wanted, TargetSessionAttrs::ReadWrite);
        }
        assert_eq!(found.len(), 2);
        let shared = hosts("host=a,b,c port=7 user=u");
        assert!(shared.iter().all(|host| host.get_ports() == [7]));
        assert_eq!(shared.len(), 3);
        // One host, and what the driver refuses, stays as it is.
        assert_eq!(hosts("postgres://u@a/d").len(), 1);
        assert_eq!(hosts("host=a,b,c port=7,8").len(), 1);
    }
}
