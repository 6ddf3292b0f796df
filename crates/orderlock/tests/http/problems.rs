//! Every kind of problem that the library can answer with, provoked through both doors.

use std::collections::BTreeSet;
use std::time::Duration;

use axum::extract::Json;
use axum::http::StatusCode;
use axum::routing::post;
use axum::{Router, routing::get};
use orderlock::{Caller, Failure, LockedOrder, OrderStore as _, Outcome, PROBLEMS, ProblemKind};
use orderlock_testkit::faults::{Fault, Verb};
use orderlock_testkit::fixtures::ids;
use tokio::io::AsyncWriteExt as _;

use crate::client::{Ask, Told};
use crate::world::{Door, HANDLER, Order, Seen, World};

/// Kinds that are the server's own, or of damaged data, of which a unit test speaks.
const OF_THE_SERVER: [&str; 11] = [
    "query-invalid",
    "cursor-invalid",
    "body-invalid",
    "data-damaged",
    "unauthenticated",
    "forbidden",
    "key-not-found",
    "lock-not-found",
    "order-exists",
    "transition-not-allowed",
    "mark-not-open",
];

/// A problem as its kind promises it.
fn seen(kinds: &mut BTreeSet<String>, told: &Told) {
    let text = String::from_utf8_lossy(&told.body).into_owned();
    let kind = told
        .kind()
        .unwrap_or_else(|| panic!("no problem: {} {text}", told.status));
    let known = ProblemKind::find(&kind).unwrap_or_else(|| panic!("{kind} is not in the list"));
    let body = told.json();
    assert_eq!(
        (told.status, body["status"].as_u64()),
        (known.status, Some(u64::from(told.status)))
    );
    assert_eq!(body["title"], known.title);
    assert!(!body["detail"].as_str().unwrap().is_empty(), "{text}");
    println!("{} {kind}: {}", told.status, body["detail"]);
    kinds.insert(kind);
}

fn good() -> Ask {
    Ask::act("act", "k-1", "apply")
}

/// What is found in the request itself.
async fn by_the_request(door: Door, kinds: &mut BTreeSet<String>) {
    let world = World::new(door).await;
    let bare = Ask::new("POST", "/orders/o-1/act").body("{}");
    let asks = [
        bare.clone(),
        bare.header("idempotency-key", "a b"),
        good().header("idempotency-key", "k-2"),
        good().header("if-match", "7"),
        good().header("if-match", "\"7\""),
        good().header("content-encoding", "gzip"),
        good().header("content-length", "5000"),
        Ask::new("POST", "/orders/o-2/act")
            .header("content-type", "application/json")
            .header("idempotency-key", "k")
            .body(r#"{"act":"apply"}"#),
    ];
    for ask in &asks {
        seen(kinds, &world.ask(ask).await);
    }
    assert_eq!(world.seen().await, Seen::untouched());
    seen(kinds, &world.ask(&Ask::act("act", "k-5", "panic")).await);

    let slow = good()
        .header("content-length", "900")
        .begin(world.address)
        .await;
    world.runtime.sleeping(3).await;
    world.runtime.advance(Duration::from_secs(3));
    seen(kinds, &Told::read(slow).await);
    // A body that breaks off.
    let mut broken = Ask::new("POST", "/orders/o-1/act")
        .header("idempotency-key", "k-6")
        .header("transfer-encoding", "chunked")
        .begin(world.address)
        .await;
    broken.write_all(b"zz\r\n").await.unwrap();
    seen(kinds, &Told::read(broken).await);
}

/// What is found at the order, at its line, in the handler and at the store.
async fn by_the_lock(door: Door, kinds: &mut BTreeSet<String>) {
    let world = World::with_limits(door, |limits| limits.line = 2).await;
    let running = world.start(&Ask::act("act", "k-7", "wait"));
    world.probe.started(1).await;
    seen(kinds, &world.ask(&Ask::act("act", "k-7", "wait")).await);
    seen(kinds, &world.ask(&Ask::act("act", "k-8", "apply")).await);
    let waiting = world.start(&Ask::act("act", "k-9", "apply").wait(9));
    while world.orders.lifecycle().in_flight() < 2 {
        tokio::task::yield_now().await;
    }
    seen(
        kinds,
        &world.ask(&Ask::act("act", "k-10", "apply").wait(9)).await,
    );
    world.store.inner().void_all_leases();
    world.probe.go();
    seen(kinds, &running.await.unwrap());
    waiting.await.unwrap().success();

    let hanging = world.start(&Ask::act("act", "k-11", "hang"));
    world.probe.started(3).await;
    world.runtime.advance(HANDLER);
    seen(kinds, &hanging.await.unwrap());

    world.ask(&good()).await.success();
    seen(kinds, &world.ask(&Ask::act("act", "k-1", "refuse")).await);
    world.store.fail_next(Verb::Acquire, Fault::FailBefore);
    seen(kinds, &world.ask(&Ask::act("act", "k-12", "apply")).await);
    world.store.fail_next(Verb::Settle, Fault::LoseRequest);
    seen(kinds, &world.ask(&Ask::act("act", "k-13", "apply")).await);
    let marked = World::new(door).await;
    seen(
        kinds,
        &marked.ask(&Ask::act("outside", "k-4", "fail")).await,
    );

    // An answer past its retention is gone, and its key is not free.
    world.runtime.advance(Duration::from_secs(25 * 3600));
    let expire = orderlock::store::Expire { limit: 100 };
    world.store.inner().expire(expire).await.unwrap();
    seen(kinds, &world.ask(&good()).await);
    world.orders.drain(Duration::ZERO).await.unwrap();
    seen(kinds, &world.ask(&Ask::act("act", "k-14", "apply")).await);
}

async fn plain(_: Json<serde_json::Value>) -> StatusCode {
    StatusCode::OK
}

async fn blind() -> Outcome<Order> {
    Outcome::Applied(Order {
        count: 99,
        filling: String::new(),
    })
}

async fn fits(order: LockedOrder<Order>) -> Result<Outcome<Order>, Failure> {
    let count = order.count + 1;
    Ok(Outcome::Applied(Order {
        count,
        ..order.split().0
    }))
}

#[derive(serde::Serialize, serde::Deserialize)]
struct Other {
    colour: String,
}

impl orderlock::OrderType for Other {}

async fn other(order: LockedOrder<Other>) -> Outcome<Other> {
    Outcome::Applied(order.split().0)
}

/// The mistakes that do not compile with the adapter are answered by the layer at the first
/// request.
async fn mistakes(kinds: &mut BTreeSet<String>) {
    let world = World::app(|orders| {
        let layer = || orders.layer("act");
        Router::new()
            .route("/plain/{id}", post(plain).layer(layer()))
            .route("/blind/{id}", post(blind).layer(layer()))
            .route("/bare/{id}", post(fits))
            .route("/other/{id}", post(other).layer(layer()))
            .route("/twice/{id}", orders.post("act", fits).layer(layer()))
            .route(
                "/thrice/{id}",
                post(fits).layer(tower::ServiceBuilder::new().layer(layer()).layer(layer())),
            )
            .route("/nameless/{order}", orders.post("act", fits))
            .route("/read", get(|| async {}))
            .fallback(orderlock::route_not_found)
            .method_not_allowed_fallback(orderlock::method_not_allowed)
    })
    .await;
    let ask = |path: &str| {
        Ask::new("POST", path)
            .header("idempotency-key", path)
            .header("content-type", "application/json")
            .body("{}")
    };
    for (path, kind) in [
        ("/plain/o-1", "outcome-missing"),
        ("/blind/o-1", "order-not-taken"),
        ("/bare/o-1", "lock-missing"),
        ("/other/o-1", "handler-failed"),
        ("/twice/o-1", "locked-twice"),
        ("/thrice/o-1", "locked-twice"),
        ("/nameless/o-1", "order-id-missing"),
    ] {
        let told = world.ask(&ask(path)).await.expect(500, kind);
        let granted = ["outcome-missing", "order-not-taken", "handler-failed"].contains(&kind);
        assert_eq!(told.json()["applied"] == "none", granted, "{kind}");
        if kind != "handler-failed" && kind != "lock-missing" {
            seen(kinds, &told);
        }
        if kind == "lock-missing" {
            // The core's words and the page's are the same.
            let page = orderlock::problems::LOCK_MISSING.described();
            assert_eq!(told.json(), serde_json::to_value(page).unwrap());
        }
        kinds.insert(kind.to_owned());
        assert_eq!(world.seen().await, Seen::untouched(), "{path}");
    }
    let told = world.ask(&ask("/read")).await;
    assert_eq!(told.header("allow"), Some("GET,HEAD"));
    seen(kinds, &told);
    seen(kinds, &world.ask(&ask("/nowhere")).await);
    let again = world
        .orders
        .create(
            &Caller::single(),
            ids::key("other"),
            Some(crate::world::id()),
            Order {
                count: 0,
                filling: String::new(),
            },
        )
        .await;
    let error = again.unwrap_err();
    assert_eq!(error.problem().kind(), "order-exists");
    assert!(!error.is_retryable());
}

#[tokio::test]
async fn each_kind_is_answered_as_the_list_says() {
    for door in Door::BOTH {
        println!("-- {door:?}");
        let mut kinds = BTreeSet::new();
        by_the_request(door, &mut kinds).await;
        by_the_lock(door, &mut kinds).await;
        mistakes(&mut kinds).await;
        let missing: Vec<_> = PROBLEMS
            .iter()
            .map(|kind| kind.kind)
            .filter(|kind| !kinds.contains(*kind) && !OF_THE_SERVER.contains(kind))
            .collect();
        assert!(missing.is_empty(), "never provoked: {missing:?}");
    }
}
