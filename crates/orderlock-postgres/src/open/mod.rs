//! Opening the store: the first look at the server, the layout, what its settings make of a commit.

pub(crate) mod epoch;
pub(crate) mod migrate;
pub(crate) mod rights;

use std::error::Error;

use tokio_postgres::Client;
use tokio_postgres::error::SqlState;
use tokio_postgres::types::ToSql;

use crate::PostgresOptions;
use crate::connect::address::Address;
use crate::connect::{Connected, Connector, NotConnected};
use crate::pool::health::{Health, LOOK, Looked, Seen};
use crate::pool::{For, Pool};
use crate::sql::error::{Failure, chain};

/// The oldest server that the store is made for, as the server writes its version.
const VERSION_MIN: i32 = 150_000;

type Cause = Box<dyn Error + Send + Sync>;

/// Why a database could not be opened.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// The address is not one of a PostgreSQL database.
    #[error(
        "the address is not one of a PostgreSQL database, such as \
         postgres://user:password@host:5432/database"
    )]
    Address(#[source] Cause),
    /// The address leaves open whether the way to another machine is protected.
    #[error(
        "`sslmode=prefer` falls back to plain text, and the server is on another machine: say \
         `sslmode=verify-full`, or `sslmode=disable` if the network itself is to be trusted"
    )]
    Unprotected,
    /// The certificates of those who vouch for the server cannot be read.
    #[error("the certificates that the server's is checked against cannot be read")]
    Authorities(#[source] Cause),
    /// The server's certificate is not to be trusted.
    #[error(
        "the server's certificate is not trusted for this host; give the file of its authority as \
         `sslrootcert`, and the host's name as it stands in the certificate"
    )]
    Untrusted(#[source] Cause),
    /// No server answers.
    #[error("no connection to the server; check host, port and that it runs and speaks TLS")]
    Unreachable(#[source] Cause),
    /// The server knows the user otherwise, or not at all.
    #[error(
        "the server refused the login; check that the role exists (`createuser --pwprompt` makes \
         one), its password, and pg_hba.conf"
    )]
    Login(#[source] Cause),
    /// There is no such database.
    #[error("there is no such database; make it first: `createdb --owner ROLE DATABASE`")]
    NoDatabase(#[source] Cause),
    /// The server has given all its connections away.
    #[error("the server takes no more connections; raise `max_connections`, or ask with fewer")]
    TooManyConnections(#[source] Cause),
    /// The server starts, or stops.
    #[error("the server is starting or stopping; ask again")]
    NotReady(#[source] Cause),
    /// The server takes no writes.
    #[error("the server takes no writes: it is a standby, or was made read-only; name the primary")]
    ReadOnly,
    /// The server is too old.
    #[error("PostgreSQL {0} is too old: the store needs version 15 or later")]
    TooOld(String),
    /// The database cannot keep every text.
    #[error("the database keeps its texts as {0}; make one with the encoding UTF8")]
    Encoding(String),
    /// A later version of this program has changed the layout.
    #[error("the database has a layout that this program does not know ({0}): use the newer one")]
    Newer(String),
    /// A step of the layout is another one than this program's.
    #[error("step {0} of the database's layout is not this program's; use the one that made it")]
    Changed(String),
    /// Tables of another program stand in the way.
    #[error("tables of another program stand in the way; give the store a schema of its own")]
    Foreign(#[source] Cause),
    /// The database's role may do too little.
    #[error("the database's role has too few rights: {0}")]
    Rights(String),
    /// A table is kept from being changed, or another node is still at it.
    #[error(
        "the layout could not be brought up to date, because somebody keeps a table of it; nodes of \
         version 0.1 have to be stopped first, and a dump to be over: then start again"
    )]
    Locked,
    /// The layout could not be brought up to date.
    #[error("the database's layout could not be brought up to date")]
    Migration(#[source] Cause),
    /// The server failed otherwise.
    #[error("the database could not be opened")]
    Database(#[source] Cause),
}

impl OpenError {
    pub(crate) fn address(cause: impl Into<Cause>) -> Self {
        Self::Address(cause.into())
    }

    /// What a person can do about a connection that was not made.
    fn connecting(error: &tokio_postgres::Error) -> Self {
        let made = match error.code() {
            Some(code) if code.code().starts_with("28") => Self::Login,
            Some(&SqlState::INVALID_CATALOG_NAME) => Self::NoDatabase,
            Some(&SqlState::TOO_MANY_CONNECTIONS) => Self::TooManyConnections,
            Some(&(SqlState::CANNOT_CONNECT_NOW | SqlState::ADMIN_SHUTDOWN)) => Self::NotReady,
            Some(_) => Self::Database,
            None if is_about_a_certificate(error) => Self::Untrusted,
            None => Self::Unreachable,
        };
        // Told in one line, so that nobody has to look for what the driver has put below it.
        made(chain(error).into())
    }
}

impl From<tokio_postgres::Error> for OpenError {
    fn from(error: tokio_postgres::Error) -> Self {
        match error.code() {
            Some(&SqlState::READ_ONLY_SQL_TRANSACTION) => Self::ReadOnly,
            _ => Self::Database(chain(&error).into()),
        }
    }
}

impl From<NotConnected> for OpenError {
    fn from(error: NotConnected) -> Self {
        match error {
            NotConnected::Driver(error) => Self::connecting(&error),
            silent @ NotConnected::Silent(_) => Self::Unreachable(silent.into()),
        }
    }
}

impl From<Failure> for OpenError {
    fn from(failure: Failure) -> Self {
        Self::Database(failure.into())
    }
}

fn is_about_a_certificate(error: &(dyn Error + 'static)) -> bool {
    let mut below = error.source();
    while let Some(error) = below {
        if let Some(error) = error.downcast_ref::<std::io::Error>() {
            let inner = error.get_ref();
            return inner.is_some_and(|inner| inner.is::<rustls::Error>());
        }
        below = error.source();
    }
    false
}

/// A database that is ready for work.
#[derive(Debug)]
pub(crate) struct Opened {
    pub(crate) pool: Pool,
    pub(crate) location: String,
}

pub(crate) async fn open(url: &str, options: &PostgresOptions) -> Result<Opened, OpenError> {
    let address = Address::parse(url)?;
    let pooled = options.pooler || address.pooler;
    let connector = Connector::new(&address, options)?;
    let Connected { mut client, .. } = connector.connect().await?;
    let server = connector.within(Server::look(&client)).await?;
    server.suits()?;
    migrate::migrate(&connector, &mut client, pooled).await?;
    drop(client);
    let pool = Pool::new(connector, pooled, options, Health::new(server.seen));
    let connection = pool.connection(For::Life).await?;
    epoch::begin_if_restored(&connection).await?;
    drop(connection);
    Ok(Opened {
        pool,
        location: address.location(),
    })
}

/// What the server says of itself.
#[derive(Debug)]
struct Server {
    number: i32,
    version: String,
    encoding: String,
    seen: Seen,
}

impl Server {
    async fn look(client: &Client) -> Result<Self, OpenError> {
        let (names, numbers): (Vec<String>, Vec<i32>) = Default::default();
        let began: Vec<i64> = Vec::new();
        let parameters: [&(dyn ToSql + Sync); 4] = [&names, &names, &numbers, &began];
        let typed: Vec<_> = parameters
            .into_iter()
            .zip(LOOK.types.iter().cloned())
            .collect();
        let version =
            "SELECT current_setting('server_version'), current_setting('server_encoding')";
        let version = client.query_typed(version, &[]).await?;
        let looked = client.query_typed(LOOK.text, &typed).await?;
        let (Some(version), Some(looked)) = (version.first(), looked.first()) else {
            return Err(Failure::unreadable("the server says nothing of itself").into());
        };
        let looked = Looked::read(looked)?;
        Ok(Self {
            number: looked.version,
            version: version.try_get(0)?,
            encoding: version.try_get(1)?,
            seen: looked.seen,
        })
    }

    /// Whether one can work with it.
    fn suits(&self) -> Result<(), OpenError> {
        if self.number < VERSION_MIN {
            return Err(OpenError::TooOld(self.version.clone()));
        }
        if self.encoding != "UTF8" {
            return Err(OpenError::Encoding(self.encoding.clone()));
        }
        if self.seen.read_only {
            return Err(OpenError::ReadOnly);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::pool::settings::Level;

    const SEEN: Seen = Seen {
        flushes: true,
        standbys: false,
        read_only: false,
        level: Level::On,
    };

    fn server() -> Server {
        Server {
            number: 150_018,
            version: "15.18".to_owned(),
            encoding: "UTF8".to_owned(),
            seen: SEEN,
        }
    }

    #[test]
    fn a_server_that_does_not_suit_is_refused_with_the_reason() {
        assert!(server().suits().is_ok());
        let old = Server {
            number: 140_011,
            version: "14.11".to_owned(),
            ..server()
        };
        assert!(matches!(old.suits(), Err(OpenError::TooOld(_))));
        let odd = Server {
            encoding: "LATIN1".to_owned(),
            ..server()
        };
        assert!(matches!(odd.suits(), Err(OpenError::Encoding(_))));
        let standby = Server {
            seen: Seen {
                read_only: true,
                ..SEEN
            },
            ..server()
        };
        assert!(matches!(standby.suits(), Err(OpenError::ReadOnly)));
    }

    #[tokio::test]
    async fn a_server_that_takes_connections_and_says_nothing_is_not_waited_for() {
        // The system takes connections for it, as it does for a server that is stopped.
        let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = silent.local_addr().unwrap();
        let options = PostgresOptions::default().with_patience(Duration::from_millis(100));
        let opened = open(&format!("postgres://somebody@{address}/orders"), &options).await;
        let error = opened.unwrap_err();
        assert!(matches!(error, OpenError::Unreachable(_)), "{error:?}");
        let cause = error.source().unwrap().to_string();
        assert!(cause.contains("did not answer"), "{cause}");
    }
}
