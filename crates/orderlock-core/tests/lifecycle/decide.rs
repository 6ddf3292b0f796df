//! The order of the checks that every store makes, one line for each.

use std::time::Duration;

use orderlock_core::store::{
    Acquire, Acquired, Facts, Granted, KeyFacts, Loss, Receipt, Settle, SettleFacts, SettleVerdict,
    Verdict, decide, decide_settle, grant,
};
use orderlock_core::{
    Fence, Fingerprint, Lease, LeaseEvent, LeaseState, LeaseView, Mark, Recovery, SessionId,
    Timestamp, Version,
};
use orderlock_testkit::fixtures::{self, claim, fingerprint};

const NOW: Timestamp = Timestamp::constant(1_800_000_000, 0);
const RESUME: Recovery = Recovery::Resume {
    times: 3,
    within: Duration::from_secs(60),
};

/// The key `k` asks for an external operation that may be resumed.
fn request() -> Acquire {
    Acquire {
        mark: Some(RESUME),
        ..fixtures::acquire(claim("o", "k"), SessionId(1), Fence(1))
    }
}

/// What a grant to this key leaves, as its first run.
fn granted(key: &str, fence: Fence) -> (Lease, Mark) {
    let request = Acquire {
        mark: Some(RESUME),
        ..fixtures::acquire(claim("o", key), SessionId(1), fence)
    };
    let Granted { lease, mark } = grant(&request, &LeaseState::Free, 1, NOW);
    (lease, mark.expect("it is external"))
}

fn held(key: &str, fence: Fence) -> LeaseState {
    LeaseState::Held(granted(key, fence).0)
}

fn view(key: &str, fence: Fence) -> LeaseView {
    granted(key, fence).0.view(&claim("o", key).target())
}

fn marked(key: &str, attempt: u32) -> LeaseState {
    LeaseState::Unattended(Mark {
        attempt,
        ..granted(key, Fence(9)).1
    })
}

fn other() -> Fingerprint {
    fingerprint(r#"{"other":1}"#)
}

fn settled(fingerprint: Fingerprint, retained: bool) -> KeyFacts {
    KeyFacts::Final {
        fingerprint,
        retained,
    }
}

fn progress(attempt: u32) -> KeyFacts {
    KeyFacts::Progress {
        fingerprint: fingerprint("{}"),
        attempt,
    }
}

fn facts(key: KeyFacts, lease: &LeaseState) -> Facts<'_> {
    Facts {
        version: Some(Version(3)),
        key,
        lease,
        session_alive: true,
        now: NOW,
    }
}

#[test]
fn what_the_journal_says_of_the_key_comes_first() {
    let (same, busy) = (fingerprint("{}"), held("l", Fence(2)));
    let mut stale = request();
    stale.expected = Some(Version(9));
    for (key, verdict) in [
        (settled(same, true), Verdict::Replay),
        (settled(same, false), Verdict::Answer(Acquired::Expired)),
        (settled(other(), true), Verdict::Answer(Acquired::Reused)),
        (settled(other(), false), Verdict::Answer(Acquired::Reused)),
    ] {
        let ended = Facts {
            session_alive: false,
            ..facts(key, &busy)
        };
        assert_eq!(decide(&stale, ended), verdict, "{key:?}");
        let nowhere = Facts {
            version: None,
            ..ended
        };
        assert_eq!(
            decide(&stale, nowhere),
            Verdict::Answer(Acquired::NotFound),
            "{key:?}"
        );
    }
    let mixed = KeyFacts::Progress {
        fingerprint: other(),
        attempt: 1,
    };
    let free = LeaseState::Free;
    assert_eq!(
        decide(&request(), facts(mixed, &free)),
        Verdict::Answer(Acquired::Reused)
    );
}

#[test]
fn an_ended_session_is_granted_nothing() {
    for lease in [LeaseState::Free, held("l", Fence(2)), marked("k", 1)] {
        let ended = Facts {
            session_alive: false,
            ..facts(KeyFacts::New, &lease)
        };
        assert_eq!(
            decide(&request(), ended),
            Verdict::Answer(Acquired::SessionEnded)
        );
    }
}

#[test]
fn whoever_holds_the_order_is_told_by_key_and_fence() {
    let mut asks_else = request();
    asks_else.claim.fingerprint = other();
    let answer = Verdict::Answer;
    let in_progress = answer(Acquired::InProgress(view("k", Fence(2))));
    let other = answer(Acquired::Held(view("l", Fence(2))));
    for (lease, verdict, else_verdict) in [
        (held("l", Fence(2)), other.clone(), other),
        (held("k", Fence(1)), Verdict::Repeat, Verdict::Repeat),
        (held("k", Fence(2)), in_progress, answer(Acquired::Reused)),
    ] {
        let facts = facts(KeyFacts::New, &lease);
        assert_eq!(decide(&request(), facts), verdict, "{lease:?}");
        assert_eq!(decide(&asks_else, facts), else_verdict, "{lease:?}");
    }
}

#[test]
fn a_mark_is_resumed_by_its_own_request_within_its_bounds_and_by_no_other() {
    let new = KeyFacts::New;
    let (first, second, last) = (marked("k", 1), marked("k", 2), marked("k", 3));
    let grants = |attempt, before: &LeaseState, now| {
        Verdict::Grant(Box::new(grant(&request(), before, attempt, now)))
    };
    let stays = |lock: &LeaseState| {
        Verdict::Answer(Acquired::Marked(Box::new(lock.mark().unwrap().clone())))
    };
    let decided = |lock| decide(&request(), facts(new, lock));
    assert_eq!(decided(&first), grants(2, &first, NOW));
    assert_eq!(decided(&second), grants(3, &second, NOW));
    assert_eq!(decided(&last), stays(&last));

    let foreign = marked("l", 1);
    assert_eq!(decided(&foreign), stays(&foreign));
    let mut asks_else = request();
    asks_else.claim.fingerprint = other();
    assert_eq!(
        decide(&asks_else, facts(new, &first)),
        Verdict::Answer(Acquired::Reused)
    );
    let plain = Acquire {
        mark: None,
        ..request()
    };
    assert_eq!(decide(&plain, facts(new, &first)), stays(&first));

    let after = |seconds| Facts {
        now: NOW + Duration::from_secs(seconds),
        ..facts(new, &first)
    };
    let last_moment = grants(2, &first, NOW + Duration::from_secs(60));
    assert_eq!(decide(&request(), after(60)), last_moment);
    assert_eq!(decide(&request(), after(61)), stays(&first));
}

#[test]
fn the_version_is_compared_last_and_runs_are_counted() {
    let free = LeaseState::Free;
    let expecting = |version| Acquire {
        expected: Some(Version(version)),
        ..request()
    };
    let run = |request: &Acquire, facts| match decide(request, facts) {
        Verdict::Grant(granted) => granted.lease.attempt,
        other => panic!("not granted but {other:?}"),
    };
    let new = facts(KeyFacts::New, &free);
    assert_eq!(run(&request(), new), 1);
    assert_eq!(run(&expecting(3), new), 1);
    let current = Version(3);
    let moved = Verdict::Answer(Acquired::VersionMismatch { current });
    assert_eq!(decide(&expecting(4), new), moved);

    assert_eq!(run(&request(), facts(progress(4), &free)), 5);
    let resumed = marked("k", 2);
    assert_eq!(run(&request(), facts(progress(1), &resumed)), 3);
    assert_eq!(run(&request(), facts(progress(4), &resumed)), 5);
}

/// A grant leaves the lock as the table of transitions does.
#[test]
fn what_is_granted_is_an_arrow_of_the_table() {
    let plain = Acquire {
        mark: None,
        ..request()
    };
    for (request, before) in [
        (request(), LeaseState::Free),
        (plain, LeaseState::Free),
        (request(), marked("k", 1)),
    ] {
        let Verdict::Grant(granted) = decide(&request, facts(KeyFacts::New, &before)) else {
            panic!("not granted");
        };
        let event = LeaseEvent::from((*granted).clone());
        assert_eq!(before.next(event), Ok(LeaseState::from(*granted)));
    }
}

/// The time within which a mark may be resumed counts from its first run.
#[test]
fn a_resumed_mark_keeps_the_time_at_which_it_began() {
    let later = NOW + Duration::from_secs(9);
    let Granted { lease, mark } = grant(&request(), &marked("k", 1), 2, later);
    let mark = mark.expect("it is external");
    assert_eq!((lease.attempt, lease.since), (2, later));
    assert_eq!((mark.attempt, mark.since), (2, NOW));
}

/// The settle of the key `k` under this fence, at this step, on version 3.
fn settle(fence: Fence, step: u32) -> Settle {
    let request = request();
    let grant = orderlock_core::store::Grant {
        fence,
        version: Version(3),
        document: fixtures::document(0),
        index: fixtures::index("open"),
        times: orderlock_core::Times {
            created: NOW,
            updated: NOW,
        },
        now: NOW,
        attempt: 1,
        progress: None,
    };
    Settle {
        step,
        ..fixtures::settle(&request, &grant)
    }
}

#[test]
fn a_settle_is_applied_if_fence_step_key_and_version_are_as_the_grant_left_them() {
    let (lease, free) = (held("k", Fence(1)), LeaseState::Free);
    let holds = SettleFacts {
        version: Some(Version(3)),
        lease: &lease,
        written: None,
        key_settled: false,
    };
    let lost = SettleVerdict::Lost;
    let receipt = Receipt {
        number: 2,
        expires: NOW,
    };
    let mine = || settle(Fence(1), 0);
    assert_eq!(
        decide_settle(&mine(), holds),
        SettleVerdict::Apply(LeaseState::Free)
    );
    for (fence, step) in [(Fence(2), 0), (Fence(1), 1), (Fence(2), 1)] {
        let stale = settle(fence, step);
        assert_eq!(decide_settle(&stale, holds), lost(Loss::NotHeld));
    }
    for (changed, verdict) in [
        (
            SettleFacts {
                lease: &free,
                ..holds
            },
            lost(Loss::NotHeld),
        ),
        (
            SettleFacts {
                key_settled: true,
                ..holds
            },
            lost(Loss::KeySettled),
        ),
        (
            SettleFacts {
                version: Some(Version(4)),
                ..holds
            },
            lost(Loss::VersionMoved),
        ),
        (
            SettleFacts {
                version: None,
                ..holds
            },
            lost(Loss::VersionMoved),
        ),
    ] {
        assert_eq!(decide_settle(&mine(), changed), verdict, "{changed:?}");
        let written = SettleFacts {
            written: Some(receipt),
            ..changed
        };
        let repeat = SettleVerdict::Repeat(receipt);
        assert_eq!(decide_settle(&mine(), written), repeat);
    }
}
