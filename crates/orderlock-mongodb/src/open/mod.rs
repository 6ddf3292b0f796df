//! Opening the store: the first look at the server, the indexes, what its set-up makes of a write.

pub(crate) mod address;
pub(crate) mod error;
pub(crate) mod indexes;
pub(crate) mod layout;
pub(crate) mod server;
pub(crate) mod server_watch;
pub(crate) mod shards;

use std::sync::Arc;

use mongodb::bson::doc;
use mongodb::error::ErrorKind;
use mongodb::options::{
    Acknowledgment, ClientOptions, CollectionOptions, ReadConcern, ReadPreference,
    SelectionCriteria, WriteConcern,
};
use mongodb::{Client, Database};
use orderlock_core::Timestamp;

use crate::database::calls::{Calls, RawCollection, document_of};
use crate::document::fields::{FieldReader, from_micros, parse_u128};
use crate::document::order_id::IdShape;
use crate::error::Failure;
use crate::open::address::Address;
use crate::open::error::OpenError;
use crate::open::server::ServerInfo;
use crate::options::MongodbOptions;

/// How many connections are kept for signs of life.
const CONNECTIONS_FOR_SIGNS: u32 = 4;

/// A database that is ready for work.
#[derive(Debug)]
pub(crate) struct Opened {
    pub(crate) calls: Arc<Calls>,
    pub(crate) ids: IdShape,
    pub(crate) location: String,
    pub(crate) server: ServerInfo,
    /// Named by the cursors of readers: another one after a restore.
    pub(crate) epoch: String,
    /// The time that was seen last.
    pub(crate) seen: Timestamp,
}

pub(crate) async fn open(url: &str, options: &MongodbOptions) -> Result<Opened, OpenError> {
    let address = Address::parse(url)?;
    let (client, location) = client(&address, options, options.connections).await?;
    // Signs of life wait for no connection that others have.
    let (signs, _) = self::client(&address, options, CONNECTIONS_FOR_SIGNS).await?;
    let name = client
        .default_database()
        .map(|database| database.name().to_owned());
    let name = name.ok_or_else(|| OpenError::address("it names no database"))?;
    let (database, signs) = (client.database(&name), signs.database(&name));
    let databases = (&database, &signs);
    let mut calls = calls(
        databases,
        &address.collection,
        options,
        &ReadConcern::majority(),
    );
    let mut server = ServerInfo::ask(&calls).await?;
    if server.is_too_old() {
        return Err(OpenError::TooOld);
    }
    if !reads_what_stays(&calls).await? {
        server.rolls_back = true;
        let local = ReadConcern::local();
        calls = self::calls(databases, &address.collection, options, &local);
    }
    if let Some(time) = server.time {
        options.time.hear(from_micros(time.saturating_mul(1_000)));
    }
    if server.sharded {
        shards::look(&calls).await?;
    }
    layout::bring_up(&calls).await?;
    indexes::make(&calls, server.is_mongod).await?;
    odd_ids(&calls, address.ids).await;
    let epoch = epoch(&calls, options.runtime.random()).await?;
    Ok(Opened {
        location: format!("{location}/{name}.{}", address.collection),
        ids: address.ids,
        seen: server_watch::seen(&calls, options.time.now()).await?,
        server,
        calls: Arc::new(calls),
        epoch,
    })
}

async fn client(
    address: &Address,
    options: &MongodbOptions,
    connections: u32,
) -> Result<(Client, String), OpenError> {
    // The driver's words may repeat the address, and so are not passed on.
    let parsed = ClientOptions::parse(&address.driver).await;
    let mut parsed = parsed.map_err(|error| match &*error.kind {
        ErrorKind::DnsResolve { .. } => OpenError::Unreachable("the name has no servers".into()),
        _ => OpenError::address("the driver does not understand it"),
    })?;
    parsed.app_name.get_or_insert_with(|| "orderlock".into());
    parsed.server_selection_timeout = Some(options.patience);
    parsed.connect_timeout.get_or_insert(options.patience);
    let most = parsed.max_pool_size.unwrap_or(options.connections);
    parsed.max_pool_size = Some(most.min(connections));
    parsed.command_event_handler.clone_from(&options.watch);
    let hosts: Vec<_> = parsed.hosts.iter().map(ToString::to_string).collect();
    let client = Client::with_options(parsed)
        .map_err(|_| OpenError::address("its parameters do not go together"))?;
    Ok((client, hosts.join(",")))
}

/// Says so if the collection has documents whose `_id`s no order id can name.
async fn odd_ids(calls: &Calls, shape: IdShape) {
    let mut types = vec!["number", "object", "binData", "bool", "date", "null"];
    match shape {
        IdShape::ByShape => {}
        IdShape::Text => types.push("objectId"),
        IdShape::ObjectId => types.push("string"),
    }
    let types = types.into_iter().map(|name| doc! {"_id": {"$type": name}});
    let query = calls
        .orders
        .find_one(doc! {"$or": types.collect::<Vec<_>>()});
    if let Ok(Some(found)) = calls.one(query.projection(doc! {"_id": 1})).await {
        let example = found
            .get("_id")
            .map(ToString::to_string)
            .unwrap_or_default();
        tracing::warn!(
            %example,
            "the collection has documents whose `_id`s are of other types than orders' ids; they are \
             no orders to Orderlock, and not found by any id"
        );
    }
}

/// Whether the server knows reads of what cannot be rolled back. Some that stand alone refuse them.
async fn reads_what_stays(calls: &Calls) -> Result<bool, OpenError> {
    match calls.one(calls.meta.find_one(doc! {"_id": "epoch"})).await {
        Ok(_) => Ok(true),
        Err(failure) if failure.refuses_the_question() => Ok(false),
        Err(failure) => Err(failure.into()),
    }
}

fn calls(
    (database, signs): (&Database, &Database),
    orders: &str,
    options: &MongodbOptions,
    read: &ReadConcern,
) -> Calls {
    let collection = |database: &Database, name: &str| -> RawCollection {
        let write = WriteConcern::builder()
            .w(Acknowledgment::Majority)
            .journal(true)
            .w_timeout(options.patience)
            .build();
        let options = CollectionOptions::builder()
            .read_concern(read.clone())
            .write_concern(write)
            .selection_criteria(SelectionCriteria::ReadPreference(ReadPreference::Primary))
            .build();
        database.collection_with_options(name, options)
    };
    let beside = |name: &str| collection(database, &format!("{orders}_orderlock_{name}"));
    Calls {
        orders: collection(database, orders),
        journal: beside("journal"),
        sessions: collection(signs, &format!("{orders}_orderlock_nodes")),
        old_sessions: beside("sessions"),
        reservations: beside("reservations"),
        marks: beside("marks"),
        meta: beside("meta"),
        patience: options.patience,
        runtime: Arc::clone(&options.runtime),
    }
}

/// The name of the journal's epoch: the one that is there, or a new one.
async fn epoch(calls: &Calls, random: u128) -> Result<String, OpenError> {
    let offered = doc! {"_id": "epoch", "value": format!("{random:032x}")};
    let offered = document_of(&offered)?;
    match calls.bounded(calls.meta.insert_one(offered)).await {
        Err(failure) if !failure.is_duplicate() => return Err(failure.into()),
        Ok(_) | Err(_) => {}
    }
    let found = calls
        .one(calls.meta.find_one(doc! {"_id": "epoch"}))
        .await?;
    let found = found.unwrap_or_default();
    let epoch = FieldReader::new("the epoch", &found).text("value")?;
    let epoch = parse_u128(epoch).map(|_| epoch.to_owned());
    epoch.ok_or_else(|| Failure::unreadable("the epoch").into())
}
