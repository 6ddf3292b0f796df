//! What every test starts from: a store that fails on demand, a lock over it, handlers that do as
//! they get, and a server on the loopback.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::http::request::Parts;
use axum::routing::post;
use orderlock::core::LeaseView;
use orderlock::store::{History, Read};
use orderlock::{
    Caller, Limits, Operation, OrderId, OrderLock, OrderStore as _, Principal, Problem, Recovery,
    Target, Tenant,
};
use orderlock_testkit::faults::{FaultStore, Plan};
use orderlock_testkit::fixtures::ids;
use orderlock_testkit::{MemoryStore, TestRuntime};
use tokio::net::TcpListener;

use crate::client::{Ask, Told};
pub(crate) use crate::handler::Order;
use crate::handler::{Probe, act};

/// Which door a request comes in by.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Door {
    Adapter,
    Layer,
}

impl Door {
    pub(crate) const BOTH: [Self; 2] = [Self::Adapter, Self::Layer];
}

/// A store, a lock and a server.
pub(crate) struct World {
    pub(crate) runtime: TestRuntime,
    pub(crate) store: FaultStore<MemoryStore>,
    pub(crate) orders: OrderLock<Order>,
    pub(crate) probe: Probe,
    pub(crate) address: SocketAddr,
}

/// How long the tests' handlers may run.
pub(crate) const HANDLER: Duration = Duration::from_secs(5);

/// The operations: plain, external, and one that does not store its refusals.
fn operations() -> [Operation; 4] {
    [
        Operation::named("act"),
        Operation::named("outside").external(Recovery::Reconcile),
        Operation::named("resume").external(Recovery::Resume {
            times: 3,
            within: Duration::from_secs(60),
        }),
        Operation::named("note").without_stored_refusals(),
    ]
}

/// The caller that the request names, or the only one.
async fn caller(parts: &Parts) -> Result<Caller, Problem> {
    match parts.headers.get("x-principal") {
        None => Ok(Caller::single()),
        Some(name) if name == "nobody" => Err(orderlock::problems::UNAUTHENTICATED.described()),
        Some(name) => Ok(Caller {
            tenant: Tenant::single(),
            principal: Principal::parse(name.to_str().unwrap()).unwrap(),
        }),
    }
}

/// The operator that the request names; no other caller may end a mark.
pub(crate) async fn operator(parts: &Parts) -> Result<Caller, Problem> {
    let name = parts.headers.get("x-operator");
    let name = name.ok_or_else(|| orderlock::problems::FORBIDDEN.described())?;
    Ok(Caller {
        tenant: Tenant::single(),
        principal: Principal::parse(name.to_str().unwrap()).unwrap(),
    })
}

/// Serves an app on the loopback for as long as the test's runtime lives.
pub(crate) async fn serve(app: Router) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, app).await });
    address
}

impl World {
    /// A world with the order `o-1` in it.
    pub(crate) async fn new(door: Door) -> Self {
        Self::with_limits(door, |_| {}).await
    }

    pub(crate) async fn with_limits(door: Door, change: impl FnOnce(&mut Limits)) -> Self {
        let probe = Probe::new();
        let state = probe.clone();
        Self::with(change, probe, |orders| {
            let route = |router: Router<Probe>, operation: Operation| {
                let path = format!("/orders/{{id}}/{}", operation.name());
                router.route(
                    &path,
                    match door {
                        Door::Adapter => orders.post(operation, act),
                        Door::Layer => post(act).layer(orders.layer(operation)),
                    },
                )
            };
            let resolution = orders.resolution(operator);
            let others = Router::new().route("/orders/{id}/resolution", resolution);
            let routes = operations().into_iter().fold(others, route);
            routes.with_state(state)
        })
        .await
    }

    /// A world with an app of the test's own.
    pub(crate) async fn app(app: impl FnOnce(&OrderLock<Order>) -> Router) -> Self {
        let probe = Probe::new();
        Self::with(|_| {}, probe, app).await
    }

    async fn with(
        change: impl FnOnce(&mut Limits),
        probe: Probe,
        app: impl FnOnce(&OrderLock<Order>) -> Router,
    ) -> Self {
        let runtime = TestRuntime::new();
        let memory = MemoryStore::new(Arc::new(runtime.clone())).with_document_bytes_max(4096);
        let store = FaultStore::new(memory, Plan::new());
        let mut limits = Limits {
            handler: HANDLER,
            wait: Duration::from_secs(20),
            store: Duration::from_secs(40),
            repeats: 0,
            session: Duration::from_secs(3600),
            ..Limits::default()
        };
        change(&mut limits);
        let orders = OrderLock::<Order>::new(store.clone(), caller)
            .with_limits(limits)
            .with_runtime(Arc::new(runtime.clone()))
            .with_body_limit(1024)
            .with_body_time(Duration::from_secs(3));
        let first = Order {
            count: 0,
            filling: String::new(),
        };
        let created = orders
            .create(&Caller::single(), ids::key("first"), Some(id()), first)
            .await;
        assert!(!created.unwrap().replayed);
        let address = serve(app(&orders)).await;
        Self {
            runtime,
            store,
            orders,
            probe,
            address,
        }
    }

    pub(crate) async fn ask(&self, ask: &Ask) -> Told {
        ask.send(self.address).await
    }

    /// Lets a request run in the background.
    pub(crate) fn start(&self, ask: &Ask) -> tokio::task::JoinHandle<Told> {
        let (ask, address) = (ask.clone(), self.address);
        tokio::spawn(async move { ask.send(address).await })
    }

    /// The lock that views of the order show.
    pub(crate) async fn lock(&self) -> LeaseView {
        let read = Read { target: target() };
        let view = self.store.inner().read(read).await.unwrap().unwrap();
        view.lease.expect("the order is not free")
    }

    /// What the store says of the order, without any fault.
    pub(crate) async fn seen(&self) -> Seen {
        let target = target();
        let read = Read {
            target: target.clone(),
        };
        let view = self.store.inner().read(read).await.unwrap().unwrap();
        let history = History {
            target,
            limit: 100,
            cursor: None,
        };
        let page = self.store.inner().history(history).await.unwrap().unwrap();
        let order: Order = view.document.decode().unwrap();
        Seen {
            version: view.version.0,
            count: order.count,
            // The first entry is the creation.
            journal: page.items[1..]
                .iter()
                .map(|entry| entry.outcome.as_str())
                .collect(),
            lock: match view.lease {
                None => Lock::Free,
                Some(view) => match view.state {
                    orderlock::core::LeaseViewState::Marked => Lock::Marked,
                    _ => Lock::Held,
                },
            },
        }
    }
}

pub(crate) fn id() -> OrderId {
    ids::order("o-1")
}

fn target() -> Target {
    Caller::single().target(&id())
}

/// An order, its journal and its lock.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Seen {
    pub(crate) version: u64,
    pub(crate) count: u64,
    pub(crate) journal: Vec<&'static str>,
    pub(crate) lock: Lock,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Lock {
    Free,
    Held,
    Marked,
}

impl Seen {
    pub(crate) fn new(count: u64, journal: &[&'static str], lock: Lock) -> Self {
        Self {
            version: count + 1,
            count,
            journal: journal.to_vec(),
            lock,
        }
    }

    /// As it was created.
    pub(crate) fn untouched() -> Self {
        Self::new(0, &[], Lock::Free)
    }
}
