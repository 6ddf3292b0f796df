//! The primary and its standby: restarted, failed over, and made again.

use std::sync::atomic::{AtomicU16, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyhow::{Context as _, Result};
use tokio::sync::MutexGuard;
use tokio_postgres::{Client, NoTls};

use super::Struck;
use super::cluster::Cluster;
use crate::ledger::lock;
use crate::scene::Scene;

/// What the servers are told at their start.
const SETTINGS: [&str; 4] = [
    "max_connections = 200",
    "shared_buffers = '64MB'",
    "synchronous_standby_names = ''",
    "timezone = 'UTC'",
];

/// How the run's own connections are told from those of nodes.
pub(super) const HAND: &str = "hand";

/// How long a standby may take to come up with its primary.
const COMES_UP: Duration = Duration::from_secs(20);

/// Both servers.
#[derive(Debug)]
pub(super) struct Servers {
    /// Where the primary is, for the links.
    pub(super) port: Arc<AtomicU16>,
    primary: Mutex<Arc<Cluster>>,
    standby: Mutex<Option<Arc<Cluster>>>,
    /// One of these at a time.
    changing: tokio::sync::Mutex<()>,
}

impl Servers {
    pub(super) async fn start() -> Result<Self> {
        let primary = tokio::task::spawn_blocking(|| Cluster::new(&SETTINGS)).await??;
        let servers = Self {
            port: Arc::new(AtomicU16::new(primary.port)),
            primary: Mutex::new(Arc::new(primary)),
            standby: Mutex::default(),
            changing: tokio::sync::Mutex::default(),
        };
        servers.follow().await?;
        Ok(servers)
    }

    pub(super) fn primary(&self) -> Arc<Cluster> {
        Arc::clone(&lock(&self.primary))
    }

    pub(super) fn standby(&self) -> Option<Arc<Cluster>> {
        lock(&self.standby).clone()
    }

    /// A connection to the primary that no link is in the way of.
    pub(super) async fn hand(&self) -> Result<Client> {
        connect(&self.primary()).await
    }

    /// Makes a standby, and has every commit wait for it.
    async fn follow(&self) -> Result<()> {
        let primary = self.primary();
        let standby = tokio::task::spawn_blocking(move || primary.standby()).await??;
        *lock(&self.standby) = Some(Arc::new(standby));
        let hand = self.hand().await?;
        for statement in [
            "ALTER SYSTEM SET synchronous_standby_names = '*'",
            "SELECT pg_reload_conf()",
        ] {
            hand.batch_execute(statement).await?;
        }
        self.in_step(&hand).await
    }

    /// Waits until the standby has on its disk all that the primary has now. A commit whose wait for it
    /// was ended has not been answered, and yet others have seen it.
    async fn in_step(&self, hand: &Client) -> Result<()> {
        let confirmed = "SELECT count(*) FROM pg_stat_replication
            WHERE sync_state = 'sync' AND flush_lsn >= $1::text::pg_lsn";
        let comes_up = async {
            let row = hand.query_one("SELECT pg_current_wal_lsn()::text", &[]);
            let now: String = row.await?.try_get(0)?;
            loop {
                let row = hand.query_one(confirmed, &[&now]).await?;
                if row.try_get::<_, i64>(0)? > 0 {
                    return Ok::<_, tokio_postgres::Error>(());
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        let came = tokio::time::timeout(COMES_UP, comes_up).await;
        Ok(came.context("the standby does not come up with its primary")??)
    }

    /// Nothing is restarted or failed over until this is dropped.
    pub(super) async fn stay(&self) -> MutexGuard<'_, ()> {
        self.changing.lock().await
    }

    /// The primary ends as in a crash, and starts again.
    pub(super) async fn restart(&self, scene: &Scene) -> Struck {
        let _alone = self.changing.lock().await;
        let busy = scene.busy();
        if busy == 0 {
            return Ok(None);
        }
        let primary = self.primary();
        tokio::task::spawn_blocking(move || {
            primary.crash()?;
            primary.start()
        })
        .await??;
        let evidence = format!("the primary, at once, with {busy} requests in flight");
        Ok(Some(evidence))
    }

    /// The primary is killed and the standby promoted; another standby then follows it.
    pub(super) async fn fail_over(&self, scene: &Scene) -> Struck {
        let _alone = self.changing.lock().await;
        let Some(standby) = self.standby() else {
            return Ok(None);
        };
        let hand = self.hand().await?;
        // Only a standby that has all that was answered may be promoted.
        if self.in_step(&hand).await.is_err() {
            return Ok(None);
        }
        let busy = scene.busy();
        if busy == 0 {
            return Ok(None);
        }
        *lock(&self.standby) = None;
        let (old, new) = (self.primary(), Arc::clone(&standby));
        tokio::task::spawn_blocking(move || {
            old.kill()?;
            new.promote()
        })
        .await??;
        self.port.store(standby.port, Ordering::Release);
        let old = std::mem::replace(&mut *lock(&self.primary), standby);
        // Stopped with all that it has left behind.
        tokio::task::spawn_blocking(move || drop(old)).await?;
        self.follow().await?;
        Ok(Some(format!(
            "the primary was killed with {busy} requests in flight, its standby promoted, and followed"
        )))
    }
}

pub(super) async fn connect(cluster: &Cluster) -> Result<Client> {
    let address = format!("{}?application_name={HAND}", cluster.address());
    let connected = tokio_postgres::connect(&address, NoTls).await;
    let (client, connection) = connected.context("no connection to a server of the run's own")?;
    tokio::spawn(connection);
    Ok(client)
}
