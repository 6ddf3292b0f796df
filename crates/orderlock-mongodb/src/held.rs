//! The orders that this node holds, as they were granted: a settle then needs no look at the order
//! before it writes. What is here may be old; every write names the turn that it rests on.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use mongodb::bson::Bson;
use orderlock_core::Fence;

use crate::document::OrderDocument;

/// How many grants are kept. One that is not is looked up again.
const HELD_MAX: usize = 16_384;

/// The grants of this node.
#[derive(Debug, Default)]
pub(crate) struct HeldOrders(Mutex<HashMap<Fence, Arc<OrderDocument>>>);

impl HeldOrders {
    pub(crate) fn keep(&self, fence: Fence, order: OrderDocument) {
        let mut held = self.lock();
        if held.len() >= HELD_MAX {
            // Which one goes does not matter: it costs its settle one more look.
            if let Some(other) = held.keys().next().copied() {
                held.remove(&other);
            }
        }
        held.insert(fence, Arc::new(order));
    }

    /// The order that was granted under this fence, if it is the one that is asked for.
    pub(crate) fn get(&self, fence: Fence, id: &Bson) -> Option<Arc<OrderDocument>> {
        let held = self.lock();
        held.get(&fence)
            .filter(|order| order.id == *id)
            .map(Arc::clone)
    }

    pub(crate) fn forget(&self, fence: Fence) {
        self.lock().remove(&fence);
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Fence, Arc<OrderDocument>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
