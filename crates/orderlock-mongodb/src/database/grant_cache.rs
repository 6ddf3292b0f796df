//! A cache of the orders that this node holds, as they were granted: a settle then needs no look at the
//! order before it writes. What is here may be old; every write names the revision that it rests on.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use mongodb::bson::Bson;
use orderlock_core::Fence;

use crate::document::fields::size;
use crate::document::order::OrderDocument;

/// How many bytes of orders are kept. A grant that is not kept is looked up again.
const BYTES_MAX: usize = 64 * 1024 * 1024;

/// What an order takes beside its fields and the entries that wait in it, about.
const BYTES_BESIDE: usize = 4 * 1024;

/// The grants of this node.
#[derive(Debug, Default)]
pub(crate) struct GrantCache(Mutex<Cached>);

#[derive(Debug, Default)]
struct Cached {
    orders: HashMap<Fence, (Arc<OrderDocument>, usize)>,
    bytes: usize,
}

impl Cached {
    fn remove(&mut self, fence: Fence) {
        if let Some((_, bytes)) = self.orders.remove(&fence) {
            self.bytes -= bytes;
        }
    }
}

impl GrantCache {
    /// Keeps an order, if it is not too large for that. Which others go does not matter: each costs
    /// its settle one more look.
    pub(crate) fn keep(&self, fence: Fence, order: OrderDocument) {
        let bytes = size(&order.own) + order.pending_bytes() + BYTES_BESIDE;
        let mut cached = self.lock();
        cached.remove(fence);
        if bytes > BYTES_MAX {
            return;
        }
        while cached.bytes + bytes > BYTES_MAX
            && let Some(other) = cached.orders.keys().next().copied()
        {
            cached.remove(other);
        }
        cached.bytes += bytes;
        cached.orders.insert(fence, (Arc::new(order), bytes));
    }

    /// The order that was granted under this fence, if it is the one that is asked for.
    pub(crate) fn get(&self, fence: Fence, id: &Bson) -> Option<Arc<OrderDocument>> {
        let cached = self.lock();
        let (order, _) = cached.orders.get(&fence)?;
        (order.id == *id).then(|| Arc::clone(order))
    }

    pub(crate) fn forget(&self, fence: Fence) {
        self.lock().remove(fence);
    }

    fn lock(&self) -> MutexGuard<'_, Cached> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use mongodb::bson::doc;

    use super::*;

    fn order(bytes: usize) -> OrderDocument {
        OrderDocument::read(doc! {"_id": "o1", "text": "x".repeat(bytes)}).unwrap()
    }

    #[test]
    fn what_is_kept_is_bounded_in_bytes() {
        let cache = GrantCache::default();
        let id = Bson::from("o1");
        for fence in 0..100 {
            cache.keep(Fence(fence), order(1024 * 1024));
            assert!(
                cache.get(Fence(fence), &id).is_some(),
                "the newest is there"
            );
        }
        let kept = (0..100).filter(|fence| cache.get(Fence(*fence), &id).is_some());
        assert_eq!(kept.count(), 63);
        for fence in 0..100 {
            cache.forget(Fence(fence));
        }
        assert_eq!(cache.lock().bytes, 0);
        cache.keep(Fence(1), order(BYTES_MAX));
        assert!(
            cache.get(Fence(1), &id).is_none(),
            "it is too large to be kept"
        );
    }

    #[test]
    fn another_orders_fence_is_none_of_this_one() {
        let cache = GrantCache::default();
        cache.keep(Fence(1), order(1));
        assert!(cache.get(Fence(1), &"o2".into()).is_none());
        assert!(cache.get(Fence(2), &"o1".into()).is_none());
    }
}
