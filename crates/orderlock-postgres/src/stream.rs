//! The journal as a stream: one order for every reader, which no late commit can disturb.

use orderlock_core::StoreError;
use orderlock_core::store::{Entries, EntriesSince};

use crate::store::Inner;

pub(crate) async fn entries_since(
    _inner: &Inner,
    _request: &EntriesSince,
) -> Result<Entries, StoreError> {
    Err(StoreError::Unsupported("entries_since"))
}
