//! What happens to nodes and store from outside, between two polls.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use futures_util::FutureExt as _;
use orderlock_core::store::{
    BreakLease, Change, Decision, Final, FinalOutcome, Leases, Read, Resolve, Retention, Sweep,
};
use orderlock_core::{
    Answer, Document, LeaseView, LeaseViewState, OrderStore as _, OwnedIndex, Principal, Tenant,
};

use orderlock_testkit::fixtures::RETENTION;

use super::book::Cause;
use super::disk::Flushed;
use super::scene::{Scene, lock};
use crate::tally::Tally;

/// A blow from outside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Blow {
    /// A node is killed and stays dead for a while.
    Kill,
    /// A node that is dead starts again under its name.
    Restart,
    /// A node stands still, perhaps for longer than its session.
    Pause,
    /// Every lease is void.
    VoidAll,
    /// An operator breaks a lease.
    Break,
    /// Somebody sweeps.
    Sweep,
    /// The store starts again: its sessions and leases are gone.
    StoreRestart,
    /// A node is shut down in order.
    Drain,
    /// An operator ends the marks that nobody attends to.
    Resolve,
    /// The wall clock of a node or of the store jumps, forward or back.
    Clock,
    /// The power fails: every node dies, and what was not flushed is gone.
    PowerLoss,
}

impl Blow {
    pub(super) const ALL: [Self; 11] = [
        Self::Kill,
        Self::Restart,
        Self::Pause,
        Self::VoidAll,
        Self::Break,
        Self::Sweep,
        Self::StoreRestart,
        Self::Drain,
        Self::Resolve,
        Self::Clock,
        Self::PowerLoss,
    ];
}

/// Longer than an open mark may be resumed.
const LONG: Duration = Duration::from_secs(2 * 3_600);

/// Whatever the dice want to happen before the next poll.
pub(super) fn strike(scene: &Arc<Scene>) {
    for (blow, rate) in &scene.plan.blows {
        if scene.dice().chance(*rate) && deal(scene, *blow) {
            scene.trace.note(format_args!("blow {blow:?}"));
            scene.count(format!("chaos: {blow:?}"));
        }
    }
    // A process that has drained ends, and another takes its place.
    for tag in std::mem::take(&mut *lock(&scene.drained)) {
        let slot = lock(&scene.nodes)
            .iter()
            .find(|slot| slot.tag == tag)
            .cloned();
        if let Some(slot) = slot {
            scene.kill(&slot);
            scene.start_node(slot.place);
        }
    }
}

/// Deals one blow. False if there was nothing that it could hit.
fn deal(scene: &Arc<Scene>, blow: Blow) -> bool {
    match blow {
        Blow::Kill => scene.some_node().is_some_and(|slot| {
            scene.kill(&slot);
            true
        }),
        Blow::Restart => restart_dead(scene, 1),
        Blow::Pause => scene.some_node().is_some_and(|slot| {
            let pause = scene.delay();
            scene.disturbed.fetch_add(1, Ordering::Relaxed);
            scene.executor.pause(slot.tag, pause);
            if pause > scene.plan.limits.session {
                scene.count("chaos: paused past its session".into());
            }
            true
        }),
        Blow::VoidAll => {
            scene.void_all(Cause::VoidAll);
            true
        }
        Blow::Break => leases(scene, LeaseViewState::Held)
            .pop()
            .is_some_and(|lease| {
                let request = BreakLease {
                    tenant: Tenant::single(),
                    lease: lease.id,
                    actor: operator(),
                    reason: "planned".into(),
                };
                break_lease(scene, request);
                true
            }),
        Blow::Sweep => {
            drop(now(scene.sweep(Sweep { limit: 100 })));
            true
        }
        Blow::StoreRestart => {
            // What it has written is there, but nobody was told.
            scene.end_flush(Flushed::UnknownKept);
            scene.restart_store();
            now(scene.note_voided(Cause::Restart));
            true
        }
        Blow::Drain => drain(scene),
        Blow::Resolve => resolve_marks(scene),
        Blow::Clock => jump(scene),
        Blow::PowerLoss => {
            let nodes = lock(&scene.nodes).clone();
            nodes.iter().for_each(|slot| scene.kill(slot));
            scene.lose_power();
            now(scene.note_voided(Cause::Restart));
            restart_dead(scene, usize::MAX)
        }
    }
}

/// An operator asks a node to break a lease, or does it elsewhere.
fn break_lease(scene: &Arc<Scene>, request: BreakLease) {
    match scene.some_node().filter(|_| scene.dice().chance(5_000)) {
        None => drop(now(scene.break_lease(request))),
        Some(slot) => {
            let lifecycle = slot.lifecycle.clone();
            let asks = async move {
                // It is for the operator to ask again.
                let _perhaps = lifecycle.break_lease(request).await;
            };
            scene.executor.spawn(slot.tag, asks.boxed());
        }
    }
}

/// A wall clock jumps: the store's, or that of a node.
fn jump(scene: &Scene) -> bool {
    let node = scene.some_node().filter(|_| scene.dice().chance(5_000));
    let whose = if node.is_some() { "node" } else { "store" };
    let clock = node.map_or_else(|| scene.clock.clone(), |slot| slot.clock);
    let far = scene.dice().chance(3_000);
    let by = if far { LONG } else { scene.delay() };
    let forward = scene.dice().chance(5_000);
    clock.jump(by, forward);
    let way = if forward { "forward" } else { "back" };
    scene.count(format!("clock: of a {whose}, {way}"));
    true
}

/// Starts as many of the dead nodes again.
pub(super) fn restart_dead(scene: &Arc<Scene>, most: usize) -> bool {
    let nodes = lock(&scene.nodes);
    let dead = nodes.iter().filter(|slot| slot.is_dead());
    let dead: Vec<usize> = dead.map(|slot| slot.place).take(most).collect();
    drop(nodes);
    for place in &dead {
        scene.start_node(*place);
    }
    !dead.is_empty()
}

fn drain(scene: &Arc<Scene>) -> bool {
    let Some(slot) = scene.some_node() else {
        return false;
    };
    let limit = scene.delay() / 8;
    lock(&scene.draining).push(slot.tag);
    let task = {
        let (scene, slot) = (Arc::clone(scene), slot.clone());
        async move {
            // A session that could not be ended lapses.
            let _lapses = slot.lifecycle.drain(limit).await;
            lock(&scene.drained).push(slot.tag);
        }
    };
    scene.executor.spawn(slot.tag, task.boxed());
    true
}

/// Decides about every mark that nobody attends to.
pub(super) fn resolve_marks(scene: &Arc<Scene>) -> bool {
    let marks = leases(scene, LeaseViewState::Marked);
    for mark in &marks {
        let (Some(key_id), Some(since)) = (mark.key_id, mark.since) else {
            continue;
        };
        let request = Resolve {
            target: mark.target.clone(),
            key_id,
            attempt: mark.attempt,
            since,
            decision: decision(scene, mark),
            actor: operator(),
            reason: "planned".into(),
        };
        drop(now(scene.resolve(request)));
    }
    !marks.is_empty()
}

fn decision(scene: &Scene, mark: &LeaseView) -> Decision {
    let choice = scene.dice().below(3);
    let target = mark.target.clone();
    let view = now(scene.memory.read(Read { target }))
        .and_then(Result::ok)
        .flatten();
    let name = mark
        .key_id
        .and_then(|key| scene.book().names.get(&key).cloned());
    let (Some(view), Some(name), 1..) = (view, name, choice) else {
        return Decision::RunAgain {
            retention: RETENTION,
        };
    };
    let changed = (choice == 1)
        .then(|| view.document.decode::<Tally>().ok())
        .flatten()
        .and_then(|order| Document::encode(&order.with_effect(&name)).ok());
    let change = |after| Change {
        before: view.document,
        after,
        index: OwnedIndex::default(),
        at: view.times.updated,
    };
    let outcome = match changed {
        Some(after) => FinalOutcome::Applied(change(after)),
        None => FinalOutcome::Refused,
    };
    let answer = Answer {
        status: 200,
        content_type: "text/plain".into(),
        location: None,
        version: None,
        body: "resolved".into(),
    };
    Decision::Settle {
        version: view.version,
        end: Final { outcome, answer },
        retention: Retention {
            ..scene.plan.limits.retention
        },
    }
}

pub(super) fn leases(scene: &Scene, state: LeaseViewState) -> Vec<LeaseView> {
    let request = Leases {
        tenant: Tenant::single(),
        limit: 100,
        cursor: None,
    };
    let page = now(scene.memory.leases(request)).and_then(Result::ok);
    let all = page.map(|page| page.items).unwrap_or_default();
    all.into_iter()
        .filter(|lease| lease.state == state)
        .collect()
}

/// The model answers at the first poll.
pub(super) fn now<T>(verb: impl Future<Output = T>) -> Option<T> {
    verb.now_or_never()
}

fn operator() -> Principal {
    Principal::parse("operator").expect("short, without control characters")
}
