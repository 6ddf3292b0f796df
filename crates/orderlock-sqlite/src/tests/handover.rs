//! A hand-over to a request that cannot be served, and one whose end nobody knows.

use orderlock_core::store::{Acquire, MarkFate, Release, Settle, Undo};
use orderlock_core::{LeaseViewState, OrderStore as _, Recovery, StoreError, Version};
use orderlock_testkit::fixtures::{self, ids::target};

use super::flushing::{Flushing, Go};
use super::{Bench, accepted, granted, start};

/// An order on which the key "damaged" has an entry that this program cannot read.
async fn bench() -> Bench {
    let bench = Bench::new().await;
    bench.order("o").await;
    let settle = bench.held("o", "damaged").await;
    accepted(bench.store.settle(settle).await.unwrap());
    let damage = "UPDATE entries SET outcome = 'of another time' WHERE number = 2";
    let damaged = bench.on_writer(move |context| Ok(context.connection.execute(damage, [])?));
    assert_eq!(damaged.await.unwrap(), 1);
    let alone = bench.store.acquire(bench.request("o", "damaged")).await;
    assert!(matches!(alone, Err(StoreError::Corrupt(_))), "{alone:?}");
    bench
}

#[tokio::test]
async fn a_settle_does_not_suffer_for_the_next_in_line() {
    let bench = bench().await;
    let settle = bench.held("o", "k").await;
    let settle = fixtures::handing_over(settle, bench.request("o", "damaged"));
    let accepted = accepted(bench.store.settle(settle).await.unwrap());
    assert!(accepted.next.is_none(), "it asks for itself, and is told");
    let view = bench.view("o").await;
    assert_eq!((view.version, view.lease), (Version(3), None));
}

#[tokio::test]
async fn a_release_does_not_suffer_for_the_next_in_line() {
    for mark in [None, Some(Recovery::Reconcile)] {
        let bench = bench().await;
        let mut request = bench.request("o", "k");
        request.mark = mark;
        let fence = granted(bench.store.acquire(request.clone()).await.unwrap()).fence;
        let release = Release {
            target: request.claim.target(),
            fence,
            mark: MarkFate::Clear,
            next: Some(Box::new(bench.request("o", "damaged"))),
        };
        let released = bench.store.release(release).await.unwrap();
        assert!(released.held && released.next.is_none(), "{released:?}");
        assert_eq!(bench.view("o").await.lease, None);
    }
}

/// A settle that hands the order over to an external operation, written and not flushed; what was
/// asked for that one.
async fn handed_over_without_a_flush() -> (Flushing, Settle, Acquire) {
    let mut flushing = Flushing::new().await;
    let settle = flushing.bench.held("o", "first").await;
    let mut next = flushing.bench.request("o", "next");
    next.mark = Some(Recovery::Reconcile);
    let settle = fixtures::handing_over(settle, next.clone());
    let store = &flushing.bench.store;
    let first = accepted(store.settle(settle.clone()).await.unwrap());
    flushing.begun().await;
    flushing.flush(Go::Fail);
    let unknown = first.durable.await;
    assert!(
        matches!(unknown, Err(StoreError::OutcomeUnknown(_))),
        "{unknown:?}"
    );
    flushing.flush(Go::Open);
    (flushing, settle, next)
}

#[tokio::test]
async fn a_mark_that_a_failed_flush_has_left_is_taken_back() {
    let (flushing, _, next) = handed_over_without_a_flush().await;
    let undo = |fence| Undo {
        target: target("o"),
        fence,
        next: None,
    };
    let store = &flushing.bench.store;
    let undone = store.undo(undo(next.fence)).await.unwrap();
    assert!(undone.held, "no handler has run under it");
    let view = flushing.bench.view("o").await;
    assert_eq!((view.version, view.lease), (Version(2), None));
    let again = store.undo(undo(next.fence)).await.unwrap();
    assert!(!again.held);
    flushing.bench.agree();
}

#[tokio::test]
async fn a_settle_that_is_repeated_after_a_failed_flush_grants_what_it_granted() {
    let (flushing, settle, next) = handed_over_without_a_flush().await;
    let again = accepted(flushing.bench.store.settle(settle).await.unwrap());
    let grant = granted(again.next.unwrap());
    assert_eq!((grant.fence, grant.attempt), (next.fence, 1));
    let lease = flushing.bench.view("o").await.lease.unwrap();
    assert_eq!(lease.state, LeaseViewState::Held);
    flushing.bench.agree();
}

/// Nor is it one that nobody attends to, if the grant was asked for alone, or in the place of an open
/// mark.
#[tokio::test]
async fn a_grant_whose_flush_failed_is_found_by_its_fence() {
    for resumes in [false, true] {
        let flushing = Flushing::new().await;
        let bench = &flushing.bench;
        let within = std::time::Duration::from_secs(60);
        let mut request = bench.request("o", "k");
        request.mark = Some(Recovery::Resume { times: 3, within });
        if resumes {
            flushing.flush(Go::Flush);
            let fence = granted(bench.store.acquire(request.clone()).await.unwrap()).fence;
            let release = Release {
                target: target("o"),
                fence,
                mark: MarkFate::Keep,
                next: None,
            };
            bench.store.release(release).await.unwrap();
            request.fence = bench.request("o", "k").fence;
        }
        flushing.flush(Go::Fail);
        let asked = request.clone();
        let granting = start(&bench.store, move |store| store.acquire(asked)).await;
        let unknown = granting.await.unwrap();
        assert!(
            matches!(unknown, Err(StoreError::OutcomeUnknown(_))),
            "{unknown:?}"
        );
        flushing.flush(Go::Open);
        let grant = granted(flushing.bench.store.acquire(request.clone()).await.unwrap());
        assert_eq!(grant.fence, request.fence);
        assert_eq!(grant.attempt, if resumes { 2 } else { 1 });
        let undo = Undo {
            target: target("o"),
            fence: request.fence,
            next: None,
        };
        let undone = flushing.bench.store.undo(undo).await.unwrap();
        assert!(undone.held);
        let lease = flushing.bench.view("o").await.lease;
        let open = lease.map(|lease| (lease.state, lease.attempt));
        assert_eq!(open, resumes.then_some((LeaseViewState::Marked, 1)));
        flushing.bench.agree();
    }
}
