//! A whole service without a socket, over a file of its own.

pub(crate) mod schema;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use axum::Router;
use axum::body::Body;
use http::{HeaderMap, Method, Request, StatusCode};
use http_body_util::BodyExt as _;
use orderlock::core::{Fence, Secret, SessionId};
use orderlock::sqlite::{SqliteOptions, SqliteStore};
use orderlock::store::{Acquire, Acquired, Claim, Join};
use orderlock::{
    Caller, CreateRequest, Document, Ended, IdempotencyKey, Limits, OperationName, OrderId,
    OrderStore as _, Recovery,
};
use orderlock_orders::ProcessConfig;
use orderlock_server::{BodyLimits, Context, app};
use orderlock_testkit::faults::{Fault, FaultStore, Gate, Plan, Verb};
use serde_json::{Value, json};
use tower::ServiceExt as _;

pub(crate) const JSON: &str = "application/json";

/// What a world is made from.
#[derive(Default)]
pub(crate) struct Setup {
    pub(crate) limits: Limits,
    pub(crate) process: ProcessConfig,
    pub(crate) body: BodyLimits,
    pub(crate) store: SqliteOptions,
}

/// The service, and what is behind it.
pub(crate) struct World {
    pub(crate) context: Context,
    app: Router,
    store: FaultStore<SqliteStore>,
    keys: Arc<AtomicU64>,
    _folder: tempfile::TempDir,
}

impl World {
    pub(crate) fn new() -> Self {
        Self::with(Setup::default())
    }

    pub(crate) fn with(setup: Setup) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let store = SqliteStore::open(folder.path().join("orders.db"), setup.store).unwrap();
        let store = FaultStore::new(store, Plan::new());
        let (limits, process) = (setup.limits, setup.process);
        let context = Context::new(store.clone(), "orderlock", limits, process, setup.body);
        Self {
            app: app(context.clone()),
            context,
            store,
            keys: Arc::default(),
            _folder: folder,
        }
    }

    /// A new key.
    pub(crate) fn new_key(&self) -> String {
        format!("key-{}", self.keys.fetch_add(1, Ordering::Relaxed))
    }

    pub(crate) async fn send(&self, call: Call) -> Answer {
        self.sent(call).await
    }

    /// A request that is on its way whether the world is looked at or not. Dropping it is a client
    /// that hangs up.
    pub(crate) fn sent(&self, call: Call) -> impl Future<Output = Answer> + Send + use<> {
        let app = self.app.clone();
        send(app, call)
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.send(Call::new(Method::GET, path)).await
    }

    /// An operation under a new key.
    pub(crate) async fn run(&self, order: &str, operation: &str, body: &Value) -> Answer {
        self.send(operation_call(order, operation, body).key(&self.new_key()))
            .await
    }

    /// A pending order of two lines, 3 pieces of 1,000 and 1 of 500, after these operations.
    pub(crate) async fn order(&self, steps: &[(&str, Value)]) -> String {
        let created = self
            .send(Call::post("/v1/orders", &pending()).key(&self.new_key()))
            .await;
        assert_eq!(created.status, 201, "{}", created.text);
        let id = created.json()["result"]["id"].as_str().unwrap().to_owned();
        for (operation, body) in steps {
            let done = self.run(&id, operation, body).await;
            assert_eq!(done.status, 200, "{operation}: {}", done.text);
        }
        id
    }

    /// Makes an order of a document that is none of the order model's.
    pub(crate) async fn foreign(&self, order: &str, document: &str) {
        let operation = OperationName::parse("create").unwrap();
        let body = orderlock::Body::Json(document.as_bytes());
        let request = CreateRequest {
            caller: Caller::single(),
            order: Some(OrderId::parse(order).unwrap()),
            key: IdempotencyKey::parse(order).unwrap(),
            fingerprint: orderlock::fingerprint(&operation, None, None, body),
            operation,
        };
        let document = Document::parse(document.to_owned()).unwrap();
        let created = self
            .context
            .orders()
            .lifecycle()
            .create(request, document)
            .await;
        assert!(matches!(created, Ended::Settled { .. }), "{created:?}");
    }

    /// Takes the order's lock past the service, as another node would, and perhaps leaves a mark.
    pub(crate) async fn hold(&self, order: &str, key: &str, mark: Option<Recovery>) -> Fence {
        let session = SessionId(77);
        let join = Join {
            node: "another".to_owned(),
            session,
            length: std::time::Duration::from_secs(3600),
            secret: Secret::new([1; 32]),
        };
        let secret = self.store.join(join).await.unwrap().secret;
        let (caller, order) = (Caller::single(), OrderId::parse(order).unwrap());
        let (key, operation) = (
            IdempotencyKey::parse(key).unwrap(),
            OperationName::parse("confirm"),
        );
        let operation = operation.unwrap();
        let body = orderlock::Body::Json(b"{}");
        let claim = Claim {
            key_id: secret.key_id(&caller, &order, &key),
            fingerprint: orderlock::fingerprint(&operation, Some(&order), None, body),
            caller,
            order,
            key,
        };
        let fence = Fence(4711);
        let acquire = Acquire {
            claim,
            session,
            fence,
            operation,
            expected: None,
            mark,
        };
        let acquired = self.store.acquire(acquire).await.unwrap();
        assert!(matches!(acquired, Acquired::Granted(_)), "{acquired:?}");
        fence
    }

    /// The store, which fails on demand.
    pub(crate) fn store(&self) -> &FaultStore<SqliteStore> {
        &self.store
    }

    /// The next settle waits at a gate, before it happens.
    pub(crate) fn delay_settle(&self) -> Gate {
        let gate = Gate::new();
        self.store
            .fail_next(Verb::Settle, Fault::DelayBefore(gate.clone()));
        gate
    }
}

async fn send(app: Router, call: Call) -> Answer {
    let mut request = Request::builder().method(call.method).uri(&call.path);
    if call.headers.iter().all(|(name, _)| name != "host") {
        request = request.header("host", "localhost");
    }
    for (name, value) in &call.headers {
        request = request.header(name.as_str(), value.as_slice());
    }
    let (method, path) = (request.method_ref().unwrap().clone(), call.path);
    let response = app.oneshot(request.body(call.body).unwrap()).await.unwrap();
    let (parts, body) = response.into_parts();
    let body = body.collect().await.unwrap().to_bytes();
    let answer = Answer {
        status: parts.status,
        headers: parts.headers,
        text: String::from_utf8(body.to_vec()).unwrap(),
    };
    schema::check_answer(&method, &path, &answer);
    answer
}

/// The body of a pending order.
pub(crate) fn pending() -> Value {
    json!({
        "customer": "cus_42", "currency": "EUR", "submit": true, "metadata": {"channel": "web"},
        "lines": [
            {"sku": "TEA-250", "name": "Green tea", "quantity": 3, "unitPrice": 1000},
            {"sku": "CUP-1", "name": "Cup", "quantity": 1, "unitPrice": 500},
        ],
    })
}

/// The call of an operation; `edit` is the PATCH.
pub(crate) fn operation_call(order: &str, operation: &str, body: &Value) -> Call {
    if operation == "edit" {
        let call = Call::post(&format!("/v1/orders/{order}"), body);
        return Call {
            method: Method::PATCH,
            ..call
        };
    }
    Call::post(&format!("/v1/orders/{order}/{operation}"), body)
}

/// A request.
pub(crate) struct Call {
    pub(crate) method: Method,
    pub(crate) path: String,
    pub(crate) headers: Vec<(String, Vec<u8>)>,
    pub(crate) body: Body,
}

impl Call {
    pub(crate) fn new(method: Method, path: &str) -> Self {
        Self {
            method,
            path: path.to_owned(),
            headers: Vec::new(),
            body: Body::empty(),
        }
    }

    pub(crate) fn post(path: &str, body: &Value) -> Self {
        Self::new(Method::POST, path)
            .header("content-type", JSON)
            .body(body.to_string())
    }

    pub(crate) fn key(self, key: &str) -> Self {
        self.header("idempotency-key", key)
    }

    pub(crate) fn header(mut self, name: &str, value: impl AsRef<[u8]>) -> Self {
        self.headers
            .push((name.to_owned(), value.as_ref().to_vec()));
        self
    }

    pub(crate) fn body(self, body: impl Into<Body>) -> Self {
        Self {
            body: body.into(),
            ..self
        }
    }
}

/// What came back.
#[derive(Clone, Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) text: String,
}

impl Answer {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|error| panic!("{error}: {}", self.text))
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }

    pub(crate) fn is_replayed(&self) -> bool {
        self.header("idempotent-replayed") == Some("true")
    }

    /// The kind of the problem that it must be, after everything that all problems share.
    pub(crate) fn problem(&self) -> String {
        let problem = self.json();
        assert_eq!(
            self.header("content-type"),
            Some("application/problem+json"),
            "{problem}"
        );
        assert_eq!(problem["status"], self.status.as_u16(), "{problem}");
        assert!(
            problem["title"].is_string() && problem["detail"].is_string(),
            "{problem}"
        );
        assert!(problem["retryable"].is_boolean(), "{problem}");
        assert!(self.header("x-request-id").is_some(), "{problem}");
        let kind = problem["type"]
            .as_str()
            .and_then(|path| path.strip_prefix("/problems/"));
        kind.unwrap_or_else(|| panic!("{problem}")).to_owned()
    }
}
