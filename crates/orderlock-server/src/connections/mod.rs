//! Accepting and serving connections, each within its bounds.
//!
//! `axum::serve` has no bound on the time, the size and the number of headers, nor on open
//! connections, so that one client could hold all of them; hyper's own loop has. What neither has
//! is a bound on a client that does not read its answers. So each connection notes in its [`Link`](link::Link)
//! what it waits for, and one task looks at all of them.

mod door;
mod link;
mod registry;
mod serving;
mod wire;

#[cfg(test)]
mod tests;

pub(crate) use door::{Aside, Door, Listening, listen};
pub(crate) use link::Timeouts;
pub(crate) use serving::Client;

use std::time::Duration;

/// How many connections there may be, and how long each may take for what.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bounds {
    /// How many may be open.
    pub(crate) connections: usize,
    /// How long they may wait for their clients.
    pub(crate) timeouts: Timeouts,
}

/// The most that have not said anything yet. They have places of their own, so that who has just
/// come is heard while all others are taken.
pub(crate) const GREETING_MAX: usize = 1_024;
/// As many of these there may be, however few the others are.
const GREETING_LEAST: usize = 16;

/// How often all connections are looked at.
const LOOK: Duration = Duration::from_secs(1);
