//! A gate for each order: verbs on one order leave this node one after the other, in the order in which
//! they were asked for. So no batch has two about one order, and none overtakes another in a batch
//! beside it.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use orderlock_core::Target;
use tokio::sync::oneshot;

/// The orders about which a verb is under way, and who waits to be the next one.
#[derive(Clone, Debug, Default)]
pub(crate) struct OrderGate(Arc<Mutex<HashMap<Target, VecDeque<oneshot::Sender<OrderPass>>>>>);

/// The right to send a verb about one order, until it is dropped.
#[derive(Debug)]
pub(crate) struct OrderPass {
    /// None once it has been given on.
    place: Option<(OrderGate, Target)>,
}

impl OrderGate {
    /// Waits until no other verb about this order is under way.
    pub(crate) async fn enter(&self, target: Target) -> OrderPass {
        let waiting = {
            let mut orders = self.lock();
            match orders.entry(target.clone()) {
                Entry::Vacant(free) => {
                    free.insert(VecDeque::new());
                    None
                }
                Entry::Occupied(mut taken) => {
                    let (sender, pass) = oneshot::channel();
                    taken.get_mut().push_back(sender);
                    Some(pass)
                }
            }
        };
        let pass = match waiting {
            None => None,
            Some(pass) => pass.await.ok(),
        };
        // Whoever has the pass gives it on, and never drops those who wait.
        pass.unwrap_or_else(|| OrderPass {
            place: Some((self.clone(), target)),
        })
    }

    /// Each change is one step, so that a panic elsewhere leaves it whole.
    fn lock(&self) -> MutexGuard<'_, HashMap<Target, VecDeque<oneshot::Sender<OrderPass>>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for OrderPass {
    fn drop(&mut self) {
        let Some((gate, target)) = self.place.take() else {
            return;
        };
        loop {
            let next = {
                let mut orders = gate.lock();
                let next = orders.get_mut(&target).and_then(VecDeque::pop_front);
                if next.is_none() {
                    orders.remove(&target);
                }
                next
            };
            let Some(next) = next else {
                return;
            };
            let pass = Self {
                place: Some((gate.clone(), target.clone())),
            };
            match next.send(pass) {
                Ok(()) => return,
                // Nobody waits there any more: the pass comes back, and goes to the one behind.
                Err(mut unsent) => unsent.place = None,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;
    use orderlock_core::{OrderId, Tenant};

    use super::*;

    fn target(order: &str) -> Target {
        Target {
            tenant: Tenant::single(),
            order: OrderId::parse(order).unwrap(),
        }
    }

    #[tokio::test]
    async fn verbs_pass_in_the_order_of_asking() {
        let gate = OrderGate::default();
        let first = gate.enter(target("o1")).await;
        let mut second = Box::pin(gate.enter(target("o1")));
        let mut third = Box::pin(gate.enter(target("o1")));
        assert!(second.as_mut().now_or_never().is_none());
        assert!(third.as_mut().now_or_never().is_none());
        assert!(gate.enter(target("o2")).now_or_never().is_some());
        drop(first);
        assert!(third.as_mut().now_or_never().is_none());
        let second = second.await;
        drop(second);
        drop(third.await);
        assert!(gate.lock().is_empty(), "nothing is left behind");
    }

    #[tokio::test]
    async fn whoever_has_gone_is_passed_over() {
        let gate = OrderGate::default();
        let first = gate.enter(target("o1")).await;
        let mut gone = Box::pin(gate.enter(target("o1")));
        let mut waiting = Box::pin(gate.enter(target("o1")));
        assert!(gone.as_mut().now_or_never().is_none());
        assert!(waiting.as_mut().now_or_never().is_none());
        drop(gone);
        drop(first);
        drop(waiting.await);
        // Given the pass, and gone before taking it.
        let first = gate.enter(target("o1")).await;
        let mut gone = Box::pin(gate.enter(target("o1")));
        assert!(gone.as_mut().now_or_never().is_none());
        drop(first);
        drop(gone);
        assert!(gate.lock().is_empty());
    }
}
