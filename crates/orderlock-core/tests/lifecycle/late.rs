//! A store whose settles become durable when the test says so.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use futures_util::FutureExt as _;
use orderlock_core::store::{Durable, Fate, Loss, Settle, Settled, StoreFuture};
use orderlock_core::{OrderStore, StoreError, forward};
use orderlock_testkit::MemoryStore;
use tokio::sync::{Notify, oneshot};

type Told = Result<Fate, StoreError>;

/// The model, which accepts a settle that hands over before it is durable.
#[derive(Clone, Debug)]
pub(crate) struct Late {
    memory: Arc<MemoryStore>,
    waiting: Arc<Mutex<VecDeque<Waiting>>>,
    accepted: Arc<Notify>,
}

/// A settle that was accepted, and the store before it.
#[derive(Debug)]
struct Waiting {
    tell: oneshot::Sender<Told>,
    before: MemoryStore,
}

impl Late {
    pub(crate) fn new(memory: Arc<MemoryStore>) -> Self {
        Self {
            memory,
            waiting: Arc::default(),
            accepted: Arc::default(),
        }
    }

    /// Waits until one more settle has been accepted.
    pub(crate) async fn accepted(&self) {
        self.accepted.notified().await;
    }

    /// The oldest settle that was accepted is durable.
    pub(crate) fn flush(&self) {
        self.tell(Ok(Fate::Durable));
    }

    /// It was thrown away, and with it every lease.
    pub(crate) fn lose(&self) {
        self.memory.void_all_leases();
        self.tell(Ok(Fate::Lost(Loss::NotHeld)));
    }

    /// Its flush failed. What it has written is there all the same.
    pub(crate) fn fail_and_keep(&self, error: StoreError) {
        self.tell(Err(error));
    }

    /// Its flush failed, and all is as it was before it.
    pub(crate) fn fail_and_go_back(&self, error: StoreError) {
        let oldest = self.oldest();
        self.memory.go_back_to(&oldest.before);
        oldest.tell.send(Err(error)).unwrap();
    }

    fn tell(&self, told: Told) {
        self.oldest().tell.send(told).unwrap();
    }

    fn oldest(&self) -> Waiting {
        let oldest = self.waiting.lock().unwrap().pop_front();
        oldest.expect("a settle waits")
    }

    async fn settle_late(&self, request: Settle) -> Result<Settled, StoreError> {
        let before = self.memory.copy();
        let mut accepted = match self.memory.settle(request).await? {
            Settled::Accepted(accepted) => accepted,
            other => return Ok(other),
        };
        if accepted.next.is_some() {
            let (tell, told) = oneshot::channel();
            let waiting = Waiting { tell, before };
            self.waiting.lock().unwrap().push_back(waiting);
            accepted.durable = Durable::later(async { told.await.unwrap() });
            self.accepted.notify_one();
        }
        Ok(Settled::Accepted(accepted))
    }
}

impl OrderStore for Late {
    forward!(|late| late.memory;
        describe, freed, join, renew, leave, sweep, create, read, list, history, mark_end, lookup, acquire,
        release, undo, leases, break_lease, resolve, entries_since, expire);

    fn settle(&self, request: Settle) -> StoreFuture<'_, Settled> {
        self.settle_late(request).boxed()
    }
}
