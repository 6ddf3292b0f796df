//! Opening the store: the first look at the server, the indexes, what its set-up makes of a write.

use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use mongodb::bson::{Bson, Document as Fields, doc};
use mongodb::error::ErrorKind;
use mongodb::options::{
    Acknowledgment, ClientOptions, CollectionOptions, IndexOptions, ReadConcern, ReadPreference,
    SelectionCriteria, WriteConcern,
};
use mongodb::{Client, Collection, Database, IndexModel};

use crate::MongodbOptions;
use crate::address::Address;
use crate::calls::Calls;
use crate::clock::from_micros;
use crate::error::Failure;
use crate::fields::{Reader, parse_u128};
use crate::order_id::IdShape;

/// The oldest server: MongoDB 4.4, as servers count their protocol.
const WIRE_VERSION_MIN: i64 = 9;

/// How long an index may take to be built on a collection that is there already.
const INDEX_PATIENCE: Duration = Duration::from_secs(600);

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

/// A database that is ready for work.
#[derive(Debug)]
pub(crate) struct Opened {
    pub(crate) calls: Arc<Calls>,
    pub(crate) ids: IdShape,
    pub(crate) location: String,
    pub(crate) durability: String,
    /// Named by the cursors of readers: another one after a restore.
    pub(crate) epoch: String,
}

pub(crate) async fn open(url: &str, options: &MongodbOptions) -> Result<Opened, OpenError> {
    let address = Address::parse(url)?;
    let (client, location) = client(&address, options).await?;
    let name = client
        .default_database()
        .map(|database| database.name().to_owned());
    let name = name.ok_or_else(|| OpenError::address("it names no database"))?;
    let database = client.database(&name);
    let mut calls = calls(
        &database,
        &address.collection,
        options,
        &ReadConcern::majority(),
    );
    let hello = calls
        .bounded(database.run_command(doc! {"hello": 1}))
        .await?;
    let mut server = Server::read(&hello)?;
    if !reads_what_stays(&calls).await? {
        server.rolls_back = true;
        calls = self::calls(
            &database,
            &address.collection,
            options,
            &ReadConcern::local(),
        );
    }
    if let Some(time) = server.time {
        options.clock.hear(from_micros(time.saturating_mul(1_000)));
    }
    indexes(&calls, server.is_mongod).await?;
    let epoch = epoch(&calls, options.runtime.random()).await?;
    Ok(Opened {
        location: format!("{location}/{name}.{}", address.collection),
        durability: server.durability(),
        ids: address.ids,
        calls: Arc::new(calls),
        epoch,
    })
}

async fn client(
    address: &Address,
    options: &MongodbOptions,
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
    parsed.max_pool_size.get_or_insert(options.connections);
    parsed.command_event_handler.clone_from(&options.watch);
    let hosts: Vec<_> = parsed.hosts.iter().map(ToString::to_string).collect();
    let client = Client::with_options(parsed)
        .map_err(|_| OpenError::address("its parameters do not go together"))?;
    Ok((client, hosts.join(",")))
}

/// Whether the server knows reads of what cannot be rolled back. Some that stand alone refuse them.
async fn reads_what_stays(calls: &Calls) -> Result<bool, OpenError> {
    match calls
        .bounded(calls.meta.find_one(doc! {"_id": "epoch"}))
        .await
    {
        Ok(_) => Ok(true),
        Err(failure) if failure.refuses_the_question() => Ok(false),
        Err(failure) => Err(failure.into()),
    }
}

fn calls(database: &Database, orders: &str, options: &MongodbOptions, read: &ReadConcern) -> Calls {
    let collection = |name: &str| -> Collection<Fields> {
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
    Calls {
        orders: collection(orders),
        journal: collection(&format!("{orders}_orderlock_journal")),
        sessions: collection(&format!("{orders}_orderlock_sessions")),
        meta: collection(&format!("{orders}_orderlock_meta")),
        patience: options.patience,
    }
}

/// Makes the indexes that are missing. Those of the orders' own collection hold only orders that
/// are held, marked or waiting, but for the one of lists, which some servers that only speak
/// MongoDB's protocol do not take, because it is over `_id` and a path.
async fn indexes(calls: &Calls, whole: bool) -> Result<(), OpenError> {
    let partial = |name: &str, path: &str, when: Fields| {
        let options = IndexOptions::builder()
            .name(format!("orderlock_{name}"))
            .partial_filter_expression(when)
            .build();
        IndexModel::builder()
            .keys(doc! {path: 1})
            .options(options)
            .build()
    };
    let exists = |name: &str, path: &str| partial(name, path, doc! {path: {"$exists": true}});
    let plain = |name: &str, keys: Fields, unique: bool| {
        let options = IndexOptions::builder()
            .name(format!("orderlock_{name}"))
            .unique(unique)
            .build();
        IndexModel::builder().keys(keys).options(options).build()
    };
    let orders = [
        partial("locked", "locked", doc! {"locked": {"$type": "string"}}),
        exists("session", "orderlock.lease.session"),
        exists("mark", "orderlock.mark.since"),
        exists("waiting", "orderlock.waiting"),
    ];
    let journal = [
        plain("position", doc! {"position": 1}, true),
        plain("number", doc! {"order": 1, "number": 1}, true),
        plain("key", doc! {"order": 1, "key": 1, "number": 1}, false),
        plain("tenant", doc! {"tenant": 1, "position": 1}, false),
        exists("due", "due"),
        exists("ends", "ends"),
    ];
    let orders = orders.into_iter().map(|index| (&calls.orders, index));
    let list = plain("list", doc! {"orderlock.created": -1, "_id": -1}, false);
    let orders = orders.chain(whole.then_some((&calls.orders, list)));
    let journal = journal.into_iter().map(|index| (&calls.journal, index));
    for (collection, index) in orders.chain(journal) {
        let made = tokio::time::timeout(INDEX_PATIENCE, collection.create_index(index)).await;
        match made {
            Ok(Ok(_)) => {}
            Ok(Err(error)) => return Err(OpenError::Index(Failure::from(error).into())),
            Err(_) => return Err(OpenError::Index(Failure::TimedOut(INDEX_PATIENCE).into())),
        }
    }
    Ok(())
}

/// The name of the journal's epoch: the one that is there, or a new one.
async fn epoch(calls: &Calls, random: u128) -> Result<String, OpenError> {
    let offered = doc! {"_id": "epoch", "value": format!("{random:032x}")};
    match calls.bounded(calls.meta.insert_one(offered)).await {
        Err(failure) if !failure.is_duplicate() => return Err(failure.into()),
        Ok(_) | Err(_) => {}
    }
    let found = calls
        .bounded(calls.meta.find_one(doc! {"_id": "epoch"}))
        .await?;
    let found = found.unwrap_or_default();
    let epoch = Reader::new("the epoch", &found).text("value")?;
    let epoch = parse_u128(epoch).map(|_| epoch.to_owned());
    epoch.ok_or_else(|| Failure::unreadable("the epoch").into())
}

/// What the server says of itself.
#[derive(Debug)]
struct Server {
    set: Option<String>,
    sharded: bool,
    time: Option<i64>,
    /// Whether it is MongoDB's own, and not one that speaks its protocol.
    is_mongod: bool,
    /// Whether reads may show what a power loss or a fail-over undoes.
    rolls_back: bool,
}

impl Server {
    fn read(hello: &Fields) -> Result<Self, OpenError> {
        let reader = Reader::new("the server's greeting", hello);
        if reader.number("maxWireVersion")? < WIRE_VERSION_MIN {
            return Err(OpenError::TooOld);
        }
        let time = match hello.get("localTime") {
            Some(Bson::DateTime(time)) => Some(time.timestamp_millis()),
            _ => None,
        };
        Ok(Self {
            set: reader.optional_text("setName")?.map(Into::into),
            sharded: reader.optional_text("msg")? == Some("isdbgrid"),
            time,
            is_mongod: reader.has("topologyVersion") || reader.has("msg"),
            rolls_back: false,
        })
    }

    /// What an answered settle survives, in words.
    fn durability(&self) -> String {
        let mut words = self.writes();
        if self.rolls_back {
            words.push_str("; it cannot keep reads to what survives");
        }
        words
    }

    fn writes(&self) -> String {
        if self.sharded {
            "in the journals of a majority of the shard's members: survives the loss of a minority"
                .into()
        } else if let Some(set) = &self.set {
            format!(
                "in the journals of a majority of the replica set {set}: survives the loss of a \
                 minority of its members"
            )
        } else {
            "in the journal of one server: survives its restart, and not the loss of its disk"
                .into()
        }
    }
}
