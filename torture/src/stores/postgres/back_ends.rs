//! What is done to single processes of the server, and rows that others lock.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use tokio::time::timeout;
use tokio_postgres::Client;

use super::servers::connect;
use super::{Postgres, Struck};
use crate::scene::Scene;

/// Processes at work for nodes: what each waits for. Asked without a lock on any table, so that it
/// is answered while a process stands still that has the table of locks.
const AT_WORK: &str = "SELECT pid, wait_event_type, wait_event, backend_xid IS NOT NULL,
        query LIKE '%INTO entries%'
    FROM pg_stat_get_activity(NULL)
    WHERE state = 'active' AND backend_type = 'client backend' AND application_name <> 'hand'";

/// So many locks are listed while all of the table of locks is held.
const LISTED: &str = "SELECT count(pg_advisory_lock(n)) FROM generate_series(1, 4000) n";
/// What a monitor asks, for the first row alone: so most of its time goes by while it has the table of
/// locks, and not while it makes rows of what it has seen.
const LIST: &str = "SELECT pg_lock_status() LIMIT 1";

/// How long one look may take.
const LOOK_MAX: Duration = Duration::from_secs(1);
/// How much depends on a process that has a number for its entries and waits to name it.
const BEST: u8 = 3;
/// How often it is looked whether such a one comes, while others wait for the same.
const COMES: usize = 8;
/// How often it is looked for a process that fits.
const LOOKS: usize = 60;
/// How long the standby stands still at most until a commit waits for it.
const STANDS_STILL_MAX: Duration = Duration::from_secs(5);

/// A process at work.
#[derive(Debug)]
struct AtWork {
    process: i32,
    kind: String,
    event: String,
    /// Whether it has begun to write.
    writes: bool,
    /// Whether it writes to the journal.
    entries: bool,
}

impl AtWork {
    /// Waits for a place in the table of locks, where it names the transaction that it has begun;
    /// or for the lock itself. The higher, the more depends on it.
    fn at_lock(&self) -> u8 {
        match (&*self.event, self.writes, self.entries) {
            ("LockManager", true, true) => BEST,
            ("LockManager", true, false) => 2,
            _ if self.kind == "Lock" => 1,
            _ => 0,
        }
    }

    fn is_at_commit(&self) -> bool {
        ["WALSync", "WALWrite", "WalSync", "WalWrite", "SyncRep"].contains(&&*self.event)
    }
}

async fn at_work(hand: &Client) -> Result<Vec<AtWork>> {
    let rows = timeout(LOOK_MAX, hand.query(AT_WORK, &[])).await;
    let rows = rows.context("the server does not say what its processes do")??;
    let mut all = Vec::new();
    for row in rows {
        all.push(AtWork {
            process: row.try_get(0)?,
            kind: row.try_get::<_, Option<String>>(1)?.unwrap_or_default(),
            event: row.try_get::<_, Option<String>>(2)?.unwrap_or_default(),
            writes: row.try_get(3)?,
            entries: row.try_get::<_, Option<bool>>(4)?.unwrap_or(false),
        });
    }
    Ok(all)
}

/// The process at a lock on which most depends. As long as processes come to the table of locks, it is
/// waited for a better one.
async fn come_to_lock(hand: &Client) -> Result<Option<AtWork>> {
    let mut found = None;
    for _ in 0..COMES {
        tokio::time::sleep(Duration::from_millis(15)).await;
        let all = at_work(hand).await?;
        let come = all.iter().any(|it| it.event == "LockManager");
        found = all.into_iter().max_by_key(AtWork::at_lock);
        if !come || found.as_ref().is_some_and(|it| it.at_lock() == BEST) {
            break;
        }
    }
    Ok(found)
}

impl Postgres {
    /// Stops a process at a lock.
    pub(super) async fn stop_at_lock(&self, scene: &Scene, time: Duration) -> Struck {
        match self.stop_while_listed(time).await? {
            None => self.stop_behind_row(scene, time).await,
            struck => Ok(struck),
        }
    }

    /// A process comes to a lock while another one lists all locks, as monitors do, and is stopped
    /// for a moment.
    async fn stop_while_listed(&self, time: Duration) -> Struck {
        let hand = self.servers.hand().await?;
        drop(at_work(&hand).await?);
        let monitor = self.servers.hand().await?;
        monitor.batch_execute(LISTED).await?;
        let row = monitor.query_one("SELECT pg_backend_pid()", &[]).await?;
        let process: i32 = row.try_get(0)?;
        let listing = async {
            while monitor.batch_execute(LIST).await.is_ok() {}
            std::future::pending::<()>().await;
        };
        let stopping = async {
            for look in 0..LOOKS {
                tokio::time::sleep(Duration::from_millis(5)).await;
                let Some(listing) = self.signals.stop(process) else {
                    return Ok(None);
                };
                // The best is waited for, for a while.
                let least = if look * 3 < LOOKS { BEST } else { 1 };
                let found = come_to_lock(&hand).await?;
                let Some(found) = found.filter(|it| it.at_lock() >= least) else {
                    continue;
                };
                let Some(stopped) = self.signals.stop(found.process) else {
                    continue;
                };
                drop(listing);
                stopped.wait(time + Duration::from_millis(100)).await;
                return Ok(Some(shown(&found, time)));
            }
            Ok(None)
        };
        tokio::select! {
            biased;
            struck = stopping => struck,
            () = listing => Ok(None),
        }
    }

    /// A process waits for a row that somebody else has locked, and is stopped there. Whoever had the
    /// row lets go of it meanwhile.
    async fn stop_behind_row(&self, scene: &Scene, time: Duration) -> Struck {
        let (other, hand) = (self.servers.hand().await?, self.servers.hand().await?);
        lock_some(&other, scene).await?;
        let waits = |it: &AtWork| it.kind == "Lock";
        for _ in 0..LOOKS {
            tokio::time::sleep(Duration::from_millis(5)).await;
            let all = at_work(&hand).await?;
            let Some(found) = all.iter().find(|it| waits(it)) else {
                continue;
            };
            let Some(stopped) = self.signals.stop(found.process) else {
                continue;
            };
            // It may have lost its patience between the look and the signal.
            let again = at_work(&hand).await?;
            let mut again = again.iter();
            if again.any(|it| it.process == found.process && waits(it)) {
                other.batch_execute("COMMIT").await?;
                stopped.wait(time + Duration::from_millis(100)).await;
                return Ok(Some(shown(found, time)));
            }
        }
        Ok(None)
    }

    /// Stops a process while it waits for its commit to be flushed or confirmed.
    pub(super) async fn stop_at_commit(&self, time: Duration) -> Struck {
        let hand = self.servers.hand().await?;
        for _ in 0..LOOKS {
            let all = at_work(&hand).await?;
            let Some(found) = all.iter().find(|at_work| at_work.is_at_commit()) else {
                tokio::time::sleep(Duration::from_millis(1)).await;
                continue;
            };
            let Some(stopped) = self.signals.stop(found.process) else {
                continue;
            };
            // It may have gone on between the look and the signal.
            let again = at_work(&hand).await;
            let still = again.is_ok_and(|all| {
                let mut all = all.iter();
                all.any(|it| it.process == found.process && it.is_at_commit())
            });
            stopped.wait(time).await;
            if still {
                return Ok(Some(shown(found, time)));
            }
        }
        Ok(None)
    }

    /// Somebody else locks rows of orders that clients want.
    pub(super) async fn lock_rows(&self, scene: &Scene, time: Duration) -> Struck {
        let (hand, other) = (self.servers.hand().await?, self.servers.hand().await?);
        let row = hand.query_one("SELECT pg_backend_pid()", &[]).await?;
        let process: i32 = row.try_get(0)?;
        let orders = lock_some(&hand, scene).await?;
        tokio::time::sleep(time).await;
        let held_up = "SELECT count(*) FROM pg_stat_activity WHERE $1 = ANY(pg_blocking_pids(pid))";
        let row = timeout(LOOK_MAX, other.query_one(held_up, &[&process])).await;
        let held_up: i64 = row
            .context("the server does not say who waits")??
            .try_get(0)?;
        hand.batch_execute("COMMIT").await?;
        let evidence = format!("{orders:?} for {} ms, {held_up} waited", time.as_millis());
        Ok((held_up > 0).then_some(evidence))
    }

    /// The server ends a connection that is at work.
    pub(super) async fn terminate(&self) -> Struck {
        let hand = self.servers.hand().await?;
        for _ in 0..LOOKS {
            if let Some(found) = at_work(&hand).await?.first() {
                let ends = "SELECT pg_terminate_backend($1)";
                let row = hand.query_one(ends, &[&found.process]).await?;
                let ended: bool = row.try_get(0)?;
                return Ok(ended.then(|| format!("process {} at work", found.process)));
            }
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        Ok(None)
    }

    /// The standby stands still for this long, and until a commit waits for it.
    pub(super) async fn hold_standby(&self, time: Duration) -> Struck {
        // A standby that lags behind is not to be promoted.
        let _one_at_a_time = self.servers.stay().await;
        let standby = self.servers.standby().context("no standby follows")?;
        let receiver = "SELECT pid FROM pg_stat_wal_receiver";
        let row = connect(&standby).await?.query_opt(receiver, &[]).await?;
        let row = row.context("the standby hears of nothing")?;
        let hand = self.servers.hand().await?;
        let Some(stopped) = self.signals.stop(row.try_get(0)?) else {
            return Ok(None);
        };
        let (begun, mut waited) = (Instant::now(), 0);
        while begun.elapsed() < time || (waited == 0 && begun.elapsed() < STANDS_STILL_MAX) {
            tokio::time::sleep(Duration::from_millis(50)).await;
            let all = at_work(&hand).await?;
            let waits = all.iter().filter(|it| it.event == "SyncRep").count();
            waited = waited.max(waits);
        }
        drop(stopped);
        let millis = begun.elapsed().as_millis();
        Ok((waited > 0).then(|| format!("for {millis} ms, {waited} commits waited")))
    }
}

/// Locks rows of orders that clients want, until the connection's transaction ends.
async fn lock_some(hand: &Client, scene: &Scene) -> Result<Vec<String>> {
    let orders: Vec<String> = {
        let live = scene.live();
        let mut dice = scene.dice();
        let some = (0..=dice.below(3)).filter_map(|_| live.get(dice.below(live.len())));
        some.map(|tale| tale.order.to_string()).collect()
    };
    hand.batch_execute("BEGIN; SET LOCAL lock_timeout = '1s'")
        .await?;
    let lock = "SELECT FROM orders WHERE id = ANY($1) ORDER BY id FOR UPDATE";
    hand.query(lock, &[&orders]).await?;
    Ok(orders)
}

fn shown(at_work: &AtWork, time: Duration) -> String {
    let AtWork { kind, event, .. } = at_work;
    let writes = if at_work.writes {
        ", with a number"
    } else {
        ""
    };
    format!("at {kind} {event}{writes}, for {} ms", time.as_millis())
}
