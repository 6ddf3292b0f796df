//! What a check works with: one store, its clock, and short words for long requests.

use std::ops::Deref;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use jiff::SignedDuration;
use orderlock_core::store::{
    Acquire, Acquired, BreakLease, Broken, Claim, Create, Created, Cursor, Entries, EntriesSince,
    Entry, Expire, Fate, Grant, History, Join, Known, Leases, Lookup, Loss, MarkEnd, OrderView,
    Page, Read, Receipt, Release, Released, Renewed, Resolve, Resolved, Settle, Settled, Sweep,
    Undo,
};
use orderlock_core::{
    Caller, Fence, LeaseView, OrderStore, Runtime as _, SessionId, Target, Tenant,
};

use super::factory::Opened;
use super::node::Node;
use crate::{TestRuntime, fixtures};

/// How long the suite's sessions last.
pub(crate) const SESSION: Duration = Duration::from_secs(10);

/// One store and its clock.
pub(crate) struct World {
    pub(crate) runtime: TestRuntime,
    opened: Option<Box<dyn Opened>>,
    verbs: Verbs,
}

/// The verbs of a store, for checks in which every verb must end with a result. Cloneable, so that
/// tasks can have it.
#[derive(Clone)]
pub(crate) struct Verbs {
    slot: Arc<Mutex<Option<Arc<dyn OrderStore>>>>,
    pub(crate) runtime: TestRuntime,
}

impl Deref for World {
    type Target = Verbs;

    fn deref(&self) -> &Verbs {
        &self.verbs
    }
}

/// What became of a settle, once it is durable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Ended {
    Applied(Receipt, Option<Acquired>),
    Lost(Loss),
    Impossible,
}

impl World {
    pub(crate) fn new(opened: Box<dyn Opened>, runtime: TestRuntime) -> Self {
        let verbs = Verbs::new(opened.store(), runtime.clone());
        Self {
            runtime,
            opened: Some(opened),
            verbs,
        }
    }

    /// Another store of the same kind, empty, on a clock of its own.
    pub(crate) async fn another(&self) -> Self {
        let runtime = TestRuntime::new();
        let opened = self.opened.as_ref().unwrap();
        Self::new(opened.another(runtime.clone()).await, runtime)
    }

    /// The same data by way of a store of its own, on the same clock, as another process has it.
    pub(crate) async fn beside(&self) -> Verbs {
        let opened = self.opened.as_ref().unwrap();
        Verbs::new(opened.beside().await, self.runtime.clone())
    }

    /// Closes the store and opens the same data again, as a restarted process does. Nodes go on
    /// with the store that is opened.
    pub(crate) async fn restart(&mut self) {
        self.verbs.slot.lock().unwrap().take();
        let opened = self.opened.take().unwrap().reopen().await;
        *self.verbs.slot.lock().unwrap() = Some(opened.store());
        self.opened = Some(opened);
    }
}

impl Verbs {
    pub(crate) fn new(store: Arc<dyn OrderStore>, runtime: TestRuntime) -> Self {
        Self {
            slot: Arc::new(Mutex::new(Some(store))),
            runtime,
        }
    }

    /// The store, as it is open now.
    pub(crate) fn store(&self) -> Arc<dyn OrderStore> {
        let slot = self.slot.lock().unwrap();
        Arc::clone(slot.as_ref().expect("no check speaks while it restarts"))
    }

    /// Lets time pass.
    pub(crate) fn pass(&self, duration: Duration) {
        self.runtime.advance(duration);
    }

    /// Sets the time of day ahead, or back, while no time passes.
    pub(crate) fn set_clock(&self, ahead: SignedDuration) {
        self.runtime.set_clock(ahead);
    }

    pub(crate) fn fence(&self) -> Fence {
        Fence(self.runtime.random())
    }

    /// A node of this name, joined under a new session.
    pub(crate) async fn join(&self, node: &str) -> Node {
        let session = SessionId(self.runtime.random());
        self.store()
            .join(Join {
                node: node.into(),
                session,
                length: SESSION,
                secret: fixtures::secret(),
            })
            .await
            .unwrap();
        Node {
            verbs: self.clone(),
            session,
        }
    }

    /// An order of the single tenant that counts from 0.
    pub(crate) async fn order(&self, order: &str) {
        let claim = fixtures::claim(order, &format!("create-{order}"));
        self.order_of(claim).await;
    }

    /// The order of a claim.
    pub(crate) async fn order_of(&self, claim: Claim) {
        let created = self.create(fixtures::create(claim, self.runtime.wall()));
        let created = created.await;
        assert!(matches!(created, Created::Inserted(_)), "{created:?}");
    }

    pub(crate) async fn create(&self, request: Create) -> Created {
        self.store().create(request).await.unwrap()
    }

    pub(crate) async fn acquire(&self, request: Acquire) -> Acquired {
        self.store().acquire(request).await.unwrap()
    }

    /// Settles and waits until it is durable or lost.
    pub(crate) async fn settle(&self, request: Settle) -> Ended {
        match self.store().settle(request).await.unwrap() {
            Settled::Lost(loss) => Ended::Lost(loss),
            Settled::Impossible(_) => Ended::Impossible,
            Settled::Accepted(accepted) => match accepted.durable.await.unwrap() {
                Fate::Durable => Ended::Applied(accepted.receipt, accepted.next),
                Fate::Lost(loss) => Ended::Lost(loss),
            },
        }
    }

    pub(crate) async fn release(&self, request: Release) -> Released {
        self.store().release(request).await.unwrap()
    }

    pub(crate) async fn undo(&self, request: Undo) -> Released {
        self.store().undo(request).await.unwrap()
    }

    pub(crate) async fn resolve(&self, request: Resolve) -> Resolved {
        self.store().resolve(request).await.unwrap()
    }

    pub(crate) async fn break_lease(&self, request: BreakLease) -> Broken {
        self.store().break_lease(request).await.unwrap()
    }

    pub(crate) async fn mark_end(&self, request: MarkEnd) -> Option<Entry> {
        self.store().mark_end(request).await.unwrap()
    }

    pub(crate) async fn known(&self, claim: &Claim) -> Known {
        let request = Lookup {
            target: claim.target(),
            key_id: claim.key_id,
        };
        self.store().lookup(request).await.unwrap()
    }

    pub(crate) async fn read(&self, target: Target) -> Option<OrderView> {
        self.store().read(Read { target }).await.unwrap()
    }

    /// An order of the single tenant that must be there.
    pub(crate) async fn view(&self, order: &str) -> OrderView {
        let view = self.read(fixtures::ids::target(order)).await;
        view.unwrap_or_else(|| panic!("the order {order} is gone"))
    }

    /// What an order of the single tenant counts.
    pub(crate) async fn count(&self, order: &str) -> u64 {
        fixtures::count(&self.view(order).await.document)
    }

    /// The whole history of an order of the single tenant.
    pub(crate) async fn history(&self, order: &str) -> Vec<Entry> {
        self.history_of(fixtures::ids::target(order)).await
    }

    pub(crate) async fn history_of(&self, target: Target) -> Vec<Entry> {
        let mut entries = Vec::new();
        let mut cursor = None;
        loop {
            let request = History {
                target: target.clone(),
                limit: 100,
                cursor,
            };
            let page: Page<Entry> = self.store().history(request).await.unwrap().unwrap();
            entries.extend(page.items);
            cursor = page.next;
            if cursor.is_none() {
                return entries;
            }
        }
    }

    /// A piece of a tenant's journal, and where it ends.
    pub(crate) async fn since(
        &self,
        tenant: &Tenant,
        cursor: Option<Cursor>,
        limit: usize,
    ) -> (Vec<Entry>, Cursor) {
        let request = EntriesSince {
            tenant: tenant.clone(),
            cursor,
            limit,
        };
        match self.store().entries_since(request).await.unwrap() {
            Entries::Some { entries, next } => (entries, next),
            Entries::NewEpoch => panic!("a new epoch, although nothing was restored"),
        }
    }

    /// A tenant's whole journal.
    pub(crate) async fn journal(&self, tenant: &Tenant) -> Vec<Entry> {
        let (mut journal, mut cursor) = (Vec::new(), None);
        loop {
            let (entries, next) = self.since(tenant, cursor, 100).await;
            if entries.is_empty() {
                return journal;
            }
            journal.extend(entries);
            cursor = Some(next);
        }
    }

    /// Every lease and mark of a tenant.
    pub(crate) async fn leases(&self, tenant: &Tenant) -> Vec<LeaseView> {
        let (mut leases, mut cursor) = (Vec::new(), None);
        loop {
            let request = Leases {
                tenant: tenant.clone(),
                limit: 100,
                cursor,
            };
            let page = self.store().leases(request).await.unwrap();
            leases.extend(page.items);
            cursor = page.next;
            if cursor.is_none() {
                return leases;
            }
        }
    }

    /// Sweeps until there is nothing left to sweep; says how many leases were voided.
    pub(crate) async fn sweep(&self) -> usize {
        let mut voided = 0;
        for _ in 0..1_000 {
            let swept = self.store().sweep(Sweep { limit: 100 }).await.unwrap();
            voided += swept.voided;
            if !swept.more {
                return voided;
            }
        }
        panic!("a sweep never comes to its end");
    }

    /// Expires until there is nothing left to expire; says how many answers and tombstones.
    pub(crate) async fn expire(&self) -> (usize, usize) {
        let (mut answers, mut tombstones) = (0, 0);
        for _ in 0..1_000 {
            let expired = self.store().expire(Expire { limit: 100 }).await.unwrap();
            answers += expired.answers;
            tombstones += expired.tombstones;
            if !expired.more {
                return (answers, tombstones);
            }
        }
        panic!("expire never comes to its end");
    }
}

#[track_caller]
pub(crate) fn granted(acquired: Acquired) -> Grant {
    match acquired {
        Acquired::Granted(grant) => *grant,
        other => panic!("not granted but {other:?}"),
    }
}

/// The receipt of a settle that must have been applied without a hand-over.
#[track_caller]
pub(crate) fn applied(ended: Ended) -> Receipt {
    match ended {
        Ended::Applied(receipt, None) => receipt,
        other => panic!("not applied but {other:?}"),
    }
}

/// What the next request got from a settle that must have been applied with a hand-over.
#[track_caller]
pub(crate) fn handed(ended: Ended) -> Acquired {
    match ended {
        Ended::Applied(_, Some(next)) => next,
        other => panic!("not applied and handed over but {other:?}"),
    }
}

/// The final entry with which a key was answered.
#[track_caller]
pub(crate) fn replayed(acquired: Acquired) -> Entry {
    match acquired {
        Acquired::Settled(entry) => *entry,
        other => panic!("not settled but {other:?}"),
    }
}

pub(crate) fn single() -> Tenant {
    Caller::single().tenant
}

/// What a renewal says that has nothing to tell.
pub(crate) fn extended() -> Renewed {
    Renewed::Extended { voided: Vec::new() }
}
