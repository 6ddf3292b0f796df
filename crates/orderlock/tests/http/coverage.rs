//! What the handler does, and what becomes of the order, its journal, its lock and its key: one
//! table, run through both doors over real HTTP.

use crate::client::{Ask, Told};
use crate::world::{Door, HANDLER, Lock, Seen, World};

/// What a retry with the same key gets.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Retry {
    /// The stored answer, byte for byte.
    Replayed,
    /// Another run.
    RunsAgain,
    /// The same problem, without a run.
    Refused,
}

struct Case {
    operation: &'static str,
    act: &'static str,
    status: u16,
    /// The problem's kind, if it is one.
    kind: Option<&'static str>,
    applied: Option<&'static str>,
    /// The count in the answer's `result`.
    result: Option<u64>,
    seen: Seen,
    retry: Retry,
}

#[allow(clippy::too_many_arguments, reason = "the columns of a table")]
fn case(
    operation: &'static str,
    act: &'static str,
    status: u16,
    kind: &'static str,
    applied: &'static str,
    result: Option<u64>,
    seen: Seen,
    retry: Retry,
) -> Case {
    let named = |text: &'static str| Some(text).filter(|text| !text.is_empty());
    Case {
        operation,
        act,
        status,
        kind: named(kind),
        applied: named(applied),
        result,
        seen,
        retry,
    }
}

#[rustfmt::skip]
fn table() -> Vec<Case> {
    use Lock::{Free, Marked};
    use Retry::{Refused, Replayed, RunsAgain};
    let nothing = Seen::untouched;
    let marked = || Seen::new(0, &[], Marked);
    vec![
        // The matrix: success, partial success, refusal, failure.
        case("act", "apply", 200, "", "", Some(1), Seen::new(1, &["applied"], Free), Replayed),
        case("act", "applyWithError", 402, "declined", "partial", Some(1), Seen::new(1, &["appliedWithError"], Free), Replayed),
        case("act", "refuse", 402, "declined", "none", None, Seen { journal: vec!["refused"], ..nothing() }, Replayed),
        case("act", "fail", 502, "", "", None, nothing(), RunsAgain),
        // Its finer rows.
        case("act", "unchanged", 200, "", "", Some(0), Seen { journal: vec!["unchanged"], ..nothing() }, Replayed),
        case("note", "refuse", 402, "declined", "none", None, nothing(), RunsAgain),
        case("act", "panic", 500, "handler-failed", "none", None, nothing(), RunsAgain),
        case("act", "hang", 504, "handler-timeout", "none", None, nothing(), RunsAgain),
        case("act", "grow", 500, "handler-failed", "none", None, nothing(), RunsAgain),
        // Checkpoints.
        case("act", "checkpointAndApply", 200, "", "", Some(2), Seen::new(2, &["checkpoint", "applied"], Free), Replayed),
        case("act", "checkpointAndFail", 500, "handler-failed", "partial", Some(1), Seen::new(1, &["checkpoint"], Free), RunsAgain),
        case("act", "checkpointAndHang", 504, "handler-timeout", "partial", Some(1), Seen::new(1, &["checkpoint"], Free), RunsAgain),
        // External operations.
        case("outside", "apply", 200, "", "", Some(1), Seen::new(1, &["applied"], Free), Replayed),
        case("outside", "refuse", 402, "declined", "none", None, Seen { journal: vec!["refused"], ..nothing() }, Replayed),
        case("outside", "fail", 409, "outcome-unknown", "", None, marked(), Refused),
        case("outside", "panic", 409, "outcome-unknown", "", None, marked(), Refused),
        case("outside", "hang", 409, "outcome-unknown", "", None, marked(), Refused),
        case("outside", "failWithoutEffect", 502, "", "", None, nothing(), RunsAgain),
        case("outside", "checkpointAndFail", 409, "outcome-unknown", "partial", Some(1), Seen::new(1, &["checkpoint"], Marked), Refused),
        case("resume", "fail", 409, "outcome-unknown", "", None, marked(), RunsAgain),
    ]
}

/// Sends a request; a handler that hangs is brought to its limit.
async fn send(world: &World, case: &Case, runs: usize) -> Told {
    let ask = Ask::act(case.operation, "k-1", case.act);
    let runs_now = runs == 1 || case.retry == Retry::RunsAgain;
    if !(case.act.ends_with("ang") && runs_now) {
        return world.ask(&ask).await;
    }
    let told = world.start(&ask);
    world.probe.started(runs).await;
    if case.act == "checkpointAndHang" {
        // The handler hangs when its checkpoint is in the journal.
        while world.seen().await.journal.len() < runs {
            tokio::task::yield_now().await;
        }
    }
    world.runtime.advance(HANDLER);
    told.await.unwrap()
}

fn check(case: &Case, told: &Told) {
    let text = String::from_utf8_lossy(&told.body);
    assert_eq!(
        (told.status, told.kind().as_deref()),
        (case.status, case.kind),
        "{text}"
    );
    if case.status == 502 {
        // The handler's own error, whole.
        assert_eq!(text, "the gateway is down");
        assert_eq!(told.header("x-gateway"), Some("gw-1"));
        return;
    }
    let body = told.json();
    assert_eq!(body["status"], case.status, "{text}");
    assert_eq!(body["applied"].as_str(), case.applied, "{text}");
    assert_eq!(body["result"]["count"].as_u64(), case.result, "{text}");
    let etag = case.result.map(|count| format!("\"{}\"", count + 1));
    assert_eq!(told.header("etag"), etag.as_deref());
    assert_eq!(
        body["noop"].as_bool(),
        (case.act == "unchanged").then_some(true)
    );
    let stored = case.retry == Retry::Replayed;
    assert_eq!(told.header("idempotency-expires").is_some(), stored);
}

async fn run(door: Door, case: &Case) {
    let world = World::new(door).await;
    let first = send(&world, case, 1).await;
    check(case, &first);
    assert!(!first.replayed());
    assert_eq!(world.seen().await, case.seen);
    if case.act == "checkpointAndHang" {
        return;
    }

    let again = send(&world, case, 2).await;
    let runs = world.probe.runs();
    match case.retry {
        Retry::Replayed => {
            assert_eq!((runs, again.replayed()), (1, true));
            assert_eq!((again.status, &again.body), (first.status, &first.body));
            for header in ["content-type", "etag", "location", "idempotency-expires"] {
                assert_eq!(again.header(header), first.header(header), "{header}");
            }
            assert_eq!(world.seen().await, case.seen, "a replay changes nothing");
        }
        Retry::RunsAgain => assert_eq!((runs, again.replayed()), (2, false)),
        Retry::Refused => {
            assert_eq!((runs, again.status), (1, first.status));
            assert_eq!(again.kind(), first.kind());
        }
    }
}

#[tokio::test]
async fn every_ending_leaves_order_journal_lock_and_key_as_promised() {
    for case in table() {
        for door in Door::BOTH {
            println!("{door:?}: {} {}", case.operation, case.act);
            run(door, &case).await;
        }
    }
}
