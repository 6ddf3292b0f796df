//! The route by which an operator ends an open mark.

use std::time::Duration;

use orderlock_testkit::faults::{Fault, Gate, Verb};
use serde_json::{Value, json};

use crate::client::{Ask, Told};
use crate::world::{Door, HANDLER, Lock, Seen, World};

fn decide(mark: &str, body: &Value) -> Ask {
    let mut body = body.clone();
    body["mark"] = mark.into();
    body["reason"] = "the bank was asked".into();
    Ask::new("POST", "/orders/o-1/resolution")
        .header("idempotency-key", "r-1")
        .header("content-type", "application/json")
        .header("x-operator", "ada")
        .body(&body.to_string())
}

/// A mark of the key `k-1` that waits for a decision.
async fn marked(world: &World) -> String {
    let told = world.ask(&Ask::act("outside", "k-1", "fail")).await;
    told.expect(409, "outcome-unknown");
    world.lock().await.id.to_string()
}

async fn retry(world: &World) -> Told {
    world.ask(&Ask::act("outside", "k-1", "fail")).await
}

#[tokio::test]
async fn run_again_frees_the_order_for_everybody() {
    for door in Door::BOTH {
        let world = World::new(door).await;
        let ask = decide(&marked(&world).await, &json!({"decision": "runAgain"}));
        let told = world.ask(&ask).await.success();
        assert_eq!(told.header("etag"), Some("\"1\""));
        assert_eq!(told.json(), json!({"status": 200, "result": {"count": 0}}));
        let cleared = Seen {
            journal: vec!["markCleared"],
            ..Seen::untouched()
        };
        assert_eq!(world.seen().await, cleared);
        assert_eq!(world.ask(&ask).await.success().body, told.body);
        assert_eq!(world.seen().await, cleared, "a repeat changes nothing");
        world.runtime.advance(Duration::from_millis(1));
        retry(&world).await.expect(409, "outcome-unknown");
        assert_eq!(world.probe.runs(), 2, "the key ran again");
        // The second run's mark is another one: the old decision is not about it.
        world.ask(&ask).await.success();
        assert_eq!(world.seen().await.lock, Lock::Marked);
    }
}

#[tokio::test]
async fn a_settled_mark_is_the_answer_of_its_own_key() {
    let problem = json!({"status": 402, "type": "/problems/declined", "title": "Declined"});
    let cases = [
        (json!({"outcome": "applied", "order": {"count": 9}}), 200, 9),
        (json!({"outcome": "refused", "problem": problem}), 402, 0),
        (json!({"outcome": "unchanged"}), 200, 0),
    ];
    for door in Door::BOTH {
        for (mut body, status, count) in cases.clone() {
            let world = World::new(door).await;
            body["decision"] = "settle".into();
            let ask = decide(&marked(&world).await, &body).header("if-match", "\"1\"");
            let told = world.ask(&ask).await.success();
            assert_eq!(told.json()["result"]["count"], count, "{body}");
            let answer = retry(&world).await;
            assert_eq!((answer.status, answer.replayed()), (status, true));
            assert_eq!(world.probe.runs(), 1);
            let outcome = body["outcome"].as_str().unwrap();
            let seen = world.seen().await;
            assert_eq!((seen.journal, seen.lock), (vec![outcome], Lock::Free));
            assert_eq!(seen.count, count);
            world.ask(&Ask::act("act", "k-2", "apply")).await.success();
        }
    }
}

#[tokio::test]
async fn what_is_not_open_not_seen_or_not_allowed_is_refused() {
    let world = World::new(Door::Adapter).await;
    let again = json!({"decision": "runAgain"});
    let free = world.ask(&decide("mrk_1-1-1", &again)).await;
    free.expect(409, "mark-not-open");
    let mark = marked(&world).await;
    let other = world.ask(&decide("mrk_1-1-1", &again)).await;
    other.expect(409, "mark-not-open");
    let stale = decide(&mark, &again).header("if-match", "\"7\"");
    let stale = world.ask(&stale).await.expect(412, "version-mismatch");
    assert_eq!(stale.json()["currentVersion"], 1);
    let grown = "x".repeat(900);
    let body = json!({"decision": "settle", "outcome": "applied",
        "order": {"count": 1, "filling": grown}});
    let big = world.ask(&decide(&mark, &body)).await;
    big.expect(413, "body-too-large");

    let bare = || Ask::new("POST", "/orders/o-1/resolution");
    let nobody = world.ask(&bare().header("idempotency-key", "r")).await;
    nobody.expect(403, "forbidden");
    let keyless = world.ask(&bare().header("x-operator", "ada")).await;
    keyless.expect(400, "idempotency-key-missing");
    let bytes = bare()
        .header("x-operator", "ada")
        .header("idempotency-key", "r")
        .header("content-type", "text/plain")
        .body("run it again");
    let bytes = world.ask(&bytes).await;
    bytes.expect(415, "media-type-unsupported");
    assert_eq!(world.seen().await, Seen::new(0, &[], Lock::Marked));
}

#[tokio::test]
async fn a_lost_answer_is_said_and_the_same_request_tells() {
    let world = World::new(Door::Adapter).await;
    let ask = decide(&marked(&world).await, &json!({"decision": "runAgain"}));
    world.store.fail_next(Verb::Resolve, Fault::FailAfter);
    let lost = world.ask(&ask).await.expect(503, "settle-unknown");
    assert_eq!(lost.header("retry-after"), Some("1"));
    world.store.fail_next(Verb::Read, Fault::FailBefore);
    world.ask(&ask).await.expect(503, "store-unavailable");
    world.ask(&ask).await.success();
    assert_eq!(world.seen().await.journal, ["markCleared"]);
}

#[tokio::test]
async fn of_two_operators_one_decides_and_the_other_is_told() {
    let world = World::new(Door::Adapter).await;
    let mark = marked(&world).await;
    let gate = Gate::new();
    let held = Fault::DelayBefore(gate.clone());
    world.store.fail_next(Verb::Resolve, held);
    let settle = json!({"decision": "settle", "outcome": "applied", "order": {"count": 9}});
    let slow = world.start(&decide(&mark, &settle));
    gate.reached(1).await;
    let quick = decide(&mark, &json!({"decision": "runAgain"}));
    world.ask(&quick).await.success();
    gate.open();
    slow.await.unwrap().expect(409, "mark-not-open");
    assert_eq!(world.seen().await.journal, ["markCleared"]);
    assert_eq!(world.seen().await.count, 0);
}

#[tokio::test]
async fn a_key_that_resumes_first_has_its_mark_attended_to() {
    let world = World::new(Door::Adapter).await;
    let begin = Ask::act("resume", "k-1", "wait");
    let first = world.start(&begin);
    world.probe.started(1).await;
    world.store.inner().void_all_leases();
    world.runtime.advance(HANDLER);
    first.await.unwrap().expect(409, "outcome-unknown");
    let gate = Gate::new();
    let held = Fault::DelayBefore(gate.clone());
    world.store.fail_next(Verb::Resolve, held);
    let mark = world.lock().await.id.to_string();
    let slow = world.start(&decide(&mark, &json!({"decision": "runAgain"})));
    gate.reached(1).await;
    let resumed = world.start(&begin);
    world.probe.started(2).await;
    gate.open();
    slow.await.unwrap().expect(409, "mark-not-open");
    world.probe.go();
    resumed.await.unwrap().success();
    assert_eq!(world.seen().await, Seen::new(1, &["applied"], Lock::Free));
}

#[tokio::test]
async fn a_body_that_does_not_fit_is_named_by_pointers() {
    let world = World::new(Door::Adapter).await;
    let mark = marked(&world).await;
    let good = |body: &str| {
        let text = format!(r#"{{"mark":"{mark}","reason":"r",{body}}}"#);
        decide(&mark, &json!({})).body(&text)
    };
    let cases: [(Ask, &[&str]); 12] = [
        (decide("", &json!({})), &["/mark", "/decision"]),
        (good(r#""decision":"forget""#), &["/decision"]),
        (good(r#""decision":7"#), &["/decision"]),
        (good(r#""decision":"settle""#), &["/outcome"]),
        (
            good(r#""decision":"settle","outcome":"lost""#),
            &["/outcome"],
        ),
        (
            good(r#""decision":"settle","outcome":"applied""#),
            &["/order"],
        ),
        (
            good(r#""decision":"settle","outcome":"applied","order":{"count":"x"}"#),
            &["/order"],
        ),
        (
            good(r#""decision":"settle","outcome":"unchanged","order":{},"problem":{}"#),
            &["/order", "/problem"],
        ),
        (
            good(r#""decision":"runAgain","outcome":"unchanged""#),
            &["/outcome"],
        ),
        (
            good(
                r#""decision":"settle","outcome":"refused","problem":{"status":200,"type":"","title":""}"#,
            ),
            &["/problem/status", "/problem/type", "/problem/title"],
        ),
        (good(r#""decision":"runAgain","more":1"#), &[""]),
        (good(r#""decision":"runAgain","decision":"settle""#), &[""]),
    ];
    for (ask, pointers) in cases {
        let told = world.ask(&ask).await.expect(422, "body-invalid");
        let body = told.json();
        let errors = body["errors"].as_array().unwrap();
        let found: Vec<_> = errors.iter().map(|error| &error["pointer"]).collect();
        assert_eq!(found, pointers, "{body}");
    }
    let broken = world.ask(&good("")).await;
    broken.expect(400, "body-malformed");
    let long = "r".repeat(1_001);
    let text = format!(r#"{{"mark":"m","reason":"{long}","decision":"runAgain"}}"#);
    let told = world.ask(&decide(&mark, &json!({})).body(&text)).await;
    told.expect(413, "body-too-large");
    assert_eq!(world.seen().await, Seen::new(0, &[], Lock::Marked));
}
