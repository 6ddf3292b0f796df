//! What a handler holds: the order, and its word on the lease.

use std::ops::Deref;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::oneshot;

use super::ended::Snapshot;
use super::node::Node;
use super::settle::Settling;
use crate::store::{Acquire, Change, Entry, Fate, Grant, NewEntry, Settled, Then};
use crate::{Document, Fence, OperationKey, OrderId, OrderType, OutcomeKind, OwnedIndex, Version};

/// An order that this handler, and nobody else, may change, by returning it.
///
/// It reads like the order itself. There is no way to write through it: the handler returns what
/// the order is to become.
///
/// ```
/// use orderlock_core::{LockedOrder, Outcome, Problem};
/// # use serde::{Deserialize, Serialize};
/// # #[derive(Serialize, Deserialize)]
/// # struct Order { open: bool }
/// # impl orderlock_core::OrderType for Order {}
/// async fn close(order: LockedOrder<Order>) -> Result<Outcome<Order>, std::io::Error> {
///     if !order.open {
///         return Ok(Outcome::Refused(Problem::new(409, "closed", "The order is closed")));
///     }
///     Ok(Outcome::Applied(Order { open: false }))
/// }
/// ```
#[derive(Debug)]
pub struct LockedOrder<T> {
    order: T,
    lease: HeldLease,
}

/// The lease of a [`LockedOrder`] without the order.
#[derive(Debug)]
pub struct HeldLease {
    shared: Arc<HandlerLease>,
    version: Version,
    attempt: u32,
    deadline: Instant,
    progress: Option<Arc<Entry>>,
}

/// Why a checkpoint did not go through. Whatever the handler returns after it is not applied.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Interrupted {
    /// The lease was lost.
    #[error("the lease was lost before the checkpoint")]
    Lost,
    /// The store's answer was lost.
    #[error("the store did not say whether the checkpoint was applied")]
    Unknown,
    /// The order cannot be written as JSON, is too large, or there were too many checkpoints.
    #[error("the checkpoint cannot be stored")]
    Unwritable,
}

/// What handler and lifecycle share.
pub(crate) struct HandlerLease {
    /// None outside a lifecycle, in tests of handlers.
    node: Option<Arc<Node>>,
    acquire: Option<Acquire>,
    order: OrderId,
    key: OperationKey,
    without_effect: AtomicBool,
    held: Mutex<Held>,
    /// Held while a checkpoint is on its way, so that the end waits for it.
    pub(crate) settling: tokio::sync::Mutex<()>,
}

impl std::fmt::Debug for HandlerLease {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("HandlerLease")
            .field("order", &self.order)
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
    /// Set by a checkpoint that was lost or whose answer was: nothing more can be applied.
    pub(crate) interrupted: Option<Interrupted>,
    /// The store's clock at the grant, and this node's own: the difference of now and then,
    /// added to the first, is the store's clock now, whatever this machine's clock says.
    pub(crate) granted: (crate::Timestamp, Instant),
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
            interrupted: None,
            granted: (grant.now, node.now()),
        };
        Self {
            node: Some(Arc::clone(node)),
            acquire: Some(acquire.clone()),
            order: acquire.claim.order.clone(),
            key,
            without_effect: AtomicBool::new(false),
            held: Mutex::new(held),
            settling: tokio::sync::Mutex::default(),
        }
    }

    pub(crate) fn held(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn is_without_effect(&self) -> bool {
        self.without_effect.load(Ordering::Acquire)
    }

    /// What checkpoints have applied, if any has.
    pub(crate) fn partial(&self) -> Option<Snapshot> {
        let held = self.held();
        (held.step > 0).then(|| held.snapshot.clone())
    }
}

impl Held {
    /// The store's clock now.
    pub(crate) fn store_now(&self, now: Instant) -> crate::Timestamp {
        let (granted, since) = self.granted;
        granted
            .saturating_add(now.saturating_duration_since(since))
            .unwrap_or(granted)
    }
}

impl<T> Deref for LockedOrder<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.order
    }
}

impl<T> LockedOrder<T> {
    pub(crate) fn new(order: T, lease: HeldLease) -> Self {
        Self { order, lease }
    }

    /// The order itself, moved out, and its lease.
    #[must_use]
    pub fn split(self) -> (T, HeldLease) {
        (self.order, self.lease)
    }

    /// The same lease round another view of the order.
    ///
    /// # Errors
    /// Those of the conversion.
    pub fn try_map<U, E>(self, map: impl FnOnce(T) -> Result<U, E>) -> Result<LockedOrder<U>, E> {
        Ok(LockedOrder {
            order: map(self.order)?,
            lease: self.lease,
        })
    }

    /// The lease: id, key, version, attempt and deadline.
    #[must_use]
    pub fn lease(&self) -> &HeldLease {
        &self.lease
    }

    /// Which order it is.
    #[must_use]
    pub fn id(&self) -> &OrderId {
        self.lease.id()
    }

    /// The operation's key, from which keys for outside services are derived.
    #[must_use]
    pub fn key(&self) -> &OperationKey {
        self.lease.key()
    }

    /// The order's version.
    #[must_use]
    pub fn version(&self) -> Version {
        self.lease.version
    }

    /// Which run of the key this is, counted in marks and checkpoints; otherwise 1.
    #[must_use]
    pub fn attempt(&self) -> u32 {
        self.lease.attempt
    }

    /// When the handler's time is over.
    #[must_use]
    pub fn deadline(&self) -> Instant {
        self.lease.deadline
    }

    /// The last checkpoint of an earlier run of the same key.
    #[must_use]
    pub fn progress(&self) -> Option<&Entry> {
        self.lease.progress.as_deref()
    }

    /// Declares that the failure that is about to be returned had no effect outside, and gives it
    /// back: an external operation's mark then ends with the lease.
    pub fn without_effect<E>(&self, failure: E) -> E {
        self.lease.without_effect(failure)
    }

    /// See [`HeldLease::checkpoint`].
    ///
    /// # Errors
    /// See there.
    pub async fn checkpoint(self, changed: T) -> Result<Self, Interrupted>
    where
        T: OrderType,
    {
        self.lease.checkpoint(changed).await
    }
}

impl HeldLease {
    pub(crate) fn new(shared: Arc<HandlerLease>, grant: &Grant, deadline: Instant) -> Self {
        Self {
            shared,
            version: grant.version,
            attempt: grant.attempt,
            deadline,
            progress: grant.progress.as_deref().cloned().map(Arc::new),
        }
    }

    /// A lease outside any lifecycle, for tests of handlers: its checkpoints go nowhere.
    pub(crate) fn detached(order: OrderId, key: OperationKey, now: Instant) -> Self {
        let held = Held {
            fence: Fence(0),
            snapshot: Snapshot {
                version: Version::FIRST,
                document: Document::trusted("null"),
                times: crate::Times {
                    created: crate::Timestamp::UNIX_EPOCH,
                    updated: crate::Timestamp::UNIX_EPOCH,
                },
            },
            index: OwnedIndex::default(),
            attempt: 1,
            step: 0,
            interrupted: None,
            granted: (crate::Timestamp::UNIX_EPOCH, now),
        };
        let shared = HandlerLease {
            node: None,
            acquire: None,
            order,
            key,
            without_effect: AtomicBool::new(false),
            held: Mutex::new(held),
            settling: tokio::sync::Mutex::default(),
        };
        let deadline = now + Duration::from_secs(30);
        let shared = Arc::new(shared);
        Self {
            shared,
            version: Version::FIRST,
            attempt: 1,
            deadline,
            progress: None,
        }
    }

    /// Which order it is.
    #[must_use]
    pub fn id(&self) -> &OrderId {
        &self.shared.order
    }

    /// The operation's key, from which keys for outside services are derived.
    #[must_use]
    pub fn key(&self) -> &OperationKey {
        &self.shared.key
    }

    /// See [`LockedOrder::without_effect`].
    pub fn without_effect<E>(&self, failure: E) -> E {
        self.shared.without_effect.store(true, Ordering::Release);
        failure
    }

    /// Settles what is done so far and keeps the lease. Returns when that is durable, with the
    /// order at its next version, so that the handler cannot go on with the old one. A retry is
    /// never answered with it; the next attempt of the same key is given it.
    ///
    /// # Errors
    /// [`Interrupted`]: the handler must stop; whatever it returns is not applied.
    pub async fn checkpoint<T: OrderType>(self, changed: T) -> Result<LockedOrder<T>, Interrupted> {
        let index = changed.index().to_owned();
        let document = Document::encode(&changed).map_err(|_| Interrupted::Unwritable)?;
        let version = match &self.shared.node {
            None => self.version.next(),
            Some(node) => {
                // In a task of its own: if the handler is dropped half way, its end still waits
                // for what has been sent, and knows what came of it.
                let (done, result) = oneshot::channel();
                let shared = Arc::clone(&self.shared);
                node.runtime.spawn(Box::pin(async move {
                    let _on_the_way = shared.settling.lock().await;
                    let _handler_gone = done.send(shared.write_checkpoint(document, index).await);
                }));
                result.await.map_err(|_| Interrupted::Unknown)??
            }
        };
        Ok(LockedOrder {
            order: changed,
            lease: Self { version, ..self },
        })
    }
}

impl HandlerLease {
    async fn write_checkpoint(
        &self,
        document: Document,
        index: OwnedIndex,
    ) -> Result<Version, Interrupted> {
        let (Some(node), Some(acquire)) = (&self.node, &self.acquire) else {
            return Err(Interrupted::Lost);
        };
        let settling = {
            let held = self.held();
            if let Some(interrupted) = held.interrupted {
                return Err(interrupted);
            }
            if held.step >= node.limits.checkpoints {
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
                outcome: OutcomeKind::Checkpoint,
                attempt: held.attempt,
                at,
                answer: None,
                retention: node.limits.retention,
            };
            Settling {
                claim: acquire.claim.clone(),
                fence: held.fence,
                step: held.step,
                version: held.snapshot.version,
                change: Some(change),
                entry,
            }
        };
        let at = settling.entry.at;
        let result = match node.settle(&settling, || Then::Keep).await {
            Ok(Settled::Accepted(accepted)) => match accepted.durable.await {
                Ok(Fate::Durable) => Ok(()),
                Ok(Fate::Lost(_)) => Err(Interrupted::Lost),
                Err(_) => Err(Interrupted::Unknown),
            },
            Ok(Settled::Lost(_)) => Err(Interrupted::Lost),
            Ok(Settled::Impossible(_)) => Err(Interrupted::Unwritable),
            Err(error) if error.may_have_happened() => Err(Interrupted::Unknown),
            Err(_) => Err(Interrupted::Lost),
        };
        let mut held = self.held();
        if let Err(interrupted) = result {
            held.interrupted = Some(interrupted);
            return Err(interrupted);
        }
        held.step += 1;
        held.snapshot.version = held.snapshot.version.next();
        held.snapshot.document = document;
        held.snapshot.times.updated = at;
        held.index = index;
        Ok(held.snapshot.version)
    }
}
