//! Nodes that vanish, stand still or go down in order, and clocks that step.

use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use orderlock_core::store::Leases;
use orderlock_core::{LeaseViewState, OrderStore as _, Tenant};

use super::Fault;
use crate::node::Node;
use crate::plan::What;
use crate::scene::Scene;
use crate::stores::Struck;

/// How long a store may be out of reach before a start is tried again.
const AGAIN: Duration = Duration::from_millis(200);

/// How often it is looked for a node that is at work.
const LOOKS: usize = 40;

/// Starts a node at each place where none runs, and waits until they have joined.
pub(crate) async fn start_all(scene: &Arc<Scene>) {
    let places = (0..scene.plan.nodes).filter(|place| scene.node(*place).is_none());
    join_all(places.map(|place| start(scene, place))).await;
}

/// Starts a node, as a supervisor does: again and again until it runs.
async fn start(scene: &Arc<Scene>, place: usize) {
    while !scene.ledger.is_broken() {
        match Node::start(scene, place).await {
            Ok(node) => {
                let lifecycle = node.lifecycle.clone();
                let joined = node.serve(async move { lifecycle.start().await }).await;
                if matches!(joined, Some(Ok(()))) {
                    scene.put_node(place, Some(node));
                    return;
                }
            }
            Err(error) => scene.ledger.line(&format!("node {place}: {error:#}")),
        }
        tokio::time::sleep(AGAIN).await;
    }
}

/// Some node with requests in flight, and how many: one that does nothing shows nothing.
async fn busy(scene: &Arc<Scene>) -> Option<(Arc<Node>, usize)> {
    for _ in 0..LOOKS {
        let node = scene.some_node()?;
        let busy = node.lifecycle.in_flight();
        if busy > 0 {
            return Some((node, busy));
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    None
}

/// Kills a node at its work, and starts it again after a while. Where all nodes are one process, it
/// is that process.
pub(super) async fn kill(scene: &Arc<Scene>) -> Struck {
    let Some((node, busy)) = busy(scene).await else {
        return Ok(None);
    };
    let place = node.place;
    scene.put_node(place, None);
    node.kill();
    // Nothing of it is left when it starts again.
    drop(node);
    scene.ledger.line(&format!("node {place} is killed"));
    scene.pause(scene.plan.session() / 2).await;
    start(scene, place).await;
    let evidence = format!("node {place} with {busy} requests in flight");
    Ok(Some(evidence))
}

/// Has a node stand still until its session is over. What it does then is too late.
pub(super) async fn pause(scene: &Arc<Scene>) -> Struck {
    let Some((node, busy)) = busy(scene).await else {
        return Ok(None);
    };
    let time = scene.plan.session() * 3 / 2 + Duration::from_millis(500);
    let begun = Instant::now();
    node.pause(time);
    scene
        .ledger
        .line(&format!("node {} stands still", node.place));
    // Answered when it moves again.
    let moves = node.serve(async {}).await;
    let stood = begun.elapsed();
    let past = moves.is_some() && stood > scene.plan.session();
    let (place, stood) = (node.place, stood.as_secs_f64());
    Ok(past.then(|| format!("node {place} for {stood:.1} s with {busy} requests in flight")))
}

/// Shuts a node down in order, and starts it again.
pub(super) async fn drain(scene: &Arc<Scene>) -> Struck {
    let Some((node, busy)) = busy(scene).await else {
        return Ok(None);
    };
    let (lifecycle, limit) = (node.lifecycle.clone(), Duration::from_millis(500));
    let drained = node
        .serve(async move { lifecycle.drain(limit).await })
        .await;
    let place = node.place;
    scene.put_node(place, None);
    node.kill();
    drop(node);
    start(scene, place).await;
    Ok(drained.map(|drained| {
        let well = if drained.is_ok() { "well" } else { "badly" };
        format!("node {place} went down {well} with {busy} requests in flight")
    }))
}

/// Steps the store's clock, and the clock of some node.
pub(super) async fn step(scene: &Arc<Scene>, fault: Fault) -> Struck {
    let by = Duration::from_secs(60 + scene.dice().number() % 7_000);
    let clock = scene.bed.clock();
    let forward = match fault {
        Fault::ClockFar => {
            let far = Duration::from_secs(40 * 24 * 3600);
            scene.ledger.line("the clock is far ahead");
            let before = scene.ledger.answers("expire");
            clock.step(far, true);
            tokio::time::sleep(scene.plan.session()).await;
            clock.step(far, false);
            let times = scene.ledger.answers("expire") - before;
            let evidence = format!("by forty days, and {times} times what had expired was ended");
            return Ok((times > 0).then_some(evidence));
        }
        Fault::ClockForward => true,
        _ => false,
    };
    clock.step(by, forward);
    if let Some(node) = scene.some_node() {
        let back = scene.dice().chance(5_000);
        node.clock.step(by, back);
    }
    Ok(Some(format!("by {} s", by.as_secs())))
}

/// The last word of a run: a node dies with leases, the store's clock goes back by an hour, and yet
/// every order comes free within a session.
pub(crate) async fn last_word(scene: &Arc<Scene>) {
    let Some(node) = at_work(scene).await else {
        return;
    };
    let (place, handlers) = (node.place, node.handling());
    scene.put_node(place, None);
    node.kill();
    drop(node);
    // The others have seen its last sign of life by then.
    tokio::time::sleep(scene.plan.session() / 2).await;
    scene.bed.clock().step(Duration::from_secs(3_600), false);
    // From here on nobody asks, so that what is held is what was left behind.
    scene.set_weather(What::End, Vec::new());
    let begun = Instant::now();
    // A session, the rounds of those who sweep, and what a loaded machine adds.
    let most = scene.plan.session() * 5;
    loop {
        if scene.ledger.is_broken() {
            return;
        }
        match held(scene).await {
            Some(orders) if orders.is_empty() => break,
            Some(orders) if begun.elapsed() > most => {
                let what = format!(
                    "{orders:?} are still locked {:.0} s after their node's death, with the clock \
                     set back",
                    begun.elapsed().as_secs_f64()
                );
                scene.ledger.violation(&what);
                break;
            }
            _ => tokio::time::sleep(Duration::from_millis(250)).await,
        }
    }
    let took = begun.elapsed().as_secs_f64();
    let evidence = format!("node {place} with {handlers} handlers; all free after {took:.1} s");
    scene.ledger.struck(Fault::DeadClockBack, &evidence);
    let rule = "no order locked after quiescence and a session";
    scene.ledger.checked(rule);
}

/// A node on which handlers run right now: each of them holds an order.
async fn at_work(scene: &Arc<Scene>) -> Option<Arc<Node>> {
    for _ in 0..2_000 {
        let node = scene.some_node()?;
        if node.handling() > 1 {
            return Some(node);
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    None
}

/// The orders that somebody holds.
pub(crate) async fn held(scene: &Arc<Scene>) -> Option<Vec<String>> {
    let (mut orders, mut cursor) = (Vec::new(), None);
    loop {
        let node = scene.some_node()?;
        let store = Arc::clone(node.lifecycle.store());
        let request = Leases {
            tenant: Tenant::single(),
            limit: 100,
            cursor,
        };
        let page = node.serve(async move { store.leases(request).await });
        let page = page.await?.ok()?;
        let held = page.items.iter();
        let held = held.filter(|lease| lease.state == LeaseViewState::Held);
        orders.extend(held.map(|lease| lease.target.order.to_string()));
        cursor = page.next;
        if cursor.is_none() {
            return Some(orders);
        }
    }
}
