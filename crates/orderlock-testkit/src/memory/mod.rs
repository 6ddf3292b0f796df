//! The model of a store: one mutex round plain maps and obvious code. It is the oracle that real
//! stores are compared with, and the store of tests that need no disk.

mod journal;
mod leases;
mod orders;
mod sessions;
mod settle;
mod state;

use std::fmt;
use std::future::ready;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures_util::stream::BoxStream;
use futures_util::{FutureExt as _, StreamExt as _};
use orderlock_core::store::{
    Acquire, Acquired, BreakLease, Broken, Create, Created, Entries, EntriesSince, Entry, Expire,
    Expired, History, Join, Joined, Known, Leases, Leave, Left, List, Lookup, MarkEnd, OrderView,
    Page, Read, Release, Released, Renew, Renewed, Resolve, Resolved, Settle, Settled, StoreFuture,
    StoreInfo, Sweep, Swept, Undo,
};
use orderlock_core::{LeaseView, OrderStore, Runtime, SessionId, StoreError, Target};
use tokio_stream::wrappers::BroadcastStream;

use state::State;

/// The largest document that a [`MemoryStore`] accepts by default, in bytes.
const DOCUMENT_BYTES_MAX: usize = 1024 * 1024;

/// A store in memory: the model of what every store does. Clones are the same store.
///
/// Nothing in it survives the process, so that it is for tests only. Every settle is durable, as
/// far as that goes, when it is accepted.
#[derive(Clone)]
pub struct MemoryStore {
    runtime: Arc<dyn Runtime>,
    document_bytes_max: usize,
    state: Arc<Mutex<State>>,
}

impl MemoryStore {
    /// An empty store that takes its clock from the runtime.
    #[must_use]
    pub fn new(runtime: Arc<dyn Runtime>) -> Self {
        let state = State::new(runtime.wall(), runtime.now());
        Self {
            runtime,
            document_bytes_max: DOCUMENT_BYTES_MAX,
            state: Arc::new(Mutex::new(state)),
        }
    }

    /// The same store with another bound on documents, in bytes.
    #[must_use]
    pub fn with_document_bytes_max(self, document_bytes_max: usize) -> Self {
        Self {
            document_bytes_max,
            ..self
        }
    }

    /// Voids every lease, as any store may at any time. Sessions go on, marks stay.
    pub fn void_all_leases(&self) {
        self.state().void_all();
    }

    /// What a crash of the database may do: sessions and leases are gone, and all that was durable
    /// is there; marks are unattended.
    pub fn restart(&self) {
        let mut state = self.state();
        state.restart_clock(self.runtime.wall(), self.runtime.now());
        state.end_all_sessions();
        state.void_all();
    }

    /// What a restore from a backup does to those who read the journal: their cursors are of a
    /// past epoch.
    pub fn begin_epoch(&self) {
        self.state().begin_epoch();
    }

    /// The sessions that are alive.
    #[must_use]
    pub fn sessions(&self) -> Vec<SessionId> {
        self.state().sessions.keys().copied().collect()
    }

    /// A store of its own that knows what this one knows now.
    #[must_use]
    pub fn copy(&self) -> Self {
        let state = self.state().clone();
        Self {
            state: Arc::new(Mutex::new(state)),
            ..self.clone()
        }
    }

    /// Forgets all that has happened since a copy was made.
    pub fn go_back_to(&self, copy: &Self) {
        let state = copy.state().clone();
        *self.state() = state;
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // A check that panicked elsewhere has not left half a change: no code here can panic
        // between two writes.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Runs one verb, atomically, when its future is first polled.
    fn verb<'a, T: Send + 'a>(
        &'a self,
        verb: impl FnOnce(&mut State, jiff::Timestamp) -> Result<T, StoreError> + Send + 'a,
    ) -> StoreFuture<'a, T> {
        async move {
            let mut state = self.state();
            let now = self.runtime.wall();
            state.look_at_clocks(now, self.runtime.now());
            verb(&mut state, now)
        }
        .boxed()
    }
}

impl fmt::Debug for MemoryStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryStore").finish_non_exhaustive()
    }
}

#[deny(clippy::missing_trait_methods)]
impl OrderStore for MemoryStore {
    fn describe(&self) -> StoreInfo {
        StoreInfo {
            name: "memory",
            location: "this process".into(),
            durability: "none: everything goes with the process".into(),
            trouble: None,
            document_bytes_max: self.document_bytes_max,
        }
    }

    fn freed(&self) -> BoxStream<'static, Target> {
        // A reader that lags behind loses hints, which is what hints are for.
        BroadcastStream::new(self.state().freed.subscribe())
            .filter_map(|item| ready(item.ok()))
            .boxed()
    }

    fn join(&self, request: Join) -> StoreFuture<'_, Joined> {
        self.verb(|state, _| Ok(state.join(request)))
    }

    fn renew(&self, request: Renew) -> StoreFuture<'_, Renewed> {
        self.verb(move |state, _| Ok(state.renew(&request)))
    }

    fn leave(&self, request: Leave) -> StoreFuture<'_, Left> {
        self.verb(move |state, _| {
            let voided = state.end_session(request.session);
            Ok(Left { voided })
        })
    }

    fn sweep(&self, request: Sweep) -> StoreFuture<'_, Swept> {
        self.verb(move |state, _| Ok(state.sweep(request.limit)))
    }

    fn create(&self, request: Create) -> StoreFuture<'_, Created> {
        self.verb(move |state, now| {
            if request.document.size() > self.document_bytes_max {
                return Err(StoreError::Unsupported("a document over the size limit"));
            }
            Ok(state.create(request, now))
        })
    }

    fn read(&self, request: Read) -> StoreFuture<'_, Option<OrderView>> {
        self.verb(move |state, _| Ok(state.view(&request.target)))
    }

    fn list(&self, request: List) -> StoreFuture<'_, Page<OrderView>> {
        self.verb(move |state, _| state.list(&request))
    }

    fn history(&self, request: History) -> StoreFuture<'_, Option<Page<Entry>>> {
        self.verb(move |state, now| state.history(&request, now))
    }

    fn mark_end(&self, request: MarkEnd) -> StoreFuture<'_, Option<Entry>> {
        self.verb(move |state, now| Ok(state.mark_end(&request, now)))
    }

    fn lookup(&self, request: Lookup) -> StoreFuture<'_, Known> {
        self.verb(move |state, now| Ok(state.lookup(&request, now)))
    }

    fn acquire(&self, request: Acquire) -> StoreFuture<'_, Acquired> {
        self.verb(move |state, now| Ok(state.acquire(&request, now)))
    }

    fn settle(&self, request: Settle) -> StoreFuture<'_, Settled> {
        self.verb(move |state, now| Ok(state.settle(&request, self.document_bytes_max, now)))
    }

    fn release(&self, request: Release) -> StoreFuture<'_, Released> {
        self.verb(move |state, now| Ok(state.release(&request, now)))
    }

    fn undo(&self, request: Undo) -> StoreFuture<'_, Released> {
        self.verb(move |state, now| Ok(state.undo(&request, now)))
    }

    fn leases(&self, request: Leases) -> StoreFuture<'_, Page<LeaseView>> {
        self.verb(move |state, _| state.leases(&request))
    }

    fn break_lease(&self, request: BreakLease) -> StoreFuture<'_, Broken> {
        self.verb(move |state, now| Ok(state.break_lease(request, now)))
    }

    fn resolve(&self, request: Resolve) -> StoreFuture<'_, Resolved> {
        self.verb(move |state, now| Ok(state.resolve(request, now)))
    }

    fn entries_since(&self, request: EntriesSince) -> StoreFuture<'_, Entries> {
        self.verb(move |state, now| state.entries_since(&request, now))
    }

    fn expire(&self, request: Expire) -> StoreFuture<'_, Expired> {
        self.verb(move |state, _| Ok(state.expire(request.limit)))
    }
}
