//! What every node does for all: it ends the sessions of dead ones, and what has expired.

use std::sync::atomic::Ordering;
use std::sync::{Arc, Weak};
use std::time::Duration;

use super::node::{Node, Phase};
use super::session::Chain;
use crate::store::{Expire, Sweep};
use crate::{OrderStore as _, Runtime};

/// How many leases, answers or tombstones are ended at once.
const BATCH: usize = 500;

/// The longest time between two rounds, however long a session is.
const ROUND_MAX: Duration = Duration::from_secs(5);

/// The shortest pause of a keeper: it never spins.
pub(super) const PAUSE_MIN: Duration = Duration::from_millis(1);

/// Sweeps and expires: a round in each third of a session, batch after batch while there is more.
/// Between two batches it rests for as long as one took, so that whoever serves has at least half of
/// the time.
pub(super) async fn keep_house(node: Weak<Node>, runtime: Arc<dyn Runtime>) {
    let mut batch: Option<Duration> = None;
    loop {
        let Some(length) = node.upgrade().map(|node| node.limits.session) else {
            return;
        };
        let pause = batch.unwrap_or_else(|| (length / 3).min(ROUND_MAX));
        runtime.sleep(pause.max(PAUSE_MIN)).await;
        let Some(node) = node.upgrade() else { return };
        if node.phase() >= Phase::Stopping {
            return;
        }
        let begun = runtime.now();
        let more = node.sweep().await | node.expire().await;
        batch = more.then(|| runtime.now().saturating_duration_since(begun));
    }
}

impl Node {
    /// Whether there is more to do. A node that was paused for so long that its own session may have
    /// lapsed renews first: else it would be the one that ends it.
    async fn sweep(&self) -> bool {
        if self.live_session().is_none() {
            return false;
        }
        match self.ask(self.store.sweep(Sweep { limit: BATCH })).await {
            Ok(swept) => swept.more,
            Err(error) => {
                tracing::warn!(error = %Chain(&error), "lapsed sessions were not swept");
                false
            }
        }
    }

    /// Whether there is more to do.
    async fn expire(&self) -> bool {
        match self.ask(self.store.expire(Expire { limit: BATCH })).await {
            Ok(expired) => {
                let behind = u64::try_from(expired.behind.as_micros()).unwrap_or(u64::MAX);
                self.behind.store(behind, Ordering::Relaxed);
                expired.more
            }
            Err(error) => {
                tracing::warn!(error = %Chain(&error), "expired answers were not ended");
                false
            }
        }
    }
}
