//! The timeout of one verb, over all that it waits for.

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::{BoxFuture, Either, select};
use orderlock_core::Runtime;

/// One time for all that one verb waits for.
pub(crate) struct Deadline(BoxFuture<'static, ()>);

impl Deadline {
    pub(crate) fn after(runtime: &Arc<dyn Runtime>, time: Duration) -> Self {
        Self(runtime.sleep(time))
    }

    /// What comes in time; none if it does not.
    pub(crate) async fn within<T>(&mut self, future: impl Future<Output = T>) -> Option<T> {
        match select(pin!(future), &mut self.0).await {
            Either::Left((result, _)) => Some(result),
            Either::Right(_) => None,
        }
    }
}
