//! The group of sessions: a node joins, renews, leaves, and what is lapsed is swept. A verb's request
//! and its result stand side by side.

use std::time::Duration;

use crate::{Fence, Secret, SessionId};

/// See [`OrderStore::join`](super::OrderStore::join).
#[derive(Clone, Debug)]
pub struct Join {
    /// The node's lasting name. Joining ends every other session of the same name.
    pub node: String,
    /// The new session.
    pub session: SessionId,
    /// How long the session lasts after each renewal.
    pub length: Duration,
    /// The installation's secret, if this is the first node ever.
    pub secret: Secret,
}

/// A node has joined.
#[derive(Clone, Debug)]
pub struct Joined {
    /// The installation's secret: the first node's, not necessarily this one's.
    pub secret: Secret,
}

/// See [`OrderStore::renew`](super::OrderStore::renew).
#[derive(Clone, Debug)]
pub struct Renew {
    /// Which session.
    pub session: SessionId,
    /// Every grant that the node holds or may hold. Any other lease of the session that is older
    /// than the last renewal is void: its acquire was lost on the way.
    pub known: Vec<Fence>,
}

/// Whether a session goes on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Renewed {
    /// It lasts its full length again.
    Extended {
        /// Which of the known grants an operator has broken. Each is named as long as it is known, so
        /// that an answer that is lost loses nothing.
        voided: Vec<Fence>,
    },
    /// It has ended, or never was: the node must join again under another name for its session.
    Ended,
}

/// See [`OrderStore::leave`](super::OrderStore::leave).
#[derive(Clone, Copy, Debug)]
pub struct Leave {
    /// Which session.
    pub session: SessionId,
}

/// A session has ended, and its leases with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Left {
    /// How many leases it held.
    pub voided: usize,
}

/// See [`OrderStore::sweep`](super::OrderStore::sweep).
#[derive(Clone, Copy, Debug)]
pub struct Sweep {
    /// The most leases to void in this call.
    pub limit: usize,
}

/// Lapsed sessions have been ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Swept {
    /// How many leases were voided.
    pub voided: usize,
    /// Whether the limit was reached before the work was done.
    pub more: bool,
}
