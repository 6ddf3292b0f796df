//! The database file: its rows, its indices, its log, and the connections that read it.

pub(crate) mod error;
pub(crate) mod journal;
pub(crate) mod key_index;
pub(crate) mod keys;
pub(crate) mod marks;
pub(crate) mod readers;
pub(crate) mod rows;
pub(crate) mod time;
pub(crate) mod wal;
