//! Stores that break one promise each, over the model.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::future::poll_fn;
use std::sync::Mutex;
use std::task::Poll;

use futures_util::FutureExt as _;
use orderlock_core::store::{
    Acquire, Acquired, FinalOutcome, Known, Lookup, MarkFate, OrderView, Part, Read, Release,
    Released, Renew, Renewed, Settle, Settled, StoreFuture,
};
use orderlock_core::{Fence, KeyId, LeaseView, OrderStore, SessionId, StoreError, Target, forward};
use orderlock_testkit::MemoryStore;

/// What is wrong with a store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Bug {
    /// Settles under whatever fence holds the order.
    SettlesWithoutFence,
    /// Settles whatever the version is.
    SettlesWithoutVersion,
    /// Lets go for whoever has the holder's key.
    ReleasesByKey,
    /// Applies a change without its key's entry.
    LosesEntries,
    /// Hands over without a look at the key.
    HandsOverBlindly,
    /// Takes a final settle for the checkpoint before it.
    ForgetsTheStep,
    /// Grants to sessions that have ended.
    GrantsToTheEnded,
    /// Replays an answer to another request.
    IgnoresTheFingerprint,
    /// Ends the mark with every release.
    ClearsMarks,
    /// Writes a key's answer before its change, and dies between the two now and then.
    StoresTheAnswerFirst,
    /// Looks a key up, and grants later without looking again.
    LooksTheKeyUpFirst,
    /// Voids nothing at a renewal: a grant whose answer was lost stays.
    KeepsTheUnknown,
    /// Does not say at a renewal which leases were broken.
    KeepsBreaksToItself,
    /// Says for ever what it said first: whoever waits is never woken.
    RemembersHeld,
}

/// The model with a bug.
pub(crate) struct Buggy {
    inner: MemoryStore,
    bug: Bug,
    memory: Mutex<Memory>,
}

#[derive(Default)]
struct Memory {
    keys: BTreeMap<Fence, KeyId>,
    session: Option<SessionId>,
    receipts: BTreeMap<Fence, orderlock_core::store::Receipt>,
    settled: BTreeSet<Fence>,
    held: BTreeMap<Fence, LeaseView>,
    turns: u64,
}

impl fmt::Debug for Buggy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.bug)
    }
}

impl Buggy {
    pub(crate) fn new(inner: MemoryStore, bug: Bug) -> Self {
        let memory = Mutex::default();
        Self { inner, bug, memory }
    }

    async fn view(&self, target: Target) -> Option<OrderView> {
        self.inner.read(Read { target }).await.ok()?
    }

    async fn holder(&self, target: Target) -> Option<(Fence, LeaseView)> {
        let lease = self.view(target).await?.lease?;
        let (fence, _) = lease.id.grant()?;
        Some((fence, lease))
    }

    /// A key that nobody has used.
    fn disguise(&self) -> KeyId {
        let mut memory = self.memory.lock().unwrap();
        memory.turns += 1;
        let mut id = [0xee; 32];
        id[..8].copy_from_slice(&memory.turns.to_le_bytes());
        KeyId(id)
    }

    async fn acquire_badly(&self, request: Acquire) -> Result<Acquired, StoreError> {
        let claim = &request.claim;
        let known = self.memory.lock().unwrap().session;
        self.memory
            .lock()
            .unwrap()
            .keys
            .insert(request.fence, claim.key_id);
        if self.bug == Bug::LooksTheKeyUpFirst {
            return self.acquire_late(request).await;
        }
        if self.bug == Bug::RemembersHeld
            && let Some(view) = self.memory.lock().unwrap().held.get(&request.fence)
        {
            return Ok(Acquired::Held(view.clone()));
        }
        match (self.bug, self.inner.acquire(request.clone()).await?) {
            (Bug::RemembersHeld, Acquired::Held(view)) => {
                let mut memory = self.memory.lock().unwrap();
                memory.held.insert(request.fence, view.clone());
                Ok(Acquired::Held(view))
            }
            (Bug::GrantsToTheEnded, Acquired::SessionEnded) => {
                let session = known.unwrap_or(request.session);
                self.inner.acquire(Acquire { session, ..request }).await
            }
            (Bug::IgnoresTheFingerprint, Acquired::Reused) => {
                let (target, key_id) = (claim.target(), claim.key_id);
                match self.inner.lookup(Lookup { target, key_id }).await? {
                    Known::Settled(entry) => Ok(Acquired::Settled(entry)),
                    _ => Ok(Acquired::Reused),
                }
            }
            (_, acquired) => {
                if matches!(acquired, Acquired::Granted(_)) {
                    self.memory.lock().unwrap().session = Some(request.session);
                }
                Ok(acquired)
            }
        }
    }

    /// The key is looked up, others come between, and then its state is not asked again.
    async fn acquire_late(&self, request: Acquire) -> Result<Acquired, StoreError> {
        let claim = &request.claim;
        let (target, key_id) = (claim.target(), claim.key_id);
        let known = self.inner.lookup(Lookup { target, key_id }).await?;
        let mut waits = 3;
        poll_fn(|context| {
            waits -= 1;
            context.waker().wake_by_ref();
            if waits == 0 {
                Poll::Ready(())
            } else {
                Poll::Pending
            }
        })
        .await;
        if !matches!(known, Known::Unknown) || request.mark.is_some() {
            return self.inner.acquire(request).await;
        }
        let mut blind = request.clone();
        blind.claim.key_id = self.disguise();
        match self.inner.acquire(blind).await? {
            granted @ Acquired::Granted(_) => Ok(granted),
            _ => self.inner.acquire(request).await,
        }
    }

    async fn renew_badly(&self, mut request: Renew) -> Result<Renewed, StoreError> {
        if self.bug == Bug::KeepsTheUnknown {
            let all = self.memory.lock().unwrap().keys.keys().copied().collect();
            request.known = all;
        }
        let renewed = self.inner.renew(request).await?;
        Ok(match renewed {
            Renewed::Extended { .. } if self.bug == Bug::KeepsBreaksToItself => {
                let voided = Vec::new();
                Renewed::Extended { voided }
            }
            told => told,
        })
    }

    async fn settle_badly(&self, mut request: Settle) -> Result<Settled, StoreError> {
        let (fence, target) = (request.fence, request.claim.target());
        match self.bug {
            Bug::SettlesWithoutFence => {
                if let Some((holds, _)) = self.holder(target).await
                    && !self.memory.lock().unwrap().settled.contains(&fence)
                {
                    request.fence = holds;
                }
            }
            Bug::SettlesWithoutVersion => {
                if let Some(view) = self.view(target).await {
                    request.version = view.version;
                }
            }
            Bug::LosesEntries if request.is_final() => {
                request.claim.key_id = self.disguise();
            }
            Bug::StoresTheAnswerFirst if request.change().is_some() => {
                let mut memory = self.memory.lock().unwrap();
                memory.turns += 1;
                if let Part::Final { end, .. } = &mut request.part
                    && memory.turns.is_multiple_of(7)
                {
                    end.outcome = FinalOutcome::Unchanged;
                }
            }
            Bug::HandsOverBlindly => {
                if let Part::Final {
                    next: Some(next), ..
                } = &mut request.part
                {
                    next.claim.key_id = self.disguise();
                }
            }
            Bug::ForgetsTheStep => {
                let receipt = self.memory.lock().unwrap().receipts.get(&fence).copied();
                if let Some(receipt) = receipt {
                    return Ok(Settled::Accepted(orderlock_core::store::Accepted {
                        receipt,
                        durable: orderlock_core::store::Durable::already(),
                        next: None,
                    }));
                }
            }
            _ => {}
        }
        let settled = self.inner.settle(request).await?;
        if let Settled::Accepted(accepted) = &settled {
            let mut memory = self.memory.lock().unwrap();
            memory.receipts.insert(fence, accepted.receipt);
            memory.settled.insert(fence);
        }
        Ok(settled)
    }

    async fn release_badly(&self, mut request: Release) -> Result<Released, StoreError> {
        if self.bug == Bug::ClearsMarks {
            request.mark = MarkFate::Clear;
        }
        if self.bug == Bug::ReleasesByKey
            && let Some((fence, lease)) = self.holder(request.target.clone()).await
            && self.memory.lock().unwrap().keys.get(&request.fence) == lease.key_id.as_ref()
        {
            request.fence = fence;
        }
        self.inner.release(request).await
    }
}

impl OrderStore for Buggy {
    forward!(|buggy| buggy.inner;
        describe, freed, join, leave, sweep, create, read, list, history, mark_end, lookup, undo, leases,
        break_lease, resolve, entries_since, expire);

    fn renew(&self, request: Renew) -> StoreFuture<'_, Renewed> {
        self.renew_badly(request).boxed()
    }

    fn acquire(&self, request: Acquire) -> StoreFuture<'_, Acquired> {
        self.acquire_badly(request).boxed()
    }

    fn settle(&self, request: Settle) -> StoreFuture<'_, Settled> {
        self.settle_badly(request).boxed()
    }

    fn release(&self, request: Release) -> StoreFuture<'_, Released> {
        self.release_badly(request).boxed()
    }
}
