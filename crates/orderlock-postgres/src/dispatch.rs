//! The verbs that come in numbers: each kind in batches of its own, one order at a time.

use std::future::ready;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex};

use futures_util::StreamExt as _;
use futures_util::stream::BoxStream;
use orderlock_core::store::{
    Acquire, Acquired, Create, Created, Entry, Known, Lookup, Release, Released, Settle, Settled,
    Then, Tried, Undo,
};
use orderlock_core::{KeyId, Runtime, StoreError, Target};
use tokio::sync::broadcast;
use tokio_stream::wrappers::BroadcastStream;

use crate::PostgresOptions;
use crate::batch::order_gate::{Turn, Turns};
use crate::batch::{Batcher, Batches, Bounds, Work};
use crate::pipeline::Chains;
use crate::pipeline::probe::Looking;
use crate::pipeline::write::Folding;
use crate::pool::connection::Commit;
use crate::pool::settings::Waits;
use crate::pool::{For, Pool};
use crate::sql::clock::Heard;
use crate::sql::error::Failure;
use crate::verbs::acquire::{Asking, Granting, commit};
use crate::verbs::confirm::confirm;
use crate::verbs::create::{self, Creating};
use crate::verbs::release::{GiveUp, Releasing, must_be_flushed};
use crate::verbs::replay_cache;
use crate::verbs::settle::Settling;
use crate::verbs::settle_rows::impossible;
use crate::verbs::views::read::Lookups;

/// How many freed orders a slow listener may lag behind before it loses some.
const FREED: usize = 1_024;

/// What a store has done since it was opened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Statistics {
    /// Creations.
    pub creates: Batches,
    /// Grants and refusals, but for those of hand-overs.
    pub acquires: Batches,
    /// Settles, but for those that were accepted before they were durable.
    pub settles: Batches,
    /// Pieces of chains of settles that were accepted before.
    pub folds: Batches,
    /// Releases.
    pub releases: Batches,
}

/// Everything that is written in batches.
#[derive(Debug)]
pub(crate) struct Writes {
    pool: Pool,
    turns: Turns,
    creates: Batcher<Creating>,
    acquires: Batcher<Granting>,
    /// Acquires with a mark, which wait for the disk.
    marks: Batcher<Granting>,
    settles: Batcher<Settling>,
    settling: Settling,
    releases: Batcher<Releasing>,
    /// Releases that wait for the disk.
    clears: Batcher<Releasing>,
    chains: Arc<Chains>,
    tried: Tried,
    freed: broadcast::Sender<Target>,
    document_bytes_max: usize,
    pub(crate) heard: Arc<Heard>,
}

impl Writes {
    pub(crate) fn new(pool: &Pool, options: &PostgresOptions) -> Self {
        let clock = || options.clock.clone();
        let heard = Arc::new(Heard::new(clock(), Arc::clone(&options.runtime)));
        let granting = |commit| Granting {
            pool: pool.clone(),
            clock: clock(),
            heard: Arc::clone(&heard),
            commit,
        };
        let settling = Settling {
            granting: granting(Commit::Flushed),
        };
        let releasing = |commit| Releasing {
            granting: granting(commit),
        };
        let lookups = Lookups {
            pool: pool.clone(),
            clock: clock(),
            heard: Arc::clone(&heard),
        };
        let looking = Looking {
            pool: pool.clone(),
            heard: Arc::clone(&heard),
        };
        let folding = Folding {
            pool: pool.clone(),
            clock: clock(),
            heard: Arc::clone(&heard),
        };
        let creating = Creating {
            pool: pool.clone(),
            heard: Arc::clone(&heard),
        };
        Self {
            pool: pool.clone(),
            turns: Turns::default(),
            creates: batcher(creating, pool, options),
            acquires: batcher(granting(Commit::Unflushed), pool, options),
            marks: batcher(granting(Commit::Flushed), pool, options),
            settles: batcher(settling.clone(), pool, options),
            settling,
            releases: batcher(releasing(Commit::Unflushed), pool, options),
            clears: batcher(releasing(Commit::Flushed), pool, options),
            chains: Arc::new(Chains {
                lookups: batcher(lookups, pool, options),
                looks: batcher(looking, pool, options),
                folds: batcher(folding, pool, options),
                runtime: Arc::clone(&options.runtime),
                orders: Mutex::default(),
                heard: Arc::clone(&heard),
                looked: AtomicU64::new(0),
                bytes: options.batch_bytes,
            }),
            tried: Tried::default(),
            freed: broadcast::Sender::new(FREED),
            document_bytes_max: options.document_bytes_max,
            heard,
        }
    }

    /// The turn at an order of which nothing is accepted that is not durable.
    async fn turn(&self, target: Target) -> Turn {
        let turn = self.turns.take(target.clone()).await;
        self.chains.drained(&target).await;
        turn
    }

    pub(crate) async fn create(&self, request: Create) -> Result<Created, StoreError> {
        if let Some(failure) = create::refusal(&request, self.document_bytes_max) {
            return Err(failure.refused());
        }
        let turn = self.turn(request.claim.target()).await;
        let created = self.creates.run(Some(turn), request).await?;
        if matches!(created, Created::Settled(_)) {
            self.confirm().await?;
        }
        Ok(created)
    }

    /// Returns when what was found of a key is confirmed as a commit is: it is an answer.
    async fn confirm(&self) -> Result<(), StoreError> {
        let connection = self.pool.connection(For::Commit(Waits::Patiently)).await?;
        let confirmed = confirm(&connection).await;
        confirmed.map_err(Failure::not_applied)
    }

    pub(crate) async fn lookup(&self, request: Lookup) -> Result<Known, StoreError> {
        if let Some(entry) = self.remembered(request.key_id) {
            return Ok(Known::Settled(entry));
        }
        let answers = self.pool.answers();
        let reading = answers.reading();
        let known = self.chains.lookup(request).await;
        if let Ok(Known::Settled(entry)) = &known {
            self.confirm().await?;
            answers.keep(reading, entry);
        }
        known
    }

    /// The final entry of a key, if it is remembered, and it is known that its answer is retained.
    fn remembered(&self, key: KeyId) -> Option<Box<Entry>> {
        self.pool.answers().find(key, self.chains.heard.now()?)
    }

    pub(crate) async fn acquire(&self, request: Acquire) -> Result<Acquired, StoreError> {
        if let Some(entry) = self.remembered(request.claim.key_id) {
            return Ok(replay_cache::acquired(&request.claim, entry));
        }
        let asked = self.chains.heard.instant();
        let reading = self.pool.answers().reading();
        let target = request.claim.target();
        let turn = self.turn(target.clone()).await;
        let (fence, again) = (request.fence, self.tried.before(&request));
        let acquires = match commit(&request) {
            Commit::Unflushed => &self.acquires,
            Commit::Flushed => &self.marks,
        };
        let told = acquires
            .run(
                Some(turn),
                Asking {
                    request,
                    again,
                    asked,
                },
            )
            .await;
        self.tried.told(target, fence, &told);
        if let Ok(Acquired::Settled(entry)) = &told {
            self.confirm().await?;
            self.pool.answers().keep(reading, entry);
        }
        told
    }

    pub(crate) async fn settle(&self, request: Settle) -> Result<Settled, StoreError> {
        let keeps = matches!(request.then, Then::Keep);
        if keeps && request.entry.outcome.is_final() {
            let why = "a final settle cannot keep its lease: only a checkpoint does";
            return Err(StoreError::Unsupported(why));
        }
        let target = request.claim.target();
        let turn = self.turns.take(target.clone()).await;
        let settled = match impossible(&request, self.document_bytes_max) {
            Some(reason) => {
                self.chains.drained(&target).await;
                self.settling.give_up(&request, reason).await?
            }
            None => match self.chains.accept(&request).await {
                Some(accepted) => return Ok(Settled::Accepted(accepted)),
                None => self.settles.run(Some(turn), request).await?,
            },
        };
        let free = match &settled {
            Settled::Accepted(accepted) => !keeps && !takes(accepted.next.as_ref()),
            Settled::Impossible(_) => true,
            Settled::Lost(_) => false,
        };
        if free {
            self.announce(target);
        }
        Ok(settled)
    }

    pub(crate) async fn release(&self, request: Release) -> Result<Released, StoreError> {
        self.give_up(request.into()).await
    }

    pub(crate) async fn undo(&self, request: Undo) -> Result<Released, StoreError> {
        self.give_up(request.into()).await
    }

    async fn give_up(&self, request: GiveUp) -> Result<Released, StoreError> {
        let target = request.target.clone();
        let turn = self.turn(target.clone()).await;
        let releases = if must_be_flushed(&request) {
            &self.clears
        } else {
            &self.releases
        };
        let released = releases.run(Some(turn), request).await?;
        if released.held && !takes(released.next.as_ref()) {
            self.announce(target);
        }
        Ok(released)
    }

    pub(crate) fn statistics(&self) -> Statistics {
        Statistics {
            creates: self.creates.done(),
            acquires: self.acquires.done().and(self.marks.done()),
            settles: self.settles.done(),
            folds: self.chains.folds.done(),
            releases: self.releases.done().and(self.clears.done()),
        }
    }

    /// Orders that were let go through this store.
    pub(crate) fn freed(&self) -> BoxStream<'static, Target> {
        let freed = BroadcastStream::new(self.freed.subscribe());
        freed.filter_map(|target| ready(target.ok())).boxed()
    }

    /// Tells those who wait that an order was let go. Nobody may be listening.
    pub(crate) fn announce(&self, target: Target) {
        let _ = self.freed.send(target);
    }
}

/// Whether the next in line has the order now.
fn takes(next: Option<&Acquired>) -> bool {
    matches!(next, Some(Acquired::Granted(_)))
}

fn batcher<W: Work>(work: W, pool: &Pool, options: &PostgresOptions) -> Batcher<W> {
    let bounds = Bounds {
        lanes: options.lanes,
        rows: options.batch_rows,
        bytes: options.batch_bytes,
        queue: options.queue,
    };
    let runtime: Arc<dyn Runtime> = Arc::clone(&options.runtime);
    Batcher::new(work, pool.clone(), bounds, runtime)
}
