//! The end of a run: nothing goes wrong any more, and everything comes to its end.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::close::close;
use crate::faults::{Fault, last_word, start_all};
use crate::node::Node;
use crate::plan::What;
use crate::scene::Scene;
use futures_util::future::join_all;

/// How long readers may take to come to the end of the journal, and housekeeping to its work.
const CATCH_UP: Duration = Duration::from_secs(60);

/// Waits until everything has come to its end, or says what has not.
pub(crate) async fn quiesce(scene: &Arc<Scene>) {
    scene.set_weather(What::Calm, Vec::new());
    if let Err(error) = scene.bed.calm().await {
        scene
            .ledger
            .line(&format!("the faults do not end: {error:#}"));
    }
    start_all(scene).await;
    if scene.faults().contains(&Fault::DeadClockBack) {
        last_word(scene).await;
    }
    scene.set_weather(What::End, Vec::new());
    scene.bed.clock().right();
    start_all(scene).await;
    let tales = scene.all_tales();
    for tale in &tales {
        scene.retire(tale);
    }
    // A few at a time: each asks for all of its keys.
    for some in tales.chunks(8) {
        let some = some.iter();
        join_all(some.map(|tale| close(Arc::clone(scene), Arc::clone(tale)))).await;
    }
    if scene.ledger.is_broken() {
        return;
    }
    readers(scene).await;
    idle(scene).await;
    housekeeping(scene).await;
}

async fn readers(scene: &Scene) {
    let begun = Instant::now();
    while begun.elapsed() < CATCH_UP && !scene.ledger.is_broken() {
        if scene.streams.behind().iter().all(|(_, due)| *due == 0) {
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    for missing in scene.streams.missing() {
        scene.ledger.violation(&missing);
    }
}

/// No node counts a request, once all have ended.
async fn idle(scene: &Scene) {
    let begun = Instant::now();
    loop {
        let busy = scene.busy();
        if busy == 0 {
            return scene
                .ledger
                .checked("no node counts a request when all is calm");
        }
        if begun.elapsed() > CATCH_UP {
            let what = format!("{busy} requests are in flight when all is calm");
            return scene.ledger.violation(&what);
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// Each node's own housekeeping goes on, and nothing that has expired waits for it: nobody else does
/// that work.
async fn housekeeping(scene: &Arc<Scene>) {
    let (begun, nodes) = (Instant::now(), scene.all_nodes());
    let before: Vec<_> = nodes.iter().map(|node| node.rounds()).collect();
    loop {
        // A round may have been under way when this began; the second saw all that there was.
        let keeps = |(node, before): (&Arc<Node>, &u64)| node.rounds() >= before + 2;
        let idle = nodes.iter().zip(&before).filter(|it| !keeps(*it)).count();
        let behind = nodes.iter().map(|node| node.lifecycle.expiry_behind());
        let behind = behind.max().unwrap_or_default();
        if idle == 0 && behind < scene.plan.session() {
            return scene
                .ledger
                .checked("the backlog of housekeeping has fallen");
        }
        if begun.elapsed() > CATCH_UP {
            let what = format!(
                "the backlog of housekeeping does not fall when all is calm: {idle} nodes do nothing, \
                 and the oldest of what has expired waits for {:.0} s",
                behind.as_secs_f64()
            );
            return scene.ledger.violation(&what);
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// Which kinds never struck: such a run proves nothing about them.
pub(crate) fn never_struck(scene: &Scene) -> Vec<Fault> {
    let faults = scene.faults();
    let mut never: Vec<_> = faults
        .into_iter()
        .filter(|fault| scene.ledger.times(*fault) == 0)
        .collect();
    never.sort();
    never
}
