//! The relay: moves entries from orders' documents into the journal, and then trims the documents.
//!
//! It may die anywhere, run twice, and run on every node at once. An entry is inserted under its
//! order and number, of which there is one, and under the next position, of which there is one:
//! who comes second reads again. So positions have no gap, and a reader who has seen one has seen
//! all before it. A document is trimmed only of what the journal has, durably.
//!
//! Each node remembers the entries that it has written itself until they are moved: a service that
//! replaces an order's document in between drops them, and they are written into it once more.

pub(crate) mod adopt;
pub(crate) mod moving;
pub(crate) mod repair;

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use futures_util::FutureExt as _;
use mongodb::bson::{Bson, Document as Fields, doc};
use orderlock_core::StoreError;

use crate::document::entry::Record;
use crate::error::Failure;
use crate::relay::moving::{Waiting, move_entries};
use crate::store::Inner;

/// How many orders are looked at together.
const ORDERS_MAX: usize = 32;

/// How many orders one pass over all that waits looks at.
const PASS_MAX: usize = 8_192;

/// How often orders are looked at again in one pass whose entries have got other numbers.
const ROUNDS: usize = 8;

/// How long this node's relay lets entries come together before it moves them: an insert is one
/// command, however many it takes, and the order has its entry all the same.
const LINGER: Duration = Duration::from_millis(50);

/// How many orders are remembered as waiting. More are found by the index.
const WANTED_MAX: usize = 4_096;

/// How many bytes of entries are remembered, about.
const KEPT_BYTES_MAX: usize = 32 * 1024 * 1024;

/// How often the relay of a node asks a server that fails, and how long it waits in between. After
/// that the next settle, or the next reader of the journal, starts it anew.
const REPEATS: u32 = 5;
const PAUSE: Duration = Duration::from_millis(100);

/// How long the journal may take nothing before that is told. The housekeeping of each node asks it
/// every few seconds.
const FAILS: Duration = Duration::from_secs(10);

/// This node's relay.
#[derive(Debug, Default)]
pub(crate) struct Relay {
    state: Mutex<State>,
    /// One pass at a time: two on one node would only stand in each other's way. Whoever has the turn
    /// has the last position that this node gave away, of which a majority knows; none if it is not
    /// known. Another node may have gone further, which the next insert tells.
    turn: tokio::sync::Mutex<Option<i64>>,
}

#[derive(Debug, Default)]
struct State {
    wanted: HashMap<String, Bson>,
    /// The entries that this node has written and not seen moved, by their order.
    kept: HashMap<String, (Bson, Vec<Record>)>,
    bytes: usize,
    running: bool,
    /// Since when the journal takes nothing, and why.
    fails: Option<(Instant, Arc<str>)>,
}

impl Relay {
    /// An order has got this entry, which is to be moved.
    pub(crate) fn wants(&self, inner: &Arc<Inner>, id: &Bson, record: Record) {
        let mut state = self.lock();
        let bytes = record.bytes();
        if state.bytes + bytes <= KEPT_BYTES_MAX {
            state.bytes += bytes;
            let kept = state.kept.entry(id.to_string());
            kept.or_insert_with(|| (id.clone(), Vec::new()))
                .1
                .push(record);
        }
        if state.wanted.len() < WANTED_MAX {
            state.wanted.insert(id.to_string(), id.clone());
        }
        if !std::mem::replace(&mut state.running, true) {
            let inner = Arc::clone(inner);
            let runtime = Arc::clone(&inner.runtime);
            runtime.spawn(async move { run(&inner).await }.boxed());
        }
    }

    /// Whether this node has written an entry of the order that it has not seen moved.
    pub(crate) fn keeps(&self, id: &Bson) -> bool {
        self.lock().kept.contains_key(&id.to_string())
    }

    /// Why entries wait longer than they should, if they do.
    pub(crate) fn trouble(&self, now: Instant) -> Option<String> {
        let (since, why) = self.lock().fails.clone()?;
        let fails = now.saturating_duration_since(since) >= FAILS;
        fails
            .then(|| format!("entries wait in their orders, because the journal takes none: {why}"))
    }

    /// The remembered entries of these orders, or of all.
    fn kept(&self, ids: Option<&[Bson]>) -> Vec<(Bson, Vec<Record>)> {
        let state = self.lock();
        match ids {
            None => state.kept.values().cloned().collect(),
            Some(ids) => ids
                .iter()
                .filter_map(|id| state.kept.get(&id.to_string()).cloned())
                .collect(),
        }
    }

    /// These entries of an order are in the journal.
    pub(crate) fn moved<'a>(&self, id: &Bson, records: impl Iterator<Item = &'a Record>) {
        let mut state = self.lock();
        let state = &mut *state;
        let name = id.to_string();
        let Some((_, kept)) = state.kept.get_mut(&name) else {
            return;
        };
        for record in records {
            if let Some(at) = kept.iter().position(|kept| kept.is_same(record)) {
                state.bytes = state.bytes.saturating_sub(kept.swap_remove(at).bytes());
            }
        }
        if kept.is_empty() {
            state.kept.remove(&name);
        }
    }

    /// What waits; none if nothing does, and then the relay has stopped.
    fn take(&self) -> Option<Vec<Bson>> {
        let mut state = self.lock();
        if state.wanted.is_empty() {
            state.running = false;
            return None;
        }
        Some(state.wanted.drain().map(|(_, id)| id).collect())
    }

    /// Notes how a pass ended.
    fn ended(&self, now: Instant, done: &Result<(), StoreError>) {
        let fails = &mut self.lock().fails;
        *fails = done.as_ref().err().map(|error| {
            let since = fails.as_ref().map_or(now, |(since, _)| *since);
            (since, Chain(error).to_string().into())
        });
    }

    fn stop(&self) {
        self.lock().running = false;
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// An error with all that lies below it.
struct Chain<'a>(&'a dyn std::error::Error);

impl std::fmt::Display for Chain<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.0)?;
        let mut below = self.0.source();
        while let Some(error) = below {
            write!(f, ": {error}")?;
            below = error.source();
        }
        Ok(())
    }
}

async fn run(inner: &Arc<Inner>) {
    loop {
        inner.runtime.sleep(LINGER).await;
        let Some(ids) = inner.relay.take() else {
            return;
        };
        let mut repeat = 0;
        while let Err(error) = move_now(inner, &ids).await {
            repeat += 1;
            if repeat > REPEATS {
                let error = Chain(&error);
                tracing::warn!(%error, "entries wait in their orders: the journal takes none");
                inner.relay.stop();
                return;
            }
            inner.runtime.sleep(PAUSE * 2_u32.pow(repeat)).await;
        }
    }
}

/// Moves what waits in these orders.
pub(crate) async fn move_now(inner: &Arc<Inner>, ids: &[Bson]) -> Result<(), StoreError> {
    let mut last = inner.relay.turn.lock().await;
    let kept = inner.relay.kept(Some(ids));
    let done = move_and_repair(inner, &mut last, ids, kept).await;
    inner.relay.ended(inner.clock.instant(), &done);
    done
}

async fn move_and_repair(
    inner: &Arc<Inner>,
    last: &mut Option<i64>,
    ids: &[Bson],
    kept: Vec<(Bson, Vec<Record>)>,
) -> Result<(), StoreError> {
    move_orders(inner, last, ids.to_vec()).await?;
    let lost = repair::write_again(inner, kept).await?;
    move_entries(inner, last, lost.removed).await?;
    move_orders(inner, last, lost.written).await
}

/// Moves what waits in these orders, also if it gets other numbers in between.
async fn move_orders(
    inner: &Arc<Inner>,
    last: &mut Option<i64>,
    mut ids: Vec<Bson>,
) -> Result<(), StoreError> {
    for _ in 0..ROUNDS {
        let mut again = Vec::new();
        for ids in ids.chunks(ORDERS_MAX) {
            let filter = doc! {"_id": {"$in": ids}, "orderlock.waiting": {"$exists": true}};
            again.extend(move_found(inner, last, filter).await?);
        }
        if again.is_empty() {
            return Ok(());
        }
        ids = again;
    }
    Ok(())
}

/// Moves all that waits.
pub(crate) async fn move_all(inner: &Arc<Inner>) -> Result<(), StoreError> {
    let mut last = inner.relay.turn.lock().await;
    let kept = inner.relay.kept(None);
    let done = async {
        let filter = doc! {"orderlock.waiting": {"$exists": true}};
        let again = move_found(inner, &mut last, filter).await?;
        move_and_repair(inner, &mut last, &again, kept).await
    };
    let done = done.await;
    inner.relay.ended(inner.clock.instant(), &done);
    done
}

/// Moves what waits in the orders that a filter finds. One that cannot be read holds up none of the
/// others. Returns those that are to be looked at again.
async fn move_found(
    inner: &Arc<Inner>,
    last: &mut Option<i64>,
    filter: Fields,
) -> Result<Vec<Bson>, StoreError> {
    let query = inner.calls.orders.find(filter);
    // Others may settle faster than this pass moves. What is behind it, the next one sees.
    let query = query.limit(i64::try_from(PASS_MAX).unwrap_or(i64::MAX));
    let query = query.projection(Waiting::projection());
    let mut rows = inner
        .calls
        .rows(query)
        .await
        .map_err(Failure::not_applied)?;
    let (mut again, mut seen) = (Vec::new(), HashSet::new());
    loop {
        let found = rows
            .some(1, ORDERS_MAX)
            .await
            .map_err(Failure::not_applied)?;
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
            match Waiting::read(fields) {
                Ok(order) => orders.push(order),
                Err(failure) => inner.odd.note(&id, &failure),
            }
        }
        again.extend(move_entries(inner, last, orders).await?);
    }
}
