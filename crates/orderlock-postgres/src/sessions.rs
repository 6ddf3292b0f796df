//! Sessions: how a node says that it is alive, and what ends when it is not.

use orderlock_core::StoreError;
use orderlock_core::store::{Join, Joined, Leave, Left, Renew, Renewed, Sweep, Swept};

use crate::store::Inner;

pub(crate) async fn join(_inner: &Inner, _request: &Join) -> Result<Joined, StoreError> {
    Err(StoreError::Unsupported("join"))
}

pub(crate) async fn renew(_inner: &Inner, _request: &Renew) -> Result<Renewed, StoreError> {
    Err(StoreError::Unsupported("renew"))
}

pub(crate) async fn leave(_inner: &Inner, _request: &Leave) -> Result<Left, StoreError> {
    Err(StoreError::Unsupported("leave"))
}

pub(crate) async fn sweep(_inner: &Inner, _request: &Sweep) -> Result<Swept, StoreError> {
    Err(StoreError::Unsupported("sweep"))
}
