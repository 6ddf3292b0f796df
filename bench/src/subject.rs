//! A system under load: its servers, and the schema that they share.

use std::path::Path;

use anyhow::Result;

use crate::database::{Schema, Tables};
use crate::documents::Own;
use crate::machine::{Used, resident};
use crate::peer::Peer;

/// Whose row it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum System {
    /// The handler that does nothing.
    Noop,
    /// Orderlock on a file.
    Embedded,
    /// Orderlock on a PostgreSQL.
    OneNode,
    /// The same with two nodes.
    TwoNodes,
    /// The rival with one transaction round the handler.
    OneTransaction,
    /// The rival with one before the handler and one after it.
    TwoTransactions,
    /// Orderlock on a MongoDB.
    MongodbNode,
    /// The rival there.
    OldPattern,
}

/// What a system keeps its orders in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Base {
    /// A file, or nothing.
    File,
    Postgres,
    Mongodb,
}

impl System {
    /// Orderlock on a PostgreSQL, and what it is compared with.
    pub(crate) const COMPARED: [Self; 3] =
        [Self::OneNode, Self::OneTransaction, Self::TwoTransactions];

    pub(crate) const RIVALS: [Self; 2] = [Self::OneTransaction, Self::TwoTransactions];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Noop => "no-op",
            Self::Embedded | Self::OneNode | Self::MongodbNode => "Orderlock",
            Self::TwoNodes => "Orderlock, two nodes",
            Self::OneTransaction => "rival, one transaction",
            Self::TwoTransactions => "rival, two transactions",
            Self::OldPattern => "rival, the old pattern",
        }
    }

    pub(crate) fn base(self) -> Base {
        match self {
            Self::Noop | Self::Embedded => Base::File,
            Self::MongodbNode | Self::OldPattern => Base::Mongodb,
            _ => Base::Postgres,
        }
    }
}

/// A system under load. The order of the fields is the order of their end: the servers before the
/// schema or the database that they share.
#[derive(Debug)]
pub(crate) struct Subject {
    pub(crate) system: System,
    pub(crate) servers: Vec<Peer>,
    pub(crate) schema: Option<Schema>,
    pub(crate) own: Option<Own>,
}

impl Subject {
    pub(crate) fn alone(system: System, server: Peer) -> Self {
        Self {
            system,
            servers: vec![server],
            schema: None,
            own: None,
        }
    }

    /// Where connections go, one after the other.
    pub(crate) fn addresses(&self) -> Vec<&str> {
        let addresses = self.servers.iter().map(|server| server.address.as_str());
        addresses.collect()
    }

    /// What it has used so far.
    pub(crate) fn used(&self) -> Used {
        let folder = self
            .servers
            .first()
            .map_or(Path::new("."), |server| &server.folder);
        let database = self.schema.as_ref().and_then(Schema::postmaster);
        Used::now(&self.processes(), database, folder)
    }

    /// Resident memory of its servers, in bytes.
    pub(crate) fn resident(&self) -> u64 {
        self.processes().into_iter().map(resident).sum()
    }

    fn processes(&self) -> Vec<u32> {
        self.servers.iter().map(Peer::process).collect()
    }

    /// Lets the database finish what earlier rows have left to it.
    pub(crate) fn settle_down(&self) -> Result<()> {
        self.schema.as_ref().map_or(Ok(()), Schema::checkpoint)?;
        self.own.as_ref().map_or(Ok(()), Own::wait_until_moved)
    }

    pub(crate) fn tables(&self) -> Result<Tables> {
        let tables = self.schema.as_ref().map(Schema::tables);
        Ok(tables.transpose()?.unwrap_or_default())
    }

    /// Ends the servers, and looks at what they have left in the tables.
    pub(crate) fn end(mut self) -> Result<Tables> {
        self.servers.clear();
        if let Some(schema) = &self.schema {
            schema.wait_until_unused()?;
        }
        self.tables()
    }
}
