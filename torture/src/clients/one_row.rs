//! One row is locked for long by somebody else, and one client at each node asks for it all the time.
//! All other orders go on.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};

use crate::checkers::create;
use crate::clients::{Ask, ask};
use crate::faults::Fault;
use crate::scene::Scene;
use crate::tale::{Tale, name};

/// How many clients ask for other orders, each one after the other.
const OTHERS: usize = 4;
/// How many keys there are for the order whose row is locked. None of them has an answer before, so that
/// whoever asks wants the row.
const KEYS: usize = 16;
/// How often making that order is tried.
const TRIES: usize = 20;
/// How long each measurement takes.
const WINDOW: Duration = Duration::from_secs(4);
/// In how many of them, one after the other, others must be held up until it is the row that does it:
/// a machine may stand still in one.
const WINDOWS: usize = 3;
/// An operation on another order that takes longer than this was held up: it takes some ten
/// milliseconds, and whoever waits for the locked row waits for seconds.
const HELD_UP: Duration = Duration::from_millis(500);

/// A new order, of which only these clients know; none if the store does not answer.
pub(crate) async fn row(scene: &Arc<Scene>) -> Option<Arc<Tale>> {
    let tale = Arc::new(Tale::new(1_000_000_000 + scene.tick(), KEYS));
    for _ in 0..TRIES {
        if create(scene, &tale, 0).await {
            return Some(tale);
        }
        scene.pause(Duration::from_millis(100)).await;
    }
    None
}

/// Looks how other orders fare while one is locked, from when `lock` has resolved.
pub(crate) async fn one_row(
    scene: Arc<Scene>,
    tale: Arc<Tale>,
    lock: impl Future<Output = Result<()>> + Send,
) -> Result<()> {
    let before = others(&scene, &tale).await;
    lock.await?;
    let mut held_up = None;
    for _ in 0..WINDOWS {
        let asks = (0..scene.plan.nodes).map(|place| asks_for(&scene, &tale, place));
        let asking = futures_util::future::join_all(asks);
        let during = tokio::select! {
            biased;
            _ = asking => Vec::new(),
            during = others(&scene, &tale) => during,
        };
        if (0..KEYS).any(|number| tale.told(&name(number)).is_some()) {
            bail!("the row was not locked");
        }
        let evidence = format!(
            "{} operations on other orders before, {} meanwhile, {} of them late",
            before.len(),
            during.len(),
            late(&during)
        );
        scene.ledger.struck(Fault::OneRow, &evidence);
        scene.ledger.checked("other orders while one row is locked");
        held_up = are_held_up(&before, &during).then_some(evidence);
        if held_up.is_none() {
            break;
        }
    }
    if let Some(evidence) = held_up {
        let what = format!("one locked row held all other orders up: {evidence}");
        scene.ledger.violation(&what);
    }
    Ok(())
}

fn late(took: &[Duration]) -> usize {
    took.iter().filter(|took| **took > HELD_UP).count()
}

/// Whether others waited for the locked row. Whoever was late before was held up by the machine.
fn are_held_up(before: &[Duration], during: &[Duration]) -> bool {
    let (slow, all) = (late(during), during.len());
    let held_up = slow * 2 > all && late(before) * 4 < before.len();
    let starved = before.len() > 40 && all * 12 < before.len();
    held_up || starved
}

/// Asks for one order at one node, all the time.
async fn asks_for(scene: &Arc<Scene>, tale: &Arc<Tale>, place: usize) {
    loop {
        let number = scene.dice().below(tale.keys);
        let ask = Ask {
            place: Some(place),
            ..plain(number)
        };
        super::ask(scene, tale, ask).await;
        scene.pause(Duration::from_millis(5)).await;
    }
}

fn plain(number: usize) -> Ask {
    Ask {
        number,
        place: None,
        other_body: false,
        wait: Duration::ZERO,
        expects: false,
        odd_type: false,
        calm: true,
        leaves: None,
    }
}

/// How long operations on other orders take, over one window.
async fn others(scene: &Arc<Scene>, tale: &Arc<Tale>) -> Vec<Duration> {
    let end = Instant::now() + WINDOW;
    let clients = (0..OTHERS).map(|_| async {
        let mut took = Vec::new();
        while Instant::now() < end && !scene.ledger.is_broken() {
            let other = scene.some_tale().filter(|other| other.order != tale.order);
            let Some(other) = other else {
                tokio::time::sleep(Duration::from_millis(10)).await;
                continue;
            };
            let _working = other.work();
            let number = scene.dice().below(other.keys);
            let begun = Instant::now();
            ask(scene, &other, plain(number)).await;
            took.push(begun.elapsed());
        }
        took
    });
    let all = futures_util::future::join_all(clients).await;
    all.into_iter().flatten().collect()
}
