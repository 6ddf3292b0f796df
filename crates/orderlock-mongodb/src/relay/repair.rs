//! Repair of entries of orders that another service has replaced. A service that replaces a document
//! drops what waits in it, and lets the numbers begin anew: neither may cost an entry that was
//! answered.

use mongodb::bson::{Bson, doc};
use mongodb::options::ReadConcern;
use orderlock_core::{StoreError, Target, Version};

use crate::database::calls::Calls;
use crate::database::clock::StoreClock;
use crate::database::retry::{RetryBudget, busy};
use crate::document::entry::StoredEntry;
use crate::document::fields::{hash_hex, long};
use crate::document::keys::ListedKey;
use crate::document::order::{Locked, OrderDocument};
use crate::document::plan::StepPlan;
use crate::document::update::Update;
use crate::error::Failure;
use crate::relay::adopt;
use crate::relay::moving::WaitingOrder;

/// Gives the entries that wait in an order other numbers, behind the last that the journal has given,
/// if one of theirs stands for another entry there. The order goes on behind them, its keys are asked
/// of the journal, and its next grant goes beyond every version that was given.
pub(crate) async fn number_on(calls: &Calls, id: &Bson) -> Result<(), StoreError> {
    let mut retry = RetryBudget::new(calls);
    while retry.next().await {
        let found = calls.order(id).await.map_err(Failure::not_applied)?;
        let Some(order) = found else {
            return Ok(());
        };
        let Some(update) = other_numbers(calls, &order).await? else {
            return Ok(());
        };
        let written = calls.touch(order.unchanged(), update.into_fields()).await;
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
async fn other_numbers(calls: &Calls, order: &OrderDocument) -> Result<Option<Update>, StoreError> {
    let mut left = Vec::new();
    let (mut update, mut taken) = (Update::default(), false);
    for record in order.pending_all().map_err(Failure::not_applied)? {
        let number = record.entry.number;
        let there = calls.entry(&order.id, &order.target, number).await;
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
    let (mut number, version) = last_given(calls, &order.id, &order.target).await?;
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
    calls: &Calls,
    id: &Bson,
    target: &Target,
) -> Result<(u64, Version), StoreError> {
    let query = calls.journal.find_one(doc! {"order": id});
    let query = query.sort(doc! {"number": -1});
    let found = calls.one(query.read_concern(ReadConcern::local())).await;
    let found = found.map_err(Failure::not_applied)?;
    let record = found.map(|fields| StoredEntry::from_fields(&fields, target));
    let record = record.transpose().map_err(Failure::not_applied)?;
    Ok(record.map_or((0, Version::FIRST), |record| {
        (record.entry.number, record.entry.version)
    }))
}

/// Where an entry is that this node remembers.
pub(crate) enum Whereabouts {
    /// In its order, from where it is to be moved.
    Waits,
    /// In the journal.
    Moved,
    /// Nowhere: its order is not there any more. It goes into the journal as it is here.
    Removed(WaitingOrder),
}

/// Looks where an entry is, and writes it into its order once more if it is lost. `before`: how many
/// entries of an order that is gone are given numbers before this one.
pub(crate) async fn write_lost(
    calls: &Calls,
    clock: &StoreClock,
    id: &Bson,
    record: &StoredEntry,
    before: usize,
) -> Result<Whereabouts, StoreError> {
    let mut retry = RetryBudget::new(calls);
    while retry.next().await {
        // The order first, and the journal second: an entry goes from the one to the other.
        let found = calls.order(id).await.map_err(Failure::not_applied)?;
        let pending = found.as_ref().map(OrderDocument::pending_all).transpose();
        let pending = pending.map_err(Failure::not_applied)?.unwrap_or_default();
        if pending.iter().any(|other| other.is_same(record)) {
            return Ok(Whereabouts::Waits);
        }
        let moved = calls.has_entry(id, record).await;
        if moved.map_err(Failure::not_applied)? {
            return Ok(Whereabouts::Moved);
        }
        let Some(order) = found else {
            let (given, _) = last_given(calls, id, &record.entry.target).await?;
            let mut record = record.clone();
            record.entry.number = given + 1 + u64::try_from(before).unwrap_or(0);
            return Ok(Whereabouts::Removed(WaitingOrder::removed(
                id.clone(),
                record,
            )));
        };
        if order.revision.is_none() && adopt::write_back(calls, clock.now(), &order).await? {
            continue;
        }
        if append(calls, clock, &order, record.clone()).await? {
            return Ok(Whereabouts::Waits);
        }
    }
    Err(busy())
}

/// Writes an entry behind an order's last one. It says nothing of a key that the order knows by now.
async fn append(
    calls: &Calls,
    clock: &StoreClock,
    order: &OrderDocument,
    record: StoredEntry,
) -> Result<bool, StoreError> {
    let version = record.entry.version;
    let mut plan = StepPlan::new(order, record);
    adopt::adopt(clock.now(), &mut plan.update, order);
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
        .known(plan.record.entry.key_id, clock.forgets_by());
    let written = match known {
        ListedKey::Entry(_) => plan.append(),
        ListedKey::New | ListedKey::AskTheJournal => plan.write_entry(clock.forgets_by()),
    };
    written.map_err(Failure::not_applied)?;
    let done = calls
        .touch(order.unchanged(), plan.update.into_fields())
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
