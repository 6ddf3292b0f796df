//! The ends of an order's life: it is created by two clients at once; and once clients are done with
//! it, everybody asks again, and what the store has is held against all that was seen.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use orderlock_core::store::{Entry, History, OrderView, Read};
use orderlock_core::{Body, CreateRequest, Denied, Ended, Fingerprint, Operation, OrderStore as _};
use orderlock_simulator::tally::{self, Tally};
use tokio::task::JoinSet;

use super::Book;
use super::stream::Told;
use crate::clients::{self, Ask};
use crate::faults::settle_marks;
use crate::ledger::lock;
use crate::plan::What;
use crate::scene::Scene;
use crate::tale::{Answered, Tale, caller, creation_key, name};

/// How old an order may become before it is closed, all told or not.
const AGE_MAX: Duration = Duration::from_secs(20);
/// How long an order's closing may take once everything is calm.
const CLOSING_MAX: Duration = Duration::from_secs(90);
/// How many orders are closed at a time.
const CLOSING: usize = 8;
/// How many entries are read at once.
const PAGE: usize = 200;

/// Keeps so many orders for clients to work on, and closes those that are done.
pub(crate) async fn keep_tales(scene: Arc<Scene>) {
    let mut number = 0;
    let mut closing = JoinSet::new();
    while scene.weather().what != What::End {
        while scene.live().len() < scene.plan.orders {
            number += 1;
            let keys = 4 + scene.dice().below(14);
            let tale = Arc::new(Tale::new(number, keys));
            scene.add_tale(&tale);
            for creator in 0..2 {
                tokio::spawn(create_soon(Arc::clone(&scene), Arc::clone(&tale), creator));
            }
        }
        while closing.try_join_next().is_some() {}
        let done = |tale: &Arc<Tale>| tale.is_told() || tale.born.elapsed() > AGE_MAX;
        for tale in scene.live().into_iter().filter(done) {
            if closing.len() >= CLOSING {
                break;
            }
            scene.retire(&tale);
            closing.spawn(close(Arc::clone(&scene), tale));
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    // Those that are being closed are closed to their end.
    while closing.join_next().await.is_some() {}
}

async fn create_soon(scene: Arc<Scene>, tale: Arc<Tale>, creator: usize) {
    let _working = tale.work();
    for _ in 0..4 {
        if create(&scene, &tale, creator).await {
            break;
        }
        scene.pause(Duration::from_millis(50)).await;
    }
}

/// One creation. True if the order is there.
pub(crate) async fn create(scene: &Arc<Scene>, tale: &Arc<Tale>, creator: usize) -> bool {
    let Some(node) = scene.some_node() else {
        tokio::time::sleep(Duration::from_millis(20)).await;
        return false;
    };
    let (who, key) = (caller(creator), creation_key(tale, creator));
    let operation = Operation::named("create").name().clone();
    let fingerprint = Fingerprint::of(&operation, None, Body::Bytes(b"{}"));
    let request = CreateRequest {
        caller: who.clone(),
        order: Some(tale.order.clone()),
        key: key.clone(),
        fingerprint,
        operation,
    };
    let lifecycle = node.lifecycle.clone();
    let ended = node.serve(async move { lifecycle.create(request, Tally::default()).await });
    let Some(ended) = ended.await else {
        scene.ledger.ended("create: vanished with its node".into());
        return false;
    };
    scene
        .ledger
        .ended(format!("create: {}", clients::word(&ended)));
    let exists = matches!(ended, Ended::Denied(Denied::Exists | Denied::KeyExpired));
    let done = clients::tell(scene, tale, (tally::name(&who, &key), fingerprint), ended) || exists;
    if done {
        lock(&tale.created).get_or_insert_with(Instant::now);
    }
    done
}

/// Closes an order. Where the weather does not let it, it is left for the end of the run.
pub(crate) async fn close(scene: Arc<Scene>, tale: Arc<Tale>) {
    let begun = Instant::now();
    let calm = scene.weather().what == What::End;
    let most = if calm { CLOSING_MAX } else { AGE_MAX };
    loop {
        if begun.elapsed() > most {
            if calm {
                let (order, why) = (&tale.order, stuck(&scene, &tale).await);
                let what = format!("{order} came to no end when all was calm: {why}");
                scene.ledger.violation(&what);
            }
            return;
        }
        if tale.users() == 0 && ask_all(&scene, &tale).await && examine(&scene, &tale).await {
            scene.forget(&tale);
            scene
                .ledger
                .checked("an order held against all that was seen");
            return;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

async fn stuck(scene: &Arc<Scene>, tale: &Arc<Tale>) -> String {
    let untold = (0..tale.keys).filter(|number| tale.told(&name(*number)).is_none());
    let untold: Vec<_> = untold.map(name).collect();
    let view = view(scene, tale).await;
    let view = view.map(|view| (view.version, view.lease));
    let last = history(scene, tale).await;
    let last = last.and_then(|mut entries| entries.pop());
    let last = last.map(|entry| (entry.number, entry.version));
    format!(
        "{} at work, no answer to {untold:?}, version and lock {view:?}, last entry {last:?}",
        tale.users()
    )
}

/// Everybody asks once more: who has no answer gets one, and who has one gets it again.
async fn ask_all(scene: &Arc<Scene>, tale: &Arc<Tale>) -> bool {
    if lock(&tale.created).is_none() && !create(scene, tale, 0).await {
        return false;
    }
    let mut all = true;
    for number in 0..tale.keys {
        let mut told = false;
        for turn in 0..4 {
            settle_marks(scene, tale).await;
            let known = tale.told(&name(number));
            let other_body = match known {
                Some(known) => known.told.fingerprint != clients::fingerprint(tale, number, false),
                None => turn % 2 == 1,
            };
            let ask = Ask {
                number,
                place: None,
                other_body,
                wait: Duration::from_secs(2),
                expects: false,
                odd_type: false,
                calm: true,
                leaves: None,
            };
            if clients::ask(scene, tale, ask).await {
                told = true;
                break;
            }
        }
        all &= told;
    }
    all
}

/// Reads the order; none where the store does not answer.
async fn view(scene: &Arc<Scene>, tale: &Tale) -> Option<OrderView> {
    let node = scene.some_node()?;
    let (store, target) = (Arc::clone(node.lifecycle.store()), tale.target());
    let read = node.serve(async move { store.read(Read { target }).await });
    read.await?.ok().flatten()
}

/// Reads an order's whole history.
pub(super) async fn history(scene: &Arc<Scene>, tale: &Tale) -> Option<Vec<Entry>> {
    let (mut entries, mut cursor) = (Vec::new(), None);
    loop {
        let node = scene.some_node()?;
        let request = History {
            target: tale.target(),
            limit: PAGE,
            cursor,
        };
        let store = Arc::clone(node.lifecycle.store());
        let page = node.serve(async move { store.history(request).await });
        let page = page.await?.ok().flatten()?;
        entries.extend(page.items);
        cursor = page.next;
        if cursor.is_none() {
            return Some(entries);
        }
    }
}

/// Holds what the store has against all that was seen. False if it could not be read, or if
/// somebody holds the order still.
async fn examine(scene: &Arc<Scene>, tale: &Arc<Tale>) -> bool {
    let Some(view) = view(scene, tale).await else {
        return false;
    };
    if view.lease.is_some() {
        settle_marks(scene, tale).await;
        return false;
    }
    let Some(entries) = history(scene, tale).await else {
        return false;
    };
    if entries.last().map(|entry| entry.version) != Some(view.version) {
        // Something came between the two.
        return false;
    }
    let (broken, marks) = {
        let book = lock(&tale.book);
        (
            held_against(&book, &entries, &view, &tale.all_told()),
            book.outside.ends(&entries).len(),
        )
    };
    for what in broken {
        scene.ledger.violation(&format!("{}: {what}", tale.order));
    }
    for _ in 0..marks {
        let rule = "a mark ended by one of its three ends";
        scene.ledger.checked(rule);
    }
    let told = entries.iter().fold(Told::default(), Told::and);
    // At the end two may be closing it.
    if !tale.closed.swap(true, Ordering::AcqRel) {
        scene.streams.expect(&scene.ledger, &tale.order, told);
    }
    true
}

/// What is wrong with an order that nobody holds and that has no mark, by all that was seen of it.
pub(super) fn held_against(
    book: &Book,
    entries: &[Entry],
    view: &OrderView,
    told: &[Answered],
) -> Vec<String> {
    let order = view.document.decode::<Tally>().unwrap_or_default();
    let mut broken = tally::journal(entries, &book.names, &order, view.version);
    for answered in told {
        broken.extend(tally::answered(entries, &book.names, &answered.told));
    }
    let mut broken: Vec<String> = broken.into_iter().map(str::to_owned).collect();
    // What a client was told was not applied, is not there.
    for entry in entries.iter().filter(|entry| entry.outcome.is_final()) {
        if entry
            .fence
            .is_some_and(|fence| book.disowned.contains(&fence))
        {
            let what = "a client was told that nothing was applied, and it was";
            broken.push(format!("{what}: entry {}", entry.number));
        }
    }
    for (key, attempt, ended) in book.outside.ends(entries) {
        if !ended {
            let name = book
                .names
                .get(&key)
                .map_or("an unknown key", String::as_str);
            let what = "was ended by nothing";
            broken.push(format!("the mark of run {attempt} of {name} {what}"));
        }
    }
    broken
}

/// Whether an answer may be past its retention by now.
pub(crate) fn may_be_expired(scene: &Scene, answered: &Answered) -> bool {
    let latest = scene.bed.clock().latest();
    // A settle that was decided and a settle that was replayed both say until when.
    answered.expires.is_none_or(|expires| expires <= latest)
}
