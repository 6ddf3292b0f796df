//! What must be true of a run: while it goes on, after it, and after everybody has asked again.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use orderlock_core::store::{Entry, History, Read, Sweep};
use orderlock_core::{LeaseViewState, OrderStore as _, OutcomeKind, Version};

use super::chaos::{leases, now, resolve_marks};
use super::client;
use super::order::Tally;
use super::plan::Intent;
use super::scene::{Scene, Told, caller, lock, order_id};

/// How often a key is asked for again before the order counts as stuck.
const RETRIES: usize = 6;

/// Reads while everything happens, and sees only whole states.
pub(super) async fn reader(scene: Arc<Scene>) {
    for turn in 0..30 {
        let target = caller(0).target(&order_id(turn % scene.plan.orders));
        if let Ok(Some(view)) = scene.durable().read(Read { target }).await {
            let order = view.document.decode::<Tally>();
            let whole = order
                .is_ok_and(|order| order.is_whole() && Version(order.changes + 1) == view.version);
            if !whole {
                scene.book().violation("a reader saw a torn order");
            }
        }
        let pause = scene.delay() / 16;
        scene.executor.sleep(pause).await;
    }
}

/// Nothing goes wrong any more: every order comes free, and every key gets an answer.
pub(super) async fn quiesce(scene: Arc<Scene>) {
    if scene.plan.gentle {
        nothing_stays_locked(&scene).await;
    }
    let longest = scene.plan.latest + scene.plan.limits.session * 3;
    scene.executor.sleep(longest).await;
    drop(scene.sweep(Sweep { limit: 1_000 }).await);
    for order in 0..scene.plan.orders {
        let mut made = false;
        for _ in 0..RETRIES {
            made = made || client::create(&scene, order, order).await;
        }
        if !made {
            scene
                .book()
                .violation("an order could not be created when all was calm");
        }
    }
    let mut keys: BTreeMap<_, Vec<Intent>> = BTreeMap::new();
    for intent in &scene.plan.intents {
        if intent.key.order < scene.plan.orders {
            keys.entry(intent.key).or_default().push(intent.clone());
        }
    }
    for (key, intents) in keys {
        let mut settled = false;
        for (turn, other_body) in [false, true].repeat(RETRIES).into_iter().enumerate() {
            resolve_marks(&scene);
            let intent = Intent {
                other_body,
                ..intents[0].clone()
            };
            settled = settled || client::ask(&scene, &intent).await;
            if settled {
                break;
            }
            let pause = Duration::from_secs(1 + turn as u64);
            scene.executor.sleep(pause).await;
        }
        if !settled {
            let stuck = format!("{key:?} got no answer when all was calm");
            scene.book().violation(stuck);
        }
    }
    all_ended(&scene).await;
    scene.clients.fetch_sub(1, Ordering::Relaxed);
}

/// Where nothing went wrong, no order is held by anybody once every request has ended: neither
/// renewals nor sweeps have to come first.
async fn nothing_stays_locked(scene: &Arc<Scene>) {
    all_ended(scene).await;
    if !leases(scene, LeaseViewState::Held).is_empty() {
        scene
            .book()
            .violation("an order stayed locked although nothing had gone wrong");
    }
}

/// Waits until no node is at work on a request, or until every bound has passed.
async fn all_ended(scene: &Arc<Scene>) {
    let busy = || {
        let nodes = lock(&scene.nodes);
        nodes.iter().any(|slot| slot.lifecycle.in_flight() > 0)
    };
    for _ in 0..2_000 {
        if !busy() {
            break;
        }
        scene.executor.sleep(Duration::from_millis(100)).await;
    }
}

/// Looks at what is left when all is over.
pub(super) fn after(scene: &Scene) {
    if !leases(scene, LeaseViewState::Held).is_empty() {
        scene
            .book()
            .violation("an order is still locked when all is calm");
    }
    if lock(&scene.nodes)
        .iter()
        .any(|slot| slot.lifecycle.in_flight() > 0)
    {
        scene
            .book()
            .violation("a node still counts a request when all is calm");
    }
    for order in 0..scene.plan.orders {
        let target = caller(0).target(&order_id(order));
        let limit = 10_000;
        let history = History {
            target: target.clone(),
            limit,
            cursor: None,
        };
        let page = now(scene.base.history(history))
            .and_then(Result::ok)
            .flatten();
        let view = now(scene.base.read(Read { target }))
            .and_then(Result::ok)
            .flatten();
        if let (Some(page), Some(view)) = (page, view) {
            let last = view.document.decode::<Tally>().unwrap_or_default();
            journal(scene, &page.items, &last, view.version);
            let told = lock(&scene.told);
            let here = told.iter().filter(|told| told.target == view.target);
            let mut first: BTreeMap<&str, &Told> = BTreeMap::new();
            for told in here {
                answered(scene, &page.items, told);
                // An answer may be past its retention, so they are compared with each other too.
                if first.entry(&told.name).or_insert(told).answer != told.answer {
                    scene.book().violation("one key was told two answers");
                }
            }
        }
    }
}

/// The journal has no gap, each of its changes is that of its own key alone, and folding it gives
/// the order.
fn journal(scene: &Scene, entries: &[Entry], last: &Tally, version: Version) {
    let mut book = scene.book();
    let (mut order, mut at) = (Tally::default(), Version(0));
    let mut finals: BTreeMap<&str, usize> = BTreeMap::new();
    for (number, entry) in (1..).zip(entries) {
        let name = book.names.get(&entry.key_id).cloned().unwrap_or_default();
        let after = match entry.outcome {
            OutcomeKind::Applied | OutcomeKind::AppliedWithError => {
                order.clone().with_effect(&name)
            }
            OutcomeKind::Checkpoint => order.clone().with_part(&name),
            _ => order.clone(),
        };
        if entry.outcome.moves_version() {
            at = at.next();
        }
        let change = entry
            .change
            .as_ref()
            .and_then(|change| change.decode::<Tally>().ok());
        if entry.number != number {
            book.violation("an entry's number does not follow the one before it");
        }
        if entry.version != at {
            book.violation("a version does not follow the one before it");
        }
        if change.is_some() != entry.outcome.moves_version() {
            book.violation("an entry's change does not fit its outcome");
        }
        if change.is_some_and(|change| change != after) {
            book.violation("a change is not its own key's alone");
        }
        order = after;
    }
    for entry in entries.iter().filter(|entry| entry.outcome.is_final()) {
        if let Some(name) = book.names.get(&entry.key_id) {
            *finals.entry(name).or_default() += 1;
        }
    }
    if finals.values().any(|times| *times > 1) {
        book.violation("a key has two final entries");
    }
    if order != *last || at != version {
        book.violation("the journal does not fold to the order");
    }
    if last
        .effects
        .values()
        .chain(last.parts.values())
        .any(|times| *times > 1)
    {
        book.violation("a key has taken effect twice");
    }
}

/// What a client was told is in the journal, was asked by it, and never differs.
fn answered(scene: &Scene, entries: &[Entry], told: &Told) {
    let mut book = scene.book();
    let entry = entries.iter().rev().find(|entry| {
        entry.outcome.is_final() && book.names.get(&entry.key_id) == Some(&told.name)
    });
    let Some(entry) = entry else {
        return book.violation("an acknowledged settle is not in the journal");
    };
    let same = entry
        .answer
        .as_ref()
        .is_none_or(|answer| *answer == told.answer);
    let (outcome, fingerprint) = (entry.outcome, entry.fingerprint);
    if !same || outcome != told.outcome {
        book.violation("a client was told another answer than the journal has");
    }
    if fingerprint != told.fingerprint {
        book.violation("a request was given the answer to another one");
    }
}
