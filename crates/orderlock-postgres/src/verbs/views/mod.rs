//! The verbs that only read: one order, its history, lists of orders and leases, and the journal.

pub(crate) mod entries_since;
pub(crate) mod lists;
pub(crate) mod pages;
pub(crate) mod read;
