//! The relay: moves entries from orders' documents into the journal, and then trims the documents.
//!
//! ```text
//! a verb      the order's document                        the journal
//! ------      --------------------                        -----------
//! settle ---> own fields, entries.e7, waiting
//!   |              |
//!   |              | 1 find the orders with `waiting`
//!   v              v
//! queue ------> a pass ---- 2 insert e7 at the next ----> position 42
//!                  |          position
//!                  |------- 3 unset entries.e7, and `waiting` if nothing has come since
//!                  '------- 4 write again what this node remembers and neither of them has
//! ```
//!
//! A pass begins 50 ms after an entry was written, or at once for whoever reads the journal.
//!
//! It may die anywhere, run twice, and run on every node at once. An entry is inserted under its
//! order and number, of which there is one, and under the next position, of which there is one:
//! who comes second reads again. So positions have no gap, and a reader who has seen one has seen
//! all before it. A document is trimmed only of what the journal has, durably.
//!
//! Each node remembers the entries that it has written itself until they are moved: a service that
//! replaces an order's document in between drops them, and they are written into it once more.

pub(crate) mod adopt;
mod just_made;
mod moving;
mod queue;
mod repair;
mod take_up;

use std::collections::HashSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::FutureExt as _;
use mongodb::bson::{Bson, Document as Fields, doc};
use orderlock_core::StoreError;

use crate::database::calls::Calls;
use crate::database::clock::StoreClock;
use crate::database::unreadable::Unreadable;
use crate::document::entry::StoredEntry;
use crate::error::Failure;
use crate::relay::moving::{Moved, WaitingOrder};
use crate::relay::queue::{RelayQueue, WithSources};
use crate::relay::repair::Whereabouts;

/// How many orders are looked at together.
const ORDERS_MAX: usize = 32;

/// How many orders one pass over all that waits looks at.
const PASS_MAX: usize = 8_192;

/// How often orders are looked at again in one pass whose entries have got other numbers.
const ROUNDS: usize = 8;

/// How long this node's relay lets entries come together before it moves them: an insert is one
/// command, however many it takes, and the order has its entry all the same.
const LINGER: Duration = Duration::from_millis(50);

/// How often the relay of a node asks a server that fails, and how long it waits in between. After
/// that the next settle, or the next reader of the journal, starts it anew.
const REPEATS: u32 = 5;
const PAUSE: Duration = Duration::from_millis(100);

/// This node's relay.
#[derive(Debug)]
pub(crate) struct Relay {
    calls: Arc<Calls>,
    clock: Arc<StoreClock>,
    unreadable: Arc<Unreadable>,
    queue: RelayQueue,
    /// One pass at a time: two on one node would only stand in each other's way. Whoever makes it has
    /// the last position that this node gave away, of which a majority knows; none if it is not known.
    /// Another node may have gone further, which the next insert tells.
    pass: tokio::sync::Mutex<Option<i64>>,
}

/// Entries that this node remembers, and that somebody had dropped with the rest of their order.
#[derive(Debug, Default)]
struct LostEntries {
    /// The orders into which they were written once more: they are to be moved.
    written: Vec<Bson>,
    /// Those of orders that are not there any more.
    removed: Vec<WaitingOrder>,
}

impl Relay {
    pub(crate) fn new(
        calls: Arc<Calls>,
        clock: Arc<StoreClock>,
        unreadable: Arc<Unreadable>,
    ) -> Self {
        Self {
            calls,
            clock,
            unreadable,
            queue: RelayQueue::default(),
            pass: tokio::sync::Mutex::default(),
        }
    }

    /// An order has got this entry, which is to be moved soon.
    pub(crate) fn wants(self: &Arc<Self>, id: &Bson, record: StoredEntry) {
        if self.queue.add(id, record) {
            let relay = Arc::clone(self);
            let task = async move { relay.run().await };
            self.calls.runtime.spawn(task.boxed());
        }
    }

    /// Why entries wait longer than they should, if they do.
    pub(crate) fn trouble(&self, now: Instant) -> Option<String> {
        self.queue.trouble(now)
    }

    async fn run(&self) {
        let runtime = &self.calls.runtime;
        loop {
            runtime.sleep(LINGER).await;
            let Some(ids) = self.queue.take() else {
                return;
            };
            let mut repeat = 0;
            while let Err(error) = self.move_now(&ids).await {
                repeat += 1;
                if repeat > REPEATS {
                    warn_of(Err(error));
                    self.queue.stop();
                    return;
                }
                runtime.sleep(PAUSE * 2_u32.pow(repeat)).await;
            }
        }
    }

    /// Moves what waits in these orders.
    pub(crate) async fn move_now(&self, ids: &[Bson]) -> Result<(), StoreError> {
        let mut last = self.pass.lock().await;
        let kept = self.queue.kept(Some(ids));
        let done = self.move_and_repair(&mut last, ids, kept).await;
        self.queue.ended(self.clock.instant(), &done);
        done
    }

    /// Moves all that waits.
    async fn move_all(&self) -> Result<(), StoreError> {
        let mut last = self.pass.lock().await;
        let kept = self.queue.kept(None);
        let done = async {
            let filter = doc! {"orderlock.waiting": {"$exists": true}};
            let again = self.move_found(&mut last, filter).await?;
            self.move_and_repair(&mut last, &again, kept).await
        };
        let done = done.await;
        self.queue.ended(self.clock.instant(), &done);
        done
    }

    /// Moves what waits in an order, if the journal takes it.
    pub(crate) async fn try_move(&self, id: &Bson) {
        let done = self.move_now(std::slice::from_ref(id)).await;
        warn_of(done);
    }

    /// Moves all that waits, if the journal takes it.
    pub(crate) async fn try_move_all(&self) {
        warn_of(self.move_all().await);
    }

    async fn move_and_repair(
        &self,
        last: &mut Option<i64>,
        ids: &[Bson],
        kept: Vec<(Bson, Vec<StoredEntry>)>,
    ) -> Result<(), StoreError> {
        self.move_orders(last, ids.to_vec()).await?;
        let lost = self.write_again(kept).await?;
        self.move_entries(last, lost.removed).await?;
        self.move_orders(last, lost.written).await
    }

    /// Moves what waits in these orders, also if it gets other numbers in between.
    async fn move_orders(
        &self,
        last: &mut Option<i64>,
        mut ids: Vec<Bson>,
    ) -> Result<(), StoreError> {
        for _ in 0..ROUNDS {
            let mut again = Vec::new();
            for ids in ids.chunks(ORDERS_MAX) {
                let filter = doc! {"_id": {"$in": ids}, "orderlock.waiting": {"$exists": true}};
                again.extend(self.move_found(last, filter).await?);
            }
            if again.is_empty() {
                return Ok(());
            }
            ids = again;
        }
        Ok(())
    }

    /// Moves what waits in the orders that a filter finds. One that cannot be read holds up none of the
    /// others. Returns those that are to be looked at again.
    async fn move_found(
        &self,
        last: &mut Option<i64>,
        filter: Fields,
    ) -> Result<Vec<Bson>, StoreError> {
        let query = self.calls.orders.find(filter);
        // Others may settle faster than this pass moves. What is behind it, the next one sees.
        let query = query.limit(i64::try_from(PASS_MAX).unwrap_or(i64::MAX));
        let query = query.projection(WaitingOrder::projection());
        let rows = self.calls.rows(query).await;
        let mut rows = rows.map_err(Failure::not_applied)?;
        let (mut again, mut seen) = (Vec::new(), HashSet::new());
        loop {
            let found = rows.some(1, ORDERS_MAX).await;
            let found = found.map_err(Failure::not_applied)?;
            if found.is_empty() {
                return Ok(again);
            }
            let mut orders = Vec::new();
            for fields in found {
                let id = fields.get("_id").cloned().unwrap_or_default();
                // A cursor may come by the same order twice, if it moves in between.
                if !seen.insert(id.to_string()) {
                    continue;
                }
                match WaitingOrder::read(fields) {
                    Ok(order) => orders.push(order),
                    Err(failure) => self.unreadable.note(&id, &failure),
                }
            }
            let orders = self.those_that_stay(orders).await?;
            again.extend(self.move_entries(last, orders).await?);
        }
    }

    /// Moves the entries of these orders. Returns the orders that somebody has replaced, so that a
    /// number of theirs stands for another entry in the journal: their entries have other numbers now,
    /// and are to be moved again.
    async fn move_entries(
        &self,
        last: &mut Option<i64>,
        orders: Vec<WaitingOrder>,
    ) -> Result<Vec<Bson>, StoreError> {
        let Moved { moved, replaced } = moving::move_entries(&self.calls, last, orders).await?;
        for order in moved {
            self.queue.moved(&order.id, order.records.values());
        }
        let mut again = Vec::new();
        for order in replaced {
            match repair::number_on(&self.calls, &order.id).await {
                Ok(()) => again.push(order.id),
                Err(StoreError::Corrupt(why)) => self.unreadable.note(&order.id, &why),
                Err(error) => return Err(error),
            }
        }
        Ok(again)
    }

    /// Writes entries that this node remembers into their orders once more, where they neither wait nor
    /// have been moved.
    async fn write_again(
        &self,
        kept: Vec<(Bson, Vec<StoredEntry>)>,
    ) -> Result<LostEntries, StoreError> {
        let mut lost = LostEntries::default();
        for (id, mut records) in kept {
            if !self.queue.keeps(&id) {
                continue;
            }
            records.sort_by_key(|record| record.entry.number);
            for record in records {
                let before = lost.removed.iter().filter(|order| order.id == id).count();
                match repair::write_lost(&self.calls, &self.clock, &id, &record, before).await {
                    Ok(Whereabouts::Waits) => lost.written.push(id.clone()),
                    Ok(Whereabouts::Moved) => self.queue.moved(&id, std::iter::once(&record)),
                    Ok(Whereabouts::Removed(order)) => lost.removed.push(order),
                    // Its entries wait until it can be read; others' do not.
                    Err(StoreError::Corrupt(why)) => {
                        self.unreadable.note(&id, &why);
                        break;
                    }
                    Err(error) => return Err(error),
                }
            }
        }
        Ok(lost)
    }
}

/// What cannot be moved now is found by the next pass: whoever wanted it moved goes on without.
fn warn_of(done: Result<(), StoreError>) {
    if let Err(error) = done {
        let error = WithSources(&error);
        tracing::warn!(%error, "entries wait in their orders: the journal takes none");
    }
}
