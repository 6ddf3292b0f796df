//! What others may see and end of orders, entries and leases: each within the limit for the store.

use super::Lifecycle;
use super::tries::Retry;
use super::verbs::Unanswered;
use crate::store::{BreakLease, Broken, Entry, History, Leases, List, OrderView, Page, Read};
use crate::{LeaseView, OrderStore as _, StoreError};

impl Lifecycle {
    /// One order, or none of that tenant's by that id: one snapshot of committed state.
    ///
    /// # Errors
    /// [`StoreError`] if the store did not answer within [`Limits::store`](crate::Limits::store).
    pub async fn read(&self, request: Read) -> Result<Option<OrderView>, StoreError> {
        self.node.ask(self.node.store.read(request)).await
    }

    /// A page of orders, newest first.
    ///
    /// # Errors
    /// Those of [`read`](Self::read), or that the cursor is not one of this store's.
    pub async fn list(&self, request: List) -> Result<Page<OrderView>, StoreError> {
        self.node.ask(self.node.store.list(request)).await
    }

    /// A page of an order's entries, oldest first; none if there is no such order.
    ///
    /// # Errors
    /// Those of [`list`](Self::list).
    pub async fn history(&self, request: History) -> Result<Option<Page<Entry>>, StoreError> {
        self.node.ask(self.node.store.history(request)).await
    }

    /// A page of held, marked and foreign leases.
    ///
    /// # Errors
    /// Those of [`list`](Self::list).
    pub async fn leases(&self, request: Leases) -> Result<Page<LeaseView>, StoreError> {
        self.node.ask(self.node.store.leases(request)).await
    }

    /// Breaks one grant, with an entry that says who and why, durably. If this node holds it, its
    /// line goes on at once: whoever waits gets the order, and what the handler still returns is not
    /// applied. Another node learns of it with its next renewal. A mark stays.
    ///
    /// # Errors
    /// [`StoreError`], which says whether it may have happened. The same request may be sent again:
    /// it finds that the grant has ended.
    pub async fn break_lease(&self, request: BreakLease) -> Result<Broken, StoreError> {
        let node = &self.node;
        let by = node.deadline();
        let ask = || node.store.break_lease(request.clone());
        let broken = node.until_answered(Retry::MayPass, Some(by), ask).await;
        let broken = broken.map_err(Unanswered::into_error);
        match &broken {
            Ok(Broken::Broken(view)) => node.lines.broken(&view.target, &view.id),
            // Perhaps by a try of ours whose answer was lost.
            Ok(Broken::NotFound) | Err(_) => node.look.notify_one(),
        }
        broken
    }
}
