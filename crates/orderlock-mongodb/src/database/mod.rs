//! The commands that the store sends, and what a node keeps beside them: its clock, and caches.

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
