//! The commands that the store sends, a file for each collection, and what a node keeps beside them: its
//! clock, the orders that it holds, and which documents cannot be read.
//!
//! Nothing here decides anything about an order: the core does, and the verbs ask it.

pub(crate) mod calls;
pub(crate) mod clock;
pub(crate) mod grant_cache;
pub(crate) mod journal;
pub(crate) mod keys;
pub(crate) mod marks;
pub(crate) mod orders;
pub(crate) mod reservations;
pub(crate) mod retry;
pub(crate) mod unreadable;
