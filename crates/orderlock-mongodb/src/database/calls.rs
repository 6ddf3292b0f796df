//! The commands that the store sends. Each is bounded in time, and each write is confirmed by a
//! majority and its journal.

use std::future::IntoFuture;
use std::time::Duration;

use futures_util::TryStreamExt as _;
use mongodb::action::{Find, FindOne};
use mongodb::bson::{Bson, Document as Fields, RawDocumentBuf, doc};
use mongodb::options::ReturnDocument;
use mongodb::{Collection, Cursor};
use orderlock_core::{Fence, KeyId, OutcomeKind, Target};

use crate::document::entry::Record;
use crate::document::fields::{Reader, hash_hex, hex, long, micros, size};
use crate::document::order::OrderDocument;
use crate::error::Failure;

/// How many bytes of documents one answer of the store may hold, about: then a page ends, however many
/// more were asked for.
const PAGE_BYTES_MAX: usize = 8 * 1024 * 1024;

/// How many documents a server sends at once.
const BATCH: u32 = 100;

/// How many entries of one key are looked at that were made at the same microsecond.
const ALIKE_MAX: i64 = 16;

/// A collection whose documents are read as they are: the driver's own reading takes a client's data
/// for values of other types, and fails at what only looks like one.
pub(crate) type Stored = Collection<RawDocumentBuf>;

/// The fields of a document as it was read.
pub(crate) fn fields_of(document: &RawDocumentBuf) -> Result<Fields, Failure> {
    Fields::try_from(&**document).map_err(|error| Failure::unreadable(error.to_string()))
}

/// A document as it is sent.
pub(crate) fn document_of(fields: &Fields) -> Result<RawDocumentBuf, Failure> {
    RawDocumentBuf::try_from(fields)
        .map_err(|_| Failure::impossible("no document of MongoDB's can hold it"))
}

/// The store's collections.
#[derive(Debug)]
pub(crate) struct Calls {
    pub(crate) orders: Stored,
    pub(crate) journal: Stored,
    /// By connections of their own.
    pub(crate) sessions: Stored,
    /// Where nodes of 0.1 had them.
    pub(crate) old_sessions: Stored,
    pub(crate) reservations: Stored,
    pub(crate) marks: Stored,
    pub(crate) meta: Stored,
    pub(crate) patience: Duration,
}

/// What a query finds, one document after the other.
pub(crate) struct Rows<'a> {
    calls: &'a Calls,
    cursor: Cursor<RawDocumentBuf>,
}

impl Rows<'_> {
    pub(crate) async fn next(&mut self) -> Result<Option<Fields>, Failure> {
        let found = self.calls.bounded(self.cursor.try_next()).await?;
        found.as_ref().map(fields_of).transpose()
    }

    /// The next documents: at most so many, and about as many bytes as one answer may hold, but for the
    /// least that are wanted. None means that there are no more.
    pub(crate) async fn some(&mut self, least: usize, most: usize) -> Result<Vec<Fields>, Failure> {
        let (mut found, mut bytes) = (Vec::new(), 0);
        while found.len() < most && (bytes < PAGE_BYTES_MAX || found.len() < least) {
            let Some(fields) = self.next().await? else {
                break;
            };
            bytes += size(&fields);
            found.push(fields);
        }
        Ok(found)
    }
}

impl Calls {
    /// Waits for a command no longer than the store's patience.
    pub(crate) async fn bounded<T>(
        &self,
        command: impl IntoFuture<Output = mongodb::error::Result<T>>,
    ) -> Result<T, Failure> {
        match tokio::time::timeout(self.patience, command.into_future()).await {
            Ok(done) => Ok(done?),
            Err(_) => Err(Failure::TimedOut(self.patience)),
        }
    }

    /// What a query finds, as it is read: however much that is, little of it is in memory.
    pub(crate) async fn rows(&self, query: Find<'_, RawDocumentBuf>) -> Result<Rows<'_>, Failure> {
        let query = query.batch_size(BATCH).max_time(self.patience);
        let cursor = self.bounded(query).await?;
        Ok(Rows {
            calls: self,
            cursor,
        })
    }

    /// All that a query finds; the query bounds how much.
    pub(crate) async fn all(
        &self,
        query: Find<'_, RawDocumentBuf>,
    ) -> Result<Vec<Fields>, Failure> {
        let query = query.max_time(self.patience);
        let found = self.bounded(async { query.await?.try_collect::<Vec<_>>().await });
        found.await?.iter().map(fields_of).collect()
    }

    /// The one document that a query finds. A server that is slow gives up when nobody waits any more.
    pub(crate) async fn one(
        &self,
        query: FindOne<'_, RawDocumentBuf>,
    ) -> Result<Option<Fields>, Failure> {
        let found = self.bounded(query.max_time(self.patience)).await?;
        found.as_ref().map(fields_of).transpose()
    }

    pub(crate) async fn order(&self, id: &Bson) -> Result<Option<OrderDocument>, Failure> {
        let found = self.one(self.orders.find_one(doc! {"_id": id})).await?;
        found.map(OrderDocument::read).transpose()
    }

    /// The one write of a verb: changes one order, if it is as the filter says, and returns it as
    /// it is then.
    pub(crate) async fn change(
        &self,
        filter: Fields,
        update: Fields,
    ) -> Result<Option<OrderDocument>, Failure> {
        let command = self
            .orders
            .find_one_and_update(filter, update)
            .return_document(ReturnDocument::After);
        let changed = self.bounded(command).await?;
        let read = |changed| fields_of(&changed).and_then(OrderDocument::read);
        changed.map(read).transpose()
    }

    /// The same, for those who do not look at the order.
    pub(crate) async fn touch(&self, filter: Fields, update: Fields) -> Result<bool, Failure> {
        let command = self
            .orders
            .find_one_and_update(filter, update)
            .projection(doc! {"_id": 1});
        Ok(self.bounded(command).await?.is_some())
    }

    /// Changes many orders with one command, each by a write of its own, as its filter says. Says how
    /// many were found. It is the command of every server; the driver's own asks for one of version 8.
    pub(crate) async fn touch_all(
        &self,
        updates: impl Iterator<Item = (Fields, Fields)>,
    ) -> Result<usize, Failure> {
        let updates: Vec<_> = updates.map(|(q, u)| doc! {"q": q, "u": u}).collect();
        let orders = &self.orders;
        let mut command = doc! {"update": orders.name(), "updates": updates, "ordered": false};
        if let Some(concern) = orders.write_concern() {
            let concern = mongodb::bson::serialize_to_bson(concern);
            let concern = concern.map_err(|_| Failure::impossible("a write concern"))?;
            command.insert("writeConcern", concern);
        }
        let database = orders.client().database(&orders.namespace().db);
        let reply = self.bounded(database.run_command(command)).await?;
        // Of these the driver does not know that they are failures.
        for failures in ["writeErrors", "writeConcernError"] {
            if let Some(failure) = reply.get(failures) {
                return Err(Failure::impossible(failure.to_string()));
            }
        }
        let found = Reader::new("the answer to an update", &reply).number("n")?;
        usize::try_from(found).map_err(|_| Failure::unreadable("the answer to an update"))
    }

    /// An entry of the journal, by its order and number.
    pub(crate) async fn entry(
        &self,
        id: &Bson,
        target: &Target,
        number: u64,
    ) -> Result<Option<Record>, Failure> {
        let filter = doc! {"order": id, "number": long(number)};
        self.record(self.journal.find_one(filter), target).await
    }

    /// The last entry of an order in the journal, by its number.
    pub(crate) async fn last_entry(
        &self,
        id: &Bson,
        target: &Target,
    ) -> Result<Option<Record>, Failure> {
        let query = self.journal.find_one(doc! {"order": id});
        self.record(query.sort(doc! {"number": -1}), target).await
    }

    /// The last entry in the journal that says something of a key.
    pub(crate) async fn last_of_key(
        &self,
        id: &Bson,
        target: &Target,
        key_id: KeyId,
    ) -> Result<Option<Record>, Failure> {
        let filter = doc! {"order": id, "key": hash_hex(key_id.0), "speaks": 1};
        let query = self.journal.find_one(filter).sort(doc! {"number": -1});
        self.record(query, target).await
    }

    /// The last checkpoint of a key in the journal.
    pub(crate) async fn last_checkpoint(
        &self,
        id: &Bson,
        target: &Target,
        key_id: KeyId,
    ) -> Result<Option<Record>, Failure> {
        let outcome = OutcomeKind::Checkpoint.as_str();
        let filter = doc! {"order": id, "key": hash_hex(key_id.0), "outcome": outcome};
        let query = self.journal.find_one(filter).sort(doc! {"number": -1});
        self.record(query, target).await
    }

    /// What a settle of this grant has written into the journal.
    pub(crate) async fn written(
        &self,
        id: &Bson,
        target: &Target,
        key_id: KeyId,
        (fence, step): (Fence, u32),
    ) -> Result<Option<Record>, Failure> {
        let filter = doc! {
            "order": id,
            "key": hash_hex(key_id.0),
            "fence": hex(fence.0),
            "step": i64::from(step),
        };
        self.record(self.journal.find_one(filter), target).await
    }

    /// Whether the journal has this very entry, under whatever number.
    pub(crate) async fn has_entry(&self, id: &Bson, record: &Record) -> Result<bool, Failure> {
        let entry = &record.entry;
        let filter = doc! {
            "order": id,
            "key": hash_hex(entry.key_id.0),
            "at": micros(entry.at),
            "step": i64::from(entry.step),
        };
        let found = self.all(self.journal.find(filter).limit(ALIKE_MAX)).await?;
        for fields in &found {
            if Record::from_fields(fields, &entry.target)?.is_same(record) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    async fn record(
        &self,
        query: FindOne<'_, RawDocumentBuf>,
        target: &Target,
    ) -> Result<Option<Record>, Failure> {
        let found = self.one(query).await?;
        let read = |fields: Fields| {
            let read = Record::from_fields(&fields, target);
            read.map_err(|failure| failure.in_document("the journal", fields.get("_id")))
        };
        found.map(read).transpose()
    }
}

/// Where an order's turn stands.
pub(crate) const TURN: &str = "orderlock.turn";

/// An update of one order. Every one of Orderlock's own counts its turn, so that whoever has read
/// the order before can tell that it has gone on.
#[derive(Clone, Debug, Default)]
pub(crate) struct Update {
    pub(crate) set: Fields,
    unset: Fields,
}

impl Update {
    /// Sets a path, whatever was to become of it before.
    pub(crate) fn put(&mut self, path: &str, value: impl Into<Bson>) {
        self.unset.remove(path);
        self.set.insert(path, value);
    }

    pub(crate) fn unset(&mut self, path: impl Into<String>) {
        self.unset.insert(path, "");
    }

    /// The lease ends; a mark stays.
    pub(crate) fn unlock(&mut self) {
        self.set.insert("locked", Bson::Null);
        self.unset("orderlock.lease");
    }

    pub(crate) fn into_fields(self) -> Fields {
        let mut update = doc! {};
        if !self.set.contains_key(TURN) {
            update.insert("$inc", doc! {TURN: 1_i64});
        }
        if !self.set.is_empty() {
            update.insert("$set", self.set);
        }
        if !self.unset.is_empty() {
            update.insert("$unset", self.unset);
        }
        update
    }
}
