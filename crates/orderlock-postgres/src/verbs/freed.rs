//! Who waits in this process for an order is told when it was let go through this store.

use std::future::ready;

use futures_util::StreamExt as _;
use futures_util::stream::BoxStream;
use orderlock_core::Target;
use tokio::sync::broadcast;
use tokio_stream::wrappers::BroadcastStream;

/// How many freed orders a slow listener may lag behind before it loses some.
const LAG_MAX: usize = 1_024;

/// The orders that are let go.
#[derive(Debug)]
pub(crate) struct Freed(broadcast::Sender<Target>);

impl Default for Freed {
    fn default() -> Self {
        Self(broadcast::Sender::new(LAG_MAX))
    }
}

impl Freed {
    /// The orders that are let go from now on.
    pub(crate) fn listen(&self) -> BoxStream<'static, Target> {
        let freed = BroadcastStream::new(self.0.subscribe());
        freed.filter_map(|target| ready(target.ok())).boxed()
    }

    /// Tells those who wait that an order was let go. Nobody may be listening.
    pub(crate) fn announce(&self, target: Target) {
        let _ = self.0.send(target);
    }
}
