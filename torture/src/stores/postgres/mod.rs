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
use crate::clients::{one_row, row};
use crate::clock::{Clock, NodeRuntime};
use crate::faults::{Fault, Links, Signals, Wire};
use crate::plan::Plan;
use crate::scene::Scene;
use cluster::PASSWORD;
use servers::Servers;

/// How long an answer of the server may take.
const PATIENCE: Duration = Duration::from_millis(2_500);

/// A primary and a standby, and the ways there.
pub(super) struct Postgres {
    clock: Arc<Clock>,
    servers: Servers,
    links: Links,
    signals: Signals,
}

impl Postgres {
    pub(super) async fn new(plan: &Plan, clock: Arc<Clock>) -> Result<Self> {
        let servers = Servers::start().await?;
        let links = Links::new(plan.nodes, Wire::Postgres, &servers.port).await?;
        Ok(Self {
            clock,
            servers,
            links,
            signals: Signals::new()?,
        })
    }

    async fn one_row(&self, scene: Arc<Scene>) -> Struck {
        let Some(tale) = row(&scene).await else {
            return Ok(None);
        };
        let hand = self.servers.hand().await?;
        let lock = "BEGIN; SET LOCAL lock_timeout = 0; SELECT FROM orders WHERE id = $1 FOR UPDATE";
        let lock = lock.replace("$1", &format!("'{}'", tale.order));
        // It stays locked until the connection goes with this future.
        one_row(scene, tale, async { Ok(hand.batch_execute(&lock).await?) }).await?;
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
            let port = self.links.port(place);
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
                Fault::StoppedAtLock => self.stop_at_lock(&scene, time).await,
                Fault::StoppedAtCommit => self.stop_at_commit(time).await,
                Fault::RowLocked => self.lock_rows(&scene, time).await,
                Fault::Terminated => self.terminate().await,
                Fault::CutBefore | Fault::CutAfter | Fault::SlowLink => {
                    self.links.strike(fault, &scene, time).await
                }
                Fault::Restart => self.servers.restart(&scene).await,
                Fault::FailOver => {
                    let struck = self.servers.fail_over(&scene).await;
                    self.links.break_all();
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
        self.links.calm();
        async { Ok(()) }.boxed()
    }
}
