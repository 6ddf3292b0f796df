//! A crowd: one node holds very many orders for some renewals, as one does whose handlers wait for
//! a slow service outside. Nothing goes wrong meanwhile, and so none may be lost.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use futures_util::StreamExt as _;
use futures_util::stream;
use orderlock_core::{
    Body, Caller, CreateRequest, Ended, Fingerprint, IdempotencyKey, Limits, LockedOrder,
    Operation, OperationRequest, OrderId, Outcome,
};
use orderlock_simulator::tally::Tally;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use crate::faults::Fault;
use crate::node::Node;
use crate::scene::Scene;

/// How many of them come at a time.
const AT_A_TIME: usize = 32;
/// How often it is tried to start a node for it.
const TRIES: usize = 10;
/// How long making and taking all orders may take; those that are held by then are the crowd. On a
/// slow machine it may take longer until so many are held that renewals name a crowd.
const COMING_MAX: Duration = Duration::from_secs(75);
const COMING_LONGER: Duration = Duration::from_secs(240);

/// One act of a crowd, at a node of its own.
pub(crate) async fn crowd(scene: Arc<Scene>, first: bool) {
    let (number, stalls) = (scene.tick(), scene.stalls());
    let limits = Limits {
        handler: Duration::from_secs(300),
        ..scene.plan.limits(0)
    };
    let Some(node) = start(&scene, &format!("crowd-{number}"), &limits).await else {
        return;
    };
    let most = if first {
        scene.plan.crowd
    } else {
        scene.plan.crowd.min(3_000)
    };
    let begun = Instant::now();
    let held = Arc::new(AtomicUsize::new(0));
    let go = Arc::new(Semaphore::new(0));
    let mut holders = JoinSet::new();
    let mut created = stream::iter(0..most)
        .map(|of_it| create(Arc::clone(&node), order(number, of_it)))
        .buffer_unordered(AT_A_TIME);
    let mut came = 0;
    let comes = || {
        let few = held.load(Ordering::Acquire) * 4 < most;
        let most = if few { COMING_LONGER } else { COMING_MAX };
        begun.elapsed() < most && !scene.ledger.is_broken()
    };
    while comes() {
        let Some(order) = created.next().await else {
            break;
        };
        let Some(order) = order else { continue };
        came += 1;
        // So that their taking does not fall behind their making by more than a few.
        while came > held.load(Ordering::Acquire) + 4 * AT_A_TIME && comes() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        let (held, go) = (Arc::clone(&held), Arc::clone(&go));
        holders.spawn(hold(Arc::clone(&node), order, held, go));
    }
    drop(created);
    tokio::select! {
        biased;
        () = scene.ledger.broken() => {}
        // Three renewals and more, each of which names them all.
        () = tokio::time::sleep(scene.plan.session() * 3 / 2) => {}
    }
    let crowd = held.load(Ordering::Acquire);
    end(&scene, holders, (crowd, &go), stalls).await;
    // What it has left lapses, if the store does not answer.
    let _left = node
        .serve({
            let lifecycle = node.lifecycle.clone();
            async move { lifecycle.drain(Duration::from_secs(5)).await }
        })
        .await;
}

/// A node for a crowd, which the store may not let in at once.
async fn start(scene: &Arc<Scene>, name: &str, limits: &Limits) -> Option<Arc<Node>> {
    for _ in 0..TRIES {
        match Node::start_with(scene, 0, name.to_owned(), limits.clone()).await {
            Ok(node) => return Some(node),
            Err(error) => scene
                .ledger
                .line(&format!("no node for a crowd: {error:#}")),
        }
        scene.pause(Duration::from_millis(500)).await;
    }
    None
}

fn order(crowd: u64, number: usize) -> OrderId {
    OrderId::parse(&format!("crowd-{crowd}-{number}")).expect("short, and visible ASCII")
}

/// Lets all of them go, a few at a time: others work beside them, and would wait behind all.
async fn end(
    scene: &Scene,
    mut holders: JoinSet<Option<Ended<String>>>,
    (crowd, go): (usize, &Semaphore),
    stalls: u64,
) {
    let mut words: BTreeMap<String, usize> = BTreeMap::new();
    go.add_permits(AT_A_TIME);
    while let Some(ended) = holders.join_next().await {
        go.add_permits(1);
        let word = match ended {
            Ok(Some(ended)) => super::word(&ended),
            _ => "vanished".into(),
        };
        *words.entry(word).or_default() += 1;
    }
    scene
        .ledger
        .line(&format!("a crowd of {crowd} ended: {words:?}"));
    let lost = words.get("lost").copied().unwrap_or(0);
    // A planted fault may be what keeps the machine busy.
    let excused = scene.stalls() > stalls && scene.plan.planted.is_none();
    if lost > 0 && excused {
        scene.ledger.line("the machine stood still for a crowd");
    } else if lost > 0 {
        scene.ledger.violation(&format!(
            "{lost} of {crowd} orders that one node held were lost, and nothing had gone wrong"
        ));
    } else if crowd * 4 >= scene.plan.crowd {
        let evidence = format!("{crowd} orders were held over three renewals");
        scene.ledger.struck(Fault::Crowd, &evidence);
        scene.ledger.checked("a crowd of held orders kept");
    }
}

fn operation() -> Operation {
    Operation::named("wait")
}

async fn create(node: Arc<Node>, order: OrderId) -> Option<OrderId> {
    let operation = Operation::named("create").name().clone();
    let request = CreateRequest {
        caller: Caller::single(),
        order: Some(order.clone()),
        key: key(&format!("create-{order}")),
        fingerprint: Fingerprint::of(&operation, None, Body::Bytes(b"{}")),
        operation,
    };
    let lifecycle = node.lifecycle.clone();
    let created = node.serve(async move { lifecycle.create(request, Tally::default()).await });
    matches!(created.await?, Ended::Settled { .. }).then_some(order)
}

async fn hold(
    node: Arc<Node>,
    order: OrderId,
    held: Arc<AtomicUsize>,
    go: Arc<Semaphore>,
) -> Option<Ended<String>> {
    let operation = operation();
    let request = OperationRequest {
        caller: Caller::single(),
        fingerprint: Fingerprint::of(operation.name(), Some(&order), Body::Bytes(b"{}")),
        order,
        key: key("wait"),
        operation,
        expected: None,
        wait: Duration::ZERO,
    };
    let lifecycle = node.lifecycle.clone();
    node.serve(async move {
        let run = lifecycle.run(request, move |order: LockedOrder<Tally>| async move {
            held.fetch_add(1, Ordering::AcqRel);
            // It is never closed.
            if let Ok(gone) = go.acquire().await {
                gone.forget();
            }
            Ok(Outcome::Applied(order.split().0.with_effect("crowd")))
        });
        run.await
    })
    .await
}

fn key(text: &str) -> IdempotencyKey {
    IdempotencyKey::parse(text).expect("short, and visible ASCII")
}
