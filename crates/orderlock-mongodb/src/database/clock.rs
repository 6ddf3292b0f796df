//! The store's clock: the server's, carried on by a clock of this machine that never goes back. Two
//! machines' clocks are never compared.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use orderlock_core::store::{RetentionClock, RetentionTime};
use orderlock_core::{Runtime, Timestamp};

use crate::document::fields::{after, from_micros};

type LastHeard = Arc<Mutex<Option<(Timestamp, Instant)>>>;

/// Where the store gets its time from. Clones are the same clock.
#[derive(Clone, Debug)]
pub(crate) struct TimeSource {
    runtime: Arc<dyn Runtime>,
    /// The last time that the server told, and when it was heard; none for a clock that is given.
    heard: Option<LastHeard>,
}

impl TimeSource {
    /// The server's clock. Until the server has told its time, this machine's.
    pub(crate) fn server(runtime: Arc<dyn Runtime>) -> Self {
        Self {
            runtime,
            heard: Some(Arc::default()),
        }
    }

    /// The runtime's, for tests that move time by hand.
    pub(crate) fn given(runtime: Arc<dyn Runtime>) -> Self {
        Self {
            runtime,
            heard: None,
        }
    }

    /// The server has told its time.
    pub(crate) fn hear(&self, time: Timestamp) {
        if let Some(heard) = &self.heard {
            let mut heard = heard.lock().unwrap_or_else(PoisonError::into_inner);
            *heard = Some((time, self.runtime.now()));
        }
    }

    /// The time now, in whole microseconds.
    pub(crate) fn now(&self) -> Timestamp {
        let heard = self.heard.as_ref().and_then(|heard| {
            let heard = heard.lock().unwrap_or_else(PoisonError::into_inner);
            *heard
        });
        let now = match heard {
            Some((time, at)) => after(time, self.runtime.now().saturating_duration_since(at)),
            None => self.runtime.wall(),
        };
        from_micros(now.as_microsecond())
    }
}

/// The clock of a store that is open: what time it is, and by what time answers and keys are
/// forgotten.
#[derive(Debug)]
pub(crate) struct StoreClock {
    source: TimeSource,
    retention: Mutex<RetentionClock>,
}

impl StoreClock {
    /// `seen`: the time that any node has seen last.
    pub(crate) fn new(source: TimeSource, seen: Timestamp) -> Self {
        let retention = RetentionClock::new(seen, source.now(), source.runtime.now());
        Self {
            source,
            retention: Mutex::new(retention),
        }
    }

    /// The server has told its time.
    pub(crate) fn hear(&self, time: Timestamp) {
        self.source.hear(time);
    }

    /// The time now, in whole microseconds.
    pub(crate) fn now(&self) -> Timestamp {
        self.source.now()
    }

    /// A clock that never goes back, of this machine only.
    pub(crate) fn instant(&self) -> Instant {
        self.source.runtime.now()
    }

    /// The time, or the two between which it lies: what begins lasts from the later one.
    pub(crate) fn times(&self) -> RetentionTime {
        self.retention().at(self.now(), self.instant())
    }

    /// The time by which answers and keys are forgotten.
    pub(crate) fn forgets_by(&self) -> Timestamp {
        self.times().earliest
    }

    /// The time that is believed.
    pub(crate) fn believed(&self) -> Timestamp {
        self.retention().believed(self.instant())
    }

    /// Each change is one step, so that a panic elsewhere leaves it whole.
    fn retention(&self) -> MutexGuard<'_, RetentionClock> {
        self.retention
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}
