//! What the testkit needs and nobody else: a locked order without a lock.

use std::time::Instant;

use crate::lifecycle::HeldLease;
use crate::{
    Caller, IdempotencyKey, LockedOrder, OperationKey, OperationName, OrderId, OrderType, Secret,
};

/// A locked order for the test of a handler, outside any lifecycle: its checkpoints go nowhere.
#[must_use]
pub fn locked_order<T: OrderType>(
    order: T,
    id: OrderId,
    operation: &OperationName,
    key: IdempotencyKey,
    now: Instant,
) -> LockedOrder<T> {
    let key = OperationKey::new(
        &Secret::new([0; 32]),
        &Caller::single(),
        &id,
        operation,
        key,
    );
    LockedOrder::new(order, HeldLease::detached(id, key, now))
}
