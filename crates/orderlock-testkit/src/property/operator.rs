//! What an operator does to leases and marks.

use orderlock_core::store::{BreakLease, Change, Decision, Final, FinalOutcome, Resolve, Resolved};
use orderlock_core::{LeaseId, Runtime as _, Timestamp, Version};

use super::pair::{Difference, Pair, RETENTION, claim, order};
use super::plain::Plain;
use crate::fixtures;
use crate::suite::{Verbs, single};

impl Pair {
    pub(super) async fn break_holder(&self, number: usize) -> Difference {
        let target = fixtures::ids::target(&order(number));
        let ask = async |verbs: &Verbs| {
            let lease = verbs.read(target.clone()).await?.lease?;
            Some(verbs.break_lease(break_it(lease.id)).await.plain())
        };
        self.both("break_lease", ask).await.map(drop)
    }

    pub(super) async fn break_run(&self, run: usize) -> Difference {
        let Some(place) = self.place(run) else {
            return Ok(());
        };
        // A store may name leases in its own way; this name is one that some store would give.
        let fence = self.runs[place].request.fence;
        let id = || LeaseId::of_grant(fence, &self.runs[place].request.claim.order);
        let target = self.runs[place].request.claim.target();
        let view = self.model_verbs.read(target.clone()).await;
        let holds = view.and_then(|view| view.lease).map(|lease| lease.id) == Some(id());
        let ask = async |verbs: &Verbs| {
            let id = match verbs.read(target.clone()).await?.lease {
                Some(lease) if holds => lease.id,
                _ => id(),
            };
            Some(verbs.break_lease(break_it(id)).await.plain())
        };
        self.both("break_lease of a run", ask).await.map(drop)
    }

    pub(super) async fn resolve(
        &self,
        order: usize,
        key: usize,
        settle: bool,
        stale: bool,
    ) -> Difference {
        let claim = claim(order, key);
        let Some(view) = self.model_verbs.read(claim.target()).await else {
            return Ok(());
        };
        let version = if stale { Version(999) } else { view.version };
        let change = Change {
            after: fixtures::document(fixtures::count(&view.document) + 100),
            before: view.document,
            index: fixtures::index("resolved"),
            at: self.world.runtime.wall(),
        };
        let settled = Decision::Settle {
            version,
            end: Final {
                outcome: FinalOutcome::Applied(change),
                answer: fixtures::answer("resolved"),
            },
            retention: RETENTION,
        };
        let run_again = Decision::RunAgain {
            retention: RETENTION,
        };
        let request = Resolve {
            target: claim.target(),
            key_id: claim.key_id,
            attempt: 1,
            since: Timestamp::UNIX_EPOCH,
            decision: if settle { settled } else { run_again },
            actor: fixtures::ids::principal("operator"),
            reason: "at random".into(),
        };
        let ask = async |verbs: &Verbs| {
            let mut request = request.clone();
            let view = verbs.read(request.target.clone()).await;
            if let Some(lease) = view.and_then(|view| view.lease) {
                request.attempt = lease.attempt;
                request.since = lease.since.unwrap_or(request.since);
            }
            match verbs.resolve(request).await {
                // Only a settled key has an answer that expires.
                Resolved::Resolved(receipt) => {
                    let expires = settle.then_some(receipt.expires);
                    Ok((receipt.number, expires))
                }
                other => Err(other),
            }
        };
        self.both("resolve", ask).await.map(drop)
    }
}

fn break_it(lease: LeaseId) -> BreakLease {
    BreakLease {
        tenant: single(),
        lease,
        actor: fixtures::ids::principal("operator"),
        reason: "at random".into(),
    }
}
