//! Bugs that the schedules must find: stores that break one promise each, over the model.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::{Arc, Mutex};

use futures_util::FutureExt as _;
use futures_util::stream::BoxStream;
use orderlock_core::store::{
    Acquire, Acquired, BreakLease, Broken, Create, Created, Entries, EntriesSince, Entry, Expire,
    Expired, History, Join, Joined, Known, Leases, Leave, Left, List, Lookup, MarkFate, OrderView,
    Page, Read, Release, Released, Renew, Renewed, Resolve, Resolved, Settle, Settled, StoreFuture,
    StoreInfo, Sweep, Swept, Then,
};
use orderlock_core::{Fence, KeyId, LeaseView, OrderStore, SessionId, StoreError, Target};
use orderlock_testkit::MemoryStore;
use orderlock_testkit::sim::{self, Plan};

/// What is wrong with a store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Bug {
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
}

/// The model with a bug.
struct Buggy {
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
    turns: u64,
}

impl fmt::Debug for Buggy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.bug)
    }
}

impl Buggy {
    async fn view(&self, target: Target) -> Option<OrderView> {
        self.inner.read(Read { target }).await.ok()?
    }

    async fn holder(&self, target: Target) -> Option<(Fence, LeaseView)> {
        let lease = self.view(target).await?.lease?;
        let digits = lease.id.0.strip_prefix("lck_")?;
        let fence = Fence(u128::from_str_radix(digits, 16).ok()?);
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
        match (self.bug, self.inner.acquire(request.clone()).await?) {
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
            Bug::LosesEntries if !matches!(request.then, Then::Keep) => {
                request.claim.key_id = self.disguise();
            }
            Bug::HandsOverBlindly => {
                if let Then::HandOver(next) = &mut request.then {
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

macro_rules! as_the_model {
    ($($verb:ident: $request:ty => $answer:ty;)+) => {
        #[deny(clippy::missing_trait_methods)]
        impl OrderStore for Buggy {
            fn describe(&self) -> StoreInfo {
                self.inner.describe()
            }

            fn freed(&self) -> BoxStream<'static, Target> {
                self.inner.freed()
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

            $(fn $verb(&self, request: $request) -> StoreFuture<'_, $answer> {
                self.inner.$verb(request)
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
    lookup: Lookup => Known;
    leases: Leases => Page<LeaseView>;
    break_lease: BreakLease => Broken;
    resolve: Resolve => Resolved;
    entries_since: EntriesSince => Entries;
    expire: Expire => Expired;
}

/// The schedules find this bug within so many seeds.
fn found(bug: Bug, within: u64, plan: impl Fn(u64) -> Plan) {
    let over = |inner| {
        Arc::new(Buggy {
            inner,
            bug,
            memory: Mutex::default(),
        }) as Arc<dyn OrderStore>
    };
    for seed in 0..within {
        let report = sim::run_over(plan(seed), false, over);
        if !report.violations.is_empty() {
            println!("{bug:?} was found by seed {seed}: {:?}", report.violations);
            return;
        }
    }
    panic!("{bug:?} was not found within {within} seeds");
}

#[test]
fn a_settle_without_fence_is_found() {
    found(Bug::SettlesWithoutFence, 2_000, Plan::of);
}

#[test]
fn a_settle_without_version_is_found() {
    // Fence and step alone keep a holder right, but for one that was granted anew.
    found(Bug::SettlesWithoutVersion, 5_000, |seed| {
        Plan::of(seed).doubled()
    });
}

#[test]
fn a_release_by_key_alone_is_found() {
    found(Bug::ReleasesByKey, 2_000, Plan::of);
}

#[test]
fn a_lost_entry_is_found() {
    found(Bug::LosesEntries, 2_000, Plan::of);
}

#[test]
fn a_hand_over_to_a_settled_key_is_found() {
    found(Bug::HandsOverBlindly, 2_000, Plan::of);
}

#[test]
fn a_checkpoint_taken_for_the_final_settle_is_found() {
    found(Bug::ForgetsTheStep, 2_000, Plan::of);
}

#[test]
fn a_grant_to_an_ended_session_is_found() {
    found(Bug::GrantsToTheEnded, 2_000, Plan::of);
}

#[test]
fn an_answer_to_another_request_is_found() {
    found(Bug::IgnoresTheFingerprint, 2_000, Plan::of);
}

#[test]
fn a_release_that_always_clears_the_mark_is_found() {
    found(Bug::ClearsMarks, 2_000, Plan::of);
}
