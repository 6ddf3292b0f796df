//! What an exploration has met: what never happened proves nothing.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Something that must be met.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sight {
    /// A holder was told that its lease is lost.
    LostTold,
    /// The same, of a node that stood still past its session and went on.
    PausedThenLost,
    /// A retry got the stored answer.
    Replayed,
    /// A grant that its node did not know was voided.
    UnknownVoided,
    /// The power failed before a flush.
    PowerLostBeforeFlush,
    /// A flush failed.
    RolledBack,
    /// A marked key ran again.
    Resumed,
    /// An operator ended a mark.
    Resolved,
    /// The next in line was granted the order with a settle.
    HandedOver,
    /// It began before the flush.
    BegunEarly,
}

impl Sight {
    const ALL: [Self; 10] = [
        Self::LostTold,
        Self::PausedThenLost,
        Self::Replayed,
        Self::UnknownVoided,
        Self::PowerLostBeforeFlush,
        Self::RolledBack,
        Self::Resumed,
        Self::Resolved,
        Self::HandedOver,
        Self::BegunEarly,
    ];
}

/// How often each was met. Clones count together: kept in the states, it would multiply them.
#[derive(Clone, Debug, Default)]
pub(crate) struct Sights(Arc<[AtomicU64; Sight::ALL.len()]>);

impl Sights {
    pub(crate) fn count(&self, sight: Sight) {
        self.0[sight as usize].fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn times(&self, sight: Sight) -> u64 {
        self.0[sight as usize].load(Ordering::Relaxed)
    }
}

impl fmt::Display for Sights {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for sight in Sight::ALL {
            writeln!(f, "{:>9}  {sight:?}", self.times(sight))?;
        }
        Ok(())
    }
}
