//! Stores that break one promise each.

mod bug;
mod clock;
mod turns;

use std::collections::HashSet;
use std::sync::{Arc, Mutex};

pub(crate) use bug::Bug;
use clock::Believing;
use futures_util::FutureExt as _;
use orderlock_core::store::{
    Acquire, Acquired, BreakLease, Broken, Create, Created, Decision, Entries, EntriesSince, Known,
    Leases, List, Lookup, MarkFate, OrderView, Page, Part, Read, Release, Released, Renew, Renewed,
    Resolve, Resolved, Retention, Settle, Settled, StoreFuture, Sweep, Undo,
};
use orderlock_core::{
    Fence, KeyId, LeaseView, OrderStore, SessionId, StoreError, Target, Tenant, forward,
};
use orderlock_testkit::{MemoryStore, StoreFactory, TestRuntime, fixtures};
use turns::Wait;

/// A model with a bug.
#[derive(Clone, Debug)]
pub(crate) struct Planted {
    inner: MemoryStore,
    bug: Bug,
    memory: Arc<Mutex<Memory>>,
    runtime: TestRuntime,
}

#[derive(Debug, Default)]
struct Memory {
    fences: HashSet<Fence>,
    steps: HashSet<(Fence, u32)>,
    session: Option<SessionId>,
    turns: u64,
    closed: bool,
    waits: Vec<Wait>,
}

impl Planted {
    fn has(&self, bug: Bug) -> bool {
        self.bug == bug
    }

    fn turn(&self) -> u64 {
        let mut memory = self.memory.lock().unwrap();
        memory.turns += 1;
        memory.turns
    }

    /// The same request under a new key.
    fn disguised(&self, mut request: Acquire) -> Acquire {
        let mut id = [0xee; 32];
        id[..8].copy_from_slice(&self.turn().to_le_bytes());
        request.claim.key_id = KeyId(id);
        request
    }

    async fn holder(&self, target: Target) -> Option<LeaseView> {
        self.inner.read(Read { target }).await.ok()??.lease
    }

    async fn acquire_badly(&self, mut request: Acquire) -> Result<Acquired, StoreError> {
        if self.has(Bug::EndsSessionsByTheClock) {
            self.inner.sweep(Sweep { limit: 100 }).await?;
        }
        if self.has(Bug::ForgetsMarks) {
            request.mark = None;
        }
        {
            let mut memory = self.memory.lock().unwrap();
            memory.session = Some(request.session);
            if !memory.fences.insert(request.fence) && self.has(Bug::RepeatsNoGrant) {
                return Ok(Acquired::NotFound);
            }
        }
        let acquired = self.inner.acquire(request.clone()).await?;
        match acquired {
            Acquired::Settled(_) if self.has(Bug::ForgetsTheKey) => {
                self.inner.acquire(self.disguised(request)).await
            }
            Acquired::Settled(mut entry) if self.has(Bug::BendsAnswers) => {
                if let Some(answer) = &mut entry.answer {
                    answer.body.truncate(16);
                }
                Ok(Acquired::Settled(entry))
            }
            Acquired::Settled(_) if self.has(Bug::ForgetsAnswers) => Ok(Acquired::Expired),
            Acquired::Reused if self.has(Bug::IgnoresTheFingerprint) => {
                let lookup = Lookup {
                    target: request.claim.target(),
                    key_id: request.claim.key_id,
                };
                match self.inner.lookup(lookup).await? {
                    Known::Settled(entry) => Ok(Acquired::Settled(entry)),
                    _ => Ok(acquired),
                }
            }
            _ => Ok(acquired),
        }
    }

    async fn settle_badly(&self, mut request: Settle) -> Result<Settled, StoreError> {
        let target = request.claim.target();
        if self.has(Bug::UnlocksAtCheckpoints) && !request.is_final() {
            let release = Release {
                target,
                fence: request.fence,
                mark: MarkFate::Clear,
                next: None,
            };
            let settled = self.inner.settle(request).await?;
            self.inner.release(release).await?;
            return Ok(settled);
        }
        if self.has(Bug::SettlesWithoutFence)
            && let Some(lease) = self.holder(target.clone()).await
            && let Some((fence, _)) = lease.id.grant()
        {
            request.fence = fence;
        }
        let step = (request.fence, request.step);
        let (repeated, session) = {
            let mut memory = self.memory.lock().unwrap();
            (!memory.steps.insert(step), memory.session)
        };
        if repeated && self.has(Bug::ForgetsSteps) {
            return Ok(Settled::Lost(orderlock_core::store::Loss::NotHeld));
        }
        if repeated && self.has(Bug::AppliesARepeat) {
            let fence = Fence(u128::from(self.turn()));
            let again = fixtures::acquire(request.claim.clone(), session.unwrap(), fence);
            let again = self.disguised(again);
            if let Acquired::Granted(grant) = self.inner.acquire(again.clone()).await? {
                return self.inner.settle(fixtures::settle(&again, &grant)).await;
            }
        }
        if self.has(Bug::HandsOverBlindly)
            && let Part::Final {
                next: Some(next), ..
            } = &mut request.part
        {
            **next = self.disguised((**next).clone());
        }
        self.inner.settle(request).await
    }

    async fn renew_badly(&self, mut request: Renew) -> Result<Renewed, StoreError> {
        if self.has(Bug::KeepsTheUnknown) {
            let memory = self.memory.lock().unwrap();
            request.known = memory.fences.iter().copied().collect();
        }
        if self.has(Bug::VoidsTheYoung) {
            self.inner.renew(request.clone()).await?;
        }
        self.inner.renew(request).await
    }

    async fn break_badly(&self, request: BreakLease) -> Result<Broken, StoreError> {
        let broken = self.inner.break_lease(request.clone()).await?;
        if broken != Broken::NotFound || !self.has(Bug::BreaksAnybody) {
            return Ok(broken);
        }
        let leases = Leases {
            tenant: request.tenant.clone(),
            limit: 1,
            cursor: None,
        };
        match self.inner.leases(leases).await?.items.pop() {
            Some(lease) => {
                let lease = lease.id;
                self.inner
                    .break_lease(BreakLease { lease, ..request })
                    .await
            }
            None => Ok(broken),
        }
    }

    async fn undo_badly(&self, request: Undo) -> Result<Released, StoreError> {
        let mark = match () {
            () if self.has(Bug::UndoesTheEarlierMark) => MarkFate::Clear,
            () if self.has(Bug::UndoKeepsTheMark) => MarkFate::Keep,
            () => return self.inner.undo(request).await,
        };
        let release = Release {
            target: request.target,
            fence: request.fence,
            mark,
            next: request.next,
        };
        self.inner.release(release).await
    }

    async fn read_badly(&self, request: Read) -> Result<Option<OrderView>, StoreError> {
        let view = self.inner.read(request.clone()).await?;
        if view.is_some() || !self.has(Bug::MixesTenants) {
            return Ok(view);
        }
        let target = Target {
            tenant: Tenant::parse("ours").unwrap(),
            ..request.target
        };
        self.inner.read(Read { target }).await
    }

    async fn entries_badly(&self, mut request: EntriesSince) -> Result<Entries, StoreError> {
        let limit = request.limit;
        if self.has(Bug::TakesAnyCursor)
            && let Err(StoreError::InvalidCursor) = self.inner.entries_since(request.clone()).await
        {
            request.cursor = None;
        }
        let mut answer = self.inner.entries_since(request).await?;
        if self.has(Bug::SkipsEntries)
            && let Entries::Some { entries, .. } = &mut answer
            && limit == entries.len()
            && limit > 1
        {
            entries.pop();
        }
        Ok(answer)
    }
}

#[deny(clippy::missing_trait_methods)]
impl OrderStore for Planted {
    forward!(|planted| planted.inner;
        describe, freed, join, leave, sweep, history, mark_end, lookup, leases, expire);

    fn renew(&self, request: Renew) -> StoreFuture<'_, Renewed> {
        self.renew_badly(request).boxed()
    }

    fn create(&self, request: Create) -> StoreFuture<'_, Created> {
        let derived = match self.bug {
            Bug::MakesAnOrderForEachId => request.claim.order.clone(),
            _ => request.derived,
        };
        self.inner.create(Create { derived, ..request })
    }

    fn read(&self, request: Read) -> StoreFuture<'_, Option<OrderView>> {
        self.read_badly(request).boxed()
    }

    fn list(&self, request: List) -> StoreFuture<'_, Page<OrderView>> {
        let page = self.inner.list(request);
        async move {
            let mut page = page.await?;
            if self.has(Bug::ListsBackwards) {
                page.items.reverse();
            }
            Ok(page)
        }
        .boxed()
    }

    fn acquire(&self, request: Acquire) -> StoreFuture<'_, Acquired> {
        if self.bug.has_turns() {
            return self.acquire_in_turn(request).boxed();
        }
        self.acquire_badly(request).boxed()
    }

    fn settle(&self, request: Settle) -> StoreFuture<'_, Settled> {
        if self.bug.has_turns() {
            return self.settle_in_turn(request).boxed();
        }
        self.settle_badly(request).boxed()
    }

    fn release(&self, mut request: Release) -> StoreFuture<'_, Released> {
        if self.has(Bug::ClearsMarks) {
            request.mark = MarkFate::Clear;
        }
        if self.bug.has_turns() {
            return self.release_in_turn(request).boxed();
        }
        self.inner.release(request)
    }

    fn undo(&self, request: Undo) -> StoreFuture<'_, Released> {
        self.undo_badly(request).boxed()
    }

    fn break_lease(&self, request: BreakLease) -> StoreFuture<'_, Broken> {
        self.break_badly(request).boxed()
    }

    fn resolve(&self, mut request: Resolve) -> StoreFuture<'_, Resolved> {
        if let Decision::RunAgain { retention } = &mut request.decision
            && self.has(Bug::UnbindsClearedKeys)
        {
            *retention = Retention::NONE;
        }
        self.inner.resolve(request)
    }

    fn entries_since(&self, request: EntriesSince) -> StoreFuture<'_, Entries> {
        self.entries_badly(request).boxed()
    }
}

impl StoreFactory for Bug {
    type Store = Planted;
    type Place = Planted;

    async fn place(&self, runtime: TestRuntime) -> Planted {
        let inner = match *self {
            Self::BelievesTheClock => MemoryStore::new(Arc::new(Believing(runtime.clone()))),
            _ => MemoryStore::new(Arc::new(runtime.clone())),
        };
        Planted {
            inner,
            bug: *self,
            memory: Arc::default(),
            runtime,
        }
    }

    async fn open(&self, place: &Planted, runtime: TestRuntime) -> Planted {
        if place.memory.lock().unwrap().closed && place.has(Self::KeepsNothing) {
            return self.place(runtime).await;
        }
        place.clone()
    }

    async fn close(&self, store: Planted) {
        store.memory.lock().unwrap().closed = true;
        store.inner.restart();
    }
}
