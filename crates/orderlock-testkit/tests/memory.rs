//! The switches of the model that the suite cannot reach.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "these are tests: they fail loudly"
)]

use std::sync::Arc;

use futures_util::{FutureExt as _, StreamExt as _};
use orderlock_core::store::{Acquired, Entries, EntriesSince, Join, Read, Settled};
use orderlock_core::{Caller, LeaseViewState, OrderStore as _, Recovery, Runtime as _, SessionId};
use orderlock_testkit::{MemoryStore, TestRuntime, fixtures};

const SESSION: SessionId = SessionId(1);

async fn held(recovery: Option<Recovery>) -> (MemoryStore, orderlock_core::store::Settle) {
    let runtime = TestRuntime::new();
    let store = MemoryStore::new(Arc::new(runtime.clone()));
    let create = fixtures::create(fixtures::claim("o1", "create"), runtime.wall());
    store.create(create).await.unwrap();
    let join = Join {
        node: "a".into(),
        session: SESSION,
        length: std::time::Duration::from_secs(10),
        secret: fixtures::secret(),
    };
    store.join(join).await.unwrap();
    let fence = orderlock_core::Fence(runtime.random());
    let mut request = fixtures::acquire(fixtures::claim("o1", "k1"), SESSION, fence);
    request.mark = recovery;
    match store.acquire(request.clone()).await.unwrap() {
        Acquired::Granted(grant) => (store, fixtures::settle(&request, &grant)),
        other => panic!("not granted but {other:?}"),
    }
}

async fn lease(store: &MemoryStore) -> Option<LeaseViewState> {
    let target = fixtures::ids::target("o1");
    let view = store.read(Read { target }).await.unwrap().unwrap();
    view.lease.map(|lease| lease.state)
}

#[tokio::test]
async fn voiding_all_leases_loses_them_and_keeps_sessions() {
    let (store, settle) = held(None).await;
    store.void_all_leases();
    assert_eq!(lease(&store).await, None);
    let late = store.settle(settle).await.unwrap();
    assert!(matches!(late, Settled::Lost(_)), "{late:?}");
    let fence = orderlock_core::Fence(77);
    let again = fixtures::acquire(fixtures::claim("o1", "k1"), SESSION, fence);
    let again = store.acquire(again).await.unwrap();
    assert!(matches!(again, Acquired::Granted(_)), "{again:?}");
}

#[tokio::test]
async fn a_restart_ends_sessions_and_leaves_marks() {
    let (store, settle) = held(Some(Recovery::Reconcile)).await;
    store.restart();
    assert_eq!(lease(&store).await, Some(LeaseViewState::Marked));
    let late = store.settle(settle).await.unwrap();
    assert!(matches!(late, Settled::Lost(_)), "{late:?}");
    let fence = orderlock_core::Fence(77);
    let again = fixtures::acquire(fixtures::claim("o1", "k1"), SESSION, fence);
    assert_eq!(store.acquire(again).await.unwrap(), Acquired::SessionEnded);
}

#[tokio::test]
async fn whoever_waits_hears_of_a_settle() {
    let (store, settle) = held(None).await;
    let mut freed = store.freed();
    assert!(freed.next().now_or_never().is_none());
    store.settle(settle).await.unwrap();
    assert_eq!(freed.next().await, Some(fixtures::ids::target("o1")));
}

#[tokio::test]
async fn a_cursor_of_a_past_epoch_begins_again() {
    let (store, _) = held(None).await;
    let since = |cursor| EntriesSince {
        tenant: Caller::single().tenant,
        cursor,
        limit: 10,
    };
    let Entries::Some { next, .. } = store.entries_since(since(None)).await.unwrap() else {
        panic!("nothing was restored yet");
    };
    store.begin_epoch();
    let told = store.entries_since(since(Some(next))).await.unwrap();
    assert_eq!(told, Entries::NewEpoch);
    let told = store.entries_since(since(None)).await.unwrap();
    assert!(matches!(told, Entries::Some { entries, .. } if entries.len() == 1));
}
