//! Segments of chains as the parameters of the statement that writes them.

use orderlock_core::Timestamp;
use tokio_postgres::types::ToSql;

use crate::pipeline::write::{Link, Segment};
use crate::sql::clock::ObservedClock;
use crate::sql::columns::columns;
use crate::sql::rows::{Id, signed};
use crate::verbs::new_entries::{EntryRows, NewEntryRow};
use crate::verbs::settle_rows::HeldRows;

columns! {
    /// What segments expect of their orders beside the grant, and make of them.
    pub(crate) struct SegmentRows<'a> of it: &'a Segment {
        20 step: i64, INT8_ARRAY = it.before.step.into();
        21 version: i64, INT8_ARRAY = signed(it.before.version.0);
        22 before: i64, INT8_ARRAY = signed(it.before.entries);
        23 links: i64, INT8_ARRAY = signed(it.links.len() as u64);
        24 after: i64, INT8_ARRAY = signed(it.after().version.0);
        25 changed_at: Option<Timestamp>, TIMESTAMPTZ_ARRAY = Some(it.change()?.at);
        26 change: Option<&'a [u8]>, BYTEA_ARRAY = Some(&it.change()?.after.as_bytes()[..]);
        27 order_status: Option<&'a str>, TEXT_ARRAY = it.change()?.index.status.as_deref();
        28 order_customer: Option<&'a str>, TEXT_ARRAY = it.change()?.index.customer.as_deref();
        29 next: Option<Id>, UUID_ARRAY = Some(it.next()?.fence.into());
        30 next_session: Option<Id>, UUID_ARRAY = Some(it.next()?.session.into());
        31 since: Option<Timestamp>, TIMESTAMPTZ_ARRAY = Some(it.next()?.since);
        32 attempt: Option<i64>, INT8_ARRAY = Some(it.next()?.attempt.into());
        33 principal: Option<&'a str>, TEXT_ARRAY = Some(it.next()?.caller.principal.as_str());
        34 operation: Option<&'a str>, TEXT_ARRAY = Some(it.next()?.operation.as_str());
        35 key_id: Option<&'a [u8]>, BYTEA_ARRAY = Some(&it.next()?.key_id.0[..]);
        36 fingerprint: Option<&'a [u8]>, BYTEA_ARRAY = Some(&it.next()?.fingerprint.0[..]);
    }
}

/// A link, with the place of its segment in the batch and its own in the segment, both from 1.
#[derive(Clone, Copy, Debug)]
pub(crate) struct NumberedLink<'a> {
    place: i64,
    number: i64,
    link: &'a Link,
}

columns! {
    /// What the entries of links need beside what every entry has.
    pub(crate) struct LinkRows<'a> of it: NumberedLink<'a> {
        37 place: i64, INT8_ARRAY = it.place;
        38 link: i64, INT8_ARRAY = it.number;
        39 after: i64, INT8_ARRAY = signed(it.link.after.version.0);
        40 fence: Id, UUID_ARRAY = it.link.settle.fence.into();
        41 step: i64, INT8_ARRAY = it.link.settle.step.into();
        42 change: Option<&'a [u8]>, BYTEA_ARRAY =
            Some(&it.link.settle.change()?.after.as_bytes()[..]);
        43 settled: Timestamp, TIMESTAMPTZ_ARRAY = it.link.settled;
    }
}

/// A batch of segments as the parameters of `WRITE`.
#[derive(Debug)]
pub(crate) struct WriteParameters<'a> {
    now: Option<Timestamp>,
    entries: EntryRows<'a>,
    held: HeldRows<'a>,
    segments: SegmentRows<'a>,
    links: LinkRows<'a>,
}

impl<'a> WriteParameters<'a> {
    pub(crate) fn of(segments: &'a [Segment], clock: &ObservedClock) -> Self {
        let held = |it: &'a Segment| (&it.target.tenant, &it.target.order, it.before.fence);
        let links = segments.iter().zip(1_i64..).flat_map(|(segment, place)| {
            let links = segment.links.iter().zip(1_i64..);
            links.map(move |(link, number)| NumberedLink {
                place,
                number,
                link,
            })
        });
        let links: Vec<_> = links.collect();
        let entries = links.iter().map(|it| &it.link.settle);
        Self {
            now: clock.parameter(),
            entries: EntryRows::of(entries.map(NewEntryRow::of_settle)),
            held: HeldRows::of(segments.iter().map(held)),
            segments: SegmentRows::of(segments.iter()),
            links: LinkRows::of(links.iter().copied()),
        }
    }

    pub(crate) fn all(&self) -> Vec<&(dyn ToSql + Sync)> {
        let mut all: Vec<&(dyn ToSql + Sync)> = vec![&self.now];
        all.extend(self.entries.parameters());
        all.extend(self.held.parameters());
        all.extend(self.segments.parameters());
        all.extend(self.links.parameters());
        all
    }
}
