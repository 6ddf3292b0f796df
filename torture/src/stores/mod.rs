//! The stores that are tortured, each with a server and faults of its own.

mod mongodb;
mod postgres;
mod sqlite;

use std::sync::Arc;

use anyhow::Result;
use clap::ValueEnum;
use futures_util::future::BoxFuture;
use orderlock_core::OrderStore;

use crate::clock::{Clock, NodeRuntime};
use crate::faults::Fault;
use crate::scene::Scene;

/// A kind of store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Kind {
    /// The embedded store.
    Sqlite,
    /// PostgreSQL: a primary and a standby.
    Postgres,
    /// A server that speaks MongoDB's protocol.
    Mongodb,
}

impl Kind {
    pub(crate) const ALL: [Self; 3] = [Self::Sqlite, Self::Postgres, Self::Mongodb];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Sqlite => "sqlite",
            Self::Postgres => "postgres",
            Self::Mongodb => "mongodb",
        }
    }

    /// Makes what the nodes share: files, servers, and the ways there.
    pub(crate) async fn prepare(self, plan: &crate::plan::Plan) -> Result<Arc<dyn Bed>> {
        let clock = Arc::new(Clock::default());
        Ok(match self {
            Self::Sqlite => Arc::new(sqlite::Sqlite::new(plan, clock)?),
            Self::Postgres => Arc::new(postgres::Postgres::new(plan, clock).await?),
            Self::Mongodb => Arc::new(mongodb::Mongodb::new(plan, clock).await?),
        })
    }
}

/// What struck, as evidence; none if there was nothing to strike.
pub(crate) type Struck = Result<Option<String>>;

/// What nodes share, and what may befall it.
pub(crate) trait Bed: Send + Sync {
    /// The store's clock.
    fn clock(&self) -> &Arc<Clock>;

    /// The faults of this kind of store.
    fn faults(&self) -> Vec<Fault>;

    /// Opens the store for a node. Runs on the node's own runtime.
    fn open(
        self: Arc<Self>,
        place: usize,
        runtime: Arc<NodeRuntime>,
    ) -> BoxFuture<'static, Result<Arc<dyn OrderStore>>>;

    /// Deals a fault of this store.
    fn strike(self: Arc<Self>, fault: Fault, scene: Arc<Scene>) -> BoxFuture<'static, Struck>;

    /// Ends whatever goes on going wrong by itself.
    fn calm(&self) -> BoxFuture<'_, Result<()>>;
}
