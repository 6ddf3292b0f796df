//! Handlers that do everything that a handler may do, and some that it should not.

use std::panic::resume_unwind;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use orderlock_core::{
    Effect, Fence, LockedOrder, Operation, Outcome, Problem, Recovery, Target, Undone,
};

use super::executor::Executor;
use super::plan::Plan;
use super::scene::{Scene, lock};
use crate::tally::Tally;

/// How one run of a handler goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Behaviour {
    /// Applies its effect.
    Apply,
    /// Applies it and reports a problem.
    ApplyWithError,
    /// Refuses.
    Refuse,
    /// Finds nothing to do.
    Unchanged,
    /// Fails.
    Error,
    /// Fails and declares that nothing happened outside.
    Harmless,
    /// Declares that of one failure, goes on, and fails otherwise.
    HarmlessFirst,
    /// Panics before its first await.
    PanicAtOnce,
    /// Panics after an await.
    PanicLater,
    /// Returns its effect, and panics when it is dropped.
    PanicInDrop,
    /// Returns an order that panics while it is written.
    PanicInWriting,
    /// Returns an order that no store takes.
    TooLarge,
    /// Makes a checkpoint, then applies.
    Checkpoint,
    /// Makes a checkpoint, then fails.
    CheckpointThenFail,
    /// Applies after a while, within its limit.
    Long,
    /// Applies long after its limit, if it is not stopped.
    Slow,
}

impl Behaviour {
    pub(super) const ALL: [Self; 16] = [
        Self::Apply,
        Self::ApplyWithError,
        Self::Refuse,
        Self::Unchanged,
        Self::Error,
        Self::Harmless,
        Self::HarmlessFirst,
        Self::PanicAtOnce,
        Self::PanicLater,
        Self::PanicInDrop,
        Self::PanicInWriting,
        Self::TooLarge,
        Self::Checkpoint,
        Self::CheckpointThenFail,
        Self::Long,
        Self::Slow,
    ];
}

/// What a client may learn of the run that it asked for.
#[derive(Clone, Debug)]
pub(super) struct Ran {
    /// Which grant it held.
    pub(super) fence: Fence,
    /// The flush that the order waited for when it began.
    pub(super) ground: Option<u64>,
}

const RESUMES: u32 = 3;

/// What the n-th key is for. Its operation never changes, so that a retry is the same request.
/// Where flushes are late most operations are pure, so that they meet.
pub(super) fn operation(plan: &Plan, key: usize) -> Operation {
    match key % 5 {
        0 if plan.flushes_late => Operation::named("plain").pure(),
        2 if plan.flushes_late => Operation::named("unstored")
            .without_stored_refusals()
            .pure(),
        0 => Operation::named("plain"),
        1 => Operation::named("pure").pure(),
        2 => Operation::named("unstored").without_stored_refusals(),
        3 => Operation::named("resumed").external(Recovery::Resume {
            times: RESUMES,
            within: Duration::from_secs(3_600),
        }),
        _ => Operation::named("reconciled").external(Recovery::Reconcile),
    }
}

/// Panics when it is dropped, unless a panic is under way: then the process would abort.
struct Fragile;

impl Drop for Fragile {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            resume_unwind(Box::new("planned"));
        }
    }
}

pub(super) async fn handle(
    scene: Arc<Scene>,
    operation: Operation,
    target: Target,
    name: String,
    ran: Arc<Mutex<Option<Ran>>>,
    order: LockedOrder<Tally>,
) -> Result<Outcome<Tally>, Undone<String>> {
    *lock(&ran) = Some(on_what(&scene, &order));
    let how = scene.behaviour();
    scene.trace.note(format_args!("handler {name} {how:?}"));
    scene.count(format!("handler: {how:?}"));
    check(&scene, &operation, &name, &order);
    let external = matches!(operation.effect(), Effect::External(_));
    // What an earlier run of the key has done stays done.
    let first = external && scene.book().touch(&target, &name);
    let changed = (*order).clone().with_effect(&name);
    if how == Behaviour::PanicAtOnce {
        resume_unwind(Box::new("planned"));
    }
    Executor::yields(scene.few()).await;
    Ok(match how {
        Behaviour::Apply => Outcome::Applied(changed),
        Behaviour::ApplyWithError => Outcome::AppliedWithError(changed, refusal()),
        Behaviour::Refuse => Outcome::Refused(refusal()),
        Behaviour::Unchanged => Outcome::Unchanged,
        Behaviour::Error => Err("planned".to_owned())?,
        Behaviour::Harmless => {
            if first {
                scene.book().untouch(&target, &name);
            }
            return Err(order.without_effect("planned"));
        }
        Behaviour::HarmlessFirst => {
            let survived: Undone<String> = order.without_effect("planned");
            drop(survived);
            Err("planned otherwise".to_owned())?
        }
        Behaviour::PanicAtOnce | Behaviour::PanicLater => resume_unwind(Box::new("planned")),
        Behaviour::PanicInDrop => {
            let fragile = Fragile;
            Executor::yields(2).await;
            drop(fragile);
            Outcome::Applied(changed)
        }
        Behaviour::PanicInWriting => Outcome::Applied(changed.armed()),
        Behaviour::TooLarge => Outcome::Applied(Tally {
            padding: "x".repeat(10_000),
            ..changed
        }),
        Behaviour::Checkpoint | Behaviour::CheckpointThenFail => {
            let order = checkpoint(order, &name).await?;
            Executor::yields(scene.few()).await;
            if how == Behaviour::CheckpointThenFail {
                Err("planned".to_owned())?;
            }
            Outcome::Applied((*order).clone().with_effect(&name))
        }
        Behaviour::Long => {
            let pause = scene.dice().duration(scene.plan.limits.handler);
            scene.executor.sleep(pause).await;
            Outcome::Applied(changed)
        }
        Behaviour::Slow => {
            scene.executor.sleep(scene.plan.limits.handler * 2).await;
            Outcome::Applied(changed)
        }
    })
}

/// Which grant a run holds, and what that stands on.
fn on_what(scene: &Scene, order: &LockedOrder<Tally>) -> Ran {
    let grant = order.lease_id().grant();
    let (fence, _) = grant.expect("a handler's lease is named by its grant");
    let ground = scene.ground(fence);
    if ground.is_some() {
        scene.count("chaos: ran before a flush".into());
    }
    Ran { fence, ground }
}

/// Makes the key's checkpoint, unless an earlier run has made it.
async fn checkpoint(order: LockedOrder<Tally>, name: &str) -> Result<LockedOrder<Tally>, String> {
    if order.parts.contains_key(name) {
        return Ok(order);
    }
    let changed = (*order).clone().with_part(name);
    order
        .checkpoint(changed)
        .await
        .map_err(|error| error.to_string())
}

/// What a run may rely on.
fn check(scene: &Scene, operation: &Operation, name: &str, order: &LockedOrder<Tally>) {
    let mut book = scene.book();
    if !order.is_whole() {
        book.violation("a handler was given a torn order");
    }
    if order.effects.contains_key(name) {
        book.violation("a handler was run for a key that has taken effect");
    }
    if order.parts.contains_key(name) != order.progress().is_some() {
        book.violation("a run was not given the progress of its key");
    }
    if let Some(Recovery::Resume { times, .. }) = operation.mark()
        && order.attempt() > times.max(1)
        && !order.parts.contains_key(name)
        && !book.may_run_again(name)
    {
        book.violation("an external operation was run more often than it allows");
    }
    let derived = order.key().derive("outside");
    let known = scene.derived_key(order.id(), name, &derived);
    if !known {
        book.violation("a second run derived another key for the outside");
    }
}

fn refusal() -> Problem {
    Problem::new(409, "planned", "Planned")
}
