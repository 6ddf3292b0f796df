//! Deals each kind of fault again and again, while it is in the weather.

use std::sync::Arc;

use super::{Fault, nodes, operators};
use crate::scene::Scene;
use crate::stores::Struck;

/// A task for each fault; they end with the runtime.
pub(crate) fn deal_all(scene: &Arc<Scene>) {
    let faults = scene.faults();
    let acted = |fault: &Fault| Fault::OF_ACTS.contains(fault) || *fault == Fault::ClientGone;
    for fault in faults.into_iter().filter(|fault| !acted(fault)) {
        tokio::spawn(deal(Arc::clone(scene), fault));
    }
}

async fn deal(scene: Arc<Scene>, fault: Fault) {
    let mut first = true;
    loop {
        scene.is_due(fault).await;
        // The first comes early, so that even a short storm has each.
        let every = fault.every();
        scene.pause(if first { every / 4 } else { every }).await;
        if !scene.has(fault) {
            continue;
        }
        let struck = {
            let _under_way = scene.striking();
            strike(&scene, fault).await
        };
        match struck {
            Ok(Some(evidence)) => {
                first = false;
                scene.ledger.struck(fault, &evidence);
            }
            Ok(None) => scene.ledger.missed(fault),
            Err(error) => {
                scene.ledger.missed(fault);
                scene.ledger.line(&format!("{}: {error:#}", fault.name()));
            }
        }
    }
}

async fn strike(scene: &Arc<Scene>, fault: Fault) -> Struck {
    match fault {
        Fault::NodeKilled => nodes::kill(scene).await,
        Fault::NodePaused => nodes::pause(scene).await,
        Fault::NodeDrained => nodes::drain(scene).await,
        Fault::ClockForward | Fault::ClockBack | Fault::ClockFar => nodes::step(scene, fault).await,
        Fault::LeaseBroken => operators::break_lease(scene).await,
        Fault::RunAgain => operators::decide(scene, false).await,
        Fault::Decided => operators::decide(scene, true).await,
        _ => {
            Arc::clone(&scene.bed)
                .strike(fault, Arc::clone(scene))
                .await
        }
    }
}
