//! The store's clocks, and which of them counts before an answer or a key is forgotten.

use std::sync::{Arc, Mutex};
use std::time::Instant;

use orderlock_core::store::{RetentionClock, RetentionTime};
use orderlock_core::{Runtime, Timestamp};

use crate::mutex::lock;
use crate::planted::{Planted, is_planted};

/// One moment, by each clock.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Now {
    /// The time of day: what is told, and what an answer's end is compared with.
    pub(crate) wall: Timestamp,
    /// The latest time of day that was ever seen: by then, whatever was removed had ended.
    pub(crate) wall_latest: Timestamp,
    /// The clock that sessions are measured by: it never goes back.
    pub(crate) instant: Instant,
    /// Between what times it is, where retention begins or a key is forgotten.
    pub(crate) retention: RetentionTime,
}

/// The clocks of one open store.
#[derive(Debug)]
pub(crate) struct Clock {
    runtime: Arc<dyn Runtime>,
    seen: Mutex<Seen>,
}

#[derive(Debug)]
struct Seen {
    retention: RetentionClock,
    wall_latest: Timestamp,
}

impl Clock {
    /// The clocks of a store that has seen this time last.
    pub(crate) fn new(runtime: Arc<dyn Runtime>, seen: Timestamp) -> Self {
        let wall = runtime.wall();
        let seen = Seen {
            retention: RetentionClock::new(seen, wall, runtime.now()),
            wall_latest: wall,
        };
        Self {
            runtime,
            seen: Mutex::new(seen),
        }
    }

    pub(crate) fn now(&self) -> Now {
        let (wall, instant) = (self.runtime.wall(), self.runtime.now());
        let (mut retention, wall_latest) = {
            let mut seen = lock(&self.seen);
            seen.wall_latest = seen.wall_latest.max(wall);
            (seen.retention.at(wall, instant), seen.wall_latest)
        };
        if is_planted(Planted::AnyClock) {
            (retention.earliest, retention.latest) = (wall, wall);
        }
        Now {
            wall,
            wall_latest,
            instant,
            retention,
        }
    }

    /// The time to keep as seen last.
    pub(crate) fn seen(&self) -> Timestamp {
        lock(&self.seen).retention.believed(self.runtime.now())
    }
}
