//! Moving entries from orders' documents into the journal: the insert at the next positions, and the trim
//! of the documents.

use std::collections::{BTreeMap, HashSet};

use mongodb::bson::{Bson, Document as Fields, doc};
use mongodb::options::ReadConcern;
use orderlock_core::{KeyId, OutcomeKind, StoreError, Target};

use crate::database::calls::{Calls, document_of};
use crate::database::retry::{RetryBudget, busy};
use crate::document::entry::StoredEntry;
use crate::document::fields::{FieldReader, long, micros, nested};
use crate::document::order::entries;
use crate::document::order_id;
use crate::document::update::REVISION;
use crate::error::Failure;

/// An order in which entries wait: what the relay needs of it, whatever else it holds.
#[derive(Debug)]
pub(crate) struct WaitingOrder {
    pub(crate) id: Bson,
    pub(crate) target: Target,
    /// The creation of an order that may be taken away again.
    pub(crate) creation: Option<Creation>,
    /// The number of the order's last entry.
    number: u64,
    pub(crate) records: BTreeMap<u64, StoredEntry>,
}

/// The creation of an order that nobody has written to since.
#[derive(Debug)]
pub(crate) struct Creation {
    pub(crate) key_id: KeyId,
    /// The reservation of the key; none if the order's id is derived from it.
    pub(crate) reservation: Option<String>,
}

impl Creation {
    fn read(kept: FieldReader<'_>, records: &BTreeMap<u64, StoredEntry>) -> Option<Self> {
        let made = records.get(&1).map(|record| &record.entry)?;
        let untouched = kept.number("turn").is_ok_and(|revision| revision == 1);
        (untouched && made.outcome == OutcomeKind::Created).then(|| Self {
            key_id: made.key_id,
            reservation: kept.text("waiting").ok().map(Into::into),
        })
    }
}

impl WaitingOrder {
    /// What is asked of a document.
    pub(crate) fn projection() -> Fields {
        doc! {
            REVISION: 1,
            "orderlock.number": 1,
            "orderlock.entries": 1,
            "orderlock.waiting": 1,
        }
    }

    /// An order that is not there any more, and an entry of it that is.
    pub(crate) fn removed(id: Bson, record: StoredEntry) -> Self {
        Self {
            id,
            target: record.entry.target.clone(),
            creation: None,
            number: record.entry.number,
            records: [(record.entry.number, record)].into(),
        }
    }

    pub(crate) fn read(fields: Fields) -> Result<Self, Failure> {
        let fields = nested(fields);
        let id = fields.get("_id").cloned().unwrap_or_default();
        let target = order_id::target(&id)
            .ok_or_else(|| Failure::unreadable("an `_id` that names no order"))?;
        let nothing = Fields::new();
        let kept = FieldReader::new("an order", &fields).document("orderlock")?;
        let kept = FieldReader::new("an order", kept.unwrap_or(&nothing));
        let records = entries(kept)?.into_iter().map(|(number, fields)| {
            let record = StoredEntry::from_fields(&fields, &target)?;
            // Two numbers for one entry: one of them would be lost.
            match record.entry.number == number {
                true => Ok((number, record)),
                false => Err(Failure::unreadable("an entry under another's number")),
            }
        });
        let records = records.collect::<Result<_, Failure>>()?;
        Ok(Self {
            creation: Creation::read(kept, &records),
            records,
            number: kept.optional_number("number")?.unwrap_or(0).unsigned_abs(),
            id,
            target,
        })
    }
}

/// An entry that is to be inserted, and which of the orders it is of.
struct Outgoing {
    order: usize,
    fields: Fields,
}

/// Orders whose entries were to be moved.
#[derive(Debug, Default)]
pub(crate) struct Moved {
    /// The journal has their entries, and they are trimmed of them.
    pub(crate) moved: Vec<WaitingOrder>,
    /// Those that somebody has replaced, so that a number of theirs stands for another entry in the
    /// journal.
    pub(crate) replaced: Vec<WaitingOrder>,
}

/// Moves the entries of these orders, and trims the orders of them.
pub(crate) async fn move_entries(
    calls: &Calls,
    last: &mut Option<i64>,
    orders: Vec<WaitingOrder>,
) -> Result<Moved, StoreError> {
    let mut done = Moved::default();
    if orders.is_empty() {
        return Ok(done);
    }
    let mut outgoing = Vec::new();
    for (at, order) in orders.iter().enumerate() {
        for record in order.records.values() {
            let fields = to_journal(&order.id, record).map_err(Failure::not_applied)?;
            outgoing.push(Outgoing { order: at, fields });
        }
    }
    let replaced = insert(calls, last, &orders, outgoing).await?;
    for (at, order) in orders.into_iter().enumerate() {
        match replaced.contains(&at) {
            true => done.replaced.push(order),
            false => done.moved.push(order),
        }
    }
    if !done.moved.is_empty() {
        trim(calls, &done.moved).await?;
    }
    Ok(done)
}

/// An entry as the journal keeps it, but for its position.
fn to_journal(id: &Bson, record: &StoredEntry) -> Result<Fields, Failure> {
    let outcome = record.entry.outcome;
    let mut fields = record.to_fields()?;
    fields.insert("order", id.clone());
    fields.insert("tenant", record.entry.target.tenant.as_str());
    let speaks = outcome.is_final() || outcome.binds();
    if speaks {
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
/// server says so, and takes none behind it. Returns which orders have a number that the journal has
/// given to another entry.
async fn insert(
    calls: &Calls,
    last: &mut Option<i64>,
    orders: &[WaitingOrder],
    mut outgoing: Vec<Outgoing>,
) -> Result<HashSet<usize>, StoreError> {
    let mut replaced = HashSet::new();
    let mut retry = RetryBudget::new(calls);
    while retry.next().await {
        if outgoing.is_empty() {
            return Ok(replaced);
        }
        // Known again only once all of them are written.
        let known = last.take();
        let mut position = match known {
            Some(position) => position,
            None => last_position(calls).await?,
        };
        for entry in &mut outgoing {
            position += 1;
            entry.fields.insert("position", position);
        }
        let documents = outgoing.iter().map(|entry| document_of(&entry.fields));
        let documents: Result<Vec<_>, _> = documents.collect();
        let documents = documents.map_err(Failure::not_applied)?;
        let command = calls.journal.insert_many(documents).ordered(true);
        match calls.bounded(command).await {
            Ok(_) => {
                *last = Some(position);
                return Ok(replaced);
            }
            // Another node has gone further, most likely, which is soon seen.
            Err(failure) if failure.is_duplicate() && known.is_some() => {}
            Err(failure) if failure.is_duplicate() => {
                outgoing = without_moved(calls, orders, outgoing, &mut replaced).await?;
            }
            Err(failure) => return Err(failure.of_a_write()),
        }
    }
    Err(busy())
}

/// The last position that is given away, durably or not: a gap would be left if it were not seen.
async fn last_position(calls: &Calls) -> Result<i64, StoreError> {
    let query = calls
        .journal
        .find_one(doc! {})
        .sort(doc! {"position": -1})
        .projection(doc! {"position": 1})
        .read_concern(ReadConcern::local());
    match calls.one(query).await.map_err(Failure::not_applied)? {
        None => Ok(0),
        Some(fields) => FieldReader::new("a journal entry", &fields)
            .number("position")
            .map_err(Failure::not_applied),
    }
}

/// Leaves out what is in the journal by now, durably: its order is trimmed of it. Of an order whose
/// number stands for another entry there, nothing is moved.
async fn without_moved(
    calls: &Calls,
    orders: &[WaitingOrder],
    outgoing: Vec<Outgoing>,
    replaced: &mut HashSet<usize>,
) -> Result<Vec<Outgoing>, StoreError> {
    let mut left = Vec::with_capacity(outgoing.len());
    for entry in outgoing {
        let WaitingOrder { id, target, .. } = &orders[entry.order];
        let ours = StoredEntry::from_fields(&entry.fields, target).map_err(Failure::not_applied)?;
        let found = calls.entry(id, target, ours.entry.number).await;
        match found.map_err(Failure::not_applied)? {
            None => left.push(entry),
            Some(there) if there.is_same(&ours) => {}
            Some(_) => drop(replaced.insert(entry.order)),
        }
    }
    left.retain(|entry| !replaced.contains(&entry.order));
    Ok(left)
}

/// Takes out of orders what the journal has. An order to which nothing has come in the meantime waits
/// no longer. Each names the last entry that it was read with: where somebody has replaced the order,
/// other entries may stand under the same numbers.
async fn trim(calls: &Calls, orders: &[WaitingOrder]) -> Result<(), StoreError> {
    let all = doc! {"$unset": {"orderlock.entries": "", "orderlock.waiting": ""}};
    let as_read = |order: &WaitingOrder| {
        let last = order.records.values().next_back();
        let mut filter = last.map_or_else(Fields::new, StoredEntry::conditions);
        filter.insert("_id", &order.id);
        filter
    };
    let whole = orders.iter().map(|order| {
        let mut same = as_read(order);
        same.insert("orderlock.number", long(order.number));
        (same, all.clone())
    });
    let trimmed = calls.touch_all(whole).await;
    if trimmed.map_err(Failure::of_a_write)? == orders.len() {
        return Ok(());
    }
    let moved = orders.iter().filter(|order| !order.records.is_empty());
    let moved = moved.map(|order| {
        let names = order.records.keys();
        let names = names.map(|number| format!("orderlock.entries.e{number}"));
        let entries: Fields = names.map(|name| (name, Bson::from(""))).collect();
        let mut gone_on = as_read(order);
        gone_on.insert("orderlock.number", doc! {"$ne": long(order.number)});
        (gone_on, doc! {"$unset": entries})
    });
    let moved: Vec<_> = moved.collect();
    if moved.is_empty() {
        return Ok(());
    }
    let trimmed = calls.touch_all(moved.into_iter()).await;
    trimmed.map(drop).map_err(Failure::of_a_write)
}
