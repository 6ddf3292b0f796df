//! A node of the suite, and the leases that it holds.

use std::ops::Deref;

use orderlock_core::store::{Acquire, BreakLease, Claim, Grant, MarkFate, Release, Settle, Undo};
use orderlock_core::{LeaseId, Recovery, SessionId};

use super::world::{Verbs, granted};
use crate::fixtures;

/// A node with a session.
#[derive(Clone)]
pub(crate) struct Node {
    pub(super) verbs: Verbs,
    pub(crate) session: SessionId,
}

impl Deref for Node {
    type Target = Verbs;

    fn deref(&self) -> &Verbs {
        &self.verbs
    }
}

impl Node {
    /// This node's request for a lease, under a fence of its own.
    pub(crate) fn request(&self, claim: Claim) -> Acquire {
        fixtures::acquire(claim, self.session, self.fence())
    }

    /// The lease of an order of the single tenant, which must be free.
    pub(crate) async fn hold(&self, order: &str, key: &str) -> Held {
        self.hold_by(self.request(fixtures::claim(order, key)))
            .await
    }

    /// The same with a mark.
    pub(crate) async fn mark(&self, order: &str, key: &str, recovery: Recovery) -> Held {
        let mut request = self.request(fixtures::claim(order, key));
        request.mark = Some(recovery);
        self.hold_by(request).await
    }

    pub(crate) async fn hold_by(&self, request: Acquire) -> Held {
        let grant = granted(self.acquire(request.clone()).await);
        Held { request, grant }
    }
}

/// A lease that a check holds.
#[derive(Clone)]
pub(crate) struct Held {
    pub(crate) request: Acquire,
    pub(crate) grant: Grant,
}

impl Held {
    pub(crate) fn settle(&self) -> Settle {
        fixtures::settle(&self.request, &self.grant)
    }

    pub(crate) fn refuse(&self) -> Settle {
        fixtures::refuse(&self.request, &self.grant)
    }

    pub(crate) fn checkpoint(&self) -> Settle {
        fixtures::checkpoint(&self.request, &self.grant)
    }

    pub(crate) fn release(&self, mark: MarkFate) -> Release {
        Release {
            target: self.request.claim.target(),
            fence: self.grant.fence,
            mark,
            next: None,
        }
    }

    pub(crate) fn undo(&self) -> Undo {
        Undo {
            target: self.request.claim.target(),
            fence: self.grant.fence,
            next: None,
        }
    }

    /// The operator's act on this grant.
    pub(crate) fn break_it(&self) -> BreakLease {
        BreakLease {
            tenant: self.request.claim.caller.tenant.clone(),
            lease: LeaseId::of_grant(self.grant.fence, &self.request.claim.order),
            actor: fixtures::ids::principal("operator"),
            reason: "it hangs".into(),
        }
    }
}
