//! What an operator decides: to break a lease, to end a mark. Both stand in the journal.

use orderlock_core::StoreError;
use orderlock_core::store::{BreakLease, Broken, Resolve, Resolved};

use crate::store::Inner;

pub(crate) async fn break_lease(
    _inner: &Inner,
    _request: &BreakLease,
) -> Result<Broken, StoreError> {
    Err(StoreError::Unsupported("break_lease"))
}

pub(crate) async fn resolve(_inner: &Inner, _request: &Resolve) -> Result<Resolved, StoreError> {
    Err(StoreError::Unsupported("resolve"))
}
