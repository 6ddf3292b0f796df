//! The ways of all nodes to their server, and what goes wrong on them.

use std::sync::Arc;
use std::sync::atomic::AtomicU16;
use std::time::Duration;

use anyhow::Result;

use super::Fault;
use super::link::{Cut, Link};
use super::wire::Wire;
use crate::scene::Scene;
use crate::stores::Struck;

/// How long it is waited for a request or a write that can be cut.
const CUT_MAX: Duration = Duration::from_secs(2);

/// A link of its own for each node.
pub(crate) struct Links(Vec<Link>);

impl Links {
    pub(crate) async fn new(nodes: usize, wire: Wire, server: &Arc<AtomicU16>) -> Result<Self> {
        let mut links = Vec::new();
        for _ in 0..nodes {
            links.push(Link::new(wire, server).await?);
        }
        Ok(Self(links))
    }

    /// Where the node at a place finds its server.
    pub(crate) fn port(&self, place: usize) -> u16 {
        self.0[place].port()
    }

    /// Deals a fault of the way of some node.
    pub(crate) async fn strike(&self, fault: Fault, scene: &Scene, time: Duration) -> Struck {
        let place = scene.dice().below(self.0.len());
        let link = &self.0[place];
        let cut = match fault {
            Fault::CutBefore => Cut::Before,
            Fault::CutAfter => Cut::After,
            _ => return slow_down(link, place, scene, time).await,
        };
        let met = link.cut(cut, CUT_MAX).await;
        Ok(met.then(|| format!("of node {place}")))
    }

    /// Breaks every connection that there is.
    pub(crate) fn break_all(&self) {
        self.0.iter().for_each(Link::break_all);
    }

    /// All are fast again.
    pub(crate) fn calm(&self) {
        self.0
            .iter()
            .for_each(|link| link.slow_down(Duration::ZERO));
    }
}

async fn slow_down(link: &Link, place: usize, scene: &Scene, time: Duration) -> Struck {
    let delay = Duration::from_millis(20) + scene.dice().duration(Duration::from_millis(100));
    let before = link.delayed();
    link.slow_down(delay);
    tokio::time::sleep(time + Duration::from_secs(1)).await;
    link.slow_down(Duration::ZERO);
    let (millis, pieces) = (delay.as_millis(), link.delayed() - before);
    let evidence = format!("of node {place} by {millis} ms each way, {pieces} times");
    Ok((pieces > 0).then_some(evidence))
}
