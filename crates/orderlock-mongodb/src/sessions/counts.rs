//! How often sessions were renewed, as this node has seen it.
//!
//! No machine's clock is compared with another's. A renewal counts; who has seen the same count for
//! the length of the session, by a clock of its own that never goes back, may end it, on the
//! condition that the count is still the same.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use orderlock_core::SessionId;

/// The counts that were seen last, by their session.
#[derive(Debug, Default)]
pub(crate) struct Counts(Mutex<HashMap<SessionId, RenewalCount>>);

/// How often a session had been renewed, and when that was first seen.
#[derive(Clone, Copy, Debug)]
struct RenewalCount {
    renewals: i64,
    at: Instant,
}

impl Counts {
    /// How often a session was renewed, as far as is known; none if it is not known.
    pub(crate) fn renewals(&self, session: SessionId) -> Option<i64> {
        self.lock().get(&session).map(|count| count.renewals)
    }

    /// Notes a count, and says since when it has been seen.
    pub(crate) fn note(&self, session: SessionId, renewals: i64, now: Instant) -> Instant {
        let mut counts = self.lock();
        let count = RenewalCount { renewals, at: now };
        let entry = counts.entry(session).or_insert(count);
        if entry.renewals < renewals {
            *entry = count;
        }
        entry.at
    }

    pub(crate) fn forget(&self, session: SessionId) {
        self.lock().remove(&session);
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<SessionId, RenewalCount>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
