//! `leases`, `break_lease`, `resolve`: what an operator sees and may do, always with a reason.

use std::time::Duration;

use orderlock_core::store::{
    Acquired, BreakLease, Broken, Change, Decision, Final, FinalOutcome, Known, Loss, MarkEnd,
    MarkFate, Resolve, Resolved,
};
use orderlock_core::{LeaseId, LeaseViewState, OutcomeKind, Recovery, Version};

use super::node::{Held, Node};
use super::world::{Ended, World, applied, replayed, single};
use crate::fixtures::{self, RETENTION, ids};

/// An order with an open mark.
async fn unattended(node: &Node, order: &str) -> Held {
    let held = node.mark(order, "k1", Recovery::Reconcile).await;
    node.release(held.release(MarkFate::Keep)).await;
    held
}

fn run_again(held: &Held) -> Resolve {
    Resolve {
        target: held.request.claim.target(),
        key_id: held.request.claim.key_id,
        attempt: held.grant.attempt,
        since: held.grant.now,
        decision: Decision::RunAgain {
            retention: fixtures::RETENTION,
        },
        actor: ids::principal("operator"),
        reason: "the bank knows nothing of it".into(),
    }
}

fn settle_it(held: &Held, version: Version) -> Resolve {
    let before = held.grant.document.clone();
    Resolve {
        decision: Decision::Settle {
            version,
            end: Final {
                outcome: FinalOutcome::Applied(Change {
                    before,
                    after: fixtures::document(41),
                    index: fixtures::index("resolved"),
                    at: held.grant.now,
                }),
                answer: fixtures::answer("resolved"),
            },
            retention: RETENTION,
        },
        ..run_again(held)
    }
}

pub(crate) async fn leases_and_marks_are_listed(world: World) {
    let node = world.join("a").await;
    for order in ["o1", "o2", "o3", "o4"] {
        world.order(order).await;
    }
    node.hold("o1", "k1").await;
    node.mark("o2", "k1", Recovery::Reconcile).await;
    unattended(&node, "o3").await;
    let mut leases = world.leases(&single()).await;
    leases.sort_by(|a, b| a.target.cmp(&b.target));
    let seen: Vec<_> = leases
        .iter()
        .map(|lease| (lease.target.order.as_str(), lease.state))
        .collect();
    let expected = [
        ("o1", LeaseViewState::Held),
        ("o2", LeaseViewState::Held),
        ("o3", LeaseViewState::Marked),
    ];
    assert_eq!(seen, expected);
    for lease in leases {
        let shown = world.read(lease.target.clone()).await.unwrap().lease;
        assert_eq!(shown, Some(lease), "both views say the same");
    }
}

pub(crate) async fn breaking_voids_one_grant_with_a_reason(world: World) {
    world.order("o1").await;
    let node = world.join("a").await;
    let held = node.hold("o1", "k1").await;
    let lease = world.view("o1").await.lease.unwrap();
    let request = BreakLease {
        lease: lease.id.clone(),
        ..held.break_it()
    };
    let broken = world.break_lease(request.clone()).await;
    assert_eq!(broken, Broken::Broken(lease));
    let view = world.view("o1").await;
    assert_eq!(view.lease, None);
    assert_eq!(view.version, Version(1), "a break moves no version");
    let entry = world.history("o1").await.remove(1);
    assert_eq!(entry.number, 2);
    assert_eq!(entry.outcome, OutcomeKind::LeaseBroken);
    assert_eq!(entry.actor, request.actor);
    assert_eq!(entry.reason.as_ref(), Some(&request.reason));
    assert_eq!(entry.operation, held.request.operation);
    assert_eq!(entry.key_id, held.request.claim.key_id);
    assert_eq!(entry.version, Version(1));
    assert_eq!((entry.change, entry.answer), (None, None));
    // The holder learns it; the entry of the break is not taken for its own.
    let late = world.settle(held.settle()).await;
    assert_eq!(late, Ended::Lost(Loss::NotHeld));
    assert_eq!(world.known(&held.request.claim).await, Known::Unknown);
    // The grant has ended: there is nothing left to break, even if another key holds the order now.
    let next = node.hold("o1", "k1").await;
    assert_eq!(world.break_lease(request).await, Broken::NotFound);
    applied(world.settle(next.settle()).await);
}

pub(crate) async fn breaking_does_not_end_a_mark(world: World) {
    world.order("o1").await;
    let node = world.join("a").await;
    let held = node.mark("o1", "k1", Recovery::Reconcile).await;
    let id = world.view("o1").await.lease.unwrap().id;
    let request = |lease| BreakLease {
        lease,
        ..held.break_it()
    };
    let broken = world.break_lease(request(id)).await;
    assert!(matches!(broken, Broken::Broken(_)), "{broken:?}");
    let mark = world.view("o1").await.lease.expect("the mark stays");
    assert_eq!(mark.state, LeaseViewState::Marked);
    assert_eq!(world.break_lease(request(mark.id)).await, Broken::NotFound);
    let odd = LeaseId("\u{0}' or 1=1 --".into());
    assert_eq!(world.break_lease(request(odd)).await, Broken::NotFound);
    assert!(world.view("o1").await.lease.is_some());
    assert_eq!(world.history("o1").await.len(), 2);
}

pub(crate) async fn a_cleared_mark_lets_the_key_run_again(mut world: World) {
    world.order("o1").await;
    let node = world.join("a").await;
    let held = unattended(&node, "o1").await;
    let resolved = world.resolve(run_again(&held)).await;
    assert!(
        matches!(resolved, Resolved::Resolved(receipt) if receipt.number == 2),
        "{resolved:?}"
    );
    assert_eq!(world.view("o1").await.lease, None);
    let entry = world.history("o1").await.remove(1);
    assert_eq!(entry.outcome, OutcomeKind::MarkCleared);
    assert_eq!(entry.actor, ids::principal("operator"));
    assert_eq!(entry.reason, Some(run_again(&held).reason));
    assert_eq!(entry.version, Version(1));
    assert_eq!(world.known(&held.request.claim).await, Known::Unknown);
    let again = world.resolve(run_again(&held)).await;
    assert_eq!(again, Resolved::NotMarked);
    world.restart().await;
    let node = world.join("a").await;
    let held = node.mark("o1", "k1", Recovery::Reconcile).await;
    applied(world.settle(held.settle()).await);
}

pub(crate) async fn a_cleared_mark_binds_its_key(mut world: World) {
    world.order("o1").await;
    let node = world.join("a").await;
    let held = unattended(&node, "o1").await;
    world.resolve(run_again(&held)).await;
    for restarted in [false, true] {
        if restarted {
            world.restart().await;
        }
        let node = world.join("a").await;
        // The outside may have done what was asked under this key: nothing else is asked under it.
        let other = fixtures::asking(fixtures::claim("o1", "k1"), r#"{"amount": 200}"#);
        for mark in [None, Some(Recovery::Reconcile)] {
            let mut request = node.request(other.clone());
            request.mark = mark;
            assert_eq!(node.acquire(request).await, Acquired::Reused, "{restarted}");
        }
        let again = node.mark("o1", "k1", Recovery::Reconcile).await;
        assert_eq!(again.grant.attempt, 2, "its runs are counted on");
        assert_eq!(again.grant.progress, None, "the decision is no progress");
        node.undo(again.undo()).await;
    }
    let other = world.join("b").await.hold("o1", "k2").await;
    applied(world.settle(other.settle()).await);
    // It is bound for as long as a tombstone is kept, and no longer.
    world.pass(RETENTION.tombstone);
    world.expire().await;
    let node = world.join("a").await;
    let claim = fixtures::asking(fixtures::claim("o1", "k1"), r#"{"amount": 200}"#);
    let fresh = node.hold_by(node.request(claim)).await;
    assert_eq!(fresh.grant.attempt, 1);
}

pub(crate) async fn a_cleared_mark_forgets_no_checkpoint(world: World) {
    world.order("o1").await;
    let node = world.join("a").await;
    let held = node.mark("o1", "k1", Recovery::Reconcile).await;
    applied(world.settle(held.checkpoint()).await);
    node.release(held.release(MarkFate::Keep)).await;
    world.resolve(run_again(&held)).await;
    let again = node.mark("o1", "k1", Recovery::Reconcile).await;
    assert_eq!(again.grant.attempt, 2);
    let progress = again.grant.progress.as_ref().expect("the checkpoint");
    assert_eq!(progress.outcome, OutcomeKind::Checkpoint);
    assert_eq!(progress.attempt, 1);
}

pub(crate) async fn a_resolution_settles_in_the_name_of_the_key(world: World) {
    world.order("o1").await;
    let node = world.join("a").await;
    let held = unattended(&node, "o1").await;
    let resolved = world.resolve(settle_it(&held, Version(1))).await;
    let Resolved::Resolved(receipt) = resolved else {
        panic!("not resolved but {resolved:?}");
    };
    let view = world.view("o1").await;
    assert_eq!((view.version, view.lease), (Version(2), None));
    assert_eq!(fixtures::count(&view.document), 41);
    assert_eq!(view.index, fixtures::index("resolved"));
    let entry = replayed(
        world
            .acquire(node.request(held.request.claim.clone()))
            .await,
    );
    assert_eq!(entry.answer, Some(fixtures::answer("resolved")));
    assert_eq!(entry.number, receipt.number);
    assert_eq!(entry.expires, Some(receipt.expires));
    assert_eq!(entry.actor, ids::principal("operator"));
    assert_eq!(entry.key_id, held.request.claim.key_id);
    assert_eq!(entry.fingerprint, held.request.claim.fingerprint);
    assert_eq!(entry.operation, held.request.operation);
    assert_eq!(entry.version, Version(2));
    let again = world.resolve(settle_it(&held, Version(2))).await;
    assert_eq!(again, Resolved::NotMarked);
    assert_eq!(world.count("o1").await, 41);
    // The run that left the mark wakes up late.
    let late = world.settle(held.settle()).await;
    assert!(matches!(late, Ended::Lost(_)), "{late:?}");
}

pub(crate) async fn a_decision_on_another_state_is_not_carried_out(world: World) {
    world.order("o1").await;
    world.order("o2").await;
    let node = world.join("a").await;
    let held = unattended(&node, "o1").await;
    let current = Version(1);
    let stale = world.resolve(settle_it(&held, Version(7))).await;
    assert_eq!(stale, Resolved::VersionMismatch { current });
    let other_key = Resolve {
        key_id: fixtures::claim("o1", "k2").key_id,
        ..run_again(&held)
    };
    assert_eq!(world.resolve(other_key).await, Resolved::NotMarked);
    for order in ["o2", "o9"] {
        let elsewhere = Resolve {
            target: ids::target(order),
            ..run_again(&held)
        };
        assert_eq!(world.resolve(elsewhere).await, Resolved::NotMarked);
    }
    let known = world.known(&held.request.claim).await;
    assert!(matches!(known, Known::Marked(_)), "{known:?}");
    assert_eq!(world.history("o1").await.len(), 1);
}

pub(crate) async fn a_decision_ends_no_mark_of_another_run(mut world: World) {
    world.order("o1").await;
    let node = world.join("a").await;
    let resume = Recovery::Resume {
        times: 9,
        within: Duration::from_secs(600),
    };
    let mut runs = Vec::new();
    for _ in 0..2 {
        let held = node.mark("o1", "k1", resume).await;
        node.release(held.release(MarkFate::Keep)).await;
        runs.push(held);
        world.pass(Duration::from_secs(1));
    }
    let [first, second] = [&runs[0], &runs[1]];
    assert_eq!((first.grant.attempt, second.grant.attempt), (1, 2));
    for late in [run_again(first), settle_it(first, Version(1))] {
        assert_eq!(world.resolve(late).await, Resolved::NotMarked);
    }
    // Its effect is known, and the runs begin anew: the first of them is another one than the first.
    let held = node.mark("o1", "k1", resume).await;
    node.release(held.release(MarkFate::Clear)).await;
    let held = unattended(&node, "o1").await;
    assert_eq!(held.grant.attempt, 1);
    for late in [run_again(first), settle_it(first, Version(1))] {
        assert_eq!(world.resolve(late).await, Resolved::NotMarked);
    }
    world.restart().await;
    assert_eq!(world.history("o1").await.len(), 1);
    let resolved = world.resolve(run_again(&held)).await;
    assert!(matches!(resolved, Resolved::Resolved(_)), "{resolved:?}");
}

pub(crate) async fn an_attended_mark_is_not_resolved(world: World) {
    world.order("o1").await;
    let node = world.join("a").await;
    let held = node.mark("o1", "k1", Recovery::Reconcile).await;
    for request in [run_again(&held), settle_it(&held, Version(1))] {
        assert_eq!(world.resolve(request).await, Resolved::NotMarked);
    }
    let busy = world
        .acquire(node.request(fixtures::claim("o1", "k2")))
        .await;
    assert!(matches!(busy, Acquired::Held(_)), "{busy:?}");
    applied(world.settle(held.settle()).await);
}

pub(crate) async fn the_end_of_a_mark_is_found(mut world: World) {
    world.order("o1").await;
    world.order("o2").await;
    let node = world.join("a").await;
    let held = unattended(&node, "o1").await;
    let key_id = held.request.claim.key_id;
    let end = |attempt| MarkEnd {
        target: ids::target("o1"),
        key: key_id.first_bits(),
        attempt,
    };
    assert_eq!(world.mark_end(end(1)).await, None, "it stands open");
    world.resolve(run_again(&held)).await;
    let again = node.mark("o1", "k1", Recovery::Reconcile).await;
    applied(world.settle(again.checkpoint()).await);
    node.release(again.release(MarkFate::Keep)).await;
    assert_eq!(world.mark_end(end(2)).await, None);
    world.resolve(settle_it(&again, Version(2))).await;
    for number in 0..20 {
        let other = node.hold("o1", &format!("other-{number}")).await;
        applied(world.settle(other.settle()).await);
    }
    let history = world.history("o1").await;
    for restarted in [false, true] {
        if restarted {
            world.restart().await;
        }
        // Each as the history has it: one that clears the mark, and one that settles its key.
        for (attempt, outcome, number) in [
            (1, OutcomeKind::MarkCleared, 1),
            (2, OutcomeKind::Applied, 3),
        ] {
            let found = world.mark_end(end(attempt)).await.expect("it has ended");
            assert_eq!(found.outcome, outcome);
            assert_eq!(found, history[number]);
        }
        assert_eq!(world.mark_end(end(3)).await, None, "no such run");
        let other_key = MarkEnd {
            key: fixtures::claim("o1", "other-1").key_id.first_bits(),
            ..end(1)
        };
        assert_eq!(world.mark_end(other_key).await, None, "a holder's settle");
        for order in ["o2", "o9"] {
            let target = ids::target(order);
            assert_eq!(world.mark_end(MarkEnd { target, ..end(1) }).await, None);
        }
    }
}
