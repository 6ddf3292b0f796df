//! A store whose settles become durable when the test says so.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use futures_util::FutureExt as _;
use futures_util::stream::BoxStream;
use orderlock_core::store::{
    Acquire, Acquired, BreakLease, Broken, Create, Created, Durable, Entries, EntriesSince, Entry,
    Expire, Expired, Fate, History, Join, Joined, Known, Leases, Leave, Left, List, Lookup, Loss,
    OrderView, Page, Read, Release, Released, Renew, Renewed, Resolve, Resolved, Settle, Settled,
    StoreFuture, StoreInfo, Sweep, Swept, Undo,
};
use orderlock_core::{Fence, LeaseView, OrderStore, StoreError, Target};
use orderlock_testkit::MemoryStore;
use tokio::sync::{Notify, oneshot};

type Told = Result<Fate, StoreError>;

/// What a store's journal has of a key whose flush failed.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) enum Journal {
    /// The settle.
    #[default]
    Whole,
    /// Nothing.
    Forgets,
    /// The settle of another grant: this one was thrown away, and the key has run again.
    Another,
    /// A settle whose answer is past its retention: nobody can tell whose it was.
    Expired,
}

/// The model, which accepts a settle that hands over before it is durable.
#[derive(Clone, Debug)]
pub(crate) struct Late {
    memory: Arc<MemoryStore>,
    waiting: Arc<Mutex<VecDeque<oneshot::Sender<Told>>>>,
    accepted: Arc<Notify>,
    journal: Arc<Mutex<Journal>>,
}

impl Late {
    pub(crate) fn new(memory: Arc<MemoryStore>) -> Self {
        Self {
            memory,
            waiting: Arc::default(),
            accepted: Arc::default(),
            journal: Arc::default(),
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

    /// Nobody knows what became of it, but for the journal.
    pub(crate) fn fail(&self, journal: Journal) {
        *self.journal.lock().unwrap() = journal;
        self.tell(Err(StoreError::OutcomeUnknown("planned".into())));
    }

    fn tell(&self, told: Told) {
        let oldest = self.waiting.lock().unwrap().pop_front();
        oldest.expect("a settle waits").send(told).unwrap();
    }

    async fn settle_late(&self, request: Settle) -> Result<Settled, StoreError> {
        let mut accepted = match self.memory.settle(request).await? {
            Settled::Accepted(accepted) => accepted,
            other => return Ok(other),
        };
        if accepted.next.is_some() {
            let (tell, told) = oneshot::channel();
            self.waiting.lock().unwrap().push_back(tell);
            accepted.durable = Durable::later(async { told.await.unwrap() });
            self.accepted.notify_one();
        }
        Ok(Settled::Accepted(accepted))
    }

    async fn look_up(&self, request: Lookup) -> Result<Known, StoreError> {
        let journal = *self.journal.lock().unwrap();
        let known = self.memory.lookup(request).await?;
        Ok(match (journal, known) {
            (Journal::Forgets, _) => Known::Unknown,
            (Journal::Another, Known::Settled(mut entry)) => {
                entry.fence = Some(Fence(0));
                Known::Settled(entry)
            }
            (Journal::Expired, Known::Settled(entry)) => Known::Expired(entry.fingerprint),
            (_, known) => known,
        })
    }
}

macro_rules! as_the_model {
    ($($verb:ident: $request:ty => $answer:ty;)+) => {
        impl OrderStore for Late {
            fn describe(&self) -> StoreInfo {
                self.memory.describe()
            }

            fn freed(&self) -> BoxStream<'static, Target> {
                self.memory.freed()
            }

            fn settle(&self, request: Settle) -> StoreFuture<'_, Settled> {
                self.settle_late(request).boxed()
            }

            fn lookup(&self, request: Lookup) -> StoreFuture<'_, Known> {
                self.look_up(request).boxed()
            }

            $(fn $verb(&self, request: $request) -> StoreFuture<'_, $answer> {
                self.memory.$verb(request)
            })+
        }
    };
}

as_the_model! {
    join: Join => Joined;
    renew: Renew => Renewed;
    leave: Leave => Left;
    sweep: Sweep => Swept;
    create: Create => Created;
    read: Read => Option<OrderView>;
    list: List => Page<OrderView>;
    history: History => Option<Page<Entry>>;
    acquire: Acquire => Acquired;
    release: Release => Released;
    undo: Undo => Released;
    leases: Leases => Page<LeaseView>;
    break_lease: BreakLease => Broken;
    resolve: Resolve => Resolved;
    entries_since: EntriesSince => Entries;
    expire: Expire => Expired;
}
