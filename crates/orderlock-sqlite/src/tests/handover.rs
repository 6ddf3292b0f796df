//! A hand-over to a request that cannot be served.

use orderlock_core::store::{MarkFate, Release, Then};
use orderlock_core::{OrderStore as _, Recovery, StoreError, Version};

use super::{Bench, accepted, granted};

/// An order on which the key "damaged" has an entry that this program cannot read.
async fn bench() -> Bench {
    let bench = Bench::new().await;
    bench.order("o").await;
    let settle = bench.held("o", "damaged").await;
    accepted(bench.store.settle(settle).await.unwrap());
    let damage = "UPDATE entries SET outcome = 'of another time' WHERE number = 2";
    let damaged = bench.on_writer(move |turn| Ok(turn.connection.execute(damage, [])?));
    assert_eq!(damaged.await.unwrap(), 1);
    let alone = bench.store.acquire(bench.request("o", "damaged")).await;
    assert!(matches!(alone, Err(StoreError::Corrupt(_))), "{alone:?}");
    bench
}

#[tokio::test]
async fn a_settle_does_not_suffer_for_the_next_in_line() {
    let bench = bench().await;
    let mut settle = bench.held("o", "k").await;
    settle.then = Then::HandOver(Box::new(bench.request("o", "damaged")));
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
