//! Who sends a request, by sources that wait: a look-up of a token, and an extractor.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use orderlock::{
    Caller, CallerRefused, CallerSource, ExtractedCaller, OrderLock, Principal, Tenant, problems,
};
use orderlock_testkit::fixtures::ids;
use orderlock_testkit::{MemoryStore, TestRuntime};
use tokio::sync::Notify;

use crate::client::{Ask, Told};
use crate::handler::{Order, Probe, act};
use crate::world::{Door, serve};

fn named(name: &str) -> Caller {
    Caller {
        tenant: Tenant::single(),
        principal: Principal::parse(name).unwrap(),
    }
}

/// Tokens in a database that answers, or never does.
#[derive(Clone, Debug)]
struct Tokens {
    owners: BTreeMap<String, Caller>,
    asked: Arc<Notify>,
}

impl CallerSource for Tokens {
    async fn caller(&self, parts: &mut Parts) -> Result<Caller, CallerRefused> {
        let token = parts.headers.get(header::AUTHORIZATION);
        let token = token.and_then(|value| value.to_str().ok());
        let token = token.and_then(|text| text.strip_prefix("Bearer "));
        self.asked.notify_one();
        tokio::task::yield_now().await;
        if token == Some("slow") {
            std::future::pending::<()>().await;
        }
        let owner = self.owners.get(token.unwrap_or_default()).cloned();
        Ok(owner.ok_or_else(|| problems::UNAUTHENTICATED.described())?)
    }
}

/// The user of an application that has an extractor of its own.
struct User(String);

impl FromRequestParts<&'static str> for User {
    type Rejection = Response;

    async fn from_request_parts(
        parts: &mut Parts,
        realm: &&'static str,
    ) -> Result<Self, Self::Rejection> {
        tokio::task::yield_now().await;
        let name = parts.headers.get("x-user");
        let name = name.and_then(|name| name.to_str().ok());
        name.map(|name| Self(name.to_owned())).ok_or_else(|| {
            let challenge = [(header::WWW_AUTHENTICATE, format!("Basic realm={realm}"))];
            (StatusCode::UNAUTHORIZED, challenge, "sign in first").into_response()
        })
    }
}

impl From<User> for Caller {
    fn from(User(name): User) -> Self {
        named(&name)
    }
}

/// A lock with the order `o-1`, and both doors to it.
struct Scene {
    runtime: TestRuntime,
    probe: Probe,
    orders: OrderLock<Order>,
    address: std::net::SocketAddr,
}

impl Scene {
    async fn new(source: impl CallerSource) -> Self {
        let (runtime, probe) = (TestRuntime::new(), Probe::new());
        let store = MemoryStore::new(Arc::new(runtime.clone()));
        let orders = OrderLock::<Order>::new(store, source).with_runtime(Arc::new(runtime.clone()));
        let order = Order {
            count: 0,
            filling: String::new(),
        };
        let (key, id) = (ids::key("first"), Some(ids::order("o-1")));
        let created = orders.create(&Caller::single(), key, id, order).await;
        assert!(created.is_ok(), "{created:?}");
        let app = Router::new()
            .route("/adapter/{id}", orders.post("act", act))
            .route("/layer/{id}", post(act).layer(orders.layer("act")))
            .route("/resolution/{id}", orders.resolution(named_operator))
            .with_state(probe.clone());
        let address = serve(app).await;
        Self {
            runtime,
            probe,
            orders,
            address,
        }
    }

    async fn ask(&self, door: Door, key: &str, header: (&str, &str)) -> Told {
        ask(door, key, header).send(self.address).await
    }
}

/// A function whose future borrows the request, for the operators' route.
async fn named_operator(parts: &Parts) -> Result<Caller, CallerRefused> {
    tokio::task::yield_now().await;
    let name = parts.headers.get("x-operator");
    let name = name.ok_or_else(|| CallerRefused::with_response(StatusCode::NOT_FOUND))?;
    Ok(named(name.to_str().unwrap_or("-")))
}

fn ask(door: Door, key: &str, (name, value): (&str, &str)) -> Ask {
    let path = match door {
        Door::Adapter => "/adapter/o-1",
        Door::Layer => "/layer/o-1",
    };
    Ask::new("POST", path)
        .header("idempotency-key", key)
        .header("content-type", "application/json")
        .header(name, value)
        .body(r#"{"act":"apply"}"#)
}

fn tokens() -> Tokens {
    let owners = [("t-1", "ann"), ("t-2", "ann"), ("t-3", "bob")];
    let owners = owners.map(|(token, name)| (token.to_owned(), named(name)));
    Tokens {
        owners: owners.into(),
        asked: Arc::default(),
    }
}

#[tokio::test]
async fn a_caller_that_is_looked_up_owns_its_keys_whatever_its_token_is() {
    for door in Door::BOTH {
        let scene = Scene::new(tokens()).await;
        let as_token = async |token: &str| {
            let value = format!("Bearer {token}");
            scene.ask(door, "k-1", ("authorization", &value)).await
        };
        assert!(!as_token("t-1").await.success().replayed());
        // A rotated token is the same principal; another principal has keys of its own.
        assert!(as_token("t-2").await.success().replayed());
        assert!(!as_token("t-3").await.success().replayed());
        as_token("t-4").await.expect(401, "unauthenticated");
        assert_eq!(scene.probe.runs(), 2);
    }
}

#[tokio::test]
async fn a_source_that_never_answers_is_given_up_and_nothing_is_locked() {
    for door in Door::BOTH {
        let source = tokens();
        let asked = Arc::clone(&source.asked);
        let scene = Scene::new(source).await;
        let slow = ask(door, "k-1", ("authorization", "Bearer slow"));
        let connection = slow.begin(scene.address).await;
        asked.notified().await;
        // The node's two keepers sleep, and the source's time runs.
        scene.runtime.sleeping(3).await;
        assert_eq!(scene.orders.lifecycle().in_flight(), 0);
        scene.runtime.advance(Duration::from_secs(5));
        let answer = Told::read(connection)
            .await
            .expect(503, "store-unavailable");
        assert_eq!(answer.json()["retryable"], true);
        assert!(answer.json().get("applied").is_none());
        assert!(answer.header("retry-after").is_some());
        assert_eq!(scene.probe.runs(), 0);
    }
}

#[tokio::test]
async fn an_extractor_names_the_caller_and_its_rejection_is_the_answer() {
    for door in Door::BOTH {
        let source = ExtractedCaller::<User, _>::with_state("shop");
        let scene = Scene::new(source).await;
        let first = scene.ask(door, "k-1", ("x-user", "ann")).await.success();
        assert!(!first.replayed());
        // Withdrawn rights come before the stored answer.
        let refused = scene.ask(door, "k-1", ("x-nobody", "-")).await;
        assert_eq!(refused.status, 401);
        assert_eq!(refused.header("www-authenticate"), Some("Basic realm=shop"));
        assert_eq!(refused.body, b"sign in first");
    }
}

#[tokio::test]
async fn an_operators_route_may_hide_itself_and_no_source_is_shown() {
    let scene = Scene::new(tokens()).await;
    let ask = Ask::new("POST", "/resolution/o-1").header("idempotency-key", "k");
    let hidden = ask.send(scene.address).await;
    assert_eq!((hidden.status, hidden.body.len()), (404, 0));
    let known = ask
        .header("x-operator", "eve")
        .header("content-type", "application/json")
        .body(r#"{"decision":"runAgain","mark":"mrk_1","reason":"r"}"#);
    known.send(scene.address).await.expect(409, "mark-not-open");
    let shown = format!("{:?}", scene.orders);
    assert!(!shown.contains("t-1") && !shown.contains("ann"), "{shown}");
    let refused = CallerRefused::with_response((StatusCode::FORBIDDEN, "Bearer t-1"));
    assert_eq!(format!("{refused:?}"), "CallerRefused(403)");
}
