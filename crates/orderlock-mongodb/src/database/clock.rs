//! The store's clock: the server's, carried on by a clock of this machine that never goes back. Two
//! machines' clocks are never compared.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use orderlock_core::{Runtime, Timestamp};

type Heard = Arc<Mutex<Option<(Timestamp, Instant)>>>;

/// Where the store gets its time from.
#[derive(Clone, Debug)]
pub(crate) struct Clock {
    runtime: Arc<dyn Runtime>,
    /// The last time that the server told, and when it was heard; none for a clock that is given.
    heard: Option<Heard>,
}

impl Clock {
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

    /// A clock that never goes back, of this machine only.
    pub(crate) fn instant(&self) -> Instant {
        self.runtime.now()
    }
}

/// A time that was kept as microseconds.
pub(crate) fn from_micros(micros: i64) -> Timestamp {
    Timestamp::from_microsecond(micros).unwrap_or(if micros < 0 {
        Timestamp::MIN
    } else {
        Timestamp::MAX
    })
}

/// The end of a span; the last time that there is, if it ends later than that.
pub(crate) fn after(start: Timestamp, span: Duration) -> Timestamp {
    let span = i64::try_from(span.as_micros()).unwrap_or(i64::MAX);
    from_micros(start.as_microsecond().saturating_add(span))
}

/// A span as it is kept: in microseconds.
pub(crate) fn span_to_micros(span: Duration) -> i64 {
    i64::try_from(span.as_micros()).unwrap_or(i64::MAX)
}
