//! The relay: moves entries from orders' documents into the journal, and then trims the documents.
//!
//! It may die anywhere, run twice, and run on every node at once. An entry is inserted under its
//! order and number, of which there is one, and under the next position, of which there is one:
//! who comes second reads again. So positions have no gap, and a reader who has seen one has seen
//! all before it. A document is trimmed only of what the journal has, durably.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::FutureExt as _;
use mongodb::bson::{Bson, Document as Fields, doc};
use mongodb::options::ReadConcern;
use orderlock_core::{OutcomeKind, StoreError};

use crate::acquire::busy;
use crate::document::OrderDocument;
use crate::error::Failure;
use crate::fields::{Reader, long, micros};
use crate::store::Inner;

/// How many orders are looked at together. Each may have megabytes of entries.
const ORDERS_MAX: i64 = 32;

/// How long this node's relay lets entries come together before it moves them: an insert is one
/// command, however many it takes, and the order has its entry all the same.
const LINGER: Duration = Duration::from_millis(50);

/// How many orders are remembered as waiting. More are found by the index.
const WANTED_MAX: usize = 4_096;

/// How often an insert is tried anew because another node's relay was quicker, and how often what
/// waits is looked for in one call.
const TRIES: usize = 256;

/// How often the relay of a node asks a server that fails, and how long it waits in between. After
/// that the next settle, or the next reader of the journal, starts it anew.
const REPEATS: u32 = 5;
const PAUSE: Duration = Duration::from_millis(100);

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
    running: bool,
}

impl Relay {
    /// An order has an entry that is to be moved.
    pub(crate) fn wants(&self, inner: &Arc<Inner>, id: &Bson) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if state.wanted.len() < WANTED_MAX {
            state.wanted.insert(id.to_string(), id.clone());
        }
        if !std::mem::replace(&mut state.running, true) {
            let inner = Arc::clone(inner);
            let runtime = Arc::clone(&inner.runtime);
            runtime.spawn(async move { run(&inner).await }.boxed());
        }
    }

    /// What waits; none if nothing does, and then the relay has stopped.
    fn take(&self) -> Option<Vec<Bson>> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if state.wanted.is_empty() {
            state.running = false;
            return None;
        }
        Some(state.wanted.drain().map(|(_, id)| id).collect())
    }

    fn stop(&self) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.running = false;
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
    for ids in ids.chunks(usize::try_from(ORDERS_MAX).unwrap_or(1)) {
        let filter = doc! {"_id": {"$in": ids}, "orderlock.waiting": {"$exists": true}};
        let orders = waiting(inner, filter).await?;
        move_entries(inner, &mut last, orders).await?;
    }
    Ok(())
}

/// Moves all that waits.
pub(crate) async fn move_all(inner: &Arc<Inner>) -> Result<(), StoreError> {
    let mut last = inner.relay.turn.lock().await;
    for _ in 0..TRIES {
        let orders = waiting(inner, doc! {"orderlock.waiting": {"$exists": true}}).await?;
        if orders.is_empty() {
            return Ok(());
        }
        move_entries(inner, &mut last, orders).await?;
    }
    // Others settle faster than this reader moves. What is behind it, it sees the next time.
    Ok(())
}

async fn waiting(inner: &Inner, filter: Fields) -> Result<Vec<OrderDocument>, StoreError> {
    let query = inner
        .calls
        .orders
        .find(filter)
        .projection(doc! {"orderlock": 1})
        .limit(ORDERS_MAX);
    let found = inner.calls.all(query).await.map_err(Failure::not_applied)?;
    let orders = found.into_iter().map(OrderDocument::read);
    orders
        .collect::<Result<_, _>>()
        .map_err(Failure::not_applied)
}

async fn move_entries(
    inner: &Inner,
    last: &mut Option<i64>,
    orders: Vec<OrderDocument>,
) -> Result<(), StoreError> {
    let mut entries = Vec::new();
    for order in &orders {
        for number in order.entries.keys() {
            entries.push(to_journal(order, *number).map_err(Failure::not_applied)?);
        }
    }
    insert(inner, last, entries).await?;
    match orders.is_empty() {
        true => Ok(()),
        false => trim(inner, &orders).await,
    }
}

/// An entry as the journal keeps it, but for its position.
fn to_journal(order: &OrderDocument, number: u64) -> Result<Fields, Failure> {
    let record = order.pending(number)?;
    let record = record.ok_or_else(|| Failure::unreadable("an entry that waits"))?;
    let outcome = record.entry.outcome;
    let mut fields = record.to_fields()?;
    fields.insert("order", order.id.clone());
    fields.insert("tenant", order.target.tenant.as_str());
    if outcome.is_final() || outcome == OutcomeKind::Checkpoint {
        fields.insert("speaks", 1);
    }
    if record.entry.answer.is_some() {
        fields.insert("due", micros(record.expires));
    }
    if outcome.is_final() && outcome != OutcomeKind::Created && record.entry.expires.is_some() {
        fields.insert("ends", micros(record.forgotten));
    }
    Ok(fields)
}

/// Inserts entries behind the last one, each once. Of the first one that stands in another's place the
/// server says so, and takes none behind it.
async fn insert(
    inner: &Inner,
    last: &mut Option<i64>,
    mut entries: Vec<Fields>,
) -> Result<(), StoreError> {
    for _ in 0..TRIES {
        if entries.is_empty() {
            return Ok(());
        }
        // Known again only once all of them are written.
        let known = last.take();
        let mut position = match known {
            Some(position) => position,
            None => last_position(inner).await?,
        };
        for entry in &mut entries {
            position += 1;
            entry.insert("position", position);
        }
        let command = inner.calls.journal.insert_many(&entries).ordered(true);
        match inner.calls.bounded(command).await {
            Ok(_) => {
                *last = Some(position);
                return Ok(());
            }
            // Another node has gone further, most likely, which is soon seen.
            Err(failure) if failure.is_duplicate() && known.is_some() => {}
            Err(failure) if failure.is_duplicate() => {
                entries = without_moved(inner, entries).await?;
            }
            Err(failure) => return Err(failure.of_a_write()),
        }
    }
    Err(busy())
}

/// The last position that is given away, durably or not: a gap would be left if it were not seen.
async fn last_position(inner: &Inner) -> Result<i64, StoreError> {
    let query = inner
        .calls
        .journal
        .find_one(doc! {})
        .sort(doc! {"position": -1})
        .read_concern(ReadConcern::local());
    let last = inner
        .calls
        .bounded(query)
        .await
        .map_err(Failure::not_applied)?;
    match last {
        None => Ok(0),
        Some(fields) => Reader::new("a journal entry", &fields)
            .number("position")
            .map_err(Failure::not_applied),
    }
}

/// Leaves out what is in the journal by now, durably: its order is trimmed of it.
async fn without_moved(inner: &Inner, entries: Vec<Fields>) -> Result<Vec<Fields>, StoreError> {
    let mut left = Vec::with_capacity(entries.len());
    for entry in entries {
        let filter = doc! {"order": entry.get("order"), "number": entry.get("number")};
        let query = inner.calls.journal.find_one(filter);
        let found = inner
            .calls
            .bounded(query)
            .await
            .map_err(Failure::not_applied)?;
        if found.is_none() {
            left.push(entry);
        }
    }
    Ok(left)
}

/// Takes out of orders what the journal has. An order to which nothing has come in the meantime waits
/// no longer.
async fn trim(inner: &Inner, orders: &[OrderDocument]) -> Result<(), StoreError> {
    let calls = &inner.calls;
    let all = doc! {"$unset": {"orderlock.entries": "", "orderlock.waiting": ""}};
    let whole = orders.iter().map(|order| {
        let same = doc! {"_id": &order.id, "orderlock.number": long(order.number)};
        (same, all.clone())
    });
    let trimmed = calls.touch_all(whole).await;
    if trimmed.map_err(Failure::of_a_write)? == orders.len() {
        return Ok(());
    }
    let moved = orders.iter().filter(|order| !order.entries.is_empty());
    let moved = moved.map(|order| {
        let names = order.entries.keys();
        let names = names.map(|number| format!("orderlock.entries.e{number}"));
        let entries: Fields = names.map(|name| (name, Bson::from(""))).collect();
        let gone_on = doc! {"_id": &order.id, "orderlock.number": {"$ne": long(order.number)}};
        (gone_on, doc! {"$unset": entries})
    });
    let moved: Vec<_> = moved.collect();
    if moved.is_empty() {
        return Ok(());
    }
    let trimmed = calls.touch_all(moved.into_iter()).await;
    trimmed.map(drop).map_err(Failure::of_a_write)
}
