//! The bounds of the lifecycle, each with a default.

use std::time::Duration;

use crate::Retention;

/// The bounds of the lifecycle. Every one of them has a clear answer when it is reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// How long a handler may run: then its lease is released and the client gets 504.
    pub handler: Duration,
    /// The longest wait that a client may ask for.
    pub wait: Duration,
    /// How many requests may stand in one order's line, the running one included: one more gets
    /// 429.
    pub line: usize,
    /// How many requests may be in flight on this node: one more gets 429.
    pub in_flight: usize,
    /// How long the store may keep a client waiting, over all steps of its request and beside its own
    /// wait and the handler's time: then it is told what is known. It is the bound of each single
    /// answer too.
    pub store: Duration,
    /// How often a verb whose outcome is unknown is repeated, while there is time for it.
    pub repeats: u32,
    /// How long a session lasts after each renewal. A node that is dead or cut off keeps its
    /// orders locked for this long; a node that is paused for longer loses its leases.
    pub session: Duration,
    /// How long answers and tombstones are kept.
    pub retention: Retention,
    /// How many checkpoints one attempt may make.
    pub checkpoints: u32,
    /// How many settles of one order may be accepted and not durable yet: as many pure operations
    /// may run on each other's results before one of them must wait for the disk. Zero lets none.
    pub chain: usize,
}

/// As far as every clock reaches: a hundred years.
const REACH: Duration = Duration::from_secs(100 * 365 * 24 * 3600);

impl Limits {
    /// The same bounds; those that no clock reaches are a hundred years.
    pub(crate) fn within_reach(self) -> Self {
        Self {
            handler: self.handler.min(REACH),
            wait: self.wait.min(REACH),
            store: self.store.min(REACH),
            session: self.session.min(REACH),
            ..self
        }
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            handler: Duration::from_secs(30),
            wait: Duration::from_secs(30),
            line: 1_024,
            in_flight: 65_536,
            store: Duration::from_secs(5),
            repeats: 3,
            session: Duration::from_secs(10),
            retention: Retention {
                answer: Duration::from_secs(24 * 3600),
                tombstone: Duration::from_secs(30 * 24 * 3600),
            },
            checkpoints: 1_000,
            chain: 256,
        }
    }
}
