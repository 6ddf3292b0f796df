//! Whether the machine stands still, or the server: then whatever is lost in time has an excuse. It is
//! looked for beside the nodes, so that none of their own work counts as such.

use std::io::Write as _;
use std::sync::{Arc, Mutex, Weak};
use std::time::{Duration, Instant};

use anyhow::Result;

use crate::ledger::lock;
use crate::scene::Scene;

/// How often it is looked, and from when on it counts as a stall.
const LOOKS_EVERY: Duration = Duration::from_millis(50);
const STALL: Duration = Duration::from_millis(500);
/// A server that is busy takes its time; from when on it counts as standing still.
const SERVER_STALL: Duration = Duration::from_secs(1);
const PULSE_EVERY: Duration = Duration::from_millis(500);

/// When what is going on now has begun.
type UnderWay = Arc<Mutex<Option<Instant>>>;

/// Notes when this process is given no time, its disk flushes nothing, or the server answers nobody.
#[allow(
    clippy::disallowed_methods,
    reason = "the torture runs in real time, and this measures it"
)]
pub(crate) fn look_for_stalls(scene: &Arc<Scene>) -> Result<()> {
    let (flush, pulse) = (UnderWay::default(), UnderWay::default());
    flush_again(Arc::downgrade(scene), Arc::clone(&flush))?;
    tokio::spawn(pulse_again(Arc::downgrade(scene), Arc::clone(&pulse)));
    let scene = Arc::downgrade(scene);
    std::thread::spawn(move || {
        while let Some(scene) = scene.upgrade() {
            let begun = Instant::now();
            std::thread::sleep(LOOKS_EVERY);
            let since = |under_way: &UnderWay| {
                let begun = *lock(under_way);
                begun.map_or(Duration::ZERO, |begun| begun.elapsed())
            };
            for (what, took, most) in [
                ("machine", begun.elapsed(), STALL),
                ("disk", since(&flush), STALL),
                ("server", since(&pulse), SERVER_STALL),
            ] {
                if took > most {
                    scene.stalled();
                    let millis = took.as_millis();
                    let what = format!("the {what} stood still for {millis} ms");
                    scene.ledger.line(&what);
                }
            }
        }
    });
    Ok(())
}

/// Flushes again and again what makes a file grow: that takes as long as it takes the store.
#[allow(
    clippy::disallowed_methods,
    reason = "the torture runs in real time, and this measures it"
)]
fn flush_again(scene: Weak<Scene>, flush: UnderWay) -> Result<()> {
    let mut file = tempfile::tempfile()?;
    std::thread::spawn(move || {
        while scene.strong_count() > 0 {
            lock(&flush).replace(Instant::now());
            // A disk that is full, as part of the run, is not what is looked for.
            let _flushed = file.write_all(&[b'.'; 4096]);
            let _flushed = file.sync_data();
            lock(&flush).take();
            std::thread::sleep(LOOKS_EVERY * 4);
        }
    });
    Ok(())
}

/// Has the server work again and again. One that is not there is a fault of the run's.
async fn pulse_again(scene: Weak<Scene>, pulse: UnderWay) {
    while let Some(scene) = scene.upgrade() {
        lock(&pulse).replace(Instant::now());
        let _beaten = scene.bed.pulse().await;
        lock(&pulse).take();
        drop(scene);
        tokio::time::sleep(PULSE_EVERY).await;
    }
}
