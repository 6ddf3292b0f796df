//! Settles as the parameters of statements, and what makes one impossible.

use orderlock_core::store::Settle;
use orderlock_core::{Fence, OrderId, Tenant, Timestamp};
use tokio_postgres::types::ToSql;

use crate::sql::clock::ObservedClock;
use crate::sql::columns::columns;
use crate::sql::rows::{Id, signed};
use crate::verbs::new_entries::{EntryRows, NewEntryRow, unwritable};

/// Roughly how much of a batch's room a settle takes.
pub(crate) fn bytes(request: &Settle) -> usize {
    let (change, answer) = (request.change(), request.answer());
    // The document is written twice, into the order and into the entry.
    1_024
        + change.map_or(0, |change| change.after.size()) * 2
        + answer.map_or(0, |answer| answer.body.len())
}

/// Why the store can never take a settle, if it cannot.
pub(crate) fn impossible(request: &Settle, document_bytes_max: usize) -> Option<String> {
    let change = request.change();
    let size = change.map_or(0, |change| change.after.size());
    if size > document_bytes_max {
        return Some(format!(
            "the order has {size} bytes, and the store takes {document_bytes_max}"
        ));
    }
    let index = change.map(|change| &change.index);
    let texts = [
        index.and_then(|index| index.status.as_deref()),
        index.and_then(|index| index.customer.as_deref()),
    ];
    unwritable(texts, request.answer()).map(str::to_owned)
}

columns! {
    /// The grants by which orders are settled.
    pub(crate) struct HeldRows<'a> of it: (&'a Tenant, &'a OrderId, Fence) {
        17 tenant: &'a str, TEXT_ARRAY = it.0.as_str();
        18 id: &'a str, TEXT_ARRAY = it.1.as_str();
        19 fence: Id, UUID_ARRAY = it.2.into();
    }
}

columns! {
    /// What settles expect of their orders, and make of them.
    pub(crate) struct SettleRows<'a> of it: &'a Settle {
        20 step: i64, INT8_ARRAY = it.step.into();
        21 version: i64, INT8_ARRAY = signed(it.version.0);
        22 keeps: bool, BOOL_ARRAY = !it.is_final();
        23 is_final: bool, BOOL_ARRAY = it.is_final();
        24 change: Option<&'a [u8]>, BYTEA_ARRAY = Some(&it.change()?.after.as_bytes()[..]);
        25 changed_at: Option<Timestamp>, TIMESTAMPTZ_ARRAY = Some(it.change()?.at);
        26 order_status: Option<&'a str>, TEXT_ARRAY = it.change()?.index.status.as_deref();
        27 order_customer: Option<&'a str>, TEXT_ARRAY = it.change()?.index.customer.as_deref();
    }
}

/// A batch of settles as the parameters of `SETTLE`.
#[derive(Debug)]
pub(crate) struct SettleParameters<'a> {
    now: Option<Timestamp>,
    entries: EntryRows<'a>,
    held: HeldRows<'a>,
    settles: SettleRows<'a>,
    /// The retention begins no earlier.
    believed: Option<Timestamp>,
}

impl<'a> SettleParameters<'a> {
    pub(crate) fn of(requests: &'a [Settle], clock: &ObservedClock) -> Self {
        let held = |it: &'a Settle| (&it.claim.caller.tenant, &it.claim.order, it.fence);
        Self {
            now: clock.parameter(),
            entries: EntryRows::of(requests.iter().map(NewEntryRow::of_settle)),
            held: HeldRows::of(requests.iter().map(held)),
            settles: SettleRows::of(requests.iter()),
            believed: clock.believed(),
        }
    }

    pub(crate) fn all(&self) -> Vec<&(dyn ToSql + Sync)> {
        let mut all: Vec<&(dyn ToSql + Sync)> = vec![&self.now];
        all.extend(self.entries.parameters());
        all.extend(self.held.parameters());
        all.extend(self.settles.parameters());
        all.push(&self.believed);
        all
    }
}
