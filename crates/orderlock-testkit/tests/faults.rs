//! The fault injector: it fails as planned, and otherwise is the store inside.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "these are tests: they fail loudly"
)]

use std::sync::Arc;

use futures_util::FutureExt as _;
use orderlock_core::store::{Acquire, Acquired, Grant, Join, Read, Settle, Settled};
use orderlock_core::{OrderStore as _, Runtime as _, SessionId, StoreError};
use orderlock_testkit::faults::{Fault, FaultStore, Gate, Plan, Verb};
use orderlock_testkit::{MemoryStore, StoreFactory, TestRuntime, conformance, fixtures};

struct Faulty;

impl StoreFactory for Faulty {
    type Store = FaultStore<MemoryStore>;
    type Place = MemoryStore;

    async fn place(&self, runtime: TestRuntime) -> MemoryStore {
        MemoryStore::new(Arc::new(runtime))
    }

    async fn open(&self, place: &MemoryStore, _: TestRuntime) -> FaultStore<MemoryStore> {
        FaultStore::new(place.clone(), Plan::new())
    }

    async fn close(&self, store: FaultStore<MemoryStore>) {
        store.inner().restart();
    }
}

conformance!(Faulty);

const SESSION: SessionId = SessionId(1);

/// A store with the order o1 and a session; the plan begins after that.
async fn store(plan: Plan) -> (FaultStore<MemoryStore>, TestRuntime) {
    let runtime = TestRuntime::new();
    let inner = MemoryStore::new(Arc::new(runtime.clone()));
    let create = fixtures::create(fixtures::claim("o1", "create"), runtime.wall());
    inner.create(create).await.unwrap();
    let join = Join {
        node: "a".into(),
        session: SESSION,
        length: std::time::Duration::from_secs(10),
        secret: fixtures::secret(),
    };
    inner.join(join).await.unwrap();
    (FaultStore::new(inner, plan), runtime)
}

fn acquire(runtime: &TestRuntime) -> Acquire {
    let fence = orderlock_core::Fence(runtime.random());
    fixtures::acquire(fixtures::claim("o1", "k1"), SESSION, fence)
}

async fn granted(store: &FaultStore<MemoryStore>, request: &Acquire) -> Grant {
    match store.inner().acquire(request.clone()).await.unwrap() {
        Acquired::Granted(grant) => *grant,
        other => panic!("not granted but {other:?}"),
    }
}

async fn count(store: &FaultStore<MemoryStore>) -> u64 {
    let target = fixtures::ids::target("o1");
    let view = store.inner().read(Read { target }).await.unwrap();
    fixtures::count(&view.unwrap().document)
}

async fn a_settle(plan: Plan) -> (FaultStore<MemoryStore>, Settle) {
    let (store, runtime) = store(plan).await;
    let request = acquire(&runtime);
    let grant = granted(&store, &request).await;
    (store, fixtures::settle(&request, &grant))
}

#[tokio::test]
async fn what_fails_before_has_not_happened() {
    let plan = Plan::new().at_call(Verb::Settle, 1, Fault::FailBefore);
    let (store, settle) = a_settle(plan).await;
    let error = store.settle(settle.clone()).await.unwrap_err();
    assert!(matches!(error, StoreError::NotApplied(_)), "{error:?}");
    assert_eq!(count(&store).await, 0);
    // Each fault strikes once.
    let settled = store.settle(settle).await.unwrap();
    assert!(matches!(settled, Settled::Accepted(_)), "{settled:?}");
    assert_eq!(count(&store).await, 1);
}

#[tokio::test]
async fn an_unknown_outcome_may_be_either() {
    for (fault, happened) in [(Fault::FailAfter, 1), (Fault::LoseRequest, 0)] {
        let (store, settle) = a_settle(Plan::new().at_step(1, fault)).await;
        let error = store.settle(settle).await.unwrap_err();
        assert!(error.may_have_happened(), "{error:?}");
        assert_eq!(count(&store).await, happened);
    }
}

#[tokio::test]
async fn a_repeated_call_gives_the_second_answer() {
    let plan = Plan::new().at_call(Verb::Release, 1, Fault::Repeat);
    let (store, settle) = a_settle(plan).await;
    let release = orderlock_core::store::Release {
        target: settle.claim.target(),
        fence: settle.fence,
        mark: orderlock_core::store::MarkFate::Keep,
        next: None,
    };
    let released = store.release(release).await.unwrap();
    assert!(!released.held, "the first call has let go already");
}

#[tokio::test]
async fn a_dropped_answer_never_comes() {
    for (fault, happened) in [(Fault::DropAnswer, 1), (Fault::Hang, 0)] {
        let (store, settle) = a_settle(Plan::new().at_step(1, fault)).await;
        assert!(store.settle(settle).now_or_never().is_none());
        assert_eq!(count(&store).await, happened);
    }
}

#[tokio::test]
async fn a_delayed_call_waits_at_its_gate() {
    let (before, after) = (Gate::new(), Gate::new());
    let faults = [
        (Fault::DelayBefore(before.clone()), before, 0),
        (Fault::DelayAfter(after.clone()), after, 1),
    ];
    for (fault, gate, happened) in faults {
        let (store, settle) = a_settle(Plan::new().at_step(1, fault)).await;
        let call = {
            let store = store.clone();
            tokio::spawn(async move { store.settle(settle).await })
        };
        gate.reached(1).await;
        assert_eq!(count(&store).await, happened);
        assert!(!call.is_finished());
        gate.open();
        let settled = call.await.unwrap().unwrap();
        assert!(matches!(settled, Settled::Accepted(_)), "{settled:?}");
        assert_eq!(count(&store).await, 1);
    }
}

#[tokio::test]
async fn what_struck_is_counted() {
    let plan = Plan::new()
        .at_step(2, Fault::FailBefore)
        .at_call(Verb::Read, 2, Fault::Hang);
    let (store, runtime) = store(plan).await;
    let target = fixtures::ids::target("o1");
    let read = || {
        store.read(Read {
            target: target.clone(),
        })
    };
    assert!(read().now_or_never().is_some());
    assert!(store.acquire(acquire(&runtime)).await.is_err());
    assert!(read().now_or_never().is_none());
    store.fail_next(Verb::Read, Fault::FailBefore);
    assert!(read().await.is_err());
    assert!(read().await.is_ok());
    let struck: Vec<_> = store.struck().iter().map(|s| (s.step, s.verb)).collect();
    assert_eq!(
        struck,
        [(2, Verb::Acquire), (3, Verb::Read), (4, Verb::Read)]
    );
    assert_eq!(store.calls().len(), 5);
    drop(read());
    assert_eq!(store.calls().len(), 5, "a call counts when it is polled");
}

#[tokio::test]
async fn a_severed_store_neither_hears_nor_answers() {
    let (store, settle) = a_settle(Plan::new()).await;
    store.sever();
    assert!(store.settle(settle.clone()).now_or_never().is_none());
    assert_eq!(count(&store).await, 0);
    store.mend();
    assert!(store.settle(settle).await.is_ok());
    assert_eq!(count(&store).await, 1);
}
