//! Clients that use every verb.

mod ask;
mod crowd;
mod handlers;
mod lists;
mod one_row;

use std::sync::Arc;
use std::time::Duration;

pub(crate) use ask::{Ask, ask, fingerprint, tell, word};
pub(crate) use crowd::crowd;
pub(crate) use lists::{list, look};
pub(crate) use one_row::{one_row, row};

use crate::faults::Fault;
use crate::plan::What;
use crate::scene::Scene;

/// One client: asks, waits, goes away, and asks again under the same key, at any node.
pub(crate) async fn client(scene: Arc<Scene>) {
    loop {
        scene.pause(Duration::from_millis(25)).await;
        match scene.weather().what {
            What::Crowd | What::OneRow => scene.pause(Duration::from_millis(500)).await,
            What::End => return,
            What::Calm | What::Storm => {}
        }
        let Some(tale) = scene.some_tale() else {
            continue;
        };
        let _working = tale.work();
        let leaving = scene.has(Fault::ClientGone);
        let ask = {
            let mut dice = scene.dice();
            Ask {
                number: dice.below(tale.keys),
                place: None,
                other_body: dice.chance(400),
                wait: Duration::from_millis(dice.one_of(&[0, 0, 200, 2_000, 10_000])),
                expects: dice.chance(500),
                odd_type: dice.chance(100),
                calm: false,
                leaves: (leaving && dice.chance(1_000))
                    .then(|| dice.duration(Duration::from_millis(100))),
            }
        };
        self::ask(&scene, &tale, ask).await;
    }
}
