//! What a handler holds: the order, and its word on the lease.

use std::ops::Deref;
use std::sync::Arc;
use std::time::Instant;

use super::checkpoint::HandlerLease;
use crate::store::{Entry, Grant};
use crate::{Document, LeaseId, OperationKey, OrderId, OrderType, Undone, Version};

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

/// Why a checkpoint did not go through.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Interrupted {
    /// The lease was lost: whatever the handler returns now is not applied.
    #[error("the lease was lost before the checkpoint")]
    Lost,
    /// The store's answer was lost: whatever the handler returns now is not applied.
    #[error("the store did not say whether the checkpoint was applied")]
    Unknown,
    /// The order cannot be written as JSON, is too large, or there were too many checkpoints: the
    /// lease is as it was, and the handler may still return an outcome. Only if the store itself
    /// refuses the order by a constraint of its own the lease is gone, and the attempt ends as one
    /// whose order cannot be stored, whatever the handler returns.
    #[error("the checkpoint cannot be stored")]
    Unwritable,
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

    /// The name of this grant, as operators see it in the list of leases. No other run has it,
    /// not even one under the same key.
    #[must_use]
    pub fn lease_id(&self) -> LeaseId {
        let shared = &self.lease.shared;
        LeaseId::of_grant(shared.held().fence, shared.order())
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

    /// Declares that this failure had no effect outside. If it is what the handler returns, an
    /// external operation's mark ends with the lease; any other failure leaves it. See [`Undone`].
    pub fn without_effect<E>(&self, failure: impl Into<E>) -> Undone<E> {
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

    /// Which order it is.
    #[must_use]
    pub fn id(&self) -> &OrderId {
        self.shared.order()
    }

    /// The operation's key, from which keys for outside services are derived.
    #[must_use]
    pub fn key(&self) -> &OperationKey {
        self.shared.key()
    }

    /// See [`LockedOrder::without_effect`].
    pub fn without_effect<E>(&self, failure: impl Into<E>) -> Undone<E> {
        Undone::without_effect(failure.into())
    }

    /// Settles what is done so far and keeps the lease. Returns when that is durable, with the
    /// order at its next version, so that the handler cannot go on with the old one. A retry is
    /// never answered with it; the next attempt of the same key is given it.
    ///
    /// # Errors
    /// [`Interrupted`]: it was not applied, as far as that is known.
    pub async fn checkpoint<T: OrderType>(self, changed: T) -> Result<LockedOrder<T>, Interrupted> {
        let index = changed.index().to_owned();
        let document = Document::encode(&changed).map_err(|_| Interrupted::Unwritable)?;
        let version = HandlerLease::checkpoint(&self.shared, document, index).await?;
        Ok(LockedOrder {
            order: changed,
            lease: Self { version, ..self },
        })
    }
}
