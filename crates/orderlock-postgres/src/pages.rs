//! Pages of orders, entries and leases.

use orderlock_core::store::{Entry, History, Leases, List, OrderView, Page};
use orderlock_core::{LeaseView, StoreError};

use crate::store::Inner;

pub(crate) async fn list(_inner: &Inner, _request: &List) -> Result<Page<OrderView>, StoreError> {
    Err(StoreError::Unsupported("list"))
}

pub(crate) async fn history(
    _inner: &Inner,
    _request: &History,
) -> Result<Option<Page<Entry>>, StoreError> {
    Err(StoreError::Unsupported("history"))
}

pub(crate) async fn leases(
    _inner: &Inner,
    _request: &Leases,
) -> Result<Page<LeaseView>, StoreError> {
    Err(StoreError::Unsupported("leases"))
}
