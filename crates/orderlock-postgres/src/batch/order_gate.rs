//! Verbs on one order leave this node one after the other, in the order in which they were asked
//! for: so no batch has two about one order, and none overtakes another in a batch beside it.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use orderlock_core::Target;
use tokio::sync::oneshot;

/// The orders about which a verb is under way, and who waits for the next turn.
#[derive(Clone, Debug, Default)]
pub(crate) struct Turns(Arc<Mutex<HashMap<Target, VecDeque<oneshot::Sender<Turn>>>>>);

/// The right to speak about one order, until it is dropped.
#[derive(Debug)]
pub(crate) struct Turn {
    /// None once it has been given on.
    place: Option<(Turns, Target)>,
}

impl Turns {
    /// Waits for the turn at an order.
    pub(crate) async fn take(&self, target: Target) -> Turn {
        let waiting = {
            let mut orders = self.lock();
            match orders.entry(target.clone()) {
                Entry::Vacant(free) => {
                    free.insert(VecDeque::new());
                    None
                }
                Entry::Occupied(mut taken) => {
                    let (sender, turn) = oneshot::channel();
                    taken.get_mut().push_back(sender);
                    Some(turn)
                }
            }
        };
        let turn = match waiting {
            None => None,
            Some(turn) => turn.await.ok(),
        };
        // Whoever has the turn gives it on, and never drops those who wait.
        turn.unwrap_or_else(|| Turn {
            place: Some((self.clone(), target)),
        })
    }

    /// Each change is one step, so that a panic elsewhere leaves it whole.
    fn lock(&self) -> MutexGuard<'_, HashMap<Target, VecDeque<oneshot::Sender<Turn>>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        let Some((turns, target)) = self.place.take() else {
            return;
        };
        loop {
            let next = {
                let mut orders = turns.lock();
                let next = orders.get_mut(&target).and_then(VecDeque::pop_front);
                if next.is_none() {
                    orders.remove(&target);
                }
                next
            };
            let Some(next) = next else {
                return;
            };
            let turn = Self {
                place: Some((turns.clone(), target.clone())),
            };
            match next.send(turn) {
                Ok(()) => return,
                // Nobody waits there any more: the turn comes back, and goes to the one behind.
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
    async fn turns_are_taken_in_the_order_of_asking() {
        let turns = Turns::default();
        let first = turns.take(target("o1")).await;
        let mut second = Box::pin(turns.take(target("o1")));
        let mut third = Box::pin(turns.take(target("o1")));
        assert!(second.as_mut().now_or_never().is_none());
        assert!(third.as_mut().now_or_never().is_none());
        assert!(turns.take(target("o2")).now_or_never().is_some());
        drop(first);
        assert!(third.as_mut().now_or_never().is_none());
        let second = second.await;
        drop(second);
        drop(third.await);
        assert!(turns.lock().is_empty(), "nothing is left behind");
    }

    #[tokio::test]
    async fn whoever_has_gone_is_passed_over() {
        let turns = Turns::default();
        let first = turns.take(target("o1")).await;
        let mut gone = Box::pin(turns.take(target("o1")));
        let mut waiting = Box::pin(turns.take(target("o1")));
        assert!(gone.as_mut().now_or_never().is_none());
        assert!(waiting.as_mut().now_or_never().is_none());
        drop(gone);
        drop(first);
        drop(waiting.await);
        // Given a turn, and gone before taking it.
        let first = turns.take(target("o1")).await;
        let mut gone = Box::pin(turns.take(target("o1")));
        assert!(gone.as_mut().now_or_never().is_none());
        drop(first);
        drop(gone);
        assert!(turns.lock().is_empty());
    }
}
