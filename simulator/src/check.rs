//! What must be true of a run: while it goes on, after it, and after everybody has asked again.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use orderlock_core::store::{History, Read, Sweep};
use orderlock_core::{LeaseViewState, OrderStore as _, Version};

use super::chaos::{leases, now, resolve_marks};
use super::client;
use super::plan::Intent;
use super::scene::{Scene, caller, lock, order_id};
use crate::tally::{self, Tally, Told};

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
        for turn in 0..RETRIES {
            made = client::create(&scene, order, order).await;
            if made {
                break;
            }
            // A node may be full until its last handlers have come to their limit.
            let pause = Duration::from_secs(1 + turn as u64);
            scene.executor.sleep(pause).await;
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
            let names = scene.book().names.clone();
            let wrong = tally::journal(&page.items, &names, &last, view.version);
            wrong
                .into_iter()
                .for_each(|what| scene.book().violation(what));
            let told = lock(&scene.told);
            let here = told.iter().filter(|told| told.target == view.target);
            let mut first: BTreeMap<&str, &Told> = BTreeMap::new();
            for told in here {
                let wrong = tally::answered(&page.items, &names, told);
                wrong
                    .into_iter()
                    .for_each(|what| scene.book().violation(what));
                // An answer may be past its retention, so they are compared with each other too.
                if first.entry(&told.name).or_insert(told).answer != told.answer {
                    scene.book().violation("one key was told two answers");
                }
            }
        }
    }
}
