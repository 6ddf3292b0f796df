//! One row is locked for long by somebody else, and one client asks for it all the time. All other
//! orders go on.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::clients::{Ask, ask};
use crate::faults::Fault;
use crate::scene::Scene;
use crate::tale::Tale;

/// How many clients ask for other orders, each one after the other.
const OTHERS: usize = 4;
/// How long each of the two measurements takes.
const WINDOW: Duration = Duration::from_secs(4);
/// An operation on another order that takes longer than this was held up: it takes some ten
/// milliseconds, and whoever waits for the locked row waits for seconds.
const HELD_UP: Duration = Duration::from_millis(500);

/// Looks how other orders fare while one is locked. `lock` locks it and lets go when the future is
/// dropped.
pub(crate) async fn one_row(
    scene: Arc<Scene>,
    tale: Arc<Tale>,
    locked: impl Future<Output = ()> + Send,
) {
    let before = others(&scene, &tale).await;
    let asking = async {
        loop {
            let number = scene.dice().below(tale.keys);
            ask(&scene, &tale, plain(number)).await;
        }
    };
    let during = tokio::select! {
        biased;
        () = async { tokio::join!(locked, asking); } => Vec::new(),
        during = others(&scene, &tale) => during,
    };
    let late = |all: &[Duration]| all.iter().filter(|took| **took > HELD_UP).count();
    let (slow, all) = (late(&during), during.len());
    let evidence = format!(
        "{} operations on other orders before, {all} meanwhile, {slow} of them late",
        before.len()
    );
    scene.ledger.struck(Fault::OneRow, &evidence);
    // Whoever was late before was held up by the machine.
    let held_up = slow * 2 > all && late(&before) * 4 < before.len();
    let starved = before.len() > 40 && all * 12 < before.len();
    if held_up || starved {
        let what = format!("one locked row held all other orders up: {evidence}");
        scene.ledger.violation(&what);
    }
    scene.ledger.checked("other orders while one row is locked");
}

fn plain(number: usize) -> Ask {
    Ask {
        number,
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
