//! Every kind of problem that a request can provoke, provoked; and the table in the documentation.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use axum::body::{Body, Bytes};
use http::Method;
use orderlock::store::{MarkFate, Release};
use orderlock::{Caller, Limits, OrderId, OrderStore as _, Recovery, Retention};
use orderlock_server::http::{kinds, status_table};
use orderlock_testkit::faults::{Fault, Verb};
use serde_json::json;

use crate::elsewhere::ELSEWHERE;
use crate::refusals;
use crate::support::{Answer, Call, JSON, Setup, World, operation_call, pending};

/// What was provoked so far.
#[derive(Default)]
pub(crate) struct Seen(BTreeMap<String, u16>);

impl Seen {
    /// Checks a problem and notes it.
    pub(crate) fn note(&mut self, expected: &str, answer: &Answer) {
        println!("{} {expected}: {}", answer.status, answer.json()["detail"]);
        assert_eq!(answer.problem(), expected, "{}", answer.text);
        let problem = answer.json();
        let may_pass = [409, 429, 503].contains(&answer.status.as_u16());
        if may_pass && problem["retryable"] == true && expected != "not-ready" {
            assert!(answer.header("retry-after").is_some(), "{problem}");
        }
        self.0.insert(expected.to_owned(), answer.status.as_u16());
    }
}

#[tokio::test]
async fn every_kind_of_problem_is_provoked_or_named_elsewhere() {
    let mut seen = Seen::default();
    heads(&mut seen).await;
    bodies(&mut seen).await;
    keys_and_locks(&mut seen).await;
    refusals::provoke(&mut seen).await;
    limits(&mut seen).await;
    settles(&mut seen).await;
    shutdown(&mut seen).await;
    let elsewhere: BTreeSet<_> = ELSEWHERE.iter().map(|(kind, _)| *kind).collect();
    for kind in kinds() {
        match seen.0.get(kind.kind) {
            Some(status) => assert_eq!(*status, kind.status, "{kind:?}"),
            None => assert!(
                elsewhere.contains(kind.kind),
                "{} was not provoked",
                kind.kind
            ),
        }
        let both = seen.0.contains_key(kind.kind) && elsewhere.contains(kind.kind);
        assert!(!both, "{} can be provoked after all", kind.kind);
    }
    let known: BTreeSet<_> = kinds().iter().map(|kind| kind.kind).collect();
    let unlisted = seen.0.keys().filter(|kind| !known.contains(kind.as_str()));
    assert_eq!(unlisted.collect::<Vec<_>>(), Vec::<&String>::new());
}

async fn heads(seen: &mut Seen) {
    let world = World::new();
    let order = world.order(&[]).await;
    let call = || operation_call(&order, "confirm", &json!({}));
    let calls = [
        ("idempotency-key-missing", call()),
        ("idempotency-key-invalid", call().key("a b")),
        ("if-match-invalid", call().key("k").header("if-match", "7")),
        (
            "precondition-unsupported",
            call().key("k").header("if-none-match", "*"),
        ),
        (
            "version-mismatch",
            call().key("k").header("if-match", "\"9\""),
        ),
        ("route-not-found", Call::new(Method::GET, "/v2/orders")),
        (
            "host-not-allowed",
            call().key("k").header("host", "evil.example:8080"),
        ),
        (
            "request-invalid",
            call().key("k").header("host", "evil@localhost"),
        ),
        (
            "origin-not-allowed",
            call().key("k").header("origin", "https://evil.example"),
        ),
        ("method-not-allowed", Call::new(Method::PUT, "/v1/orders")),
        (
            "order-not-found",
            Call::new(Method::GET, "/v1/orders/ord_none"),
        ),
        (
            "query-invalid",
            Call::new(Method::GET, "/v1/orders?limit=0"),
        ),
        (
            "cursor-invalid",
            Call::new(Method::GET, "/v1/orders?cursor=nonsense"),
        ),
        (
            "key-not-found",
            Call::new(Method::GET, &format!("/v1/orders/{order}/operations/none")),
        ),
    ];
    for (kind, call) in calls {
        seen.note(kind, &world.send(call).await);
    }
}

async fn bodies(seen: &mut Seen) {
    let body = orderlock_server::BodyLimits {
        bytes: 1_000,
        time: Duration::from_millis(20),
    };
    let world = World::with(Setup {
        body,
        ..Setup::default()
    });
    let order = world.order(&[]).await;
    // Both ways in: without a lock and under one.
    let paths = [
        "/v1/orders".to_owned(),
        format!("/v1/orders/{order}/refund"),
    ];
    for path in paths {
        let post = |media_type| {
            let call = Call::new(Method::POST, &path).key("k");
            call.header("content-type", media_type)
        };
        let endless = futures_util::stream::pending::<Result<Bytes, std::io::Error>>();
        let broken = futures_util::stream::iter([Err::<Bytes, _>(std::io::Error::other("gone"))]);
        let calls = [
            ("body-malformed", post(JSON).body("{")),
            ("body-malformed", post(JSON).body(Body::from_stream(broken))),
            ("body-invalid", post(JSON).body("{}")),
            ("body-too-large", post(JSON).body(" ".repeat(1_001))),
            ("body-too-slow", post(JSON).body(Body::from_stream(endless))),
            ("media-type-unsupported", post("text/xml").body("<a/>")),
        ];
        for (kind, call) in calls {
            seen.note(kind, &world.send(call).await);
        }
    }
}

async fn keys_and_locks(seen: &mut Seen) {
    let world = World::new();
    let order = world.order(&[]).await;
    let first = world
        .send(operation_call(&order, "cancel", &json!({})).key("once"))
        .await;
    assert_eq!(first.status, 200);
    let other = operation_call(&order, "cancel", &json!({"reason": "other"})).key("once");
    seen.note("idempotency-key-reused", &world.send(other).await);

    let held = world.order(&[]).await;
    let fence = world.hold(&held, "theirs", Some(Recovery::Reconcile)).await;
    let same = operation_call(&held, "confirm", &json!({})).key("theirs");
    seen.note("idempotency-key-in-progress", &world.send(same).await);
    let mine = operation_call(&held, "confirm", &json!({})).key("mine");
    let locked = world.send(mine).await;
    seen.note("order-locked", &locked);
    assert_eq!(locked.json()["operation"], "confirm");
    assert!(locked.json()["since"].is_string());
    let release = Release {
        target: Caller::single().target(&OrderId::parse(&held).unwrap()),
        fence,
        mark: MarkFate::Keep,
        next: None,
    };
    assert!(world.store().release(release).await.unwrap().held);
    let mine = operation_call(&held, "confirm", &json!({})).key("mine");
    seen.note("outcome-unknown", &world.send(mine).await);
    let key = world
        .get(&format!("/v1/orders/{held}/operations/theirs"))
        .await;
    seen.note("outcome-unknown", &key);

    let decision = json!({"decision": "runAgain", "mark": "mrk_1-1-1", "reason": "a test"});
    let path = format!("/v1/orders/{held}/resolution");
    let other = world.send(Call::post(&path, &decision).key("r")).await;
    seen.note("mark-not-open", &other);

    let gone = Call::post("/v1/locks/lck_none", &json!({"reason": "stuck"}));
    let gone = world
        .send(Call {
            method: Method::DELETE,
            ..gone
        })
        .await;
    seen.note("lock-not-found", &gone);
}

async fn limits(seen: &mut Seen) {
    let with = |limits| {
        World::with(Setup {
            limits,
            ..Setup::default()
        })
    };
    let full = with(Limits {
        in_flight: 0,
        ..Limits::default()
    });
    let create = || Call::post("/v1/orders", &pending()).key("k");
    seen.note("order-queue-full", &full.send(create()).await);

    let retention = Retention {
        answer: Duration::ZERO,
        tombstone: Duration::from_secs(3_600),
    };
    let forgetful = with(Limits {
        retention,
        ..Limits::default()
    });
    let order = forgetful.order(&[]).await;
    let confirm = || operation_call(&order, "confirm", &json!({})).key("k");
    assert_eq!(forgetful.send(confirm()).await.status, 200);
    seen.note("idempotency-key-expired", &forgetful.send(confirm()).await);
    let key = forgetful
        .get(&format!("/v1/orders/{order}/operations/k"))
        .await;
    seen.note("idempotency-key-expired", &key);

    let out_of_reach = World::new();
    out_of_reach
        .store()
        .fail_next(Verb::Join, Fault::FailBefore);
    seen.note("store-unavailable", &out_of_reach.send(create()).await);
    out_of_reach
        .store()
        .fail_next(Verb::Read, Fault::FailBefore);
    seen.note(
        "store-unavailable",
        &out_of_reach.get("/v1/orders/ord_any").await,
    );

    let damaged = World::new();
    damaged.foreign("ord_damaged", "{}").await;
    let failed = damaged.run("ord_damaged", "confirm", &json!({})).await;
    seen.note("handler-failed", &failed);
    assert_eq!(failed.json()["retryable"], false);
}

/// What can happen between a handler and its settle.
async fn settles(seen: &mut Seen) {
    let world = World::with(Setup {
        limits: Limits {
            repeats: 0,
            ..Limits::default()
        },
        ..Setup::default()
    });
    let order = world.order(&[]).await;
    let confirm = || operation_call(&order, "confirm", &json!({})).key("doubtful");
    world.store().fail_next(Verb::Settle, Fault::FailAfter);
    seen.note("settle-unknown", &world.send(confirm()).await);
    let told = world.send(confirm()).await;
    assert!(told.status == 200 && told.is_replayed(), "{told:?}");

    let order = world.order(&[]).await;
    let gate = world.delay_settle();
    let confirm = || operation_call(&order, "confirm", &json!({})).key("broken");
    let lost = tokio::spawn(world.sent(confirm()));
    gate.reached(1).await;
    let locks = world.get("/v1/locks").await.json();
    let lock = locks["result"][0]["id"].as_str().unwrap().to_owned();
    let path = format!("/v1/locks/{lock}");
    let call = Call::post(&path, &json!({"reason": "it hangs"}));
    let broken = world
        .send(Call {
            method: Method::DELETE,
            ..call
        })
        .await;
    assert_eq!(broken.status, 200, "{}", broken.text);
    assert_eq!(broken.json()["result"]["order"], order);
    gate.open();
    seen.note("lease-lost", &lost.await.unwrap());
    let history = world
        .get(&format!("/v1/orders/{order}/history"))
        .await
        .json();
    assert_eq!(history["result"][1]["outcome"], "leaseBroken", "{history}");
    assert_eq!(history["result"][1]["reason"], "it hangs");
    let again = world.send(confirm()).await;
    assert!(again.status == 200 && !again.is_replayed(), "{again:?}");
}

async fn shutdown(seen: &mut Seen) {
    let world = World::new();
    let order = world.order(&[]).await;
    assert_eq!(world.get("/readyz").await.status, 200);
    world.context.draining().cancel();
    let not_ready = world.get("/readyz").await;
    seen.note("not-ready", &not_ready);
    assert_eq!(world.get("/healthz").await.status, 200);
    world
        .context
        .orders()
        .drain(Duration::from_secs(5))
        .await
        .unwrap();
    seen.note(
        "shutting-down",
        &world.run(&order, "confirm", &json!({})).await,
    );
}

#[tokio::test]
async fn every_kind_has_a_page_for_people_and_one_for_programs() {
    let world = World::new();
    for kind in kinds() {
        let path = format!("/problems/{}", kind.kind);
        let page = world.get(&path).await;
        assert_eq!(
            page.header("content-type"),
            Some("text/html; charset=utf-8")
        );
        assert!(
            page.text.contains(&format!("<code>{}</code>", kind.kind)),
            "{}",
            page.text
        );
        let accept = Call::new(Method::GET, &path).header("accept", "text/markdown");
        let page = world.send(accept).await;
        assert_eq!(
            page.header("content-type"),
            Some("text/markdown; charset=utf-8")
        );
        assert!(
            page.text.contains("## What to do") && page.text.contains(kind.title),
            "{}",
            page.text
        );
    }
    let unknown = world.get("/problems/none").await;
    assert_eq!(unknown.problem(), "route-not-found");
}

#[test]
fn the_documentation_has_this_table() {
    let path = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../../docs/http-status-codes.md"
    );
    let text = std::fs::read_to_string(path).unwrap_or_default();
    let (head, _) = text.split_once("| status |").unwrap_or((&text, ""));
    let wanted = format!("{head}{}", status_table());
    if std::env::var_os("BLESS").is_some() {
        std::fs::write(path, &wanted).unwrap();
        return;
    }
    assert!(
        text == wanted,
        "docs/http-status-codes.md is out of date; run: BLESS=1 cargo test -p orderlock-server \
         the_documentation_has_this_table"
    );
}
