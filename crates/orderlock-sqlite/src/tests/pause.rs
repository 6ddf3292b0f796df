//! A process that was stopped for longer than its session, and goes on.

use std::sync::Arc;
use std::time::Duration;

use orderlock_core::store::Sweep;
use orderlock_core::{
    Answer, Answers, Caller, CreateRequest, Document, Ended, Fingerprint, IdempotencyKey,
    Lifecycle, Limits, LockedOrder, Operation, OperationRequest, OrderStore as _, Outcome, Problem,
    SettledView, Version,
};
use orderlock_testkit::{TestRuntime, fixtures};
use tokio::sync::oneshot;

use crate::SqliteOptions;
use crate::SqliteStore;

#[derive(Debug)]
struct Plain;

impl Answers for Plain {
    fn answer(&self, settled: SettledView<'_>) -> Answer {
        self.problem(&Problem::new(200, "settled", "Settled"), Some(settled))
    }

    fn problem(&self, problem: &Problem, _: Option<SettledView<'_>>) -> Answer {
        Answer {
            status: problem.status(),
            content_type: "text/plain".into(),
            location: None,
            version: None,
            body: problem.kind().to_owned().into(),
        }
    }
}

struct Paused {
    runtime: TestRuntime,
    store: SqliteStore,
    node: Lifecycle,
    _folder: tempfile::TempDir,
}

impl Paused {
    async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let runtime = TestRuntime::new();
        let options = SqliteOptions::default().with_runtime(Arc::new(runtime.clone()));
        let store = SqliteStore::open(folder.path().join("orders.db"), options).unwrap();
        let limits = Limits {
            handler: Duration::from_secs(3600),
            ..Limits::default()
        };
        let node = Lifecycle::builder(store.clone(), Plain)
            .runtime(Arc::new(runtime.clone()))
            .limits(limits)
            .build();
        let create = CreateRequest {
            caller: Caller::single(),
            order: Some(fixtures::ids::order("o")),
            key: IdempotencyKey::parse("create").unwrap(),
            fingerprint: Fingerprint([0; 32]),
            operation: Operation::named("create").name().clone(),
        };
        let created = node.create(create, Document::parse("{}").unwrap()).await;
        assert!(matches!(created, Ended::Settled { .. }), "{created:?}");
        Self {
            runtime,
            store,
            node,
            _folder: folder,
        }
    }

    /// Changes the order, once it is told to.
    async fn begun(
        &self,
        key: &str,
    ) -> (
        impl Future<Output = Ended<String>> + use<>,
        oneshot::Sender<()>,
    ) {
        let operation = Operation::named("change");
        let request = OperationRequest {
            caller: Caller::single(),
            order: fixtures::ids::order("o"),
            key: IdempotencyKey::parse(key).unwrap(),
            fingerprint: Fingerprint([1; 32]),
            operation,
            expected: None,
            wait: Duration::from_secs(5),
        };
        let (begin, begun) = oneshot::channel();
        let (go, gone) = oneshot::channel();
        let work = |order: LockedOrder<Document>| async move {
            let _ = begin.send(());
            gone.await.map_err(|error| error.to_string())?;
            Ok(Outcome::Applied((*order).clone()))
        };
        let ended = self.node.run(request, work);
        begun.await.unwrap();
        (ended, go)
    }

    async fn version(&self) -> Version {
        let target = fixtures::ids::target("o");
        let read = orderlock_core::store::Read { target };
        self.store.read(read).await.unwrap().unwrap().version
    }
}

/// Nobody else could take the file meanwhile: the node renews before it sweeps, and goes on.
#[tokio::test]
async fn a_process_that_was_paused_keeps_what_it_holds() {
    let paused = Paused::new().await;
    let (ended, go) = paused.begun("k").await;
    paused.runtime.sleeping(3).await;
    paused.runtime.advance(Duration::from_secs(60));
    // The keepers have renewed and swept, and sleep again beside the handler's limit.
    paused.runtime.sleeping(3).await;
    go.send(()).unwrap();
    let ended = ended.await;
    assert!(matches!(ended, Ended::Settled { .. }), "{ended:?}");
    assert!(paused.node.is_ready());
    assert_eq!(paused.version().await, Version(2));
}

/// The pause fell between a renewal and the sweep behind it: the node's own sweep ends its session.
/// The holder is told, nothing is applied, and a retry runs under a new session.
#[tokio::test]
async fn a_process_that_was_paused_before_its_sweep_loses_its_leases_and_goes_on() {
    let paused = Paused::new().await;
    let (ended, go) = paused.begun("k").await;
    paused.runtime.sleeping(3).await;
    // Time passes for the store alone, before any task of the node can renew.
    paused.runtime.advance(Duration::from_secs(60));
    paused.store.sweep(Sweep { limit: 9 }).await.unwrap();
    go.send(()).unwrap();
    let lost = ended.await;
    assert!(matches!(lost, Ended::Lost { .. }), "{lost:?}");
    assert_eq!(paused.version().await, Version(1));
    let (ended, go) = paused.begun("other").await;
    go.send(()).unwrap();
    let ended = ended.await;
    assert!(matches!(ended, Ended::Settled { .. }), "{ended:?}");
    assert!(paused.node.is_ready());
}
