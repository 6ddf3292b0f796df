//! Looks at every verb where it happens, and knows at once when a promise is broken.

use std::future::Future;
use std::sync::Arc;

use orderlock_core::store::{
    Acquire, Acquired, BreakLease, Broken, Create, Created, Decision, Durable, Entries,
    EntriesSince, Entry, Expire, Expired, History, Join, Joined, Known, Leases, Leave, Left, List,
    Lookup, MarkEnd, MarkFate, OrderView, Page, Read, Release, Released, Renew, Renewed, Resolve,
    Resolved, Settle, Settled, Sweep, Swept, Undo,
};
use orderlock_core::{LeaseView, LeaseViewState, OrderStore as _, StoreError, Tenant};

use super::book::Cause;
use super::disk::{Flush, hard};
use super::event::{Event, Word};
use super::scene::Scene;

impl Scene {
    /// Whatever is no longer held after this verb was voided by it.
    pub(super) async fn note_voided(&self, cause: Cause) {
        let leases = Leases {
            tenant: Tenant::single(),
            limit: 100,
            cursor: None,
        };
        if let Ok(page) = self.memory.leases(leases).await {
            let held = page.items.iter();
            let held = held.filter(|lease| lease.state == LeaseViewState::Held);
            let held = held.filter_map(|lease| lease.id.grant());
            let held: Vec<_> = held.map(|(fence, _)| fence).collect();
            self.book().voided(&held, cause);
            self.record(Event::Stand(page.items));
        }
    }

    /// Does what may void leases, records it, and looks at what is left.
    async fn voiding<T>(
        &self,
        verb: impl Future<Output = Result<T, StoreError>>,
        event: impl FnOnce(&T) -> Event,
    ) -> Result<T, StoreError> {
        let result = verb.await;
        if let Ok(done) = &result {
            let event = event(done);
            let cause = match event {
                Event::Renewed(_, true) => Cause::Renewal,
                Event::Broken(..) => Cause::Broken,
                _ => Cause::SessionEnded,
            };
            self.record(event);
            self.note_voided(cause).await;
        }
        result
    }

    pub(super) async fn join(self: &Arc<Self>, request: Join) -> Result<Joined, StoreError> {
        let _written = self.write();
        self.book().join(request.node.clone(), request.session);
        let event = Event::Joined(request.clone());
        let joined = self.voiding(self.base.join(request), |_| event).await?;
        self.hardened(joined).await
    }

    pub(super) async fn renew(self: &Arc<Self>, request: Renew) -> Result<Renewed, StoreError> {
        let asked = request.clone();
        let renew = self.base.renew(request);
        let renewed = self
            .voiding(renew, |renewed| {
                let extended = *renewed != Renewed::Ended;
                if !extended {
                    self.book().end_session(asked.session);
                }
                Event::Renewed(asked, extended)
            })
            .await?;
        self.hardened(renewed).await
    }

    pub(super) async fn leave(self: &Arc<Self>, request: Leave) -> Result<Left, StoreError> {
        self.book().end_session(request.session);
        let leave = self.base.leave(request);
        let left = self.voiding(leave, |_| Event::Left(request)).await?;
        self.hardened(left).await
    }

    pub(super) async fn sweep(self: &Arc<Self>, request: Sweep) -> Result<Swept, StoreError> {
        let mut ended = self.memory.sessions();
        let sweep = self.base.sweep(request);
        let swept = self
            .voiding(sweep, |_| {
                let alive = self.memory.sessions();
                ended.retain(|session| !alive.contains(session));
                Event::Swept(ended)
            })
            .await?;
        self.hardened(swept).await
    }

    pub(super) async fn create(self: &Arc<Self>, request: Create) -> Result<Created, StoreError> {
        self.book().name(&request.claim);
        let (target, key) = (request.claim.target(), request.claim.key_id);
        let _written = self.write();
        let created = self.base.create(request).await;
        if let Ok(Created::Inserted(_)) = created {
            self.book().settled_without_grant(key);
            self.record(Event::Created(target));
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
        let (fence, word) = (request.fence, Word::of(&acquired));
        self.trace.note(format_args!("acquire {fence} {word:?}"));
        self.record(Event::Acquired(request, word));
        self.hardened(acquired).await
    }

    pub(super) async fn settle(self: &Arc<Self>, request: Settle) -> Result<Settled, StoreError> {
        let flush = self.write();
        let settled = self.base.settle(request.clone()).await?;
        let first = self.book().settled(&request, &settled);
        let word = match &settled {
            Settled::Accepted(_) => "accepted",
            Settled::Lost(_) => "lost",
            Settled::Impossible(_) => "impossible",
        };
        let (fence, step) = (request.fence, request.step);
        let outcome = request.outcome().as_str();
        self.trace
            .note(format_args!("settle {fence} {step} {outcome} {word}"));
        self.record(Event::settled(request, &settled));
        match flush {
            Some(flush) if first || self.plan.lies => self.accept_early(settled, flush).await,
            // A repeat may be durable already, while what is handed over with it is not.
            Some(flush) => hard(flush).await.map(|()| settled),
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
                if let (MarkFate::Clear, Some(key)) = (mark, book.key_of(fence)) {
                    book.settled_outside(&request.target, key);
                }
            }
            if let (Some(next), Some(result)) = (&request.next, &released.next) {
                book.acquired(next, result);
            }
        }
        self.record(Event::released(request, &released));
        self.hardened(released).await
    }

    pub(super) async fn undo(self: &Arc<Self>, request: Undo) -> Result<Released, StoreError> {
        let _written = self.write();
        let released = self.base.undo(request.clone()).await?;
        let (fence, held) = (request.fence, released.held);
        self.trace.note(format_args!("undo {fence} {held}"));
        {
            let mut book = self.book();
            if held {
                book.let_go(&request.target, fence);
            }
            if let (Some(next), Some(result)) = (&request.next, &released.next) {
                book.acquired(next, result);
            }
        }
        self.record(Event::undone(request, &released));
        self.hardened(released).await
    }

    pub(super) async fn break_lease(
        self: &Arc<Self>,
        request: BreakLease,
    ) -> Result<Broken, StoreError> {
        let _written = self.write();
        let asked = request.clone();
        let breaks = self.base.break_lease(request);
        let broken = self
            .voiding(breaks, |broken| {
                Event::Broken(asked, matches!(broken, Broken::Broken(_)))
            })
            .await?;
        self.hardened(broken).await
    }

    pub(super) async fn resolve(
        self: &Arc<Self>,
        request: Resolve,
    ) -> Result<Resolved, StoreError> {
        let settles = matches!(request.decision, Decision::Settle { .. });
        let key = request.key_id;
        let _written = self.write();
        let resolved = self.base.resolve(request.clone()).await?;
        if let Resolved::Resolved(_) = resolved {
            let mut book = self.book();
            book.settled_outside(&request.target, key);
            if settles && !book.settled_without_grant(key) {
                book.violation("a settled key was resolved");
            }
            if !settles {
                book.cleared.insert(key);
            }
        }
        let done = matches!(resolved, Resolved::Resolved(_));
        self.record(Event::Resolved(request, done));
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

    pub(super) async fn mark_end(&self, request: MarkEnd) -> Result<Option<Entry>, StoreError> {
        self.durable().mark_end(request).await
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
