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
use crate::faults::{Fault, Links, Wire};
use crate::plan::Plan;
use crate::scene::Scene;
use old_service::OldService;
use server::Server;

/// How long a command may take.
const PATIENCE: Duration = Duration::from_millis(2_500);
/// The database of the run, and where its orders are.
const DATABASE: &str = "torture";
const ORDERS: &str = "orders";

/// A server, and the ways there.
pub(super) struct Mongodb {
    clock: Arc<Clock>,
    server: Server,
    links: Links,
    old_service: OldService,
}

impl Mongodb {
    pub(super) async fn new(plan: &Plan, clock: Arc<Clock>) -> Result<Self> {
        let server = Server::start().await?;
        let links = Links::new(plan.nodes, Wire::Mongodb, &server.port).await?;
        let old_service = OldService::connect(&server.address()).await?;
        Ok(Self {
            clock,
            server,
            links,
            old_service,
        })
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
            let port = self.links.port(place);
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
                Fault::CutBefore | Fault::CutAfter | Fault::SlowLink => {
                    self.links.strike(fault, &scene, time).await
                }
                Fault::Restart => self.server.restart(&scene).await,
                _ => self.old_service.strike(fault, &scene, time).await,
            }
        }
        .boxed()
    }

    fn calm(&self) -> BoxFuture<'_, Result<()>> {
        self.links.calm();
        async move { self.old_service.let_go().await }.boxed()
    }
}
