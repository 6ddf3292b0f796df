//! Values that PostgreSQL cannot keep: what is asked with them is refused for good, changes nothing, and
//! is never told as a database out of reach.

use std::iter::successors;

use orderlock_core::store::{
    BreakLease, Change, Create, Created, Decision, Filter, Final, FinalOutcome, List, MarkFate,
    Read, Release, Resolve,
};
use orderlock_core::{OrderStore as _, OwnedIndex, Recovery, StoreError};
use orderlock_core::{Runtime as _, TokioRuntime, Version};
use orderlock_postgres::PostgresOptions;
use orderlock_testkit::fixtures::{self, ids};

use crate::world::{World, hold};

const NUL: &str = "a\0b";

/// Too long for an index, which only the database can tell: it depends on how well the text can be
/// compressed.
pub(crate) fn noise() -> String {
    let noise = successors(Some(1_u64), |it| {
        let next = it.wrapping_mul(6_364_136_223_846_793_005);
        Some(next.wrapping_add(1_442_695_040_888_963_407))
    });
    let noise = noise.map(|it| char::from(b'!' + (it >> 56) as u8 % 89));
    noise.take(20_000).collect()
}

fn creation(order: &str) -> Create {
    fixtures::create(fixtures::claim(order, "k"), TokioRuntime.wall())
}

#[track_caller]
fn assert_for_good<T: std::fmt::Debug>(told: &Result<T, StoreError>) {
    assert!(matches!(told, Err(StoreError::Unsupported(_))), "{told:?}");
}

#[tokio::test]
async fn an_order_that_cannot_be_kept_is_not_made() {
    let options = PostgresOptions::default().with_document_bytes_max(1_000);
    let world = World::with(options).await;
    let mut odd: Vec<_> = (0..5).map(|_| creation("o1")).collect();
    odd[0].index.customer = Some(NUL.into());
    odd[1].index.status = Some(NUL.into());
    odd[2].index.customer = Some(noise());
    odd[3].answer.location = Some(NUL.into());
    odd[4].document = orderlock_core::Document::encode(&"x".repeat(1_000)).unwrap();
    for create in odd {
        assert_for_good(&world.store.create(create).await);
        let target = ids::target("o1");
        assert!(world.store.read(Read { target }).await.unwrap().is_none());
    }
    let made = world.store.create(creation("o1")).await.unwrap();
    assert!(matches!(made, Created::Inserted(_)), "{made:?}");
}

#[tokio::test]
async fn a_decision_that_cannot_be_kept_leaves_the_mark() {
    let world = World::new().await;
    world.order("o1").await;
    let mut external = world.request("o1", "external");
    external.mark = Some(Recovery::Reconcile);
    let held = hold(&world.store, external).await;
    let target = ids::target("o1");
    let failed = Release {
        target: target.clone(),
        fence: held.grant.fence,
        mark: MarkFate::Keep,
        next: None,
    };
    assert!(world.store.release(failed).await.unwrap().held);
    let resolve = |reason: &str, index: OwnedIndex| Resolve {
        target: target.clone(),
        key_id: held.request.claim.key_id,
        attempt: held.grant.attempt,
        since: held.grant.now,
        decision: Decision::Settle {
            version: Version(1),
            end: Final {
                outcome: FinalOutcome::Applied(Change {
                    before: held.grant.document.clone(),
                    after: fixtures::document(1),
                    index,
                    at: held.grant.now,
                }),
                answer: fixtures::answer("done"),
            },
            retention: fixtures::RETENTION,
        },
        actor: ids::principal("operator"),
        reason: reason.into(),
    };
    let odd = OwnedIndex {
        status: Some(noise()),
        ..fixtures::index("open")
    };
    for request in [
        resolve(NUL, fixtures::index("open")),
        resolve("done", fixtures::index(NUL)),
        resolve("done", odd),
    ] {
        assert_for_good(&world.store.resolve(request).await);
        let target = target.clone();
        let view = world.store.read(Read { target }).await.unwrap().unwrap();
        assert!(view.lease.is_some() && view.version == Version(1));
    }
}

#[tokio::test]
async fn a_reason_that_cannot_be_kept_breaks_no_lease() {
    let world = World::new().await;
    world.order("o1").await;
    let held = world.hold("o1", "k1").await;
    let target = ids::target("o1");
    let read = || {
        world.store.read(Read {
            target: target.clone(),
        })
    };
    let lease = read().await.unwrap().unwrap().lease.unwrap();
    let request = BreakLease {
        tenant: target.tenant.clone(),
        lease: lease.id.clone(),
        actor: ids::principal("operator"),
        reason: NUL.into(),
    };
    assert_for_good(&world.store.break_lease(request).await);
    let after = read().await.unwrap().unwrap().lease.unwrap();
    assert_eq!(after.id.grant().unwrap().0, held.grant.fence);
}

#[tokio::test]
async fn nothing_is_found_by_what_no_order_can_have() {
    let world = World::new().await;
    world.order("o1").await;
    for (status, customer) in [
        (Some(NUL), None),
        (None, Some(NUL)),
        (Some("open"), Some(NUL)),
    ] {
        let list = List {
            tenant: ids::target("o1").tenant,
            filter: Filter {
                status: status.map(Into::into),
                customer: customer.map(Into::into),
                locked: None,
            },
            limit: 10,
            cursor: None,
        };
        let page = world.store.list(list).await.unwrap();
        assert!(page.items.is_empty() && page.next.is_none(), "{page:?}");
    }
}
