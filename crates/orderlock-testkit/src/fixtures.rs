//! Valid, consistent requests to start from. Every field of a request is public: take the one that
//! is nearest and change what the test is about.

#![allow(
    clippy::panic,
    reason = "a fixture that does not fit its test is a mistake in that"
)]

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use jiff::Timestamp;
use orderlock_core::store::{
    Acquire, BreakLease, Change, Claim, Create, Final, FinalOutcome, Grant, Join, NewEntry, Part,
    Retention, Settle,
};
use orderlock_core::{
    Answer, Body, Caller, Document, Fence, Fingerprint, IdempotencyKey, LeaseId, OperationName,
    OrderId, OrderStore as _, OwnedIndex, Principal, Runtime as _, Secret, SessionId, StoreError,
    Target, Tenant, Times, Version,
};
use serde_json::json;

use crate::{MemoryStore, TestRuntime};

/// How long the fixtures' answers and tombstones are kept: a day, and thirty.
pub const RETENTION: Retention = Retention {
    answer: Duration::from_secs(24 * 3600),
    tombstone: Duration::from_secs(30 * 24 * 3600),
};

/// Names, from texts that are known to be valid.
pub mod ids {
    use super::{Caller, IdempotencyKey, OperationName, OrderId, Principal, Target, Tenant};

    macro_rules! name {
        ($function:ident, $type:ident) => {
            #[doc = concat!("A [`", stringify!($type), "`].")]
            ///
            /// # Panics
            /// If the text is not a valid one: a mistake in the test.
            #[must_use]
            #[track_caller]
            pub fn $function(text: &str) -> $type {
                $type::parse(text).expect("a test names things by valid texts")
            }
        };
    }

    name!(order, OrderId);
    name!(key, IdempotencyKey);
    name!(operation, OperationName);
    name!(principal, Principal);
    name!(tenant, Tenant);

    /// A caller with this tenant and this name.
    #[must_use]
    #[track_caller]
    pub fn caller(tenant_text: &str, principal_text: &str) -> Caller {
        Caller {
            tenant: tenant(tenant_text),
            principal: principal(principal_text),
        }
    }

    /// The address of an order of the single tenant.
    #[must_use]
    #[track_caller]
    pub fn target(text: &str) -> Target {
        Caller::single().target(&order(text))
    }
}

/// The installation's secret in all fixtures.
#[must_use]
pub fn secret() -> Secret {
    Secret::new([7; 32])
}

/// A claim of the single caller.
#[must_use]
#[track_caller]
pub fn claim(order: &str, key: &str) -> Claim {
    claim_by(&Caller::single(), order, key)
}

/// A claim of any caller.
#[must_use]
#[track_caller]
pub fn claim_by(caller: &Caller, order: &str, key: &str) -> Claim {
    let (order, key) = (ids::order(order), ids::key(key));
    Claim::new(&secret(), caller, &order, &key, fingerprint("{}"))
}

/// The same claim with another body: the same key, used for another request.
#[must_use]
pub fn asking(claim: Claim, body: &str) -> Claim {
    Claim {
        fingerprint: fingerprint(body),
        ..claim
    }
}

/// The fingerprint of a `change` with this body.
#[must_use]
pub fn fingerprint(body: &str) -> Fingerprint {
    Fingerprint::of(&ids::operation("change"), None, Body::Json(body.as_bytes()))
}

/// The order that the fixtures keep: a counter.
#[must_use]
pub fn document(count: u64) -> Document {
    Document::encode(&json!({ "count": count })).expect("a number is JSON")
}

/// The counter in a fixture's order.
///
/// # Panics
/// If the document is not one of the fixtures': a store has damaged it.
#[must_use]
#[track_caller]
pub fn count(document: &Document) -> u64 {
    let value: serde_json::Value = document.decode().expect("a stored document is JSON");
    value["count"].as_u64().expect("a fixture's order counts")
}

/// What lists find a fixture's order by.
#[must_use]
pub fn index(status: &str) -> OwnedIndex {
    OwnedIndex {
        status: Some(status.into()),
        customer: Some("customer".into()),
    }
}

/// A stored answer with this text as its body.
#[must_use]
pub fn answer(text: &str) -> Answer {
    Answer {
        status: 200,
        content_type: "application/json".into(),
        location: None,
        version: None,
        body: Bytes::copy_from_slice(text.as_bytes()),
    }
}

/// The creation of an order that counts from 0.
#[must_use]
pub fn create(claim: Claim, at: Timestamp) -> Create {
    let answer = Answer {
        status: 201,
        location: Some(format!("/orders/{}", claim.order)),
        version: Some(Version::FIRST),
        ..answer("created")
    };
    Create {
        derived: claim.order.clone(),
        claim,
        document: document(0),
        index: index("open"),
        entry: NewEntry {
            operation: ids::operation("create"),
            ..new_entry(at)
        },
        answer,
        times: Times {
            created: at,
            updated: at,
        },
    }
}

/// The beginning of a session of ten seconds.
#[must_use]
pub fn join(node: &str, session: SessionId) -> Join {
    Join {
        node: node.into(),
        session,
        length: Duration::from_secs(10),
        secret: secret(),
    }
}

/// An operator's order to break this grant.
#[must_use]
#[track_caller]
pub fn break_lease(fence: Fence, order: &str) -> BreakLease {
    let Caller { tenant, principal } = Caller::single();
    BreakLease {
        tenant,
        lease: LeaseId::of_grant(fence, &ids::order(order)),
        actor: principal,
        reason: "its holder hangs".into(),
    }
}

/// Runs an example on a [`MemoryStore`] that has the order `o1`, made by the key `k0`, and one session;
/// with the clock of both.
///
/// # Panics
/// If the store fails.
pub fn example(
    run: impl AsyncFnOnce(MemoryStore, SessionId, TestRuntime) -> Result<(), StoreError>,
) {
    let (clock, session) = (TestRuntime::new(), SessionId(1));
    let store = MemoryStore::new(Arc::new(clock.clone()));
    let tokio = tokio::runtime::Builder::new_current_thread().build();
    let ran = tokio.expect("a runtime can be made").block_on(async {
        store
            .create(create(claim("o1", "k0"), clock.wall()))
            .await?;
        store.join(join("node", session)).await?;
        run(store, session, clock).await
    });
    ran.expect("no verb of the model fails");
}

/// A plain operation's request for the lease.
#[must_use]
pub fn acquire(claim: Claim, session: SessionId, fence: Fence) -> Acquire {
    Acquire {
        claim,
        session,
        fence,
        operation: ids::operation("change"),
        expected: None,
        mark: None,
    }
}

/// The settle that counts the granted order up by one.
#[must_use]
pub fn settle(request: &Acquire, grant: &Grant) -> Settle {
    let after = count(&grant.document) + 1;
    let answer = Answer {
        version: Some(grant.version.next()),
        ..answer(&format!("count {after} by {}", grant.fence))
    };
    let outcome = FinalOutcome::Applied(counted_up(grant));
    ending(request, grant, Final { outcome, answer })
}

/// The settle that refuses and changes nothing.
#[must_use]
pub fn refuse(request: &Acquire, grant: &Grant) -> Settle {
    let answer = Answer {
        status: 409,
        ..answer(&format!("refused under {}", grant.fence))
    };
    let outcome = FinalOutcome::Refused;
    ending(request, grant, Final { outcome, answer })
}

/// The checkpoint that counts the granted order up by one and keeps the lease.
#[must_use]
pub fn checkpoint(request: &Acquire, grant: &Grant) -> Settle {
    Settle {
        part: Part::Checkpoint(counted_up(grant)),
        ..settle(request, grant)
    }
}

/// The settle that ends a granted operation so.
#[must_use]
pub fn ending(request: &Acquire, grant: &Grant, end: Final) -> Settle {
    Settle {
        claim: request.claim.clone(),
        fence: grant.fence,
        step: 0,
        version: grant.version,
        entry: NewEntry {
            attempt: grant.attempt,
            ..new_entry(grant.now)
        },
        part: Part::Final { end, next: None },
    }
}

/// The same settle, which asks for the next request in the same step.
///
/// # Panics
/// For a checkpoint, which keeps the order.
#[must_use]
pub fn handing_over(mut settle: Settle, asked: Acquire) -> Settle {
    match &mut settle.part {
        Part::Checkpoint(_) => panic!("a checkpoint hands nothing over"),
        Part::Final { next, .. } => *next = Some(Box::new(asked)),
    }
    settle
}

/// What a settle changes, for a test that changes something else.
///
/// # Panics
/// For a settle that changes nothing.
pub fn change_of(settle: &mut Settle) -> &mut Change {
    let outcome = match &mut settle.part {
        Part::Checkpoint(change) => return change,
        Part::Final { end, .. } => &mut end.outcome,
    };
    match outcome {
        FinalOutcome::Applied(change) | FinalOutcome::AppliedWithError(change) => change,
        FinalOutcome::Refused | FinalOutcome::Unchanged => panic!("it changes nothing"),
    }
}

/// How a settle ends its operation, for a test that ends it otherwise.
///
/// # Panics
/// For a checkpoint, which ends nothing.
pub fn end_of(settle: &mut Settle) -> &mut Final {
    match &mut settle.part {
        Part::Checkpoint(_) => panic!("a checkpoint ends nothing"),
        Part::Final { end, .. } => end,
    }
}

fn counted_up(grant: &Grant) -> Change {
    Change {
        before: grant.document.clone(),
        after: document(count(&grant.document) + 1),
        index: index("changed"),
        at: grant.now,
    }
}

/// An entry of the first run of a `change`.
#[must_use]
pub fn new_entry(at: Timestamp) -> NewEntry {
    NewEntry {
        operation: ids::operation("change"),
        attempt: 1,
        at,
        retention: RETENTION,
    }
}
