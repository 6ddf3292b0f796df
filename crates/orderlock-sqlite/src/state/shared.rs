//! State that the writer shares with the serving threads: whether the file is still ours, counters, and
//! trouble.

use std::sync::atomic::{AtomicBool, AtomicU64};

use orderlock_core::StoreError;

use crate::state::health::Health;

/// What an operator is told where another process has taken the file.
pub(crate) const TAKEN: &str =
    "another process has opened the file and owns it now; this one must be restarted";

pub(crate) fn taken() -> StoreError {
    StoreError::NotApplied(TAKEN.into())
}

/// What the writer shares with those who ask.
#[derive(Debug, Default)]
pub(crate) struct Shared {
    /// Another process has taken the file: no more work, not even in memory.
    pub(crate) taken: AtomicBool,
    pub(crate) commits: AtomicU64,
    pub(crate) settles: AtomicU64,
    pub(crate) checkpoints: AtomicU64,
    /// How long the log was when it was looked at last.
    pub(crate) log_bytes: AtomicU64,
    pub(crate) health: Health,
}
