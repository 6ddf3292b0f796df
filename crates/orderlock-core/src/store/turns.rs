//! What stores that nodes share have alike of turns between nodes: who waits is written by a store
//! in its own way, from a request's second try on.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::{Acquire, Acquired, StoreError};
use crate::{Fence, LeaseId, LeaseView, LeaseViewState, Target, Timestamp};

/// How long a node waits for an order before the order is kept for it, and within what time it asks
/// again at least. Shorter makes orders that are wanted everywhere stand still more often: each change
/// of node costs a part of the pause between two questions, of which the longest is half of this.
pub const WAIT_UNTIL_KEPT: Duration = Duration::from_millis(500);

/// How many orders are kept in mind. It is a bound for clients that give up: what is forgotten is
/// asked for once more before the wait is written.
const TRIED_MAX: usize = 4_096;

/// Which requests of this node have found their order held: at most one asks for each order.
#[derive(Debug, Default)]
pub struct Tried(Mutex<HashMap<Target, Fence>>);

impl Tried {
    /// Whether this very request has found its order held before.
    #[must_use]
    pub fn before(&self, request: &Acquire) -> bool {
        self.lock().get(&request.claim.target()) == Some(&request.fence)
    }

    /// Takes note of what a request under this fence was told of its order.
    pub fn told(&self, target: Target, fence: Fence, told: &Result<Acquired, StoreError>) {
        let mut tried = self.lock();
        if !matches!(told, Ok(Acquired::Held(_))) {
            tried.remove(&target);
            return;
        }
        if tried.len() >= TRIED_MAX {
            tried.clear();
        }
        tried.insert(target, fence);
    }

    /// Each change is one step, so that a panic elsewhere leaves it whole.
    fn lock(&self) -> MutexGuard<'_, HashMap<Target, Fence>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What others are told of an order that nobody holds, because it is another node's turn.
#[must_use]
pub fn kept_for_another(target: Target, since: Timestamp) -> LeaseView {
    LeaseView {
        id: LeaseId("kept for another node".into()),
        target,
        state: LeaseViewState::Held,
        operation: None,
        caller: None,
        key_id: None,
        fingerprint: None,
        attempt: 0,
        since: Some(since),
    }
}
