//! What a store has seen of sessions: how often each was renewed, and since when that number stands still.
//!
//! No clock is compared with another's. A renewal counts; who has seen the same count for the length
//! of the session, by a clock of its own that never goes back, may end it, on the condition that the
//! count is still the same.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use orderlock_core::SessionId;

/// What was seen.
#[derive(Debug, Default)]
pub(crate) struct SessionWatch(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    seen: HashMap<SessionId, Seen>,
    named: HashMap<SessionId, Named>,
}

#[derive(Clone, Copy, Debug)]
struct Seen {
    renewals: i64,
    /// When this count was first seen.
    since: Instant,
}

/// What the last renewal of a session has named. While a renewal is under way it is not here: if its
/// answer is lost, the database is asked.
#[derive(Debug)]
pub(crate) struct Named {
    pub(crate) renewals: i64,
    pub(crate) fences: BTreeSet<u128>,
}

impl SessionWatch {
    /// Notes a count.
    pub(crate) fn note(&self, session: SessionId, renewals: i64, now: Instant) {
        self.lock().note(session, renewals, now);
    }

    /// Which of all sessions that go on have stood still for their length, of a look that began and
    /// ended at these times. What is seen of others is forgotten.
    pub(crate) fn lapsed(
        &self,
        all: &[(SessionId, i64, Duration)],
        began: Instant,
        ended: Instant,
    ) -> Vec<(SessionId, i64)> {
        let mut state = self.lock();
        let alive: BTreeSet<_> = all.iter().map(|(session, ..)| session.0).collect();
        state.seen.retain(|session, _| alive.contains(&session.0));
        state.named.retain(|session, _| alive.contains(&session.0));
        let mut lapsed = Vec::new();
        for (session, renewals, length) in all {
            let since = state.note(*session, *renewals, ended);
            if began.saturating_duration_since(since) >= *length {
                lapsed.push((*session, *renewals));
            }
        }
        lapsed
    }

    pub(crate) fn take_named(&self, session: SessionId) -> Option<Named> {
        self.lock().named.remove(&session)
    }

    pub(crate) fn keep_named(&self, session: SessionId, named: Named) {
        self.lock().named.insert(session, named);
    }

    /// Each change is one step, so that a panic elsewhere leaves it whole.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Notes a count, and says since when it has been seen.
    fn note(&mut self, session: SessionId, renewals: i64, now: Instant) -> Instant {
        let seen = self.seen.entry(session).or_insert(Seen {
            renewals,
            since: now,
        });
        // A crash of the server may have lost a renewal: another count is another sign of life.
        if seen.renewals != renewals {
            *seen = Seen {
                renewals,
                since: now,
            };
        }
        seen.since
    }
}
