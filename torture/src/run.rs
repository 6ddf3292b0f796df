//! A run from its start to its end: acts, then calm, then the last checks.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};

use crate::checkers::{keep_tales, never_struck, quiesce, read_stream};
use crate::clients::{client, crowd, list, look};
use crate::faults::{Fault, deal_all, operate, start_all};
use crate::ledger::Pages;
use crate::plan::{Act, Plan, What};
use crate::planted::Planted;
use crate::scene::Scene;
use crate::stalls::look_for_stalls;

/// How long the end of a run may take at most.
const END_MAX: Duration = Duration::from_secs(300);
/// How much longer a storm lasts in which some kind of fault has never struck.
const LONGER: Duration = Duration::from_secs(90);
/// How often an act is tried that comes to nothing.
const TRIES: usize = 3;
/// How much of a run's length is kept for its end.
const END: Duration = Duration::from_secs(15);

/// What came of a run.
pub(crate) struct Outcome {
    pub(crate) pages: Pages,
    pub(crate) never_struck: Vec<Fault>,
    pub(crate) entries: Vec<u64>,
    pub(crate) took: Duration,
}

/// Runs a plan.
pub(crate) async fn run(plan: Plan) -> Result<Outcome> {
    let bed = plan.store.prepare(&plan).await?;
    let scene = Scene::new(plan, bed);
    let begun = Instant::now();
    start_all(&scene).await;
    ensure!(!scene.all_nodes().is_empty(), "no node has started");
    look_for_stalls(&scene)?;
    let clients = come(&scene);
    let broken = tokio::select! {
        biased;
        () = scene.ledger.broken() => true,
        () = play(&scene, begun) => false,
    };
    if !broken {
        let ending = tokio::time::timeout(END_MAX, quiesce(&scene));
        tokio::select! {
            biased;
            () = scene.ledger.broken() => {}
            ended = ending => {
                if ended.is_err() {
                    scene.ledger.violation("the run came to no end when all was calm");
                }
            }
        }
    }
    clients.iter().for_each(tokio::task::JoinHandle::abort);
    let entries = scene.streams.behind();
    Ok(Outcome {
        never_struck: if scene.ledger.is_broken() {
            Vec::new()
        } else {
            never_struck(&scene)
        },
        entries: entries.into_iter().map(|(entries, _)| entries).collect(),
        pages: scene.ledger.pages(),
        took: begun.elapsed(),
    })
}

/// Everybody comes in.
fn come(scene: &Arc<Scene>) -> Vec<tokio::task::JoinHandle<()>> {
    let mut all = vec![
        tokio::spawn(keep_tales(Arc::clone(scene))),
        tokio::spawn(operate(Arc::clone(scene))),
        tokio::spawn(list(Arc::clone(scene))),
    ];
    for _ in 0..scene.plan.clients {
        all.push(tokio::spawn(client(Arc::clone(scene))));
    }
    for _ in 0..scene.plan.lookers {
        all.push(tokio::spawn(look(Arc::clone(scene))));
    }
    for place in 0..scene.plan.nodes {
        all.push(tokio::spawn(read_stream(Arc::clone(scene), place)));
    }
    deal_all(scene);
    all
}

/// Round after round, until the time is over.
async fn play(scene: &Arc<Scene>, begun: Instant) {
    let faults = scene.faults();
    let end = begun + scene.plan.length.saturating_sub(END);
    let shown_by = scene.plan.planted.map(Planted::shown_by);
    if shown_by == Some(Fault::DeadClockBack) {
        // It is dealt at the end.
        return tokio::time::sleep(scene.plan.calms_after()).await;
    }
    for round in 0.. {
        for act in scene.plan.round(round, &faults) {
            // The first round is played to its end: each fault is dealt in it.
            if round > 0 && Instant::now() > end {
                return;
            }
            perform(scene, act, round).await;
        }
        if Instant::now() > end {
            return;
        }
    }
}

async fn perform(scene: &Arc<Scene>, act: Act, round: u64) {
    scene.set_weather(act.what, act.faults);
    match act.what {
        What::OneRow => {
            tokio::time::sleep(scene.plan.calms_after()).await;
            one_row(scene).await;
        }
        What::Crowd => {
            for _ in 0..TRIES {
                tokio::time::sleep(scene.plan.calms_after()).await;
                crowd(Arc::clone(scene), round == 0).await;
                if scene.ledger.times(Fault::Crowd) > 0 {
                    break;
                }
            }
        }
        What::Storm => {
            tokio::time::sleep(act.lasts).await;
            until_struck(scene).await;
        }
        What::Calm | What::End => tokio::time::sleep(act.lasts).await,
    }
}

/// The act of one row. A row that could not be locked, or was not, shows nothing.
async fn one_row(scene: &Arc<Scene>) {
    for _ in 0..TRIES {
        let bed = Arc::clone(&scene.bed);
        if let Err(error) = bed.strike(Fault::OneRow, Arc::clone(scene)).await {
            scene.ledger.line(&format!("one row: {error:#}"));
        }
        if scene.ledger.times(Fault::OneRow) > 0 {
            return;
        }
    }
}

/// A storm goes on with what has never struck yet, for a while: one fault may have kept another away.
async fn until_struck(scene: &Arc<Scene>) {
    let never = || {
        let mut faults = scene.weather().faults;
        faults.retain(|fault| scene.ledger.times(*fault) == 0);
        faults
    };
    if never().is_empty() {
        return;
    }
    scene.set_weather(What::Storm, never());
    let begun = Instant::now();
    while begun.elapsed() < LONGER && !never().is_empty() {
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}
