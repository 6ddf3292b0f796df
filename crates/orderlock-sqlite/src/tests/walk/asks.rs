//! What a walk asks of the store.

use std::time::Duration;

use orderlock_core::store::{
    Acquire, Acquired, BreakLease, Change, Decision, Expire, Final, FinalOutcome, Grant, MarkFate,
    Release, Resolve, Settle, Settled, StoreFuture,
};
use orderlock_core::{LeaseId, OrderStore as _, Recovery, Runtime as _};
use orderlock_testkit::fixtures;
use tokio::task::JoinHandle;

use super::super::{on_writer, start};
use super::{ORDERS, Walk};
use crate::SqliteStore;
use crate::file::rows::find_latest;
use crate::state::context::WriteContext;

const KEYS: usize = 8;

/// A verb of the batch, and what of its answer the walk goes on with.
pub(super) enum Job {
    Acquire(Acquire, JoinHandle<Option<Acquired>>),
    Settle(Settle, JoinHandle<Option<Settled>>),
    Other(JoinHandle<()>),
}

impl Walk {
    pub(super) fn below(&self, bound: usize) -> usize {
        let random = self.bench.runtime.random() >> 64;
        usize::try_from(random % bound as u128).unwrap()
    }

    pub(super) fn one_in(&self, chances: usize) -> bool {
        self.below(chances) == 0
    }

    fn request(&self, order: &str) -> Acquire {
        let key = format!("k{}", self.below(KEYS));
        let mut request = self.bench.request(order, &key);
        let (times, within) = (3, Duration::from_secs(3_600));
        request.mark = match self.below(12) {
            0 => Some(Recovery::Reconcile),
            1 => Some(Recovery::Resume { times, within }),
            _ => None,
        };
        request
    }

    fn settle(&self) -> Option<Settle> {
        if self.one_in(5) && !self.settles.is_empty() {
            return Some(self.settles[self.below(self.settles.len())].clone());
        }
        let (request, grant, step) = self.grant()?;
        let mut settle = match self.below(4) {
            0 => fixtures::refuse(request, grant),
            1 => fixtures::checkpoint(request, grant),
            _ => fixtures::settle(request, grant),
        };
        settle.step = *step;
        settle.entry.attempt = grant.attempt;
        if settle.is_final() && self.one_in(2) {
            let next = self.request(request.claim.order.as_str());
            settle = fixtures::handing_over(settle, next);
        }
        Some(settle)
    }

    /// Rather a grant that stands than one that has ended.
    fn grant(&self) -> Option<&(Acquire, Grant, u32)> {
        let stands = |(request, grant, _): &&(Acquire, Grant, u32)| {
            let target = request.claim.target();
            let shard = self.bench.store.inner().direct.leases.shard(&target);
            let held = shard.slots.get(&target).and_then(|slot| slot.held.as_ref());
            held.is_some_and(|held| held.lease().fence == grant.fence)
        };
        let standing: Vec<_> = self.grants.iter().filter(stands).collect();
        if standing.is_empty() || self.one_in(6) {
            return self.grants.get(self.below(self.grants.len().max(1)));
        }
        Some(standing[self.below(standing.len())])
    }

    fn resolution(&self) -> Option<Resolve> {
        let target = fixtures::ids::target(&format!("o{}", self.below(ORDERS)));
        // As the file has it by now: the store may wait for a flush.
        let view = find_latest(&self.bench.file(), &target).unwrap()?.whole;
        let mark = view.order.mark?;
        let decision = match self.below(2) {
            0 => Decision::RunAgain {
                retention: fixtures::RETENTION,
            },
            _ => Decision::Settle {
                version: view.order.version,
                end: Final {
                    outcome: FinalOutcome::Applied(Change {
                        after: fixtures::document(fixtures::count(&view.document) + 1),
                        before: view.document,
                        index: fixtures::index("resolved"),
                        at: self.bench.runtime.wall(),
                    }),
                    answer: fixtures::answer("resolved"),
                },
                retention: fixtures::RETENTION,
            },
        };
        Some(Resolve {
            target,
            key_id: mark.key_id,
            attempt: mark.attempt,
            since: mark.since,
            decision,
            actor: fixtures::ids::principal("operator"),
            reason: "it was found out".into(),
        })
    }

    /// Puts one verb into the queue, or none if it has no object.
    async fn queue(&self) -> Option<Job> {
        let store = &self.bench.store;
        Some(match self.below(16) {
            0..4 => {
                let request = self.request(&format!("o{}", self.below(ORDERS)));
                let sent = request.clone();
                let answer = told(store, move |store| store.acquire(sent));
                Job::Acquire(request, answer.await)
            }
            4..10 => {
                let settle = self.settle()?;
                let sent = settle.clone();
                let answer = told(store, move |store| store.settle(sent));
                Job::Settle(settle, answer.await)
            }
            10 => {
                let (request, grant, _) = self.grant()?;
                let mark = match self.below(2) {
                    0 => MarkFate::Keep,
                    _ => MarkFate::Clear,
                };
                let release = Release {
                    target: request.claim.target(),
                    fence: grant.fence,
                    mark,
                    next: None,
                };
                other(store, move |store| store.release(release)).await
            }
            11 => {
                let (request, grant, _) = self.grant()?;
                let break_it = BreakLease {
                    tenant: request.claim.caller.tenant.clone(),
                    lease: LeaseId::of_grant(grant.fence, &request.claim.order),
                    actor: fixtures::ids::principal("operator"),
                    reason: "it hangs".into(),
                };
                other(store, move |store| store.break_lease(break_it)).await
            }
            12..15 => {
                let resolve = self.resolution()?;
                other(store, move |store| store.resolve(resolve)).await
            }
            _ => other(store, |store| store.expire(Expire { limit: 9 })).await,
        })
    }

    /// Puts some verbs into the queue.
    pub(super) async fn some_jobs(&self) -> Vec<Job> {
        let mut jobs = Vec::new();
        for _ in 0..=self.below(4) {
            jobs.extend(self.queue().await);
            if self.one_in(12) {
                jobs.push(fail_half_way(&self.bench.store).await);
            }
        }
        jobs
    }
}

/// Starts a verb whose error the walk does not mind.
async fn told<T: Send + 'static>(
    store: &SqliteStore,
    verb: impl FnOnce(&SqliteStore) -> StoreFuture<'_, T> + Send + 'static,
) -> JoinHandle<Option<T>> {
    let verb = start(store, verb).await;
    tokio::spawn(async move { verb.await.unwrap().ok() })
}

async fn other<T: Send + 'static>(
    store: &SqliteStore,
    verb: impl FnOnce(&SqliteStore) -> StoreFuture<'_, T> + Send + 'static,
) -> Job {
    let answer = told(store, verb).await;
    Job::Other(tokio::spawn(async move { drop(answer.await.unwrap()) }))
}

/// A job that takes its whole batch back with it.
async fn fail_half_way(store: &SqliteStore) -> Job {
    let work = |context: &mut WriteContext<'_>| {
        let connection = context.connection;
        connection.execute("UPDATE orders SET version = 99, document = x'00'", [])?;
        connection.execute("no SQL", [])?;
        Ok(())
    };
    other(store, move |store| on_writer(store, work)).await
}
