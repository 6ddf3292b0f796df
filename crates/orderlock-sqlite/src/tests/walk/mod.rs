//! Whatever happens, what memory knows is what the file says: random walks over a few orders, in
//! batches, with settles that are repeated, writes that fail half way and flushes that fail.

mod asks;

use std::collections::HashMap;
use std::io;
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use orderlock_core::store::{Acquire, Acquired, Grant, History, Part, Settle, Settled, Sweep};
use orderlock_core::{OrderStore as _, Runtime as _};
use orderlock_testkit::fixtures;
use tokio::sync::oneshot;

use self::asks::Job;
use super::{Bench, join};
use crate::SqliteOptions;
use crate::mutex::lock;
use crate::writer::flusher::{Log, LogFile};

const ORDERS: usize = 3;
const WALKS: usize = 12;
const STEPS: usize = 80;

/// What is to become of the next flush.
#[derive(Default)]
struct Next {
    fails: bool,
    /// Whom it tells that it has begun, and what it then waits for.
    waits: Option<(oneshot::Sender<()>, Receiver<()>)>,
}

struct Flaky {
    next: Arc<Mutex<Next>>,
    file: LogFile,
}

impl Log for Flaky {
    fn flush(&mut self) -> io::Result<()> {
        let next = std::mem::take(&mut *lock(&self.next));
        if let Some((begun, go)) = next.waits {
            let _ = begun.send(());
            let _ = go.recv();
        }
        if next.fails {
            return Err(io::Error::other("the disk did not take it"));
        }
        self.file.flush()
    }
}

struct Walk {
    bench: Bench,
    next: Arc<Mutex<Next>>,
    /// What was granted last, and how many checkpoints each has made. Some have ended meanwhile.
    grants: Vec<(Acquire, Grant, u32)>,
    /// What was sent last, and may be sent again.
    settles: Vec<Settle>,
}

impl Walk {
    async fn new(seed: usize, order_memory: usize) -> Self {
        let next = Arc::new(Mutex::new(Next::default()));
        let shared = Arc::clone(&next);
        let options = SqliteOptions::default().with_order_memory(order_memory);
        let bench = Bench::flushing(options, |file| Box::new(Flaky { next: shared, file })).await;
        for order in 0..ORDERS {
            bench.order(&format!("o{order}")).await;
        }
        for _ in 0..seed {
            bench.runtime.random();
        }
        Self {
            bench,
            next,
            grants: Vec::new(),
            settles: Vec::new(),
        }
    }

    /// One batch, and at times another that is built on it before it is on the disk.
    async fn step(&mut self) {
        self.pass_time().await;
        let stopped = self.bench.stop().await;
        let mut jobs = self.some_jobs().await;
        let ((begin, begun), (go, going)) = (oneshot::channel(), channel());
        *lock(&self.next) = Next {
            fails: self.one_in(6),
            waits: self.one_in(2).then_some((begin, going)),
        };
        let first = stopped.go();
        // If it writes nothing, it ends without a flush.
        futures_util::future::select(begun, first).await;
        jobs.extend(self.some_jobs().await);
        drop(go);
        for job in jobs {
            self.learn(job).await;
        }
        *lock(&self.next) = Next::default();
        // What comes through the writer now has everything else behind it.
        self.bench.on_writer(|_| Ok(())).await.unwrap();
    }

    async fn pass_time(&mut self) {
        let time = match self.below(40) {
            0 => Duration::from_secs(25 * 3_600),
            1 => Duration::from_secs(31 * 24 * 3_600),
            2 | 3 => Duration::from_secs(11),
            _ => return,
        };
        self.bench.runtime.advance(time);
        self.bench.store.sweep(Sweep { limit: 9 }).await.unwrap();
        self.bench.session = join(&self.bench.store, &self.bench.runtime, "node").await;
    }

    async fn learn(&mut self, job: Job) {
        match job {
            Job::Other(done) => done.await.unwrap(),
            Job::Acquire(request, answer) => self.granted(request, answer.await.unwrap()),
            Job::Settle(settle, answer) => {
                let Some(Settled::Accepted(accepted)) = answer.await.unwrap() else {
                    self.settles.push(settle);
                    return;
                };
                if let Some(next) = settle.next() {
                    self.granted(next.clone(), accepted.next);
                }
                // Durable, lost or unknown.
                let _ = accepted.durable.await;
                let held = self.grants.iter_mut().find(|it| it.1.fence == settle.fence);
                if let (Part::Checkpoint(change), Some((_, grant, step))) = (&settle.part, held)
                    && *step == settle.step
                {
                    *step += 1;
                    grant.version = grant.version.next();
                    grant.document = change.after.clone();
                }
                self.settles.push(settle);
            }
        }
        let too_many = self.settles.len().saturating_sub(8);
        self.settles.drain(..too_many);
    }

    fn granted(&mut self, request: Acquire, answer: Option<Acquired>) {
        if let Some(Acquired::Granted(grant)) = answer {
            self.grants.push((request, *grant, 0));
            let too_many = self.grants.len().saturating_sub(6);
            self.grants.drain(..too_many);
        }
    }

    /// The journal has no gap, no key is settled twice while it is remembered, and the order is what
    /// its changes add up to. Returns the journal's length.
    async fn whole(&self, order: &str) -> usize {
        let request = History {
            target: fixtures::ids::target(order),
            limit: 1_000,
            cursor: None,
        };
        let entries = self
            .bench
            .store
            .history(request)
            .await
            .unwrap()
            .unwrap()
            .items;
        let (mut version, mut settled) = (0, HashMap::new());
        for (number, entry) in (1..).zip(&entries) {
            assert_eq!(entry.number, number);
            version += u64::from(entry.change.is_some());
            assert_eq!(entry.version.0, version, "{entry:?}");
            let remembered = entry.outcome.is_final() && entry.fence.is_some();
            if remembered && let Some(first) = settled.insert(entry.key_id, entry.at) {
                let apart = entry.at.duration_since(first).unsigned_abs();
                assert!(apart >= fixtures::RETENTION.tombstone, "{entry:?}");
            }
        }
        let view = self.bench.view(order).await;
        let changed = entries.iter().rev().find_map(|entry| entry.change.clone());
        assert_eq!((view.version.0, Some(view.document)), (version, changed));
        entries.len()
    }
}

async fn walk(order_memory: usize) -> (usize, usize) {
    let (mut entries, mut known) = (0, 0);
    for seed in 0..WALKS {
        let mut walk = Walk::new(seed, order_memory).await;
        for step in 0..STEPS {
            walk.step().await;
            println!("walk {seed}, step {step}");
            known += walk.bench.agree();
        }
        for order in 0..ORDERS {
            entries += walk.whole(&format!("o{order}")).await;
        }
    }
    println!("{entries} entries, {known} looks at a known order");
    (entries, known)
}

#[tokio::test]
async fn memory_says_what_the_file_says() {
    let (entries, known) = walk(1 << 20).await;
    assert!(entries > 300 && known > 1_500, "the walks lead somewhere");
}

#[tokio::test]
async fn memory_for_one_order_or_two_says_what_the_file_says() {
    // Each of the sixteen parts of memory has room for one.
    let (entries, known) = walk(16 * 900).await;
    assert!(entries > 300 && known > 1_500, "the walks lead somewhere");
}

#[tokio::test]
async fn without_memory_the_file_is_read() {
    let (entries, known) = walk(0).await;
    assert!(entries > 300 && known == 0, "the walks lead somewhere");
}
