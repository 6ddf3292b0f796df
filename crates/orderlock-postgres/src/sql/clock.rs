//! The store's clock: the database's, so that the clocks of nodes do not matter.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use orderlock_core::store::{RetentionClock, RetentionTime};
use orderlock_core::{Runtime, Timestamp};

/// Where statements get their time from. Each takes it as a parameter that is null in earnest:
/// `coalesce($1, clock_timestamp())`.
#[derive(Clone, Debug)]
pub(crate) enum Clock {
    /// The database's own clock.
    Database,
    /// The runtime's, for tests that move time by hand.
    Given(Arc<dyn Runtime>),
}

impl Clock {
    /// What a statement's parameter for the time is.
    pub(crate) fn parameter(&self) -> Option<Timestamp> {
        match self {
            Self::Database => None,
            Self::Given(runtime) => Some(in_microseconds(runtime.wall())),
        }
    }
}

/// How long the database's time is carried on without being observed again.
const OBSERVED_MAX: Duration = Duration::from_secs(5);

/// The database's time as it was observed last, carried on by this machine's steady clock. It is
/// behind by as long as the answer was on its way.
#[derive(Debug)]
pub(crate) struct ObservedClock {
    source: Clock,
    runtime: Arc<dyn Runtime>,
    last: Mutex<Option<(Timestamp, Instant)>>,
    /// None until the store is open.
    retention: Mutex<Option<RetentionClock>>,
}

impl ObservedClock {
    pub(crate) fn new(source: Clock, runtime: Arc<dyn Runtime>) -> Self {
        let last = Mutex::default();
        Self {
            source,
            runtime,
            last,
            retention: Mutex::default(),
        }
    }

    /// This machine's steady clock.
    pub(crate) fn instant(&self) -> Instant {
        self.runtime.now()
    }

    /// What a statement's parameter for the time is.
    pub(crate) fn parameter(&self) -> Option<Timestamp> {
        self.source.parameter()
    }

    /// Begins to follow the database's clock, where this was seen of it last.
    pub(crate) fn begin(&self, seen: Timestamp, now: Timestamp) {
        *self.retention() = Some(RetentionClock::new(seen, now, self.runtime.now()));
        self.observe(now);
    }

    /// The times that retention begins and ends by, now that the database says this.
    pub(crate) fn times(&self, now: Timestamp) -> RetentionTime {
        let at = self.runtime.now();
        let both = RetentionTime {
            earliest: now,
            latest: now,
        };
        let times = self.retention().as_mut().map_or(both, |it| it.at(now, at));
        RetentionTime {
            earliest: in_microseconds(times.earliest),
            latest: in_microseconds(times.latest),
        }
    }

    /// The time as it is believed, whatever the database will say now: retention begins no earlier,
    /// and nothing is forgotten that ends later. None before the store is open.
    pub(crate) fn believed(&self) -> Option<Timestamp> {
        let at = self.runtime.now();
        let believed = self.retention().as_ref().map(|it| it.believed(at));
        believed.map(in_microseconds)
    }

    fn retention(&self) -> MutexGuard<'_, Option<RetentionClock>> {
        // Each change is one step, so that a panic elsewhere leaves it whole.
        self.retention
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes note of what the database has just said.
    pub(crate) fn observe(&self, now: Timestamp) {
        let observed = Some((now, self.runtime.now()));
        self.times(now);
        *self.last.lock().unwrap_or_else(PoisonError::into_inner) = observed;
    }

    /// The time; none if the database has said nothing for a while.
    pub(crate) fn now(&self) -> Option<Timestamp> {
        if let Some(given) = self.source.parameter() {
            return Some(given);
        }
        let (time, at) = (*self.last.lock().unwrap_or_else(PoisonError::into_inner))?;
        let since = self.runtime.now().saturating_duration_since(at);
        if since > OBSERVED_MAX {
            return None;
        }
        time.checked_add(since).ok().map(in_microseconds)
    }
}

/// PostgreSQL counts in whole microseconds.
pub(crate) fn in_microseconds(time: Timestamp) -> Timestamp {
    Timestamp::from_microsecond(time.as_microsecond())
        .expect("a time cut to microseconds lies within the years that a timestamp has")
}

/// The longest span that is added to a time: a thousand years, which counts as for ever.
const SPAN_MAX: i64 = 1_000 * 366 * 24 * 3600 * 1_000_000;

/// A span as the database keeps it: in microseconds.
pub(crate) fn span_to_sql(span: Duration) -> i64 {
    i64::try_from(span.as_micros()).map_or(SPAN_MAX, |span| span.min(SPAN_MAX))
}

/// A span as the database kept it.
pub(crate) fn span_from_sql(microseconds: i64) -> Duration {
    Duration::from_micros(microseconds.unsigned_abs())
}

/// The end of a span, as the database reckons it.
pub(crate) fn end_of(start: Timestamp, span: Duration) -> Timestamp {
    let start = start.as_microsecond();
    let end = start.saturating_add(span_to_sql(span));
    Timestamp::from_microsecond(end).unwrap_or(Timestamp::MAX)
}
