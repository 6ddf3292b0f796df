//! Every pair of lease state and event, compared with the table in `docs/lock-lifecycle.md`.

use std::collections::BTreeSet;

use orderlock_core::{
    Caller, Fence, Fingerprint, KeyId, Lease, LeaseEvent, LeaseId, LeaseState, Mark, Operation,
    OrderId, Recovery, Resumed, SessionId, Timestamp,
};

const RESUME: Recovery = Recovery::Resume {
    times: 3,
    within: std::time::Duration::from_secs(60),
};

fn lease(fence: u128) -> Lease {
    Lease {
        fence: Fence(fence),
        session: SessionId(1),
        caller: Caller::single(),
        key_id: KeyId([1; 32]),
        fingerprint: Fingerprint([1; 32]),
        operation: Operation::named("confirm").name().clone(),
        attempt: 1,
        since: Timestamp::UNIX_EPOCH,
        steps: 0,
        resumed: None,
    }
}

fn mark(key: u8) -> Mark {
    let Lease {
        caller,
        fingerprint,
        operation,
        attempt,
        since,
        ..
    } = lease(1);
    let key_id = KeyId([key; 32]);
    Mark {
        caller,
        key_id,
        fingerprint,
        operation,
        attempt,
        recovery: Recovery::Reconcile,
        since,
    }
}

fn states() -> [(&'static str, LeaseState); 4] {
    [
        ("Free", LeaseState::Free),
        ("Held", LeaseState::Held(lease(1))),
        ("Begun", LeaseState::Begun(lease(1), mark(1))),
        ("Unattended", LeaseState::Unattended(mark(1))),
    ]
}

/// Every event, from the holder or about the key that the states above name.
fn events(fence: u128, key: u8) -> Vec<(&'static str, LeaseEvent)> {
    let fence = Fence(fence);
    let granted = Lease {
        key_id: KeyId([key; 32]),
        ..lease(2)
    };
    vec![
        ("Granted", LeaseEvent::Granted(granted.clone(), None)),
        (
            "Granted with a mark",
            LeaseEvent::Granted(granted, Some(mark(key))),
        ),
        ("Settled", LeaseEvent::Settled(fence)),
        ("Checkpointed", LeaseEvent::Checkpointed(fence)),
        ("Released", LeaseEvent::Released(fence)),
        (
            "ReleasedWithoutEffect",
            LeaseEvent::ReleasedWithoutEffect(fence),
        ),
        ("Undone", LeaseEvent::Undone(fence)),
        ("Voided", LeaseEvent::Voided(fence)),
        ("Resolved", LeaseEvent::Resolved(KeyId([key; 32]))),
    ]
}

fn name(state: &LeaseState) -> &'static str {
    match state {
        LeaseState::Free => "Free",
        LeaseState::Held(_) => "Held",
        LeaseState::Begun(..) => "Begun",
        LeaseState::Unattended(_) => "Unattended",
    }
}

#[test]
fn the_arrows_are_those_of_the_picture() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/lock-lifecycle.md");
    let text = std::fs::read_to_string(path).unwrap();
    let rows = text.lines().filter_map(|line| {
        let cells: Vec<_> = line.split('|').map(str::trim).collect();
        let known = cells.len() >= 6
            && states()
                .iter()
                .any(|(state, _)| cells.get(1) == Some(state));
        known.then(|| {
            (
                cells[1].to_owned(),
                cells[2].to_owned(),
                cells[3].to_owned(),
            )
        })
    });
    let documented: BTreeSet<_> = rows.collect();

    let mut arrows = BTreeSet::new();
    for (from, state) in states() {
        for (event, happening) in events(1, 1) {
            if let Ok(next) = state.next(happening) {
                arrows.insert((from.to_owned(), event.to_owned(), name(&next).to_owned()));
            }
        }
    }
    println!(
        "{} arrows in the code, {} in the table",
        arrows.len(),
        documented.len()
    );
    assert_eq!(arrows, documented);
}

#[test]
fn no_word_of_a_stale_holder_or_of_another_key_moves_anything() {
    for (from, state) in states() {
        for (event, happening) in events(9, 9) {
            let moved = state.next(happening);
            let expected = from == "Free" && event.starts_with("Granted");
            assert_eq!(moved.is_ok(), expected, "{from}, {event}: {moved:?}");
        }
    }
}

#[test]
fn a_checkpoint_counts_its_step() {
    let held = LeaseState::Held(lease(1))
        .next(LeaseEvent::Checkpointed(Fence(1)))
        .unwrap();
    let again = held.next(LeaseEvent::Checkpointed(Fence(1))).unwrap();
    assert_eq!(again.lease().unwrap().steps, 2);
}

#[test]
fn an_undo_puts_back_what_stood_before_the_grant() {
    let resumed = Resumed {
        attempt: 1,
        recovery: RESUME,
    };
    let earlier = Mark {
        recovery: RESUME,
        ..mark(1)
    };
    let second = Lease {
        attempt: 2,
        resumed: Some(resumed),
        ..lease(1)
    };
    let now = Mark {
        attempt: 2,
        ..mark(1)
    };
    let begun = LeaseState::Begun(second, now.clone());
    let undone = begun.next(LeaseEvent::Undone(Fence(1))).unwrap();
    assert_eq!(undone, LeaseState::Unattended(earlier));
    let begun = begun.next(LeaseEvent::Checkpointed(Fence(1))).unwrap();
    let undone = begun.next(LeaseEvent::Undone(Fence(1))).unwrap();
    assert_eq!(undone, LeaseState::Unattended(now), "it has settled a step");
}

#[test]
fn a_grants_name_tells_its_fence_and_its_order_and_nothing_else_does() {
    for order in ["o1", "a/b?c#%20d", "ord_0123456789"] {
        let order = OrderId::parse(order).unwrap();
        let id = LeaseId::of_grant(Fence(7), &order);
        assert_eq!(id.grant(), Some((Fence(7), order)));
        let safe = |c: char| c.is_ascii_alphanumeric() || "-_".contains(c);
        assert!(id.to_string().chars().all(safe), "{id} stands in addresses");
        for odd in [
            id.to_string().to_uppercase(),
            id.to_string().replace("lck_", "lck_0"),
            format!("{id}="),
            format!("{id}A"),
            format!("lck_{}", Fence(7)),
            format!("lck_{}-", Fence(7)),
        ] {
            assert_eq!(LeaseId(odd.as_str().into()).grant(), None, "{odd}");
        }
    }
}

/// A decision is about the mark that was seen: of this key, this run, and this time.
#[test]
fn no_two_marks_have_the_same_name_for_operators() {
    let named = |key: [u8; 3], attempt, seconds| {
        let mut key_id = KeyId([7; 32]);
        key_id.0[..3].copy_from_slice(&key);
        let since = Timestamp::constant(seconds, 0);
        let mark = Mark {
            key_id,
            attempt,
            since,
            ..mark(1)
        };
        mark.id().to_string()
    };
    let names = [
        named([1, 2, 4], 1, 0),
        named([4, 2, 1], 1, 0),
        named([1, 2, 5], 1, 0),
        named([1, 2, 4], 2, 0),
        named([1, 2, 4], 1, 1),
    ];
    assert_eq!(BTreeSet::from(names.clone()).len(), 5, "{names:?}");
}
