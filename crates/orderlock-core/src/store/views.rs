//! The group of views: what is read and changes nothing. A verb's request and its result stand side
//! by side; `leases` and `history` answer with a page.

use std::sync::Arc;

use super::Entry;
use crate::{
    Document, Fingerprint, KeyId, LeaseView, Mark, OutcomeKind, OwnedIndex, Target, Tenant, Times,
    Version,
};

/// What a store is, as it was last seen: for readiness and the conformance suite. Asking costs no
/// I/O; the store looks again while it serves, at the latest with each renewal and sweep.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoreInfo {
    /// The kind of store: `"sqlite"`.
    pub name: &'static str,
    /// Where it is, without credentials.
    pub location: String,
    /// What an answered settle survives now, in words.
    pub durability: String,
    /// What keeps the store from its promises now, and what to do about it, in words for an
    /// operator; none if nothing is known to.
    pub trouble: Option<String>,
    /// The largest document that it takes, in bytes.
    pub document_bytes_max: usize,
}

/// Where a page ended. Opaque: only the store that made it can read it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cursor(pub Arc<str>);

/// One page, a snapshot of committed state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page<T> {
    /// What is on it.
    pub items: Vec<T>,
    /// Where the next page begins, if there may be one.
    pub next: Option<Cursor>,
}

/// See [`OrderStore::read`](super::OrderStore::read).
#[derive(Clone, Debug)]
pub struct Read {
    /// Which order.
    pub target: Target,
}

/// An order as others see it: committed state, and who holds it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OrderView {
    /// Which order.
    pub target: Target,
    /// Its version.
    pub version: Version,
    /// Its content.
    pub document: Document,
    /// What lists can filter it by.
    pub index: OwnedIndex,
    /// When it was made and last changed.
    pub times: Times,
    /// Who holds it, or which mark is open.
    pub lease: Option<LeaseView>,
}

/// Equality only; not a query language.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    /// The order's status.
    pub status: Option<String>,
    /// Whose order it is.
    pub customer: Option<String>,
    /// Whether somebody holds it. A mark alone does not count.
    pub locked: Option<bool>,
}

/// See [`OrderStore::list`](super::OrderStore::list).
#[derive(Clone, Debug)]
pub struct List {
    /// Whose orders.
    pub tenant: Tenant,
    /// Which of them.
    pub filter: Filter,
    /// The most orders on the page.
    pub limit: usize,
    /// Where the last page ended.
    pub cursor: Option<Cursor>,
}

/// See [`OrderStore::history`](super::OrderStore::history).
#[derive(Clone, Debug)]
pub struct History {
    /// Which order.
    pub target: Target,
    /// The most entries on the page.
    pub limit: usize,
    /// Where the last page ended.
    pub cursor: Option<Cursor>,
}

/// See [`OrderStore::mark_end`](super::OrderStore::mark_end).
#[derive(Clone, Debug)]
pub struct MarkEnd {
    /// Which order.
    pub target: Target,
    /// The first 64 bits of the id of the mark's key: so much of it stands in the mark's own id.
    pub key: u64,
    /// Which run has left the mark.
    pub attempt: u32,
}

impl MarkEnd {
    /// Whether this entry tells that an operator has ended such a mark. A holder's entry names its
    /// grant; an operator's does not.
    #[must_use]
    pub fn is_told_by(&self, entry: &Entry) -> bool {
        let ends = entry.outcome.is_final() || entry.outcome == OutcomeKind::MarkCleared;
        let of_the_run = entry.attempt == self.attempt && entry.key_id.first_bits() == self.key;
        ends && entry.fence.is_none() && of_the_run
    }
}

/// See [`OrderStore::lookup`](super::OrderStore::lookup).
#[derive(Clone, Debug)]
pub struct Lookup {
    /// Which order.
    pub target: Target,
    /// Which key.
    pub key_id: KeyId,
}

/// What became of a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Known {
    /// Its final entry, with the stored answer.
    Settled(Box<Entry>),
    /// It holds the order.
    Running(LeaseView),
    /// It has begun outside, and nobody attends to it.
    Marked(Box<Mark>),
    /// It is settled, and its answer is past the retention. Its fingerprint is still known.
    Expired(Fingerprint),
    /// Never used, failed, or forgotten.
    Unknown,
}

/// See [`OrderStore::leases`](super::OrderStore::leases).
#[derive(Clone, Debug)]
pub struct Leases {
    /// Whose orders.
    pub tenant: Tenant,
    /// The most leases on the page.
    pub limit: usize,
    /// Where the last page ended.
    pub cursor: Option<Cursor>,
}

/// See [`OrderStore::entries_since`](super::OrderStore::entries_since).
#[derive(Clone, Debug)]
pub struct EntriesSince {
    /// Whose orders.
    pub tenant: Tenant,
    /// Where the reader stands; none to begin with the oldest entry.
    pub cursor: Option<Cursor>,
    /// The most entries in the answer.
    pub limit: usize,
}

/// A piece of the journal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Entries {
    /// The entries after the cursor, in one order for every reader.
    Some {
        /// The entries.
        entries: Vec<Entry>,
        /// Where the reader stands after them.
        next: Cursor,
    },
    /// The store was restored since the cursor was made: begin again.
    NewEpoch,
}
