//! The order lock of many NestJS services, on a MongoDB, by hand: one `findOneAndUpdate` locks the
//! order by the key, one writes it and unlocks, and a third write stores the answer.

use std::time::Duration;

use anyhow::{Context as _, Result};
use mongodb::bson::spec::BinarySubtype;
use mongodb::bson::{Binary, Document, doc};
use mongodb::options::{Acknowledgment, ClientOptions, ReturnDocument, WriteConcern};
use mongodb::{Client, Collection};
use orderlock::problems::{ORDER_LOCKED, ORDER_NOT_FOUND};
use orderlock::{Runtime as _, Timestamp, TokioRuntime};
use tokio::time::{Instant, sleep, timeout};

use super::http::{self, Asked, Reply, Rival};
use super::line::Lines;
use super::pool::WAIT_MAX;
use super::work::{Kept, Settled, Work};
use crate::Store;

/// As many connections as Orderlock has.
const CONNECTIONS: u32 = 64;

/// How long a lock of another process is waited for between two tries, at first and at most.
const PAUSE: (Duration, Duration) = (Duration::from_millis(1), Duration::from_millis(50));

pub(crate) fn run(store: &Store) -> Result<()> {
    http::serve::<OldPattern>(store)
}

struct OldPattern {
    orders: Collection<Document>,
    keys: Collection<Document>,
    lines: Lines,
}

impl Rival for OldPattern {
    async fn open(address: &str, _: usize) -> Result<Self> {
        let mut options = ClientOptions::parse(address).await?;
        options.max_pool_size = Some(CONNECTIONS);
        let durable = WriteConcern::builder().w(Acknowledgment::Majority);
        options.write_concern = Some(durable.journal(true).build());
        let database = Client::with_options(options)?.default_database();
        let database = database.context("the address names no database")?;
        Ok(Self {
            orders: database.collection("orders"),
            keys: database.collection("keys"),
            lines: Lines::default(),
        })
    }

    async fn create(&self, key: &str, document: Vec<u8>) -> Result<Kept> {
        let now = TokioRuntime.wall();
        let order = Kept {
            id: format!("ord_{key}"),
            version: 1,
            created: now,
            updated: now,
            document,
        };
        let mut fields = fields(&order)?;
        fields.insert("_id", &order.id);
        fields.insert("created", order.created.to_string());
        self.orders.insert_one(fields).await?;
        Ok(order)
    }

    async fn run(&self, asked: &Asked, work: Work) -> Result<Reply> {
        let deadline = Instant::now() + WAIT_MAX;
        let Ok(_turn) = timeout(WAIT_MAX, self.lines.enter(&asked.order)).await else {
            return Reply::problem(&ORDER_LOCKED.described());
        };
        let mut pause = PAUSE.0;
        let order = loop {
            if let Some(order) = self.lock(asked).await? {
                break order;
            }
            if !self.exists(asked).await? {
                return Reply::problem(&ORDER_NOT_FOUND.described());
            }
            if Instant::now() >= deadline {
                return Reply::problem(&ORDER_LOCKED.described());
            }
            sleep(pause).await;
            pause = (pause * 2).min(PAUSE.1);
        };
        match work.run(order).await {
            Ok(settled) => self.settle(asked, settled).await,
            Err(error) => {
                self.unlock(asked).await?;
                Err(error)
            }
        }
    }
}

impl OldPattern {
    async fn lock(&self, Asked { order, key }: &Asked) -> Result<Option<Kept>> {
        let free = doc! {"_id": order, "locked": {"$in": [null, key]}};
        let lock = doc! {"$set": {"locked": key}};
        let asked = self.orders.find_one_and_update(free, lock);
        let locked = asked.return_document(ReturnDocument::After).await?;
        locked.map(kept).transpose()
    }

    async fn exists(&self, Asked { order, .. }: &Asked) -> Result<bool> {
        Ok(self.orders.find_one(doc! {"_id": order}).await?.is_some())
    }

    async fn settle(&self, Asked { order, key }: &Asked, settled: Settled) -> Result<Reply> {
        let Settled { order: now, answer } = settled;
        let held = doc! {"_id": order, "locked": key};
        let change = doc! {"$set": fields(&now)?};
        let written = self.orders.find_one_and_update(held, change).await?;
        written.context("the lock was lost")?;
        let body = Binary {
            subtype: BinarySubtype::Generic,
            bytes: answer.body.clone(),
        };
        let stored = doc! {
            "_id": {"order": order, "key": key}, "status": i32::from(answer.status),
            "version": answer.version, "answer": body,
        };
        self.keys.insert_one(stored).await?;
        Ok(Reply::fresh(answer))
    }

    async fn unlock(&self, Asked { order, key }: &Asked) -> Result<()> {
        let held = doc! {"_id": order, "locked": key};
        let free = doc! {"$set": {"locked": null}};
        self.orders.update_one(held, free).await?;
        Ok(())
    }
}

/// The members of an order's document beside those that surround them, unlocked.
fn fields(order: &Kept) -> Result<Document> {
    let mut fields: Document = serde_json::from_slice(&order.document)?;
    fields.insert("locked", None::<String>);
    fields.insert("version", order.version);
    fields.insert("updated", order.updated.to_string());
    Ok(fields)
}

/// Reads an order as it lies in the collection.
fn kept(mut fields: Document) -> Result<Kept> {
    fields.remove("locked");
    let id = fields.remove("_id");
    let id = id.as_ref().and_then(|id| id.as_str()).map(Into::into);
    let version = fields.remove("version");
    // A server may keep a number as narrow as it fits.
    let version = version.and_then(|it| it.as_i64().or_else(|| it.as_i32().map(i64::from)));
    let mut time = |name| {
        let time = fields.remove(name);
        let time = time.and_then(|it| it.as_str()?.parse::<Timestamp>().ok());
        time.with_context(|| format!("an order without {name}"))
    };
    Ok(Kept {
        id: id.context("an order without its id")?,
        version: version.context("an order without its version")?,
        created: time("created")?,
        updated: time("updated")?,
        document: serde_json::to_vec(&fields)?,
    })
}
