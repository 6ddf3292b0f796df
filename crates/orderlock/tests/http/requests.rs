//! What a request says in its head, where routes may stand, and the limits of bodies.

use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::http::{Method, Uri};
use axum::routing::{get, post};
use orderlock::{Failure, LockedOrder, Operation, Outcome};
use orderlock_testkit::faults::{Fault, Verb};

use crate::client::Ask;
use crate::world::{Door, Lock, Order, Seen, World};

pub(crate) async fn count(
    order: LockedOrder<Order>,
    _: Method,
    _: Uri,
) -> Result<Outcome<Order>, Failure> {
    let count = order.count + 1;
    Ok(Outcome::Applied(Order {
        count,
        ..order.split().0
    }))
}

async fn fill(order: LockedOrder<Order>, body: Bytes) -> Result<Outcome<Order>, Failure> {
    let filling = format!("{} bytes", body.len());
    let count = order.count + 1;
    Ok(Outcome::Applied(Order { count, filling }))
}

async fn fail(_: LockedOrder<Order>) -> Result<Outcome<Order>, Failure> {
    Err(std::io::Error::other("password=hunter2"))?
}

fn ask(method: &'static str, path: &str) -> Ask {
    Ask::new(method, path).header(
        "idempotency-key",
        &format!("{method}-{}", path.replace('/', "-")),
    )
}

#[tokio::test]
async fn the_order_is_found_wherever_the_route_stands() {
    let world = World::app(|orders| {
        let layered = Router::new()
            .route("/route-layer", post(count))
            .route_layer(orders.layer("route-layer"))
            .route("/read", get(|| async { "read" }));
        let adapted = Router::new()
            .route("/adapter", orders.post("adapter", count))
            .route(
                "/beside",
                get(|| async { "beside" }).post(orders.handler("beside", count)),
            );
        let by_header = orders
            .clone()
            .with_order_id(|parts: &axum::http::request::Parts| {
                orderlock::OrderId::parse(parts.headers["x-order"].to_str().unwrap())
                    .map_err(|_| orderlock::problems::ORDER_NOT_FOUND.described())
            });
        Router::new()
            .nest("/tenants/{tenant}/orders/{id}", layered.merge(adapted))
            .route("/put/{id}", orders.put("put", count))
            .route("/patch/{id}", orders.patch("patch", count))
            .route("/delete/{id}", orders.delete("delete", count))
            .merge(
                Router::new()
                    .route("/whole", post(count))
                    .layer(by_header.layer("whole")),
            )
    })
    .await;
    for (method, path) in [
        ("POST", "/tenants/a/orders/o-1/route-layer"),
        ("POST", "/tenants/a/orders/o-1/adapter"),
        ("POST", "/tenants/a/orders/o-1/beside"),
        ("PUT", "/put/o-1"),
        ("PATCH", "/patch/o-1"),
        ("DELETE", "/delete/o%2D1"),
        ("POST", "/whole"),
    ] {
        println!("{method} {path}");
        world
            .ask(&ask(method, path).header("x-order", "o-1"))
            .await
            .success();
    }
    assert_eq!(
        world.seen().await,
        Seen::new(7, &["applied"; 7], Lock::Free)
    );
    for path in ["/tenants/a/orders/o-1/read", "/tenants/a/orders/o-1/beside"] {
        world.ask(&Ask::new("GET", path)).await.success();
    }
    let nonsense = format!("/put/{}", "x".repeat(200));
    world
        .ask(&ask("PUT", &nonsense))
        .await
        .expect(404, "order-not-found");
    let get = world.ask(&ask("GET", "/put/o-1")).await;
    assert_eq!((get.status, get.header("allow")), (405, Some("PUT")));
}

#[tokio::test]
async fn if_match_is_compared_at_the_grant_and_not_part_of_the_request() {
    for door in Door::BOTH {
        let world = World::new(door).await;
        let ask = |key| Ask::act("act", key, "apply");
        let told = world
            .ask(&ask("k-1").header("if-match", "\"1\""))
            .await
            .success();
        assert_eq!(told.header("etag"), Some("\"2\""));
        let late = world.ask(&ask("k-2").header("if-match", "\"1\"")).await;
        let late = late.expect(412, "version-mismatch");
        assert_eq!(late.json()["currentVersion"], 2);
        assert!(late.header("retry-after").is_none());
        // The replay is the replay, whatever version the retry names.
        assert!(
            world
                .ask(&ask("k-1").header("if-match", "\"7\""))
                .await
                .success()
                .replayed()
        );
        world
            .ask(&ask("k-2").header("if-match", "*"))
            .await
            .success();
    }
}

#[tokio::test]
async fn an_if_match_of_several_versions_fits_any_of_them() {
    for door in Door::BOTH {
        let world = World::new(door).await;
        let ask =
            |key: &str, versions: &str| Ask::act("act", key, "apply").header("if-match", versions);
        // A compressing proxy makes the tag weak.
        let weak = world.ask(&ask("k-1", "W/\"1\"")).await.success();
        assert_eq!(weak.header("etag"), Some("\"2\""));
        for (at, versions) in ["\"1\", \"2\", \"7\"", "\"3\", W/\"1\"", "\"x\",\"4\",\"4\""]
            .iter()
            .enumerate()
        {
            let told = world
                .ask(&ask(&format!("k-2-{at}"), versions))
                .await
                .success();
            assert_eq!(told.header("etag"), Some(&*format!("\"{}\"", at + 3)));
        }
        for versions in ["\"4\", \"6\"", "\"abc\"", "\"\"", "\"05\""] {
            let told = world.ask(&ask("k-3", versions)).await;
            let told = told.expect(412, "version-mismatch");
            assert_eq!(told.json()["currentVersion"], 5, "{versions}");
        }
        assert_eq!(world.probe.runs(), 4, "what was refused has not run");
    }
}

#[tokio::test]
async fn an_if_match_of_several_versions_is_compared_when_the_turn_comes() {
    let world = World::new(Door::Adapter).await;
    let first = world.start(&Ask::act("act", "k-1", "wait"));
    world.probe.started(1).await;
    let next = Ask::act("act", "k-2", "apply")
        .header("if-match", "\"2\", \"1\"")
        .wait(20);
    let second = world.start(&next);
    while world.orders.lifecycle().in_flight() < 2 {
        tokio::task::yield_now().await;
    }
    world.probe.go();
    first.await.unwrap().success();
    assert_eq!(
        second.await.unwrap().success().header("etag"),
        Some("\"3\"")
    );
}

#[tokio::test]
async fn all_versions_of_an_if_match_share_one_wait() {
    let hour = Duration::from_secs(3600);
    let world = World::with_limits(Door::Adapter, |limits| limits.handler = hour).await;
    let in_line = async |count| {
        while world.orders.lifecycle().in_flight() < count {
            tokio::task::yield_now().await;
        }
    };
    let first = world.start(&Ask::act("act", "k-1", "wait"));
    world.probe.started(1).await;
    // Its turn comes at version 2, and so it goes to the end of the line again.
    let either = Ask::act("act", "k-2", "apply").header("if-match", "\"2\", \"1\"");
    let either = world.start(&either.wait(20));
    in_line(2).await;
    let last = world.start(&Ask::act("act", "k-3", "hang").wait(20));
    in_line(3).await;
    world.runtime.advance(Duration::from_secs(8));
    world.probe.go();
    first.await.unwrap().success();
    world.probe.started(2).await;
    world.runtime.advance(Duration::from_secs(12));
    // A guard against a test that waits for ever, not a measure of anything.
    let told = tokio::time::timeout(Duration::from_secs(60), either).await;
    let told = told.expect("it waits for no longer than it was told to");
    told.unwrap().expect(409, "order-locked");
    last.abort();
}

#[tokio::test]
async fn no_body_is_the_same_however_it_is_said() {
    let world = World::app(|orders| {
        Router::new()
            .route("/adapter/{id}", orders.post("adapter", count))
            .route("/layer/{id}", post(count).layer(orders.layer("layer")))
    })
    .await;
    for path in ["/adapter/o-1", "/layer/o-1"] {
        let bare = ask("POST", path);
        let first = world.ask(&bare).await.success();
        assert!(!first.replayed());
        let form = "application/x-www-form-urlencoded";
        for again in [
            bare.clone(),
            bare.clone().header("content-type", form),
            bare.clone()
                .header("content-type", "text/plain; charset=utf-16"),
            bare.clone().header("content-type", "application/json"),
            bare.clone().body("{}"),
            bare.clone().body(" \n"),
            bare.clone()
                .header("content-type", "application/json")
                .body(" { } "),
        ] {
            let again = world.ask(&again).await.success();
            assert!(again.replayed() && again.body == first.body);
        }
    }
}

#[tokio::test]
async fn a_body_that_must_be_decoded_first_is_refused_and_its_key_stays_free() {
    for door in Door::BOTH {
        let world = World::new(door).await;
        let good = || Ask::act("act", "k-1", "apply");
        for (name, value, kind) in [
            ("content-encoding", "gzip", "media-type-unsupported"),
            ("content-encoding", "identity, br", "media-type-unsupported"),
            (
                "content-type",
                "application/json; charset=utf-16",
                "media-type-unsupported",
            ),
            ("content-range", "bytes 0-9/90", "body-malformed"),
        ] {
            let told = world.ask(&good().header(name, value)).await;
            assert_eq!(told.kind().as_deref(), Some(kind), "{name}: {value}");
            if told.status == 415 {
                assert_eq!(told.header("accept-encoding"), Some("identity"));
            }
        }
        assert_eq!(world.seen().await, Seen::untouched());
        let plain = good().header("content-encoding", "identity");
        assert!(!world.ask(&plain).await.success().replayed());
    }
}

#[tokio::test]
async fn what_was_told_without_a_look_at_the_key_says_nothing_of_it() {
    for door in Door::BOTH {
        let world = World::new(door).await;
        let good = || Ask::act("act", "k-1", "apply");
        world.ask(&good()).await.success();
        world.store.fail_next(Verb::Acquire, Fault::FailBefore);
        let unheard = [
            world.ask(&good()).await.expect(503, "store-unavailable"),
            world.ask(&good().header("x-principal", "nobody")).await,
            world.ask(&good().header("if-match", "7")).await,
            world.ask(&good().header("content-encoding", "br")).await,
            world.ask(&good().body(&"x".repeat(2_000))).await,
        ];
        for told in unheard {
            assert!(told.json().get("applied").is_none(), "{}", told.json());
        }
        world.orders.drain(Duration::ZERO).await.unwrap();
        // What is stored is replayed all the same.
        assert!(world.ask(&good()).await.success().replayed());
        let new = Ask::act("act", "k-2", "apply");
        let told = world.ask(&new).await.expect(503, "shutting-down");
        assert!(told.json().get("applied").is_none(), "{}", told.json());
    }
}

#[tokio::test]
async fn a_key_may_be_quoted_and_means_the_same() {
    for door in Door::BOTH {
        let world = World::new(door).await;
        world.ask(&Ask::act("act", "k-1", "apply")).await.success();
        assert!(
            world
                .ask(&Ask::act("act", "\"k-1\"", "apply"))
                .await
                .success()
                .replayed()
        );
    }
}

#[tokio::test]
async fn a_body_is_as_large_as_the_lock_allows_and_no_larger() {
    // More than the 2 MiB of axum's own default: this lock's limit is the only one.
    let large = 3 * 1024 * 1024;
    let world = World::app(|orders| {
        let orders = orders.clone().with_body_limit(large);
        Router::new()
            .route("/fits/{id}", orders.post("fits", fill))
            .route("/declared/{id}", orders.post("declared", fill))
            .route("/chunked/{id}", orders.post("chunked", fill))
    })
    .await;
    let fits = ask("POST", "/fits/o-1").body(&"x".repeat(large));
    let told = world.ask(&fits).await.success();
    assert_eq!(told.json()["result"]["filling"], format!("{large} bytes"));
    // A body that says itself that it is too large is refused unread.
    let declared = ask("POST", "/declared/o-1").header("content-length", &(large + 1).to_string());
    world.ask(&declared).await.expect(413, "body-too-large");
    // One that does not is refused when it has become too large.
    let chunk = format!("{:x}\r\n{}", large + 100, "x".repeat(large + 1));
    let chunked = ask("POST", "/chunked/o-1")
        .header("transfer-encoding", "chunked")
        .body(&chunk);
    world.ask(&chunked).await.expect(413, "body-too-large");
    assert_eq!(world.seen().await.journal, ["applied"]);
}

#[tokio::test]
async fn a_body_that_is_too_slow_locks_nothing() {
    for door in Door::BOTH {
        let world = World::new(door).await;
        let slow = Ask::act("act", "k-1", "apply").header("content-length", "900");
        let connection = slow.begin(world.address).await;
        // The node's two keepers sleep, and the body's time runs.
        world.runtime.sleeping(3).await;
        assert_eq!(world.orders.lifecycle().in_flight(), 0);
        world.runtime.advance(Duration::from_secs(3));
        crate::client::Told::read(connection)
            .await
            .expect(408, "body-too-slow");
        assert_eq!(
            (world.probe.runs(), world.seen().await),
            (0, Seen::untouched())
        );
    }
}

#[tokio::test]
async fn a_failure_tells_the_client_nothing_of_its_text() {
    let world = World::app(|orders| {
        Router::new()
            .route("/adapter/{id}", orders.post("adapter", fail))
            .route(
                "/layer/{id}",
                post(fail).layer(orders.layer(Operation::named("layer"))),
            )
    })
    .await;
    for path in ["/adapter/o-1", "/layer/o-1"] {
        let told = world
            .ask(&ask("POST", path))
            .await
            .expect(500, "handler-failed");
        assert!(!String::from_utf8_lossy(&told.body).contains("hunter2"));
        assert_eq!(told.json()["retryable"], true);
        assert_eq!(world.seen().await, Seen::untouched());
    }
}
