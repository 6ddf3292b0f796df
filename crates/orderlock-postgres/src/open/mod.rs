//! Opening the store: the first look at the server, the layout, what its settings make of a commit.

pub(crate) mod epoch;
pub(crate) mod migrate;
pub(crate) mod rights;

use tokio_postgres::Client;
use tokio_postgres::types::ToSql;

use crate::connect::address::Address;
use crate::connect::error::OpenError;
use crate::connect::{Connected, Connector};
use crate::options::PostgresOptions;
use crate::pool::health::{Health, LOOK, Seen, ServerReport};
use crate::pool::{Pool, Purpose};
use crate::sql::error::Failure;

/// The oldest server that the store is made for, as the server writes its version.
const VERSION_MIN: i32 = 150_000;

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
    let connection = pool.connection(Purpose::Life).await?;
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
        let typed: Vec<_> = parameters.into_iter().zip(LOOK.types()).collect();
        let version =
            "SELECT current_setting('server_version'), current_setting('server_encoding')";
        let version = client.query_typed(version, &[]).await?;
        let looked = client.query_typed(LOOK.text, &typed).await?;
        let (Some(version), Some(looked)) = (version.first(), looked.first()) else {
            return Err(Failure::unreadable("the server says nothing of itself").into());
        };
        let looked = ServerReport::read(looked)?;
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
    use std::error::Error as _;
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
