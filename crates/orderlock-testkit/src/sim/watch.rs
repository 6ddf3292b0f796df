//! Looks at every verb where it happens, and knows at once when a promise is broken.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use orderlock_core::store::{
    Acquire, Acquired, BreakLease, Broken, Claim, Create, Created, Decision, Durable, Entries,
    EntriesSince, Entry, Expire, Expired, History, Join, Joined, Known, Leases, Leave, Left, List,
    Lookup, Loss, MarkFate, OrderView, Page, Read, Release, Released, Renew, Renewed, Resolve,
    Resolved, Settle, Settled, Sweep, Swept, Then,
};
use orderlock_core::{
    Fence, KeyId, LeaseId, LeaseView, LeaseViewState, OrderStore as _, SessionId, StoreError,
    Target, Tenant,
};

use super::disk::{Flush, hard};
use super::scene::Scene;

/// What has happened in the store, as far as the promises depend on it.
#[derive(Clone, Debug, Default)]
pub(super) struct Book {
    /// Whose each grant was.
    grants: BTreeMap<Fence, (Target, KeyId)>,
    /// Which grant holds each order.
    holders: BTreeMap<Target, Fence>,
    /// When each order was let go last, and what time it is.
    freed: BTreeMap<Target, Duration>,
    pub(super) now: Duration,
    voided: BTreeSet<Fence>,
    regranted: BTreeSet<Fence>,
    accepted: BTreeSet<(Fence, u32)>,
    /// Runs of which a client was told that nothing was applied.
    disowned: HashSet<LeaseId>,
    finals: BTreeSet<KeyId>,
    ended_sessions: BTreeSet<SessionId>,
    sessions: BTreeMap<String, SessionId>,
    /// Keys whose handler may have acted outside, with nothing stored yet.
    touched: BTreeMap<Target, BTreeSet<KeyId>>,
    pub(super) names: BTreeMap<KeyId, String>,
    pub(super) violations: Vec<String>,
}

impl Book {
    fn name(&mut self, claim: &Claim) {
        let name = || super::order::name(&claim.caller, &claim.key);
        self.names.entry(claim.key_id).or_insert_with(name);
    }

    fn acquired(&mut self, request: &Acquire, result: &Acquired) {
        self.name(&request.claim);
        let Acquired::Granted(grant) = result else {
            if matches!(result, Acquired::SessionEnded) {
                self.ended_sessions.insert(request.session);
            }
            return;
        };
        let (fence, target, key) = (grant.fence, request.claim.target(), request.claim.key_id);
        if self.holders.get(&target) == Some(&fence) {
            return;
        }
        if self.holders.contains_key(&target) {
            self.violation("an order was granted while another grant held it");
        }
        if self.finals.contains(&key) {
            self.violation("a settled key was granted");
        }
        if self.ended_sessions.contains(&request.session) {
            self.violation("an ended session was granted an order");
        }
        let others = self.touched.get(&target);
        if others.is_some_and(|keys| keys.iter().any(|other| *other != key)) {
            self.violation("an order was granted over another key's open outside effect");
        }
        if self.grants.insert(fence, (target.clone(), key)).is_some() {
            self.regranted.insert(fence);
        }
        self.voided.remove(&fence);
        self.holders.insert(target, fence);
    }

    fn settled(&mut self, request: &Settle, result: &Settled) {
        let (fence, target, key) = (request.fence, request.claim.target(), request.claim.key_id);
        match result {
            Settled::Accepted(accepted) => {
                let keeps = matches!(request.then, Then::Keep);
                if self.accepted.insert((fence, request.step)) {
                    // A late duplicate of its `acquire` may give a holder its fence back, and a
                    // late duplicate of its settle then goes through: the seam says so.
                    let anew = self.regranted.contains(&fence);
                    if !keeps && !anew && self.disowned.contains(&fence.into()) {
                        self.violation("a settle was applied that a client was told was not");
                    }
                    if self.voided.contains(&fence) {
                        self.violation("a voided holder settled");
                    }
                    if !keeps && !self.finals.insert(key) {
                        self.violation("a key was settled for good twice");
                    }
                }
                if !keeps {
                    self.let_go(&target, fence);
                    self.settled_outside(&target, key);
                }
                if let (Then::HandOver(next), Some(result)) = (&request.then, &accepted.next) {
                    self.acquired(next, result);
                }
            }
            Settled::Lost(Loss::NotHeld) => {
                let holds = self.holders.get(&target) == Some(&fence);
                if holds && !self.regranted.contains(&fence) {
                    self.violation("a holder was told that it had lost what it holds");
                }
            }
            Settled::Lost(_) => {}
            Settled::Impossible(_) => self.let_go(&target, fence),
        }
    }

    fn let_go(&mut self, target: &Target, fence: Fence) {
        if self.holders.get(target) == Some(&fence) {
            self.holders.remove(target);
            self.freed.insert(target.clone(), self.now);
        }
    }

    fn settled_outside(&mut self, target: &Target, key: KeyId) {
        if let Some(keys) = self.touched.get_mut(target) {
            keys.remove(&key);
        }
    }

    /// What has happened since is undone. What was seen stays seen: acts outside, names, and what
    /// clients were told.
    pub(super) fn go_back_to(&mut self, before: Self) {
        let now = std::mem::replace(self, before);
        for (target, keys) in now.touched {
            self.touched.entry(target).or_default().extend(keys);
        }
        self.names = now.names;
        self.violations = now.violations;
        self.disowned = now.disowned;
    }

    /// Since when nobody holds an order; none if somebody does, or nobody ever did.
    pub(super) fn free_since(&self, target: &Target) -> Option<Duration> {
        let free = !self.holders.contains_key(target);
        self.freed.get(target).copied().filter(|_| free)
    }

    /// A client was told that nothing of this run was applied.
    pub(super) fn disown(&mut self, lease: LeaseId) {
        self.disowned.insert(lease);
    }

    fn end_session(&mut self, session: SessionId) {
        self.ended_sessions.insert(session);
    }

    pub(super) fn end_all_sessions(&mut self) {
        let all = std::mem::take(&mut self.sessions);
        self.ended_sessions.extend(all.into_values());
    }

    /// The handler of an external operation has begun, or has declared that nothing happened.
    pub(super) fn outside(&mut self, target: &Target, name: &str, touched: bool) {
        let holder = self
            .holders
            .get(target)
            .and_then(|fence| self.grants.get(fence));
        let Some((_, key)) = holder.cloned() else {
            return;
        };
        if self.names.get(&key).is_none_or(|holding| holding != name) {
            return;
        }
        if touched {
            self.touched.entry(target.clone()).or_default().insert(key);
        } else {
            self.settled_outside(target, key);
        }
    }

    pub(super) fn violation(&mut self, what: impl Into<String>) {
        self.violations.push(what.into());
    }

    fn voided(&mut self, still_held: &[LeaseId]) {
        let gone: Vec<_> = self
            .holders
            .iter()
            .filter(|(_, fence)| !still_held.contains(&LeaseId::from(**fence)))
            .map(|(target, fence)| (target.clone(), *fence))
            .collect();
        for (target, fence) in gone {
            self.holders.remove(&target);
            self.voided.insert(fence);
        }
    }
}

impl Scene {
    /// Whatever is no longer held after this verb was voided by it.
    pub(super) async fn note_voided(&self) {
        let leases = Leases {
            tenant: Tenant::single(),
            limit: 100,
            cursor: None,
        };
        if let Ok(page) = self.memory.leases(leases).await {
            let held = page.items.into_iter();
            let held = held.filter(|lease| lease.state == LeaseViewState::Held);
            let held: Vec<LeaseId> = held.map(|lease| lease.id).collect();
            self.book().voided(&held);
        }
    }

    async fn voiding<T>(&self, verb: impl Future<Output = T>) -> T {
        let result = verb.await;
        self.note_voided().await;
        result
    }

    pub(super) async fn join(self: &Arc<Self>, request: Join) -> Result<Joined, StoreError> {
        let _written = self.write();
        {
            let mut book = self.book();
            if let Some(old) = book.sessions.insert(request.node.clone(), request.session)
                && old != request.session
            {
                book.end_session(old);
            }
            book.ended_sessions.remove(&request.session);
        }
        let joined = self.voiding(self.base.join(request)).await?;
        self.hardened(joined).await
    }

    pub(super) async fn renew(self: &Arc<Self>, request: Renew) -> Result<Renewed, StoreError> {
        let session = request.session;
        let renewed = self.voiding(self.base.renew(request)).await;
        if let Ok(Renewed::Ended) = renewed {
            self.book().end_session(session);
        }
        self.hardened(renewed?).await
    }

    pub(super) async fn leave(self: &Arc<Self>, request: Leave) -> Result<Left, StoreError> {
        self.book().end_session(request.session);
        let left = self.voiding(self.base.leave(request)).await?;
        self.hardened(left).await
    }

    pub(super) async fn sweep(self: &Arc<Self>, request: Sweep) -> Result<Swept, StoreError> {
        let swept = self.voiding(self.base.sweep(request)).await?;
        self.hardened(swept).await
    }

    pub(super) async fn create(self: &Arc<Self>, request: Create) -> Result<Created, StoreError> {
        self.book().name(&request.claim);
        let key = request.claim.key_id;
        let _written = self.write();
        let created = self.base.create(request).await;
        if let Ok(Created::Inserted(_)) = created {
            self.book().finals.insert(key);
        }
        self.hardened(created?).await
    }

    pub(super) async fn acquire(
        self: &Arc<Self>,
        request: Acquire,
    ) -> Result<Acquired, StoreError> {
        if request.mark.is_some() {
            let _written = self.write();
        }
        let acquired = self.base.acquire(request.clone()).await?;
        self.book().acquired(&request, &acquired);
        let word = verdict(&acquired);
        self.trace
            .note(format_args!("acquire {} {word}", request.fence));
        self.hardened(acquired).await
    }

    pub(super) async fn settle(self: &Arc<Self>, request: Settle) -> Result<Settled, StoreError> {
        let flush = self.write();
        let settled = self.base.settle(request.clone()).await?;
        self.book().settled(&request, &settled);
        let word = match &settled {
            Settled::Accepted(_) => "accepted",
            Settled::Lost(_) => "lost",
            Settled::Impossible(_) => "impossible",
        };
        let (fence, step) = (request.fence, request.step);
        let outcome = request.entry.outcome.as_str();
        self.trace
            .note(format_args!("settle {fence} {step} {outcome} {word}"));
        match flush {
            Some(flush) => self.accept_early(settled, flush).await,
            None => Ok(settled),
        }
    }

    /// A settle that hands over is answered before its flush, any other after it.
    async fn accept_early(&self, settled: Settled, flush: Flush) -> Result<Settled, StoreError> {
        match settled {
            Settled::Accepted(mut accepted)
                if self.plan.lies || matches!(accepted.next, Some(Acquired::Granted(_))) =>
            {
                if let Some(Acquired::Granted(grant)) = &accepted.next {
                    self.handed_over(grant.fence);
                }
                if !self.plan.lies {
                    self.count("chaos: handed over before a flush".into());
                    accepted.durable = Durable::later(async {
                        match flush.await {
                            Ok(flushed) => flushed.fate(),
                            // The power has failed: nobody answers.
                            Err(_) => std::future::pending().await,
                        }
                    });
                }
                Ok(Settled::Accepted(accepted))
            }
            settled => hard(flush).await.map(|()| settled),
        }
    }

    pub(super) async fn release(
        self: &Arc<Self>,
        request: Release,
    ) -> Result<Released, StoreError> {
        if request.mark == MarkFate::Clear
            || request.next.as_ref().is_some_and(|it| it.mark.is_some())
        {
            let _written = self.write();
        }
        let released = self.base.release(request.clone()).await?;
        let (fence, mark, held) = (request.fence, request.mark, released.held);
        self.trace
            .note(format_args!("release {fence} {mark:?} {held}"));
        {
            let mut book = self.book();
            if held {
                book.let_go(&request.target, fence);
                if let (MarkFate::Clear, Some((_, key))) = (mark, book.grants.get(&fence).cloned())
                {
                    book.settled_outside(&request.target, key);
                }
            }
            if let (Some(next), Some(result)) = (&request.next, &released.next) {
                book.acquired(next, result);
            }
        }
        self.hardened(released).await
    }

    pub(super) async fn break_lease(
        self: &Arc<Self>,
        request: BreakLease,
    ) -> Result<Broken, StoreError> {
        let _written = self.write();
        let broken = self.voiding(self.base.break_lease(request)).await?;
        self.hardened(broken).await
    }

    pub(super) async fn resolve(
        self: &Arc<Self>,
        request: Resolve,
    ) -> Result<Resolved, StoreError> {
        let settles = matches!(request.decision, Decision::Settle { .. });
        let (target, key) = (request.target.clone(), request.key_id);
        let _written = self.write();
        let resolved = self.base.resolve(request).await?;
        if let Resolved::Resolved(_) = resolved {
            let mut book = self.book();
            book.settled_outside(&target, key);
            if settles && !book.finals.insert(key) {
                book.violation("a settled key was resolved");
            }
        }
        self.hardened(resolved).await
    }

    pub(super) async fn read(&self, request: Read) -> Result<Option<OrderView>, StoreError> {
        self.durable().read(request).await
    }

    pub(super) async fn list(&self, request: List) -> Result<Page<OrderView>, StoreError> {
        self.durable().list(request).await
    }

    pub(super) async fn history(
        &self,
        request: History,
    ) -> Result<Option<Page<Entry>>, StoreError> {
        self.durable().history(request).await
    }

    pub(super) async fn lookup(&self, request: Lookup) -> Result<Known, StoreError> {
        self.durable().lookup(request).await
    }

    pub(super) async fn leases(&self, request: Leases) -> Result<Page<LeaseView>, StoreError> {
        self.durable().leases(request).await
    }

    pub(super) async fn entries_since(&self, request: EntriesSince) -> Result<Entries, StoreError> {
        self.durable().entries_since(request).await
    }

    pub(super) async fn expire(self: &Arc<Self>, request: Expire) -> Result<Expired, StoreError> {
        let _written = self.write();
        let expired = self.base.expire(request).await?;
        self.hardened(expired).await
    }
}

fn verdict(acquired: &Acquired) -> &'static str {
    match acquired {
        Acquired::Granted(_) => "granted",
        Acquired::Settled(_) => "settled",
        Acquired::Reused => "reused",
        Acquired::Expired => "expired",
        Acquired::InProgress(_) => "inProgress",
        Acquired::Held(_) => "held",
        Acquired::Marked(_) => "marked",
        Acquired::VersionMismatch { .. } => "versionMismatch",
        Acquired::NotFound => "notFound",
        Acquired::SessionEnded => "sessionEnded",
    }
}
