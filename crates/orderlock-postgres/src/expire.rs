//! The end of answers, and then of tombstones.

use orderlock_core::StoreError;
use orderlock_core::store::{Expire, Expired};

use crate::store::Inner;

pub(crate) async fn expire(_inner: &Inner, _request: &Expire) -> Result<Expired, StoreError> {
    Err(StoreError::Unsupported("expire"))
}
