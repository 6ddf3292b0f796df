//! Why a database cannot be opened, in words that say what to do.

use std::error::Error;

use tokio_postgres::error::SqlState;

use crate::connect::NotConnected;
use crate::sql::error::{Failure, chain};

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
