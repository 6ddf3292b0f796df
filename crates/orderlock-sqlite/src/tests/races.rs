//! What may happen while a commit is under way.

use orderlock_core::store::{
    Acquired, BreakLease, Broken, Leave, Loss, MarkFate, Release, Renew, Settled, Sweep,
};
use orderlock_core::{LeaseId, OrderStore as _, Recovery, Version};
use orderlock_testkit::fixtures;
use std::time::Duration;

use super::{Bench, accepted, granted, join, start};

fn break_it(settle: &orderlock_core::store::Settle) -> BreakLease {
    BreakLease {
        tenant: settle.claim.caller.tenant.clone(),
        lease: LeaseId::of_grant(settle.fence, &settle.claim.order),
        actor: fixtures::ids::principal("operator"),
        reason: "it hangs".into(),
    }
}

#[tokio::test]
async fn a_void_that_is_queued_before_a_settle_wins() {
    let bench = Bench::new().await;
    bench.order("o").await;
    let settle = bench.held("o", "k").await;
    let request = break_it(&settle);
    let stopped = bench.stop().await;
    let broken = start(&bench.store, move |store| store.break_lease(request)).await;
    let settle = start(&bench.store, move |store| store.settle(settle)).await;
    stopped.go();
    let broken = broken.await.unwrap().unwrap();
    assert!(matches!(broken, Broken::Broken(_)), "{broken:?}");
    let settled = settle.await.unwrap().unwrap();
    assert!(
        matches!(settled, Settled::Lost(Loss::NotHeld)),
        "{settled:?}"
    );
    assert_eq!(bench.view("o").await.version, Version(1));
}

#[tokio::test]
async fn a_void_between_the_decision_and_the_commit_comes_after_it() {
    let bench = Bench::new().await;
    bench.order("o").await;
    let settle = bench.held("o", "k").await;
    let request = break_it(&settle);

    let stopped = bench.stop().await;
    let settle = start(&bench.store, move |store| store.settle(settle)).await;
    let deciding = bench.queue_stop();
    tokio::task::yield_now().await;
    stopped.go();
    let deciding = deciding.reached().await;
    // The settle is decided and not committed: others still see the order held, and as it was.
    let view = bench.view("o").await;
    assert_eq!(view.version, Version(1));
    assert!(view.lease.is_some());
    let other = bench.request("o", "other");
    let other = start(&bench.store, move |store| store.acquire(other)).await;
    assert!(!other.is_finished(), "it is decided behind the settle");
    let session = bench.session;
    let broken = start(&bench.store, move |store| store.break_lease(request)).await;
    let left = start(&bench.store, move |store| store.leave(Leave { session })).await;
    assert!(!broken.is_finished() && !left.is_finished());
    deciding.go();

    accepted(settle.await.unwrap().unwrap());
    granted(other.await.unwrap().unwrap());
    assert_eq!(broken.await.unwrap().unwrap(), Broken::NotFound);
    assert_eq!(left.await.unwrap().unwrap().voided, 1, "the other grant");
    assert_eq!(bench.view("o").await.version, Version(2));
}

#[tokio::test]
async fn a_session_that_ends_in_the_batch_takes_its_later_settles_along() {
    let bench = Bench::new().await;
    for order in ["before", "after"] {
        bench.order(order).await;
    }
    let before = bench.held("before", "k").await;
    let after = bench.held("after", "k").await;
    let session = bench.session;
    let stopped = bench.stop().await;
    let before = start(&bench.store, move |store| store.settle(before)).await;
    let left = start(&bench.store, move |store| store.leave(Leave { session })).await;
    let after = start(&bench.store, move |store| store.settle(after)).await;
    stopped.go();
    accepted(before.await.unwrap().unwrap());
    assert_eq!(left.await.unwrap().unwrap().voided, 1);
    let lost = after.await.unwrap().unwrap();
    assert!(matches!(lost, Settled::Lost(Loss::NotHeld)), "{lost:?}");
    assert!(bench.view("after").await.lease.is_none());
}

#[tokio::test]
async fn a_renewal_that_is_queued_before_the_sweep_saves_the_session() {
    let bench = Bench::new().await;
    bench.order("o").await;
    let settle = bench.held("o", "k").await;
    bench.runtime.advance(Duration::from_secs(11));
    let (session, known) = (bench.session, vec![settle.fence]);
    let stopped = bench.stop().await;
    let renewed = start(&bench.store, move |store| {
        store.renew(Renew { session, known })
    })
    .await;
    let swept = start(&bench.store, move |store| store.sweep(Sweep { limit: 9 })).await;
    stopped.go();
    renewed.await.unwrap().unwrap();
    assert_eq!(swept.await.unwrap().unwrap().voided, 0);
    accepted(bench.store.settle(settle).await.unwrap());
}

/// The grant of a marked operation stands in the queue when its caller takes it back.
#[tokio::test]
async fn a_release_never_overtakes_its_own_grant() {
    let bench = Bench::new().await;
    bench.order("o").await;
    let mut request = bench.request("o", "k");
    request.mark = Some(Recovery::Reconcile);
    let release = Release {
        target: request.claim.target(),
        fence: request.fence,
        mark: MarkFate::Clear,
        next: None,
    };
    let stopped = bench.stop().await;
    let acquired = start(&bench.store, move |store| store.acquire(request)).await;
    let released = start(&bench.store, move |store| store.release(release)).await;
    stopped.go();
    granted(acquired.await.unwrap().unwrap());
    assert!(released.await.unwrap().unwrap().held);
    assert!(
        bench.view("o").await.lease.is_none(),
        "nothing is left of it"
    );
}

/// A grant with a mark is decided and not committed: a plain request must not slip in beside it.
#[tokio::test]
async fn a_plain_grant_waits_for_a_marked_one_under_way() {
    let bench = Bench::new().await;
    bench.order("o").await;
    let mut marked = bench.request("o", "marked");
    marked.mark = Some(Recovery::Reconcile);
    let plain = bench.request("o", "plain");
    let stopped = bench.stop().await;
    let marked = start(&bench.store, move |store| store.acquire(marked)).await;
    let deciding = bench.queue_stop();
    tokio::task::yield_now().await;
    stopped.go();
    let deciding = deciding.reached().await;
    let plain = start(&bench.store, move |store| store.acquire(plain)).await;
    assert!(!plain.is_finished());
    deciding.go();
    granted(marked.await.unwrap().unwrap());
    let plain = plain.await.unwrap().unwrap();
    assert!(matches!(plain, Acquired::Held(_)), "{plain:?}");
}

/// A chain of hand-overs whose members fall into one batch with an operator's act.
#[tokio::test]
async fn a_hand_over_is_seen_by_the_next_job_of_its_batch() {
    let bench = Bench::new().await;
    bench.order("o").await;
    let other = join(&bench.store, &bench.runtime, "other").await;
    let settle = bench.held("o", "k").await;
    let mut next = bench.request("o", "next");
    next.session = other;
    let fence = next.fence;
    let settle = fixtures::handing_over(settle, next);
    let stopped = bench.stop().await;
    let settled = start(&bench.store, move |store| store.settle(settle)).await;
    let leave = Leave { session: other };
    let left = start(&bench.store, move |store| store.leave(leave)).await;
    stopped.go();
    let next = accepted(settled.await.unwrap().unwrap()).next;
    assert_eq!(granted(next.unwrap()).fence, fence);
    // The next holder's session ended in the same batch, and its new lease with it.
    let _ = left.await.unwrap().unwrap();
    assert!(bench.view("o").await.lease.is_none());
    granted(
        bench
            .store
            .acquire(bench.request("o", "third"))
            .await
            .unwrap(),
    );
}
