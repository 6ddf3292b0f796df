//! The retry budget of a verb whose write rests on what it has read: it looks again at once at first,
//! because somebody else has only just got further; then with growing pauses, because what a majority
//! knows may be behind what was written last; and no longer than a command may take.

use std::time::Duration;

use orderlock_core::StoreError;
use tokio::time::Instant;

use crate::database::calls::Calls;

/// How often it looks again at once.
const AT_ONCE: u32 = 4;

/// The longest pause is the shortest times two to the power of this.
const DOUBLINGS: u32 = 6;

const PAUSE: Duration = Duration::from_millis(1);

/// How often one verb has tried, and for how long.
#[derive(Debug)]
pub(crate) struct RetryBudget<'a> {
    calls: &'a Calls,
    begun: Instant,
    tries: u32,
}

impl<'a> RetryBudget<'a> {
    pub(crate) fn new(calls: &'a Calls) -> Self {
        Self {
            calls,
            begun: Instant::now(),
            tries: 0,
        }
    }

    /// Whether there is another try; when its time has come.
    pub(crate) async fn next(&mut self) -> bool {
        self.tries += 1;
        let Some(paused) = self.tries.checked_sub(AT_ONCE + 1) else {
            return true;
        };
        if self.begun.elapsed() >= self.calls.patience {
            return false;
        }
        let longest = PAUSE * 2_u32.pow(paused.min(DOUBLINGS));
        // Half of it at least, so that those who wait for the same do not come back together.
        let part = u32::try_from(self.calls.runtime.random() % 512).unwrap_or(0);
        tokio::time::sleep(longest * (512 + part) / 1024).await;
        true
    }
}

/// The error of a verb that has no tries left.
pub(crate) fn busy() -> StoreError {
    StoreError::NotApplied("the order changes faster than it can be looked at; ask again".into())
}
