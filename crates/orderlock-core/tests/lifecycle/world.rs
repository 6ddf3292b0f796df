//! A node over the model store, an order that counts, and handlers that wait for the test.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use orderlock_core::store::{Entry, History, OrderView, Read};
use orderlock_core::{
    Answer, Answers, Body, Caller, CreateRequest, Ended, Fingerprint, IdempotencyKey, Lifecycle,
    Limits, LockedOrder, Operation, OperationRequest, OrderId, OrderStore, OrderType, Outcome,
    OutcomeKind, Problem, SettledView, Target, Version,
};
use orderlock_testkit::{MemoryStore, TestRuntime};
use serde::{Deserialize, Serialize};
use tokio::sync::oneshot;

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Counter {
    pub(crate) count: u64,
}

impl OrderType for Counter {}

/// Answers that show what they were made from.
#[derive(Debug)]
pub(crate) struct PlainAnswers;

impl Answers for PlainAnswers {
    fn answer(&self, settled: SettledView<'_>) -> Answer {
        let status = settled.problem.map_or(200, Problem::status);
        let document = String::from_utf8_lossy(settled.document.as_bytes()).into_owned();
        Answer {
            status,
            content_type: "text/plain".into(),
            location: None,
            version: Some(settled.version),
            body: format!("{} {document}", settled.outcome.as_str()).into(),
        }
    }

    fn problem(&self, problem: &Problem, _: Option<SettledView<'_>>) -> Answer {
        Answer {
            status: problem.status(),
            content_type: "text/plain".into(),
            location: None,
            version: None,
            body: Bytes::from(problem.kind().to_owned()),
        }
    }
}

/// How many tasks of a node wait on the clock though nothing is asked of it: the one that keeps its
/// session, and the one that keeps house.
pub(crate) const KEEPERS: usize = 2;

pub(crate) struct World {
    pub(crate) runtime: TestRuntime,
    pub(crate) store: Arc<dyn OrderStore>,
    pub(crate) memory: Arc<MemoryStore>,
    pub(crate) lifecycle: Lifecycle,
}

pub(crate) type Ending = Ended<String>;

impl World {
    /// A node over an empty model store, with one order `o` that counts from 0.
    pub(crate) async fn new() -> Self {
        Self::with_limits(Limits::default()).await
    }

    pub(crate) async fn with_limits(limits: Limits) -> Self {
        Self::over(limits, |memory| memory).await
    }

    /// The same over a wrapper of the model store.
    pub(crate) async fn over<S: OrderStore>(
        limits: Limits,
        wrap: impl FnOnce(Arc<MemoryStore>) -> S,
    ) -> Self {
        let runtime = TestRuntime::new();
        let memory = Arc::new(MemoryStore::new(Arc::new(runtime.clone())));
        let store: Arc<dyn OrderStore> = Arc::new(wrap(Arc::clone(&memory)));
        let lifecycle = Self::node(&store, &runtime, "node-1", limits);
        let world = Self {
            runtime,
            store,
            memory,
            lifecycle,
        };
        world.create("o").await;
        world
    }

    pub(crate) fn node(
        store: &Arc<dyn OrderStore>,
        runtime: &TestRuntime,
        name: &str,
        limits: Limits,
    ) -> Lifecycle {
        Lifecycle::builder(Arc::clone(store), PlainAnswers)
            .runtime(Arc::new(runtime.clone()))
            .limits(limits)
            .node_name(name)
            .build()
    }

    pub(crate) async fn create(&self, order: &str) {
        let ended = self
            .lifecycle
            .create(creation(Some(order), order, "new"), Counter { count: 0 });
        let ended = ended.await;
        assert!(
            matches!(
                ended,
                Ended::Settled {
                    replayed: false,
                    ..
                }
            ),
            "{ended:?}"
        );
    }

    /// The order `o` as others see it.
    pub(crate) async fn view(&self) -> OrderView {
        let read = Read {
            target: target("o"),
        };
        self.store
            .read(read)
            .await
            .unwrap()
            .expect("the order exists")
    }

    pub(crate) async fn count(&self) -> u64 {
        self.view()
            .await
            .document
            .decode::<Counter>()
            .unwrap()
            .count
    }

    /// The journal of the order `o`, without its creation.
    pub(crate) async fn entries(&self) -> Vec<Entry> {
        let history = History {
            target: target("o"),
            limit: 1_000,
            cursor: None,
        };
        let page = self
            .store
            .history(history)
            .await
            .unwrap()
            .expect("the order exists");
        page.items.into_iter().skip(1).collect()
    }

    pub(crate) async fn outcomes(&self) -> Vec<OutcomeKind> {
        self.entries()
            .await
            .into_iter()
            .map(|entry| entry.outcome)
            .collect()
    }

    /// Nobody holds the order, and it is where the outcome list says.
    #[track_caller]
    pub(crate) fn assert_free(view: &OrderView, version: u64, count: u64) {
        assert_eq!(view.lease, None, "the order is still held");
        assert_eq!(view.version, Version(version));
        assert_eq!(
            view.document.decode::<Counter>().unwrap(),
            Counter { count }
        );
    }

    /// Adds one to the order `o`.
    pub(crate) fn add(&self, request: OperationRequest) -> impl Future<Output = Ending> + use<> {
        self.lifecycle
            .run(request, |order: LockedOrder<Counter>| async move {
                Ok(Outcome::Applied(Counter {
                    count: order.count + 1,
                }))
            })
    }

    /// Adds one when the test says so.
    pub(crate) fn add_later(
        &self,
        request: OperationRequest,
    ) -> (impl Future<Output = Ending> + use<>, Handler) {
        let (begin, begun) = oneshot::channel();
        let (go, gone) = oneshot::channel::<()>();
        let ended = self
            .lifecycle
            .run(request, move |order: LockedOrder<Counter>| async move {
                let _test_gone = begin.send(());
                match gone.await {
                    Ok(()) => Ok(Outcome::Applied(Counter {
                        count: order.count + 1,
                    })),
                    Err(_) => Err("the test let go".to_owned()),
                }
            });
        (ended, Handler { begun, go })
    }

    /// Waits until the node is done with all that goes on without a client.
    pub(crate) async fn idle(&self) {
        let idle = async {
            while self.lifecycle.in_flight() > 0 {
                tokio::task::yield_now().await;
            }
        };
        self.runtime.drive(idle).await;
    }

    /// Waits until so many requests stand behind the one that runs. Each waits on the clock, as
    /// do the node's keepers and the limit of the running handler.
    pub(crate) async fn waiting(&self, requests: usize) {
        self.runtime.sleeping(KEEPERS + 1 + requests).await;
    }
}

/// A handler that waits for the test.
pub(crate) struct Handler {
    begun: oneshot::Receiver<()>,
    go: oneshot::Sender<()>,
}

impl Handler {
    pub(crate) async fn begun(&mut self) {
        (&mut self.begun).await.expect("the handler begins");
    }

    /// Whether the handler has begun.
    pub(crate) fn has_begun(&mut self) -> bool {
        self.begun.try_recv().is_ok()
    }

    pub(crate) fn go(self) {
        self.go.send(()).expect("the handler waits");
    }
}

pub(crate) fn target(order: &str) -> Target {
    Caller::single().target(&OrderId::parse(order).unwrap())
}

/// A request on the order `o` that does not wait.
pub(crate) fn request(key: &str) -> OperationRequest {
    asking(Operation::named("add"), key, "{}")
}

pub(crate) fn asking(operation: Operation, key: &str, body: &str) -> OperationRequest {
    let order = OrderId::parse("o").unwrap();
    let body = Body::Json(body.as_bytes());
    OperationRequest {
        caller: Caller::single(),
        fingerprint: Fingerprint::of(operation.name(), Some(&order), body),
        order,
        key: IdempotencyKey::parse(key).unwrap(),
        operation,
        expected: None,
        wait: Duration::ZERO,
    }
}

/// The same request, ready to wait.
pub(crate) fn patient(key: &str) -> OperationRequest {
    OperationRequest {
        wait: Duration::from_secs(30),
        ..request(key)
    }
}

pub(crate) fn creation(order: Option<&str>, key: &str, body: &str) -> CreateRequest {
    let operation = Operation::named("create").name().clone();
    CreateRequest {
        caller: Caller::single(),
        order: order.map(|order| OrderId::parse(order).unwrap()),
        key: IdempotencyKey::parse(key).unwrap(),
        fingerprint: Fingerprint::of(&operation, None, Body::Bytes(body.as_bytes())),
        operation,
    }
}

/// The body of a settled answer, and whether it was a replay.
#[track_caller]
pub(crate) fn settled<E: std::fmt::Debug>(ended: Ended<E>) -> (String, bool) {
    match ended {
        Ended::Settled {
            answer, replayed, ..
        } => (String::from_utf8(answer.body.to_vec()).unwrap(), replayed),
        other => panic!("not settled: {other:?}"),
    }
}
