//! The MongoDB that the systems of a run share: a database for each.

use std::rc::Rc;
use std::time::Duration;

use anyhow::{Context as _, Result};
use mongodb::Client;
use mongodb::bson::{Document, doc, oid::ObjectId};
use tokio::runtime::Runtime;

use crate::rest;

/// How long the way of all that waits into the journal may take.
const QUIET_MAX: Duration = Duration::from_secs(60);

/// A server, and a connection on which databases are dropped.
#[derive(Debug)]
pub(crate) struct Documents {
    runtime: Runtime,
    client: Client,
    /// The address up to the name of a database, and the part behind it.
    address: (String, String),
    build: Document,
}

impl Documents {
    pub(crate) fn connect(address: &str) -> Result<Self> {
        // One thread drives the connection while the load has its own.
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()?;
        let connected = runtime.block_on(async {
            let client = Client::with_uri_str(address).await?;
            let admin = client.database("admin");
            let build = admin.run_command(doc! {"buildInfo": 1}).await?;
            Ok::<_, mongodb::error::Error>((client, build))
        });
        let (client, build) = connected.context("the MongoDB of `--mongodb`")?;
        Ok(Self {
            runtime,
            client,
            address: split(address),
            build,
        })
    }

    /// What it is. Servers that only speak MongoDB's protocol say what they are by another member.
    pub(crate) fn describe(&self) -> String {
        let version = self.build.get_str("version").unwrap_or("?");
        match self.build.get_str("process") {
            Ok(process) => format!("{process}, which speaks as MongoDB {version} does"),
            Err(_) => format!("MongoDB {version}"),
        }
    }
}

/// An address without a database, and its options.
fn split(address: &str) -> (String, String) {
    let (server, options) = address.split_once('?').unwrap_or((address, ""));
    (server.trim_end_matches('/').to_owned(), options.to_owned())
}

/// A database for one system. Dropping it drops the database.
#[derive(Debug)]
pub(crate) struct Own {
    documents: Rc<Documents>,
    name: String,
}

impl Own {
    pub(crate) fn new(documents: &Rc<Documents>) -> Self {
        Self {
            documents: Rc::clone(documents),
            name: format!("orderlock_bench_{}", ObjectId::new().to_hex()),
        }
    }

    /// Where a system finds its collections, with an option of its own.
    pub(crate) fn address(&self, option: &str) -> String {
        let (server, options) = &self.documents.address;
        let options = [options.as_str(), option].into_iter();
        let options: Vec<_> = options.filter(|option| !option.is_empty()).collect();
        let sign = if options.is_empty() { "" } else { "?" };
        format!("{server}/{}{sign}{}", self.name, options.join("&"))
    }

    /// Waits until every entry of the collection `orders` is in the journal: the way of those that an
    /// earlier row has written is none of the next one's cost.
    pub(crate) fn wait_until_moved(&self) -> Result<()> {
        let Documents {
            runtime, client, ..
        } = &*self.documents;
        let orders = client.database(&self.name).collection::<Document>("orders");
        let waiting = doc! {"orderlock.waiting": {"$exists": true}};
        let late = "entries do not come into the journal";
        rest::wait(runtime, QUIET_MAX, late, async || {
            Ok(orders.find_one(waiting.clone()).await?.is_none())
        })
    }
}

impl Drop for Own {
    fn drop(&mut self) {
        let Documents {
            runtime, client, ..
        } = &*self.documents;
        let database = client.database(&self.name);
        let dropped = runtime.block_on(async { database.drop().await });
        if let Err(error) = dropped {
            println!("the database {} is left behind: {error}", self.name);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_comes_apart_before_its_database() {
        let apart = |address| {
            let (server, options) = split(address);
            format!("{server} {options}")
        };
        assert_eq!(apart("mongodb://h:1/"), "mongodb://h:1 ");
        assert_eq!(apart("mongodb://h:1"), "mongodb://h:1 ");
        assert_eq!(apart("mongodb://h/?tls=true"), "mongodb://h tls=true");
    }
}
