//! PostgreSQL: a primary and a standby of the run's own, and a link of its own for each node.

mod back_ends;
mod cluster;
mod servers;

use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use orderlock_core::OrderStore;
use orderlock_postgres::{PostgresOptions, PostgresStore};

use super::{Bed, Struck};
use crate::clients::one_row;
use crate::clock::{Clock, NodeRuntime};
use crate::faults::{Cut, Fault, Link, Signals, Wire};
use crate::plan::Plan;
use crate::scene::Scene;
use cluster::PASSWORD;
use servers::Servers;

/// How long an answer of the server may take.
const PATIENCE: Duration = Duration::from_millis(2_500);
/// How long it is waited for a request or a write that can be cut.
const CUT_MAX: Duration = Duration::from_secs(2);

/// A primary and a standby, and the ways there.
pub(super) struct Postgres {
    clock: Arc<Clock>,
    servers: Servers,
    links: Vec<Link>,
    signals: Signals,
}

impl Postgres {
    pub(super) async fn new(plan: &Plan, clock: Arc<Clock>) -> Result<Self> {
        let servers = Servers::start().await?;
        let mut links = Vec::new();
        for _ in 0..plan.nodes {
            links.push(Link::new(Wire::Postgres, &servers.port).await?);
        }
        Ok(Self {
            clock,
            servers,
            links,
            signals: Signals::new()?,
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

    async fn one_row(&self, scene: Arc<Scene>) -> Struck {
        let Some(tale) = scene.some_tale() else {
            return Ok(None);
        };
        let _working = tale.work();
        let hand = self.servers.hand().await?;
        let lock = "BEGIN; SET LOCAL lock_timeout = 0; SELECT FROM orders WHERE id = $1 FOR UPDATE";
        let lock = lock.replace("$1", &format!("'{}'", tale.order));
        let locked = async {
            // It stays until the connection goes with this future.
            let _locked = hand.batch_execute(&lock).await;
            std::future::pending::<()>().await;
        };
        one_row(scene, Arc::clone(&tale), locked).await;
        Ok(None)
    }
}

impl Bed for Postgres {
    fn clock(&self) -> &Arc<Clock> {
        &self.clock
    }

    fn faults(&self) -> Vec<Fault> {
        let mut faults = Fault::OF_ANY.to_vec();
        faults.extend([
            Fault::StoppedAtLock,
            Fault::StoppedAtCommit,
            Fault::RowLocked,
            Fault::CutBefore,
            Fault::CutAfter,
            Fault::Terminated,
            Fault::SlowLink,
            Fault::Restart,
            Fault::FailOver,
            Fault::StandbyAway,
            Fault::OneRow,
            Fault::Crowd,
            Fault::DeadClockBack,
        ]);
        faults
    }

    fn open(
        self: Arc<Self>,
        place: usize,
        runtime: Arc<NodeRuntime>,
    ) -> BoxFuture<'static, Result<Arc<dyn OrderStore>>> {
        async move {
            let port = self.links[place].port();
            let address = format!("postgres://postgres:{PASSWORD}@127.0.0.1:{port}/postgres");
            let options = PostgresOptions::default()
                .with_runtime(runtime)
                .with_connections(8)
                .with_patience(PATIENCE);
            let store = PostgresStore::open(&address, options).await?;
            Ok(Arc::new(store) as Arc<dyn OrderStore>)
        }
        .boxed()
    }

    fn strike(self: Arc<Self>, fault: Fault, scene: Arc<Scene>) -> BoxFuture<'static, Struck> {
        async move {
            let time = scene.dice().duration(Duration::from_millis(900));
            match fault {
                Fault::StoppedAtLock => self.stop_at_lock(time).await,
                Fault::StoppedAtCommit => self.stop_at_commit(time).await,
                Fault::RowLocked => self.lock_rows(&scene, time).await,
                Fault::Terminated => self.terminate().await,
                Fault::CutBefore => self.cut(&scene, Cut::Before).await,
                Fault::CutAfter => self.cut(&scene, Cut::After).await,
                Fault::SlowLink => self.slow_down(&scene, time).await,
                Fault::Restart => self.servers.restart().await,
                Fault::FailOver => {
                    let struck = self.servers.fail_over().await;
                    self.links.iter().for_each(Link::break_all);
                    struck
                }
                Fault::StandbyAway => self.hold_standby(time * 3).await,
                Fault::OneRow => self.one_row(scene).await,
                _ => Ok(None),
            }
        }
        .boxed()
    }

    fn calm(&self) -> BoxFuture<'_, Result<()>> {
        self.links
            .iter()
            .for_each(|link| link.slow_down(Duration::ZERO));
        async { Ok(()) }.boxed()
    }
}
