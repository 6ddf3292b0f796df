//! Why a database could not be opened, in words for whoever starts the program.

use std::error::Error;

use mongodb::error::ErrorKind;

use crate::error::Failure;

type Cause = Box<dyn Error + Send + Sync>;

/// Why a database could not be opened.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// The address is not one of a MongoDB database.
    #[error(
        "the address is not one of a MongoDB database, such as \
         mongodb://user:password@host:27017/database?collection=orders"
    )]
    Address(#[source] Cause),
    /// The address asks for less than what the store promises.
    #[error("the address asks for less than is promised: {0}")]
    Weaker(&'static str),
    /// No server answers that takes writes.
    #[error("no server that takes writes answers; check hosts, ports, replica set and TLS")]
    Unreachable(#[source] Cause),
    /// The server does not let the user in, or not into this database.
    #[error("the server does not let this user in; check user, password, `authSource` and roles")]
    Login(#[source] Cause),
    /// The server is too old.
    #[error("the server is too old: the store needs MongoDB 4.4 or later")]
    TooOld,
    /// The collection is sharded by something else than the orders' ids.
    #[error(
        "the orders' collection is sharded by another key than `_id`: each write names an order by its \
         `_id`, and only a shard key of `_id`, hashed or not, lets it be the only one of that id"
    )]
    ShardKey,
    /// A later build has written what this one cannot read.
    #[error("the database has a layout that this program does not know; start a later one")]
    Layout,
    /// An index could not be made.
    #[error("an index could not be made; the user needs the role `readWrite` on the database")]
    Index(#[source] Cause),
    /// The server failed otherwise.
    #[error("the database could not be opened")]
    Database(#[source] Cause),
}

impl OpenError {
    pub(crate) fn address(cause: impl Into<Cause>) -> Self {
        Self::Address(cause.into())
    }
}

impl From<Failure> for OpenError {
    fn from(failure: Failure) -> Self {
        let Failure::Driver(error) = &failure else {
            return Self::Unreachable(failure.into());
        };
        let made = match &*error.kind {
            ErrorKind::ServerSelection { .. } | ErrorKind::Io(_) | ErrorKind::DnsResolve { .. } => {
                Self::Unreachable
            }
            ErrorKind::Authentication { .. } => Self::Login,
            ErrorKind::Command(error) if [13, 18].contains(&error.code) => Self::Login,
            _ => Self::Database,
        };
        made(failure.into())
    }
}
