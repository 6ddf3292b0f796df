//! Settles as the parameters of statements, and what makes one impossible.

use orderlock_core::Timestamp;
use orderlock_core::store::Settle;
use tokio_postgres::types::ToSql;

use crate::sql::clock::ObservedClock;
use crate::sql::rows::{Id, signed};
use crate::verbs::new_entries::{NewEntries, NewEntryRow, unwritable};

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

/// A batch of settles, a column for each of their parts.
#[derive(Debug)]
pub(crate) struct Rows<'a> {
    now: Option<Timestamp>,
    tenants: Vec<&'a str>,
    orders: Vec<&'a str>,
    fences: Vec<Id>,
    steps: Vec<i64>,
    versions: Vec<i64>,
    keeps: Vec<bool>,
    finals: Vec<bool>,
    changes: Vec<Option<&'a [u8]>>,
    changed: Vec<Option<Timestamp>>,
    statuses: Vec<Option<&'a str>>,
    customers: Vec<Option<&'a str>>,
    entries: NewEntries<'a>,
    /// The retention begins no earlier.
    believed: Option<Timestamp>,
}

impl<'a> Rows<'a> {
    pub(crate) fn of(requests: &'a [Settle], clock: &ObservedClock) -> Self {
        let all = || requests.iter();
        let claims = || all().map(|request| &request.claim);
        let changes = || all().map(Settle::change);
        Self {
            now: clock.parameter(),
            tenants: claims().map(|it| it.caller.tenant.as_str()).collect(),
            orders: claims().map(|it| it.order.as_str()).collect(),
            fences: all().map(|it| it.fence.into()).collect(),
            steps: all().map(|it| it.step.into()).collect(),
            versions: all().map(|it| signed(it.version.0)).collect(),
            keeps: all().map(|it| !it.is_final()).collect(),
            finals: all().map(Settle::is_final).collect(),
            changes: changes()
                .map(|it| it.map(|it| &it.after.as_bytes()[..]))
                .collect(),
            changed: changes().map(|it| it.map(|it| it.at)).collect(),
            statuses: changes().map(|it| it?.index.status.as_deref()).collect(),
            customers: changes().map(|it| it?.index.customer.as_deref()).collect(),
            entries: NewEntries::of(all().map(NewEntryRow::of_settle)),
            believed: clock.believed(),
        }
    }

    /// The parameters of `SETTLE`.
    pub(crate) fn to_settle(&self) -> Vec<&(dyn ToSql + Sync)> {
        let rows: [&(dyn ToSql + Sync); 12] = [
            &self.now,
            &self.tenants,
            &self.orders,
            &self.fences,
            &self.steps,
            &self.versions,
            &self.keeps,
            &self.finals,
            &self.changes,
            &self.changed,
            &self.statuses,
            &self.customers,
        ];
        let believed: [&(dyn ToSql + Sync); 1] = [&self.believed];
        rows.into_iter()
            .chain(self.entries.parameters())
            .chain(believed)
            .collect()
    }
}
