//! What handler and lifecycle share of a lease, and the checkpoint that keeps it.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use tokio::sync::oneshot;

use super::ended::Snapshot;
use super::locked::Interrupted;
use super::node::Node;
use super::settle::Concluded;
use crate::order::whole_microseconds;
use crate::store::{Acquire, Change, Grant, NewEntry, Part, Settle};
use crate::{Document, Fence, OperationKey, OrderId, OwnedIndex, Timestamp, Version};

/// What handler and lifecycle share.
pub(crate) struct HandlerLease {
    node: Arc<Node>,
    acquire: Acquire,
    key: OperationKey,
    held: Mutex<Held>,
    /// Held while a checkpoint is on its way, so that the end waits for it.
    settling: tokio::sync::Mutex<()>,
}

impl std::fmt::Debug for HandlerLease {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("HandlerLease")
            .field("order", self.order())
            .finish_non_exhaustive()
    }
}

/// The lease as the holder knows it.
#[derive(Debug)]
pub(crate) struct Held {
    pub(crate) fence: Fence,
    pub(crate) snapshot: Snapshot,
    pub(crate) index: OwnedIndex,
    pub(crate) attempt: u32,
    /// The settle that comes next.
    pub(crate) step: u32,
    /// Set by a checkpoint that has cost the lease: nothing more can be applied.
    pub(crate) ended_by: Option<Cost>,
    /// Set when the attempt is over: a checkpoint that comes later must not pass for its settle.
    ended: bool,
    /// The store's clock at the grant, and this node's own: the difference of now and then,
    /// added to the first, is the store's clock now, whatever this machine's clock says.
    pub(crate) granted: (Timestamp, Instant),
}

/// How a checkpoint has cost the lease.
#[derive(Clone, Debug)]
pub(crate) enum Cost {
    /// It was lost before.
    Lost,
    /// Nobody knows what became of the checkpoint.
    Unknown,
    /// The store can never take the checkpoint, and has let the order go.
    Unwritable(String),
}

impl From<&Cost> for Interrupted {
    fn from(cost: &Cost) -> Self {
        match cost {
            Cost::Lost => Self::Lost,
            Cost::Unknown => Self::Unknown,
            Cost::Unwritable(_) => Self::Unwritable,
        }
    }
}

impl HandlerLease {
    pub(crate) fn new(
        node: &Arc<Node>,
        acquire: &Acquire,
        grant: &Grant,
        key: OperationKey,
    ) -> Self {
        let held = Held {
            fence: grant.fence,
            snapshot: Snapshot {
                version: grant.version,
                document: grant.document.clone(),
                times: grant.times,
            },
            index: grant.index.clone(),
            attempt: grant.attempt,
            step: 0,
            ended_by: None,
            ended: false,
            // The clock of the node that has made the order may go before the store's, by a little: what
            // follows is dated no earlier.
            granted: (grant.now.max(grant.times.updated), node.now()),
        };
        Self {
            node: Arc::clone(node),
            acquire: acquire.clone(),
            key,
            held: Mutex::new(held),
            settling: tokio::sync::Mutex::default(),
        }
    }

    pub(super) fn order(&self) -> &OrderId {
        &self.acquire.claim.order
    }

    pub(super) fn key(&self) -> &OperationKey {
        &self.key
    }

    /// Waits for a checkpoint that is on its way and lets no other begin.
    pub(super) async fn end(&self) {
        let _last = self.settling.lock().await;
        self.held().ended = true;
    }

    pub(crate) fn held(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What checkpoints have applied, if any has.
    pub(crate) fn partial(&self) -> Option<Snapshot> {
        let held = self.held();
        (held.step > 0).then(|| held.snapshot.clone())
    }
}

impl Held {
    /// The store's clock now.
    pub(crate) fn store_now(&self, now: Instant) -> Timestamp {
        let (granted, since) = self.granted;
        let passed = granted.saturating_add(now.saturating_duration_since(since));
        whole_microseconds(passed.unwrap_or(granted))
    }
}

impl HandlerLease {
    /// Settles a part and keeps the lease; resolves with the new version when it is durable.
    pub(super) async fn checkpoint(
        shared: &Arc<Self>,
        document: Document,
        index: OwnedIndex,
    ) -> Result<Version, Interrupted> {
        // In a task of its own: if the handler is dropped half way, its end still waits for what
        // has been sent, and knows what came of it.
        let (done, result) = oneshot::channel();
        let lease = Arc::clone(shared);
        shared.node.runtime.spawn(Box::pin(async move {
            let _on_the_way = lease.settling.lock().await;
            let _handler_gone = done.send(lease.write_checkpoint(document, index).await);
        }));
        result.await.map_err(|_| Interrupted::Unknown)?
    }

    async fn write_checkpoint(
        &self,
        document: Document,
        index: OwnedIndex,
    ) -> Result<Version, Interrupted> {
        let mut settle = self.prepare_checkpoint(&document, &index)?;
        let at = settle.entry.at;
        let cost = match self.node.settle_part(&mut settle).await {
            Concluded::Settled { .. } => None,
            Concluded::Lost | Concluded::Unavailable(_) => Some(Cost::Lost),
            Concluded::Unknown => Some(Cost::Unknown),
            Concluded::Impossible(reason) => Some(Cost::Unwritable(reason)),
        };
        let mut held = self.held();
        if let Some(cost) = cost {
            let interrupted = Interrupted::from(&cost);
            held.ended_by = Some(cost);
            return Err(interrupted);
        }
        held.step += 1;
        held.snapshot.version = held.snapshot.version.next();
        held.snapshot.document = document;
        held.snapshot.times.updated = at;
        held.index = index;
        Ok(held.snapshot.version)
    }

    fn prepare_checkpoint(
        &self,
        document: &Document,
        index: &OwnedIndex,
    ) -> Result<Settle, Interrupted> {
        let (node, acquire) = (&self.node, &self.acquire);
        let held = self.held();
        if let Some(cost) = &held.ended_by {
            return Err(cost.into());
        }
        if held.ended {
            return Err(Interrupted::Lost);
        }
        // What is known to be too large never reaches the store, which would let the order go.
        if node.fits(document).is_err() || held.step >= node.limits.checkpoints {
            return Err(Interrupted::Unwritable);
        }
        let at = held.store_now(node.now());
        let change = Change {
            before: held.snapshot.document.clone(),
            after: document.clone(),
            index: index.clone(),
            at,
        };
        let entry = NewEntry {
            operation: acquire.operation.clone(),
            attempt: held.attempt,
            at,
            retention: node.limits.retention,
        };
        Ok(Settle {
            claim: acquire.claim.clone(),
            fence: held.fence,
            step: held.step,
            version: held.snapshot.version,
            entry,
            part: Part::Checkpoint(change),
        })
    }
}
