//! A service that knows nothing of Orderlock, on the same orders: it takes them by `locked`, changes
//! fields of its own, and sometimes does what it should not.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::Result;
use mongodb::bson::{Bson, Document, doc};
use mongodb::{Client, Collection};

use super::{DATABASE, ORDERS, Struck};
use crate::faults::Fault;
use crate::ledger::lock;
use crate::scene::Scene;

/// The old service.
pub(super) struct OldService {
    orders: Collection<Document>,
    turns: AtomicU64,
    /// Locks that it has, or may have died with, each with its order and since when: it comes back
    /// for them.
    left: Mutex<BTreeMap<String, (String, Instant)>>,
}

/// How long an order stays locked by a service that has died, if no operator comes.
const COMES_BACK: Duration = Duration::from_secs(5);

/// How long it is waited for the journal to have what stands in an order.
const MOVED_MAX: Duration = Duration::from_secs(2);

impl OldService {
    pub(super) async fn connect(address: &str) -> Result<Self> {
        let client = Client::with_uri_str(address).await?;
        Ok(Self {
            orders: client.database(DATABASE).collection(ORDERS),
            turns: AtomicU64::new(0),
            left: Mutex::default(),
        })
    }

    pub(super) async fn strike(&self, fault: Fault, scene: &Scene, time: Duration) -> Struck {
        let Some(tale) = scene.some_tale() else {
            return Ok(None);
        };
        let _working = tale.work();
        let id = tale.order.as_str();
        let turn = self.turns.fetch_add(1, Ordering::Relaxed);
        let key = format!("old-{turn}");
        let evidence = format!("{id} under {key}");
        let done = match fault {
            Fault::OldLock => self.works(id, &key, time / 4).await?,
            Fault::OldDies => self.dies(id, &key).await?,
            Fault::OldSet => self.sets(id, turn).await?,
            Fault::OldUnlock => self.unlocks(id).await?,
            Fault::OldReplace => {
                tale.replaced.store(true, Ordering::Release);
                self.replaces(id, &key, turn, time / 8).await?
            }
            _ => false,
        };
        self.come_back().await?;
        Ok(done.then_some(evidence))
    }

    async fn take(&self, id: &str, key: &str) -> Result<Option<Document>> {
        lock(&self.left).insert(key.to_owned(), (id.to_owned(), Instant::now()));
        let free = doc! {"_id": id, "locked": null};
        let take = doc! {"$set": {"locked": key}};
        let taken = self.orders.find_one_and_update(free, take).await?;
        if taken.is_none() {
            lock(&self.left).remove(key);
        }
        Ok(taken)
    }

    /// Takes an order, changes what is its own, and lets go: as it should.
    async fn works(&self, id: &str, key: &str, time: Duration) -> Result<bool> {
        if self.take(id, key).await?.is_none() {
            return Ok(false);
        }
        tokio::time::sleep(time).await;
        let mine = doc! {"_id": id, "locked": key};
        let done = doc! {"$set": {"locked": null, "seenBy": key}};
        let done = self.orders.update_one(mine, done).await?;
        lock(&self.left).remove(key);
        Ok(done.matched_count > 0)
    }

    async fn dies(&self, id: &str, key: &str) -> Result<bool> {
        Ok(self.take(id, key).await?.is_some())
    }

    /// Changes what is its own without a lock.
    async fn sets(&self, id: &str, turn: u64) -> Result<bool> {
        let turn = i64::try_from(turn)?;
        let done = self
            .orders
            .update_one(doc! {"_id": id}, doc! {"$set": {"touched": turn}});
        Ok(done.await?.matched_count > 0)
    }

    /// Clears whatever lock there is, as a script does that was written in a hurry.
    async fn unlocks(&self, id: &str) -> Result<bool> {
        let held = doc! {"_id": id, "locked": {"$type": "string", "$regex": "^orderlock:"}};
        let done = doc! {"$set": {"locked": null}};
        Ok(self.orders.update_one(held, done).await?.matched_count > 0)
    }

    /// Takes an order, and writes a whole document in its place: that of which it knows the fields. It
    /// waits until the journal has all entries: of one that has not been moved the other nodes know
    /// nothing until its own node has written it again, which is a documented limit.
    async fn replaces(&self, id: &str, key: &str, turn: u64, time: Duration) -> Result<bool> {
        if self.take(id, key).await?.is_none() {
            return Ok(false);
        }
        tokio::time::sleep(time).await;
        let begun = Instant::now();
        while begun.elapsed() < MOVED_MAX {
            let held = self
                .orders
                .find_one(doc! {"_id": id, "locked": key})
                .await?;
            let Some(mut document) = held else {
                break;
            };
            let kept = document.remove("orderlock");
            let kept = kept.as_ref().and_then(Bson::as_document);
            let waits = kept.and_then(|kept| kept.get_document("entries").ok());
            if waits.is_some_and(|entries| !entries.is_empty()) {
                tokio::time::sleep(Duration::from_millis(20)).await;
                continue;
            }
            document.insert("locked", Bson::Null);
            document.insert("replaced", i64::try_from(turn)?);
            let stood = kept.and_then(|kept| kept.get("turn")).cloned();
            let mine = doc! {"_id": id, "locked": key, "orderlock.turn": stood};
            let done = self.orders.replace_one(mine, document).await?;
            if done.matched_count > 0 {
                lock(&self.left).remove(key);
                return Ok(true);
            }
        }
        self.give_back(id, key).await?;
        Ok(false)
    }

    /// Services that died come back after a while, and let go of what they had.
    async fn come_back(&self) -> Result<()> {
        let due: Vec<(String, String)> = {
            let left = lock(&self.left);
            let due = left
                .iter()
                .filter(|(_, (_, since))| since.elapsed() > COMES_BACK);
            due.map(|(key, (id, _))| (key.clone(), id.clone()))
                .collect()
        };
        for (key, id) in due {
            self.give_back(&id, &key).await?;
        }
        Ok(())
    }

    async fn give_back(&self, id: &str, key: &str) -> Result<()> {
        let mine = doc! {"_id": id, "locked": key};
        let done = doc! {"$set": {"locked": null}};
        self.orders.update_one(mine, done).await?;
        lock(&self.left).remove(key);
        Ok(())
    }

    /// All that it holds.
    pub(super) async fn let_go(&self) -> Result<()> {
        let left: Vec<_> = lock(&self.left).clone().into_iter().collect();
        for (key, (id, _)) in left {
            self.give_back(&id, &key).await?;
        }
        Ok(())
    }
}
