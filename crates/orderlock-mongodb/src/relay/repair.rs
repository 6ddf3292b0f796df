//! What is done for entries of orders that somebody has replaced. A service that replaces a document
//! drops what waits in it, and lets the numbers begin anew: neither may cost an entry that was
//! answered.

use std::sync::Arc;

use mongodb::bson::{Bson, doc};
use mongodb::options::ReadConcern;
use orderlock_core::{StoreError, Target, Version};

use crate::database::calls::Update;
use crate::database::retry::Pace;
use crate::document::entry::Record;
use crate::document::fields::{hash_hex, long};
use crate::document::keys::Known;
use crate::document::order::{Locked, OrderDocument};
use crate::document::plan::Plan;
use crate::error::Failure;
use crate::relay::adopt;
use crate::relay::moving::Waiting;
use crate::store::Inner;
use crate::verbs::acquire::busy;
use crate::verbs::break_lease::still;

/// Gives the entries that wait in an order other numbers, behind the last that the journal has given,
/// if one of theirs stands for another entry there. The order goes on behind them, its keys are asked
/// of the journal, and its next grant goes beyond every version that was given.
pub(crate) async fn number_on(inner: &Inner, id: &Bson) -> Result<(), StoreError> {
    let mut pace = Pace::new(inner);
    while pace.next().await {
        let found = inner.calls.order(id).await.map_err(Failure::not_applied)?;
        let Some(order) = found else {
            return Ok(());
        };
        let Some(update) = other_numbers(inner, &order).await? else {
            return Ok(());
        };
        let written = inner.calls.touch(still(&order), update.into_fields()).await;
        if written.map_err(Failure::of_a_write)? {
            tracing::warn!(
                order = %order.target,
                "somebody has replaced the order's document; its entries have got other numbers"
            );
            return Ok(());
        }
    }
    Err(busy())
}

/// What gives the entries of an order other numbers; none if theirs are their own.
async fn other_numbers(inner: &Inner, order: &OrderDocument) -> Result<Option<Update>, StoreError> {
    let mut left = Vec::new();
    let (mut update, mut taken) = (Update::default(), false);
    for record in order.pending_all().map_err(Failure::not_applied)? {
        let number = record.entry.number;
        let there = inner.calls.entry(&order.id, &order.target, number).await;
        let there = there.map_err(Failure::not_applied)?;
        let moved = there.as_ref().is_some_and(|there| there.is_same(&record));
        taken |= there.is_some() && !moved;
        update.unset(format!("orderlock.entries.e{number}"));
        if !moved {
            left.push(record);
        }
    }
    if !taken {
        return Ok(None);
    }
    let (mut number, version) = last_given(inner, &order.id, &order.target).await?;
    for mut record in left {
        let before = record.entry.number;
        number += 1;
        record.entry.number = number;
        let key_id = record.entry.key_id;
        let listed = order.keys.listed(key_id);
        if listed.is_some_and(|word| word.number == before) {
            let path = format!("orderlock.keys.{}.number", hash_hex(key_id.0));
            update.put(&path, long(number));
        }
        let fields = record.to_fields().map_err(Failure::not_applied)?;
        update.put(&format!("orderlock.entries.e{number}"), fields);
    }
    update.put("orderlock.number", long(number));
    update.put("orderlock.spilled", 1);
    update.put(
        "orderlock.floor",
        long(order.floor.unwrap_or(version).max(version).0),
    );
    Ok(Some(update))
}

/// The last number that the journal has given to an order, durably or not, and its version there.
async fn last_given(
    inner: &Inner,
    id: &Bson,
    target: &Target,
) -> Result<(u64, Version), StoreError> {
    let query = inner.calls.journal.find_one(doc! {"order": id});
    let query = query.sort(doc! {"number": -1});
    let found = inner
        .calls
        .one(query.read_concern(ReadConcern::local()))
        .await;
    let found = found.map_err(Failure::not_applied)?;
    let record = found.map(|fields| Record::from_fields(&fields, target));
    let record = record.transpose().map_err(Failure::not_applied)?;
    Ok(record.map_or((0, Version::FIRST), |record| {
        (record.entry.number, record.entry.version)
    }))
}

/// Entries that this node remembers and that were lost.
#[derive(Debug, Default)]
pub(crate) struct Lost {
    /// The orders into which they were written once more: they are to be moved.
    pub(crate) written: Vec<Bson>,
    /// Those of orders that are not there any more.
    pub(crate) removed: Vec<Waiting>,
}

/// Writes entries that this node remembers into their orders once more, where they neither wait nor
/// have been moved.
pub(crate) async fn write_again(
    inner: &Arc<Inner>,
    kept: Vec<(Bson, Vec<Record>)>,
) -> Result<Lost, StoreError> {
    let mut lost = Lost::default();
    for (id, mut records) in kept {
        if !inner.relay.keeps(&id) {
            continue;
        }
        records.sort_by_key(|record| record.entry.number);
        for record in records {
            match write_lost(inner, &id, record, &mut lost).await {
                Ok(()) => {}
                // Its entries wait until it can be read; others' do not.
                Err(StoreError::Corrupt(why)) => {
                    inner.odd.note(&id, &why);
                    break;
                }
                Err(error) => return Err(error),
            }
        }
    }
    Ok(lost)
}

/// Writes an entry into its order once more, if it is lost.
async fn write_lost(
    inner: &Arc<Inner>,
    id: &Bson,
    mut record: Record,
    lost: &mut Lost,
) -> Result<(), StoreError> {
    let mut pace = Pace::new(inner);
    while pace.next().await {
        // The order first, and the journal second: an entry goes from the one to the other.
        let found = inner.calls.order(id).await.map_err(Failure::not_applied)?;
        let pending = found.as_ref().map(OrderDocument::pending_all).transpose();
        let pending = pending.map_err(Failure::not_applied)?.unwrap_or_default();
        if pending.iter().any(|other| other.is_same(&record)) {
            lost.written.push(id.clone());
            return Ok(());
        }
        let moved = inner.calls.has_entry(id, &record).await;
        if moved.map_err(Failure::not_applied)? {
            inner.relay.moved(id, std::iter::once(&record));
            return Ok(());
        }
        let Some(order) = found else {
            let given = last_given(inner, id, &record.entry.target).await?;
            let before = lost.removed.iter().filter(|order| order.is(id)).count();
            record.entry.number = given.0 + 1 + u64::try_from(before).unwrap_or(0);
            lost.removed.push(Waiting::removed(id.clone(), record));
            return Ok(());
        };
        if order.turn.is_none() && adopt::write_back(inner, &order).await? {
            continue;
        }
        if append(inner, &order, record.clone()).await? {
            lost.written.push(id.clone());
            return Ok(());
        }
    }
    Err(busy())
}

/// Writes an entry behind an order's last one. It says nothing of a key that the order knows by now.
async fn append(inner: &Inner, order: &OrderDocument, record: Record) -> Result<bool, StoreError> {
    let version = record.entry.version;
    let mut plan = Plan::new(order, record);
    adopt::adopt(inner, &mut plan.update, order);
    plan.record.entry.version = version;
    let floor = order.floor.unwrap_or(version).max(version);
    plan.update.put("orderlock.floor", long(floor.0));
    // A holder rests on the version that it was granted. Where nobody holds the order, it shows that of
    // its last entry, so that nobody reads an older one than was answered.
    if matches!(order.locked, Locked::Free) {
        let shown = order.version.max(version);
        plan.update.put("orderlock.version", long(shown.0));
    }
    let known = order
        .keys
        .known(plan.record.entry.key_id, inner.forgets_by());
    let written = match known {
        Known::Word(_) => plan.append(),
        Known::New | Known::AskTheJournal => plan.write_entry(inner.forgets_by()),
    };
    written.map_err(Failure::not_applied)?;
    let done = inner
        .calls
        .touch(still(order), plan.update.into_fields())
        .await;
    let done = done.map_err(Failure::of_a_write)?;
    if done {
        tracing::warn!(
            order = %order.target,
            "somebody has replaced the order's document; an entry that it held was written again"
        );
    }
    Ok(done)
}
