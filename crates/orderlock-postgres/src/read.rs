//! Reads of one order, and what became of a key.

use orderlock_core::StoreError;
use orderlock_core::store::{Known, Lookup, OrderView, Read};

use crate::store::Inner;

pub(crate) async fn read(_inner: &Inner, _request: &Read) -> Result<Option<OrderView>, StoreError> {
    Err(StoreError::Unsupported("read"))
}

pub(crate) async fn lookup(_inner: &Inner, _request: &Lookup) -> Result<Known, StoreError> {
    Err(StoreError::Unsupported("lookup"))
}
