//! The commands that the store sends. Each is bounded in time, and each write is confirmed by a
//! majority and its journal.

use std::future::IntoFuture;
use std::time::Duration;

use futures_util::TryStreamExt as _;
use mongodb::bson::{Bson, Document as Fields, doc};
use mongodb::options::ReturnDocument;
use mongodb::{Collection, Cursor};
use orderlock_core::{Fence, KeyId, Target};

use crate::document::OrderDocument;
use crate::entry::Record;
use crate::error::Failure;
use crate::fields::{Reader, hash_hex, hex, long};

/// The store's collections.
#[derive(Debug)]
pub(crate) struct Calls {
    pub(crate) orders: Collection<Fields>,
    pub(crate) journal: Collection<Fields>,
    pub(crate) sessions: Collection<Fields>,
    pub(crate) meta: Collection<Fields>,
    pub(crate) patience: Duration,
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

    /// All that a query finds; the query bounds how much.
    pub(crate) async fn all(
        &self,
        query: impl IntoFuture<Output = mongodb::error::Result<Cursor<Fields>>>,
    ) -> Result<Vec<Fields>, Failure> {
        let query = query.into_future();
        self.bounded(async { query.await?.try_collect().await })
            .await
    }

    pub(crate) async fn order(&self, id: &Bson) -> Result<Option<OrderDocument>, Failure> {
        let found = self.bounded(self.orders.find_one(doc! {"_id": id})).await?;
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
        changed.map(OrderDocument::read).transpose()
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
        let found = self.bounded(self.journal.find_one(filter)).await?;
        found
            .map(|fields| Record::from_fields(&fields, target))
            .transpose()
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
        let found = self.bounded(query).await?;
        found
            .map(|fields| Record::from_fields(&fields, target))
            .transpose()
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
        let found = self.bounded(self.journal.find_one(filter)).await?;
        found
            .map(|fields| Record::from_fields(&fields, target))
            .transpose()
    }
}

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
        let mut update = doc! {"$inc": {"orderlock.turn": 1_i64}};
        if !self.set.is_empty() {
            update.insert("$set", self.set);
        }
        if !self.unset.is_empty() {
            update.insert("$unset", self.unset);
        }
        update
    }
}
