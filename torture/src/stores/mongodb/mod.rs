//! A server that speaks MongoDB's protocol, a link of its own for each node, and a service beside
//! them that knows nothing of Orderlock.

mod old_service;
mod server;

use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use orderlock_core::OrderStore;
use orderlock_mongodb::{MongodbOptions, MongodbStore};

use super::{Bed, Struck};
use crate::clock::{Clock, NodeRuntime};
use crate::faults::{Cut, Fault, Link, Wire};
use crate::plan::Plan;
use crate::scene::Scene;
use old_service::OldService;
use server::Server;

/// How long a command may take.
const PATIENCE: Duration = Duration::from_millis(2_500);
/// How long it is waited for a request or a write that can be cut.
const CUT_MAX: Duration = Duration::from_secs(2);
/// The database of the run, and where its orders are.
const DATABASE: &str = "torture";
const ORDERS: &str = "orders";

/// A server, and the ways there.
pub(super) struct Mongodb {
    clock: Arc<Clock>,
    server: Server,
    links: Vec<Link>,
    old_service: OldService,
}

impl Mongodb {
    pub(super) async fn new(plan: &Plan, clock: Arc<Clock>) -> Result<Self> {
        let server = Server::start().await?;
        let mut links = Vec::new();
        for _ in 0..plan.nodes {
            links.push(Link::new(Wire::Mongodb, &server.port).await?);
        }
        let old_service = OldService::connect(&server.address()).await?;
        Ok(Self {
            clock,
            server,
            links,
            old_service,
        })
    }

    fn some_link(&self, scene: &Scene) -> (usize, &Link) {
        let place = scene.dice().below(self.links.len());
        (place, &self.links[place])
    }

    async fn cut(&self, scene: &Scene, cut: Cut) -> Struck {
        let (place, link) = self.some_link(scene);
        let met = link.cut(cut, CUT_MAX).await;
        Ok(met.then(|| format!("of node {place}")))
    }

    async fn slow_down(&self, scene: &Scene, time: Duration) -> Struck {
        let (place, link) = self.some_link(scene);
        let delay = Duration::from_millis(20) + scene.dice().duration(Duration::from_millis(100));
        link.slow_down(delay);
        tokio::time::sleep(time + Duration::from_secs(1)).await;
        link.slow_down(Duration::ZERO);
        let millis = delay.as_millis();
        Ok(Some(format!("of node {place} by {millis} ms each way")))
    }
}

impl Bed for Mongodb {
    fn clock(&self) -> &Arc<Clock> {
        &self.clock
    }

    fn faults(&self) -> Vec<Fault> {
        let mut faults = Fault::OF_ANY.to_vec();
        faults.extend([
            Fault::CutBefore,
            Fault::CutAfter,
            Fault::SlowLink,
            Fault::OldLock,
            Fault::OldDies,
            Fault::OldSet,
            Fault::OldUnlock,
            Fault::OldReplace,
            Fault::Crowd,
            Fault::DeadClockBack,
        ]);
        if self.server.is_own() {
            faults.push(Fault::Restart);
        }
        faults
    }

    fn open(
        self: Arc<Self>,
        place: usize,
        runtime: Arc<NodeRuntime>,
    ) -> BoxFuture<'static, Result<Arc<dyn OrderStore>>> {
        async move {
            let port = self.links[place].port();
            let address = format!("mongodb://127.0.0.1:{port}/{DATABASE}?collection={ORDERS}");
            let options = MongodbOptions::default()
                .with_runtime(runtime)
                .with_connections(16)
                .with_patience(PATIENCE);
            let store = MongodbStore::connect(&address, options).await?;
            Ok(Arc::new(store) as Arc<dyn OrderStore>)
        }
        .boxed()
    }

    fn strike(self: Arc<Self>, fault: Fault, scene: Arc<Scene>) -> BoxFuture<'static, Struck> {
        async move {
            let time = scene.dice().duration(Duration::from_millis(900));
            match fault {
                Fault::CutBefore => self.cut(&scene, Cut::Before).await,
                Fault::CutAfter => self.cut(&scene, Cut::After).await,
                Fault::SlowLink => self.slow_down(&scene, time).await,
                Fault::Restart => self.server.restart().await,
                _ => self.old_service.strike(fault, &scene, time).await,
            }
        }
        .boxed()
    }

    fn calm(&self) -> BoxFuture<'_, Result<()>> {
        self.links
            .iter()
            .for_each(|link| link.slow_down(Duration::ZERO));
        async move { self.old_service.let_go().await }.boxed()
    }
}
