//! Schedules: several nodes over one store, in one thread, with every choice drawn from one seed.
//!
//! A seed makes a [`Plan`], and the plan makes a run: which ready task is polled next, what is lost
//! on the way to the store, which node is killed or stands still, what handlers and clients do. A
//! virtual clock jumps when nothing is ready. After the faults have stopped everybody asks again,
//! and what is left must be as promised. The same seed gives the same run, so a failing one can
//! be run again alone.
//!
//! ```
//! use orderlock_simulator::{self as simulator, Plan};
//!
//! let report = simulator::run(Plan::of(1));
//! assert_eq!(report.violations, Vec::<String>::new());
//! assert_eq!(report.hash, simulator::run(Plan::of(1)).hash);
//! ```

mod book;
mod chaos;
mod check;
mod client;
mod coverage;
mod dice;
mod disk;
mod event;
mod executor;
mod handlers;
mod plan;
mod runtime;
mod scene;
mod store;
pub mod tally;
mod trace;
mod watch;

use std::sync::Arc;
use std::sync::atomic::Ordering;

use futures_util::FutureExt as _;
use orderlock_core::OrderStore;

pub use coverage::Coverage;
pub use dice::Dice;
pub use event::{Event, SettleWord, Word};
pub use plan::Plan;

use executor::{OUTSIDE, Step};
use orderlock_testkit::MemoryStore;
use scene::{Scene, lock};

/// After so many polls a run that has not ended never will.
const POLLS_MAX: u64 = 200_000;

/// What came of a run.
#[derive(Clone, Debug)]
pub struct Report {
    /// Stands for all that happened: equal for equal seeds.
    pub hash: u64,
    /// How many polls it took.
    pub polls: u64,
    /// Which promises were broken, none twice.
    pub violations: Vec<String>,
    /// What the run has met.
    pub coverage: Coverage,
    /// What took effect in the store, for a model to be held against.
    pub events: Vec<Event>,
    /// What happened, line by line, if it was asked for.
    pub trace: Vec<String>,
}

/// Runs a plan over the model store.
#[must_use]
pub fn run(plan: Plan) -> Report {
    run_over(plan, false, |memory| Arc::new(memory))
}

/// Runs a plan and keeps its trace for reading.
#[must_use]
pub fn run_traced(plan: Plan) -> Report {
    run_over(plan, true, |memory| Arc::new(memory))
}

/// Runs a plan over a store that wraps the model: with a bug in it, the run must find it.
pub fn run_over(
    plan: Plan,
    keep_trace: bool,
    wrap: impl FnOnce(MemoryStore) -> Arc<dyn OrderStore>,
) -> Report {
    let scene = Scene::new(plan, keep_trace, wrap);
    (0..scene.plan.nodes).for_each(|place| scene.start_node(place));
    open(&scene);
    let mut polls = drive(&scene, scene.plan.polls, true);
    calm_down(&scene);
    polls += drive(&scene, POLLS_MAX, false);
    spawn(&scene, check::quiesce(Arc::clone(&scene)));
    polls += drive(&scene, POLLS_MAX, false);
    if scene.clients.load(Ordering::Relaxed) > 0 {
        scene.book().violation("a request never ended");
    }
    check::after(&scene);
    close(&scene);
    let (hash, trace) = scene.trace.end();
    let mut violations = std::mem::take(&mut scene.book().violations);
    violations.sort();
    violations.dedup();
    Report {
        hash,
        polls,
        violations,
        coverage: scene.coverage(),
        events: scene.take_events(),
        trace,
    }
}

fn spawn(scene: &Scene, client: impl Future<Output = ()> + Send + 'static) {
    scene.clients.fetch_add(1, Ordering::Relaxed);
    scene.executor.spawn(OUTSIDE, client.boxed());
}

/// Everybody comes in.
fn open(scene: &Arc<Scene>) {
    for order in 0..scene.plan.orders {
        spawn(scene, client::creator(Arc::clone(scene), order, order));
        spawn(scene, client::creator(Arc::clone(scene), order, order + 7));
    }
    for intent in &scene.plan.intents {
        spawn(scene, client::client(Arc::clone(scene), intent.clone()));
    }
    let reader = check::reader(Arc::clone(scene));
    scene.executor.spawn(OUTSIDE, reader.boxed());
}

/// Runs until the clients are done, or for so many polls.
fn drive(scene: &Arc<Scene>, most: u64, chaos: bool) -> u64 {
    let mut polls = 0;
    while polls < most && scene.clients.load(Ordering::Relaxed) > 0 {
        if chaos {
            chaos::strike(scene);
        }
        match scene.executor.step() {
            Step::Polled => polls += 1,
            Step::Jumped => {}
            Step::Panicked => scene.book().violation("the lifecycle panicked"),
            Step::Idle => break,
        }
    }
    polls
}

/// The faults stop, and every node runs.
fn calm_down(scene: &Arc<Scene>) {
    scene.calm_down();
    scene.executor.resume_all();
    // A node that is on its way down gives its place to another.
    let draining = std::mem::take(&mut *lock(&scene.draining));
    let nodes = lock(&scene.nodes).clone();
    for slot in nodes.iter().filter(|slot| draining.contains(&slot.tag)) {
        scene.kill(slot);
    }
    chaos::restart_dead(scene, usize::MAX);
}

/// Ends the nodes, so that nothing of the run is left.
fn close(scene: &Scene) {
    let nodes = std::mem::take(&mut *lock(&scene.nodes));
    nodes.iter().for_each(|slot| scene.kill(slot));
    scene.executor.end();
}
