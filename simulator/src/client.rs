//! Clients: they ask, wait, go away, and ask again under the same key.

use std::convert::Infallible;
use std::fmt::Debug;
use std::future::{Future, pending};
use std::pin::pin;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::{Either, select};
use orderlock_core::store::Read;
use orderlock_core::{
    Body, Caller, CreateRequest, Denied, Ended, Failed, Fingerprint, IdempotencyKey, LockedOrder,
    Operation, OperationRequest, OrderStore as _, Outcome, Target, Undone, Version,
};
use tokio::sync::oneshot;

use super::executor::Executor;
use super::handlers::{Ran, handle, operation};
use super::plan::Intent;
use super::scene::{Scene, Slot, caller, idempotency_key, lock, order_id};
use crate::tally::{Odd, Tally, Told, name};

/// In this time whoever waits for an order that was let go asks for it several times.
const LONG_FREE: Duration = Duration::from_secs(2);

/// Asks until its key is settled or it has lost patience.
pub(super) async fn client(scene: Arc<Scene>, intent: Intent) {
    scene.executor.sleep(intent.begins).await;
    for _ in 0..intent.tries {
        if ask(&scene, &intent).await {
            break;
        }
        let pause = scene.delay() / 8;
        scene.executor.sleep(pause).await;
    }
    scene.clients.fetch_sub(1, Ordering::Relaxed);
}

/// One request. True if it got its stored answer, or never will.
pub(super) async fn ask(scene: &Arc<Scene>, intent: &Intent) -> bool {
    let Some(slot) = scene.some_node() else {
        return false;
    };
    let request = request(scene, intent).await;
    let (who, fingerprint) = (request.caller.clone(), request.fingerprint);
    let (target, key) = (who.target(&request.order), request.key.clone());
    let ran = Arc::new(Mutex::new(None));
    let wait = request.wait;
    let run: std::pin::Pin<Box<dyn Future<Output = Ended<String>> + Send>> =
        if intent.odd_type && !scene.is_calm() {
            let odd = |_: LockedOrder<Odd>| async { Ok(Outcome::Unchanged) };
            slot.lifecycle.run(request, odd).boxed()
        } else {
            let (scene, operation) = (Arc::clone(scene), request.operation.clone());
            let (target, name, ran) = (target.clone(), name(&who, &key), Arc::clone(&ran));
            let work =
                move |order: LockedOrder<Tally>| handle(scene, operation, target, name, ran, order);
            let ended = slot.lifecycle.run(request, work);
            ended
                .map(|ended| ended.map_error(Undone::into_error))
                .boxed()
        };
    let (begun, disturbed) = (
        scene.executor.elapsed(),
        scene.disturbed.load(Ordering::Relaxed),
    );
    let paused = scene.executor.is_paused(slot.tag);
    let goes = !scene.is_calm() && scene.dice().chance(scene.plan.leaving);
    let patience = if goes { scene.dice().below(60) } else { 0 };
    let leaves = async move {
        if goes {
            Executor::yields(patience).await;
        } else {
            pending::<()>().await;
        }
    };
    let ended = match select(run, pin!(leaves)).await {
        Either::Left((ended, _)) => ended,
        Either::Right(_) => {
            scene.count("chaos: client gone".into());
            return false;
        }
    };
    if !paused && scene.disturbed.load(Ordering::Relaxed) == disturbed {
        check_time(scene, wait, scene.executor.elapsed() - begun);
    }
    note(scene, &slot, &ended);
    if !slot.is_dead() {
        let ran = lock(&ran).take();
        check_told(scene, &target, !wait.is_zero(), ran, &ended);
    }
    tell(scene, (&target, name(&who, &key), fingerprint), ended)
}

/// What a client is told is true, and stays true.
fn check_told(
    scene: &Scene,
    target: &Target,
    patient: bool,
    ran: Option<Ran>,
    ended: &Ended<String>,
) {
    let gentle = scene.plan.gentle && !scene.is_calm();
    let nothing_applied = matches!(
        ended,
        Ended::Lost { partial: None, .. } | Ended::Denied(Denied::StoreUnavailable(_))
    );
    let mut book = scene.book();
    if let Some(ran) = &ran
        && nothing_applied
    {
        book.disown(ran.fence);
    }
    let lost = matches!(ended, Ended::Lost { .. });
    let cause = ran.as_ref().and_then(|ran| book.cause(ran.fence));
    if let Some(cause) = cause.filter(|_| lost) {
        scene.count(format!("told lost: {cause:?}"));
    }
    if gentle && lost && !scene.plan.flushes_late {
        book.violation("a lease was lost although nothing had gone wrong");
    }
    let free = book.free_since(target);
    let waited = matches!(ended, Ended::Denied(Denied::Locked(_))) && patient;
    // A node learns with its next renewal that a lease was broken elsewhere. Where flushes fail a
    // renewal may fail with one; then the next one tells, or the session ends.
    let renewal = match (scene.plan.broken, scene.plan.flushes_late) {
        (true, true) => scene.plan.limits.session,
        (true, false) => scene.plan.limits.session / 3,
        (false, _) => Duration::ZERO,
    };
    let quiet = gentle || scene.plan.broken && !scene.is_calm();
    let long_free =
        free.is_some_and(|since| scene.executor.elapsed() - since > LONG_FREE + renewal);
    if quiet && waited && long_free {
        book.violation("a request gave up waiting for an order that had long been free");
    }
    drop(book);
    // That nobody knows is no answer, and rests on nothing.
    if let Some(ground) = ran.and_then(|ran| ran.ground)
        && scene.flushes() == ground
        && !matches!(ended, Ended::Unknown)
    {
        let failed = matches!(ended, Ended::Failed { .. });
        scene.book().violation(if failed {
            "a failure was told before the ground of its run was durable"
        } else {
            "an answer was told before the ground of its run was durable"
        });
    }
}

/// An undisturbed request is told within its own wait, its handler's time, and one limit for the
/// store.
fn check_time(scene: &Scene, wait: Duration, took: Duration) {
    let limits = &scene.plan.limits;
    if took > wait.min(limits.wait) + limits.handler + limits.store {
        let late = format!("a request took {took:?}, longer than its bounds together");
        scene.book().violation(late);
    }
}

async fn request(scene: &Scene, intent: &Intent) -> OperationRequest {
    let (who, order) = (caller(intent.key.number), order_id(intent.key.order));
    let operation = operation(&scene.plan, intent.key.number);
    let body = if intent.other_body { "\"other\"" } else { "{}" };
    let target = who.target(&order);
    let expected = if intent.expects && !scene.is_calm() {
        let view = scene.memory.read(Read { target }).await.ok().flatten();
        Some(view.map_or(Version::FIRST, |view| view.version))
    } else {
        None
    };
    let wait = if scene.is_calm() {
        scene.plan.limits.wait
    } else {
        intent.wait
    };
    OperationRequest {
        caller: who,
        fingerprint: Fingerprint::of(operation.name(), Some(&order), Body::Json(body.as_bytes())),
        order,
        key: idempotency_key(intent.key),
        operation,
        expected,
        wait,
    }
}

/// Creates an order, under a key of this client's own.
pub(super) async fn creator(scene: Arc<Scene>, order: usize, number: usize) {
    for _ in 0..4 {
        if create(&scene, order, number).await {
            break;
        }
        let pause = scene.delay() / 8;
        scene.executor.sleep(pause).await;
    }
    scene.clients.fetch_sub(1, Ordering::Relaxed);
}

/// One creation. True if the order is there.
pub(super) async fn create(scene: &Arc<Scene>, order: usize, number: usize) -> bool {
    let Some(slot) = scene.some_node() else {
        return false;
    };
    let (who, key) = creation(number);
    let operation = Operation::named("create").name().clone();
    let request = CreateRequest {
        caller: who.clone(),
        order: Some(order_id(order)),
        key: key.clone(),
        fingerprint: Fingerprint::of(&operation, None, Body::Bytes(b"{}")),
        operation,
    };
    let (target, fingerprint) = (who.target(&order_id(order)), request.fingerprint);
    // It lives and dies with the node that serves it.
    let (done, result) = oneshot::channel();
    let lifecycle = slot.lifecycle.clone();
    let task = async move {
        let _client_gone = done.send(lifecycle.create(request, Tally::default()).await);
    };
    scene.executor.spawn(slot.tag, task.boxed());
    let Ok(ended) = result.await else {
        return false;
    };
    note(scene, &slot, &ended);
    let exists = matches!(ended, Ended::Denied(Denied::Exists));
    tell::<Infallible>(scene, (&target, name(&who, &key), fingerprint), ended) || exists
}

fn creation(number: usize) -> (Caller, IdempotencyKey) {
    let key = IdempotencyKey::parse(&format!("create-{number}"));
    (caller(number), key.expect("short, and visible ASCII"))
}

/// Keeps what the client was told. True if it is for good.
fn tell<E>(
    scene: &Scene,
    (target, name, fingerprint): (&Target, String, Fingerprint),
    ended: Ended<E>,
) -> bool {
    match ended {
        Ended::Settled {
            answer, outcome, ..
        } => {
            let target = target.clone();
            lock(&scene.told).push(Told {
                target,
                name,
                fingerprint,
                answer,
                outcome,
            });
            true
        }
        Ended::Denied(Denied::KeyExpired) => true,
        _ => false,
    }
}

fn note<E: Debug>(scene: &Scene, slot: &Slot, ended: &Ended<E>) {
    let word = if slot.is_dead() {
        "vanished with its node".to_owned()
    } else {
        word(ended)
    };
    scene.trace.note(format_args!("told {word}"));
    scene.count(format!("end: {word}"));
}

fn word<E: Debug>(ended: &Ended<E>) -> String {
    let failed = |failure: &Failed<E>| match failure {
        Failed::Error(_) => "error",
        Failed::Attached(_) => "attached",
        Failed::Panicked => "panicked",
        Failed::TimedOut => "timedOut",
        Failed::Unreadable(_) => "unreadable",
        Failed::Unwritable(_) => "unwritable",
        Failed::Stopped => "stopped",
    };
    match ended {
        Ended::Failed { failure, .. } => format!("failed {}", failed(failure)),
        Ended::Denied(denied) => format!("denied {}", denied.as_str()),
        other => other.as_str().to_owned(),
    }
}
