//! What the renewals of this node's sessions have seen of their leases.

use std::collections::{HashMap, HashSet};
use std::sync::{Mutex, MutexGuard, PoisonError};

use orderlock_core::{Fence, SessionId};

/// What the last renewal of each session has seen.
#[derive(Debug, Default)]
pub(crate) struct TendedSessions(Mutex<HashMap<SessionId, Tended>>);

/// What the renewals of a session have seen of its leases.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tended {
    /// Leases that were granted before this renewal have been looked at.
    pub(crate) upto: i64,
    /// Those that the node knew then.
    pub(crate) known: HashSet<Fence>,
    /// The broken grants that the last renewal has found.
    pub(crate) broken: Vec<Fence>,
}

impl TendedSessions {
    pub(crate) fn get(&self, session: SessionId) -> Tended {
        self.lock().get(&session).cloned().unwrap_or_default()
    }

    pub(crate) fn put(&self, session: SessionId, tended: Tended) {
        self.lock().insert(session, tended);
    }

    pub(crate) fn forget(&self, session: SessionId) {
        self.lock().remove(&session);
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<SessionId, Tended>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
