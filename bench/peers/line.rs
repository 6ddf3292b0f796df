//! Waiting in line for an order within a process: who came first goes first, and is woken up.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::OwnedMutexGuard;

/// The lines of waiting requests: one for each order that this process works on.
#[derive(Default)]
pub(super) struct Lines(Mutex<HashMap<String, Arc<tokio::sync::Mutex<()>>>>);

/// The right to be the only one of this process at an order.
pub(super) struct Turn<'a> {
    lines: &'a Lines,
    order: String,
    /// None only while it is dropped.
    turn: Option<OwnedMutexGuard<()>>,
}

impl Lines {
    /// Waits in line. Tokio's mutex wakes those who wait in the order in which they came.
    pub(super) async fn enter(&self, order: &str) -> Turn<'_> {
        let line = Arc::clone(self.lock().entry(order.to_owned()).or_default());
        Turn {
            lines: self,
            order: order.to_owned(),
            turn: Some(line.lock_owned().await),
        }
    }

    /// Each change of the map is one step, so that a panic elsewhere leaves it whole.
    fn lock(&self) -> MutexGuard<'_, HashMap<String, Arc<tokio::sync::Mutex<()>>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        drop(self.turn.take());
        let mut lines = self.lines.lock();
        // A waiting request holds the line too, so a line that only the map holds is empty.
        let empty = |line: &Arc<_>| Arc::strong_count(line) == 1;
        if lines.get(&self.order).is_some_and(empty) {
            lines.remove(&self.order);
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;

    #[tokio::test]
    async fn those_who_wait_go_in_order_and_leave_nothing_behind() {
        let lines = Lines::default();
        let first = lines.enter("o").await;
        let (mut second, mut third) = (Box::pin(lines.enter("o")), Box::pin(lines.enter("o")));
        assert!(second.as_mut().now_or_never().is_none());
        assert!(third.as_mut().now_or_never().is_none());
        assert!(lines.enter("other").now_or_never().is_some());
        drop(first);
        assert!(third.as_mut().now_or_never().is_none());
        drop(second.await);
        drop(third.await);
        assert!(lines.lock().is_empty());
    }
}
