//! Handlers that do everything that a handler may do, and some that it should not.

use std::panic::resume_unwind;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use orderlock_core::{Effect, Fence, LockedOrder, Operation, Outcome, Problem, Recovery, Undone};
use orderlock_simulator::tally::Tally;

use crate::ledger::lock;
use crate::scene::Scene;
use crate::tale::Tale;

/// How one run of a handler goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Behaviour {
    Apply,
    ApplyWithError,
    Refuse,
    Unchanged,
    Error,
    /// Fails and declares that nothing happened outside.
    Harmless,
    /// Fails harmlessly, goes on, and fails otherwise.
    HarmlessFirst,
    Panic,
    TooLarge,
    Checkpoint,
    CheckpointThenFail,
    /// Takes a while, within its limit.
    Long,
    /// Takes longer than it may.
    Slow,
}

/// The more often a behaviour stands here, the more often it is drawn.
const DRAWN: [Behaviour; 24] = [
    Behaviour::Apply,
    Behaviour::Apply,
    Behaviour::Apply,
    Behaviour::Apply,
    Behaviour::Apply,
    Behaviour::Apply,
    Behaviour::ApplyWithError,
    Behaviour::Refuse,
    Behaviour::Unchanged,
    Behaviour::Error,
    Behaviour::Error,
    Behaviour::Error,
    Behaviour::Error,
    Behaviour::Harmless,
    Behaviour::HarmlessFirst,
    Behaviour::Panic,
    Behaviour::TooLarge,
    Behaviour::Checkpoint,
    Behaviour::Checkpoint,
    Behaviour::CheckpointThenFail,
    Behaviour::CheckpointThenFail,
    Behaviour::Long,
    Behaviour::Long,
    Behaviour::Slow,
];

/// How many slow handlers there are among those that are drawn as slow: each holds its order up.
const SLOW_SHARE: u32 = 2_000;

/// What a handler is about.
pub(super) struct Work {
    pub(super) scene: Arc<Scene>,
    pub(super) tale: Arc<Tale>,
    pub(super) operation: Operation,
    pub(super) name: String,
    /// Tells the client which grant its request held.
    pub(super) ran: Arc<Mutex<Option<Fence>>>,
    pub(super) calm: bool,
    /// Counts the handlers that run on the node.
    pub(super) running: Arc<AtomicUsize>,
}

/// A handler that runs.
struct Running(Arc<AtomicUsize>);

impl Drop for Running {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

pub(super) async fn handle(
    work: Work,
    order: LockedOrder<Tally>,
) -> Result<Outcome<Tally>, Undone<String>> {
    work.running.fetch_add(1, Ordering::AcqRel);
    let _running = Running(Arc::clone(&work.running));
    *lock(&work.ran) = order.lease_id().grant().map(|(fence, _)| fence);
    let how = work.behaviour();
    work.check(&order);
    let name = &work.name;
    work.outside(order.attempt(), true);
    let changed = (*order).clone().with_effect(name);
    work.scene.pause(Duration::from_millis(3)).await;
    Ok(match how {
        Behaviour::Apply => Outcome::Applied(changed),
        Behaviour::ApplyWithError => Outcome::AppliedWithError(changed, refusal()),
        Behaviour::Refuse => Outcome::Refused(refusal()),
        Behaviour::Unchanged => Outcome::Unchanged,
        Behaviour::Error => Err("planned".to_owned())?,
        Behaviour::Harmless => {
            work.outside(order.attempt(), false);
            return Err(order.without_effect("planned"));
        }
        Behaviour::HarmlessFirst => {
            let survived: Undone<String> = order.without_effect("planned");
            drop(survived);
            Err("planned otherwise".to_owned())?
        }
        // Without the panic hook, which would print it.
        Behaviour::Panic => resume_unwind(Box::new("planned")),
        Behaviour::TooLarge => Outcome::Applied(Tally {
            padding: "x".repeat(2 * 1024 * 1024),
            ..changed
        }),
        Behaviour::Checkpoint | Behaviour::CheckpointThenFail => {
            let order = checkpoint(order, name).await?;
            work.scene.pause(Duration::from_millis(3)).await;
            if how == Behaviour::CheckpointThenFail {
                Err("planned".to_owned())?;
            }
            Outcome::Applied((*order).clone().with_effect(name))
        }
        Behaviour::Long => {
            work.scene.pause(Duration::from_millis(300)).await;
            Outcome::Applied(changed)
        }
        Behaviour::Slow => {
            tokio::time::sleep(Duration::from_secs(6)).await;
            Outcome::Applied(changed)
        }
    })
}

/// Makes the key's checkpoint, unless an earlier run has made it.
async fn checkpoint(order: LockedOrder<Tally>, name: &str) -> Result<LockedOrder<Tally>, String> {
    if order.parts.contains_key(name) {
        return Ok(order);
    }
    let changed = (*order).clone().with_part(name);
    let done = order.checkpoint(changed).await;
    done.map_err(|error| error.to_string())
}

fn refusal() -> Problem {
    Problem::new(409, "planned", "Planned")
}

impl Work {
    fn behaviour(&self) -> Behaviour {
        if self.calm {
            return Behaviour::Apply;
        }
        let mut dice = self.scene.dice();
        match dice.one_of(&DRAWN) {
            Behaviour::Slow if !dice.chance(SLOW_SHARE) => Behaviour::Apply,
            drawn => drawn,
        }
    }

    /// The handler of an external operation has begun, or has declared that nothing happened.
    fn outside(&self, attempt: u32, begins: bool) {
        let Effect::External(recovery) = self.operation.effect() else {
            return;
        };
        let mut book = lock(&self.tale.book);
        let name = &self.name;
        let key = book.names.iter().find(|(_, known)| *known == name);
        let Some(key) = key.map(|(key, _)| *key) else {
            return;
        };
        if begins {
            book.outside.begins(key, attempt, recovery);
        } else {
            book.outside.declares(key, attempt);
        }
    }

    /// What a run may rely on.
    fn check(&self, order: &LockedOrder<Tally>) {
        let name = &self.name;
        let broken = |what: &str| {
            let order = &self.tale.order;
            let what = format!("{order}: {name} {what}");
            self.scene.ledger.violation(&what);
        };
        if !order.is_whole() {
            broken("was given a torn order");
        }
        if order.effects.contains_key(name) {
            broken("was run although it has taken effect");
        }
        if order.parts.contains_key(name) != order.progress().is_some() {
            broken("was not given its own progress");
        }
        let cleared = lock(&self.tale.cleared).contains(name);
        if let Some(Recovery::Resume { times, .. }) = self.operation.mark()
            && order.attempt() > times
            && !order.parts.contains_key(name)
            && !cleared
        {
            broken("was run more often than its operation allows");
        }
        if !self.tale.derives(name, &order.key().derive("outside")) {
            broken("derived another key for the outside than its earlier run");
        }
        self.scene
            .ledger
            .checked("a handler given what it may rely on");
    }
}
