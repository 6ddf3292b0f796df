//! One request, and what is made of its answer.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use orderlock_core::store::Read;
use orderlock_core::{
    Body, Denied, Ended, Failed, Fence, Fingerprint, LockedOrder, OperationRequest,
    OrderStore as _, Outcome, Undone, Version,
};
use orderlock_simulator::tally::{self, Odd, Tally};

use super::handlers::{Work, handle};
use crate::checkers::{may_be_expired, words};
use crate::faults::Fault;
use crate::ledger::lock;
use crate::node::Node;
use crate::scene::Scene;
use crate::tale::{Answered, Tale, caller, key, name, operation};

/// What a client wants, and how it goes about it.
#[derive(Clone, Debug)]
pub(crate) struct Ask {
    /// Which of the order's keys.
    pub(crate) number: usize,
    /// The place of the node that is asked; any node if there is none.
    pub(crate) place: Option<usize>,
    /// Asks for something else under the same key.
    pub(crate) other_body: bool,
    pub(crate) wait: Duration,
    /// Names the version that it expects.
    pub(crate) expects: bool,
    pub(crate) odd_type: bool,
    /// Whether the handler just does its work.
    pub(crate) calm: bool,
    /// When the client goes away.
    pub(crate) leaves: Option<Duration>,
}

pub(crate) fn fingerprint(tale: &Tale, number: usize, other_body: bool) -> Fingerprint {
    let body: &[u8] = if other_body { b"\"other\"" } else { b"{}" };
    let operation = operation(number);
    Fingerprint::of(operation.name(), Some(&tale.order), Body::Json(body))
}

/// One request. True if it got its stored answer, or never will.
pub(crate) async fn ask(scene: &Arc<Scene>, tale: &Arc<Tale>, ask: Ask) -> bool {
    let node = match ask.place {
        Some(place) => scene.node(place),
        None => scene.some_node(),
    };
    let Some(node) = node else {
        tokio::time::sleep(Duration::from_millis(20)).await;
        return false;
    };
    let fingerprint = fingerprint(tale, ask.number, ask.other_body);
    let name = name(ask.number);
    let ran: Arc<Mutex<Option<Fence>>> = Arc::default();
    let begun = Instant::now();
    let request = run(scene, &node, tale, &ask, &ran);
    let ended = match ask.leaves {
        None => request.await,
        Some(patience) => match tokio::time::timeout(patience, request).await {
            Ok(ended) => ended,
            Err(_) => {
                let evidence = format!("{name} at node {}", node.place);
                scene.ledger.struck(Fault::ClientGone, &evidence);
                return false;
            }
        },
    };
    let Some(ended) = ended else {
        scene.ledger.ended("vanished with its node".into());
        return false;
    };
    scene.ledger.ended(word(&ended));
    let ran = lock(&ran).take();
    check(scene, &node, tale, (begun, ran), &ended);
    tell(scene, tale, (name, fingerprint), ended)
}

/// The request at a node, by which it lives and dies.
async fn run(
    scene: &Arc<Scene>,
    node: &Arc<Node>,
    tale: &Arc<Tale>,
    ask: &Ask,
    ran: &Arc<Mutex<Option<Fence>>>,
) -> Option<Ended<Undone<String>>> {
    let expected = if ask.expects {
        let (store, target) = (Arc::clone(node.lifecycle.store()), tale.target());
        let view = node.serve(async move { store.read(Read { target }).await });
        let view = view.await?.ok().flatten();
        Some(view.map_or(Version::FIRST, |view| view.version))
    } else {
        None
    };
    let operation = operation(ask.number);
    let request = OperationRequest {
        caller: caller(ask.number),
        order: tale.order.clone(),
        key: key(ask.number),
        fingerprint: fingerprint(tale, ask.number, ask.other_body),
        operation: operation.clone(),
        expected,
        wait: ask.wait,
    };
    let work = Work {
        scene: Arc::clone(scene),
        tale: Arc::clone(tale),
        operation,
        name: tally::name(&request.caller, &request.key),
        ran: Arc::clone(ran),
        calm: ask.calm,
        running: node.handlers(),
    };
    let (lifecycle, odd_type) = (node.lifecycle.clone(), ask.odd_type);
    node.serve(async move {
        if odd_type {
            let odd = |_: LockedOrder<Odd>| async { Ok(Outcome::Unchanged) };
            return lifecycle.run(request, odd).await;
        }
        let run = lifecycle.run(request, move |order: LockedOrder<Tally>| {
            handle(work, order)
        });
        run.await
    })
    .await
}

/// What a client is told is true, and nothing is lost while nothing goes wrong.
fn check(
    scene: &Scene,
    node: &Node,
    tale: &Tale,
    (begun, ran): (Instant, Option<Fence>),
    ended: &Ended<Undone<String>>,
) {
    let nothing_applied = matches!(
        ended,
        Ended::Lost { partial: None, .. } | Ended::Denied(Denied::StoreUnavailable(_))
    );
    if let (Some(fence), true) = (ran, nothing_applied) {
        lock(&tale.book).disown(fence);
    }
    let lost = matches!(
        ended,
        Ended::Lost { .. } | Ended::Unknown | Ended::Denied(Denied::StoreUnavailable(_))
    );
    if let Some(calm) = scene.calm_since().filter(|calm| begun > *calm) {
        scene.ledger.checked("an end while nothing went wrong");
        if lost {
            let (place, order, word) = (node.place, &tale.order, word(ended));
            let since = calm.elapsed().as_secs_f64();
            let cause = match ended {
                Ended::Denied(Denied::StoreUnavailable(error)) => words(&**error),
                _ => lock(&tale.book).failures(),
            };
            let took = begun.elapsed().as_secs_f64();
            scene.ledger.violation(&format!(
                "{order}: {word} at node {place} after {took:.1} s, and nothing had gone wrong for \
                 {since:.1} s: {cause}"
            ));
        }
    }
}

/// Keeps what the client was told. True if it is for good.
pub(crate) fn tell<E>(
    scene: &Scene,
    tale: &Tale,
    (name, fingerprint): (String, Fingerprint),
    ended: Ended<E>,
) -> bool {
    match ended {
        Ended::Settled {
            answer,
            outcome,
            expires,
            replayed,
            ..
        } => {
            let told = tally::Told {
                target: tale.target(),
                name: name.clone(),
                fingerprint,
                answer,
                outcome,
            };
            if replayed {
                scene.ledger.checked("an answer replayed byte for byte");
            }
            if !tale.tell(&Answered { told, expires }) {
                let what = format!("{}: {name} was told two answers", tale.order);
                scene.ledger.violation(&what);
            }
            true
        }
        Ended::Denied(Denied::KeyExpired) => {
            let known = tale.told(&name);
            if known.is_some_and(|known| !may_be_expired(scene, &known)) {
                let what = format!("{}: {name} was expired before its time", tale.order);
                scene.ledger.violation(&what);
            }
            true
        }
        _ => false,
    }
}

/// How a request ended, in words.
pub(crate) fn word<E>(ended: &Ended<E>) -> String {
    match ended {
        Ended::Failed { failure, .. } => format!(
            "failed: {}",
            match failure {
                Failed::Error(_) => "error",
                Failed::Attached(_) => "attached",
                Failed::Panicked => "panicked",
                Failed::TimedOut => "timed out",
                Failed::Unreadable(_) => "unreadable",
                Failed::Unwritable(_) => "unwritable",
                Failed::Stopped => "stopped",
            }
        ),
        Ended::Denied(denied) => format!("denied: {}", denied.as_str()),
        Ended::Settled { replayed: true, .. } => "replayed".into(),
        other => other.as_str().to_owned(),
    }
}
