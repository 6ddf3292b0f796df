//! The store's clock: the database's, so that the clocks of nodes do not matter.

use std::sync::Arc;
use std::time::Duration;

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
