//! Whether the machine stands still, its disk does, or the store is slow to all that a node asks: then
//! whatever is lost in time has an excuse.

use std::io::Write as _;
use std::sync::{Arc, Mutex, Weak};
use std::time::{Duration, Instant};

use anyhow::Result;

use crate::ledger::lock;
use crate::scene::Scene;

/// How often it is looked, and from when on it counts as a stall.
const LOOKS_EVERY: Duration = Duration::from_millis(50);
const STALL: Duration = Duration::from_millis(500);

/// When what is going on now has begun.
type UnderWay = Arc<Mutex<Option<Instant>>>;

/// Notes when this process is given no time, its disk flushes nothing, or the store is slow. It looks from
/// threads of its own, so that no task that keeps the others waiting counts as such.
#[allow(
    clippy::disallowed_methods,
    reason = "the torture runs in real time, and this measures it"
)]
pub(crate) fn look_for_stalls(scene: &Arc<Scene>) -> Result<()> {
    let flush = UnderWay::default();
    flush_again(Arc::downgrade(scene), Arc::clone(&flush))?;
    let scene = Arc::downgrade(scene);
    std::thread::spawn(move || {
        while let Some(scene) = scene.upgrade() {
            let begun = Instant::now();
            std::thread::sleep(LOOKS_EVERY);
            let flushing = lock(&flush).map_or(Duration::ZERO, |begun| begun.elapsed());
            for (what, took) in [("machine", begun.elapsed()), ("disk", flushing)] {
                if took > STALL {
                    scene.stalled();
                    let millis = took.as_millis();
                    let what = format!("the {what} stood still for {millis} ms");
                    scene.ledger.line(&what);
                }
            }
            if scene.ledger.is_slow() {
                scene.stalled();
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
