//! Clients that only look: at orders, at what became of keys, and at lists.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use orderlock_core::store::{Filter, List, Read};
use orderlock_core::{KeyStatus, OrderStore as _, Tenant};
use orderlock_simulator::tally::Tally;

use crate::checkers::may_be_expired;
use crate::ledger::lock;
use crate::scene::Scene;
use crate::tale::{Tale, caller, key, name};

/// How many pages one walk through a list has at most.
const PAGES_MAX: usize = 10;
const PAGE: usize = 40;

/// Reads orders, and asks what became of keys.
pub(crate) async fn look(scene: Arc<Scene>) {
    loop {
        scene.pause(Duration::from_millis(15)).await;
        let (Some(tale), Some(node)) = (scene.some_tale(), scene.some_node()) else {
            continue;
        };
        let (store, target) = (Arc::clone(node.lifecycle.store()), tale.target());
        let view = node.serve(async move { store.read(Read { target }).await });
        let Some(Ok(view)) = view.await else {
            continue;
        };
        let whole = view.is_none_or(|view| {
            let order = view.document.decode::<Tally>();
            order.is_ok_and(|order| order.is_whole())
        });
        if !whole {
            let what = format!("{}: a reader saw a torn order", tale.order);
            scene.ledger.violation(&what);
        }
        scene.ledger.checked("an order read whole");
        let number = scene.dice().below(tale.keys);
        status(&scene, &tale, number).await;
    }
}

/// What became of a key that has its answer is that answer.
async fn status(scene: &Arc<Scene>, tale: &Arc<Tale>, number: usize) {
    let (Some(known), Some(node)) = (tale.told(&name(number)), scene.some_node()) else {
        return;
    };
    let (lifecycle, order) = (node.lifecycle.clone(), tale.order.clone());
    let status = node.serve(async move {
        let (caller, key) = (caller(number), key(number));
        lifecycle.status(&caller, &order, &key).await
    });
    let Some(Ok(status)) = status.await else {
        return;
    };
    let right = match &status {
        KeyStatus::Settled { answer, .. } => *answer == known.told.answer,
        KeyStatus::Expired => may_be_expired(scene, &known),
        _ => false,
    };
    if !right {
        let (order, name) = (&tale.order, name(number));
        let what = format!("{order}: {name} has its answer, and its status is {status:?}");
        scene.ledger.violation(&what);
    }
    scene
        .ledger
        .checked("the status of a key that has its answer");
}

/// Walks through the list of orders, newest first: each order is on it, and only once.
pub(crate) async fn list(scene: Arc<Scene>) {
    loop {
        scene.pause(Duration::from_millis(500)).await;
        let begun = Instant::now();
        let before = |tale: &Arc<Tale>| lock(&tale.created).is_some_and(|at| at < begun);
        let there: Vec<_> = scene.live().into_iter().filter(before).collect();
        let locked = scene.dice().one_of(&[None, None, Some(true), Some(false)]);
        let Some((seen, all)) = walk(&scene, locked).await else {
            continue;
        };
        if locked.is_some() || !all {
            continue;
        }
        for tale in there {
            if !seen.contains(tale.order.as_str()) && !tale.replaced.load(Ordering::Acquire) {
                let what = format!("{} is not in the list of orders", tale.order);
                scene.ledger.violation(&what);
            }
        }
        scene.ledger.checked("a list with every order once");
    }
}

/// The orders of a list, and whether these are all. None where the store did not answer.
async fn walk(scene: &Arc<Scene>, locked: Option<bool>) -> Option<(BTreeSet<String>, bool)> {
    let (mut seen, mut cursor) = (BTreeSet::new(), None);
    for _ in 0..PAGES_MAX {
        let node = scene.some_node()?;
        let store = Arc::clone(node.lifecycle.store());
        let filter = Filter {
            locked,
            ..Filter::default()
        };
        let request = List {
            tenant: Tenant::single(),
            filter,
            limit: PAGE,
            cursor,
        };
        let page = node.serve(async move { store.list(request).await });
        let page = page.await?.ok()?;
        for view in page.items {
            let order = view.target.order.as_str().to_owned();
            let tale = scene.tale(&view.target.order);
            let moves = tale.is_some_and(|tale| tale.replaced.load(Ordering::Acquire));
            if !seen.insert(order) && !moves {
                let what = format!("{} is twice in a list", view.target.order);
                scene.ledger.violation(&what);
            }
        }
        cursor = page.next;
        if cursor.is_none() {
            return Some((seen, true));
        }
    }
    Some((seen, false))
}
