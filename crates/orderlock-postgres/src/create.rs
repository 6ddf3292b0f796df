//! `create`: the order and its first entry in one write.

use orderlock_core::StoreError;
use orderlock_core::store::{Create, Created};

use crate::store::Inner;

pub(crate) async fn create(_inner: &Inner, _request: &Create) -> Result<Created, StoreError> {
    Err(StoreError::Unsupported("create"))
}
