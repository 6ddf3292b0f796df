//! The store's clocks, and what of them counts where something is about to be forgotten.

use std::sync::{Arc, Mutex};
use std::time::Instant;

use orderlock_core::store::{RetentionClock, RetentionTime};
use orderlock_core::{Runtime, Timestamp};

use crate::leases::lock;
use crate::planted::{Planted, is_planted};

/// One moment, by each clock.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Now {
    /// The time of day: what is told, and what an answer's end is compared with.
    pub(crate) wall: Timestamp,
    /// The clock that sessions are measured by: it never goes back.
    pub(crate) instant: Instant,
    /// Between what times it is, where retention begins or a key is forgotten.
    pub(crate) retention: RetentionTime,
}

/// The clocks of one open store.
#[derive(Debug)]
pub(crate) struct Clock {
    runtime: Arc<dyn Runtime>,
    retention: Mutex<RetentionClock>,
}

impl Clock {
    /// The clocks of a store that has seen this time last.
    pub(crate) fn new(runtime: Arc<dyn Runtime>, seen: Timestamp) -> Self {
        let retention = RetentionClock::new(seen, runtime.wall(), runtime.now());
        Self {
            runtime,
            retention: Mutex::new(retention),
        }
    }

    pub(crate) fn now(&self) -> Now {
        let (wall, instant) = (self.runtime.wall(), self.runtime.now());
        let mut retention = lock(&self.retention).at(wall, instant);
        if is_planted(Planted::AnyClock) {
            (retention.earliest, retention.latest) = (wall, wall);
        }
        Now {
            wall,
            instant,
            retention,
        }
    }

    /// The time to keep as seen last.
    pub(crate) fn seen(&self) -> Timestamp {
        lock(&self.retention).believed(self.runtime.now())
    }
}
