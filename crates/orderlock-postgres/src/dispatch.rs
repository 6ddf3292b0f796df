//! Sends each verb to the batches of its kind, one verb at a time for each order, and settles that hand
//! over through the pipeline first.

use std::sync::Arc;

use orderlock_core::store::{
    Acquire, Acquired, Create, Created, Entry, Known, Lookup, Release, Released, Settle, Settled,
    Tried, Undo,
};
use orderlock_core::{KeyId, Runtime, StoreError, Target};

use crate::batch::order_gate::{OrderGate, OrderPass};
use crate::batch::{Batcher, Batches, Bounds, Work};
use crate::options::PostgresOptions;
use crate::pipeline::Pipeline;
use crate::pipeline::probe::ProbeBatch;
use crate::pipeline::write::WriteBatch;
use crate::pool::settings::LockWait;
use crate::pool::{Pool, Purpose};
use crate::sql::error::Failure;
use crate::sql::statement::Commit;
use crate::verbs::Context;
use crate::verbs::acquire::{GrantBatch, GrantRequest, commit};
use crate::verbs::confirm::confirm;
use crate::verbs::create::{self, CreateBatch};
use crate::verbs::fairness::Pace;
use crate::verbs::release::{ReleaseBatch, ReleaseRequest, must_be_flushed};
use crate::verbs::replay_cache::{self, ReplayCache};
use crate::verbs::settle::SettleBatch;
use crate::verbs::settle_rows::impossible;
use crate::verbs::views::read::LookupBatch;

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

/// The verbs that are carried out in batches.
#[derive(Debug)]
pub(crate) struct Dispatch {
    context: Arc<Context>,
    gate: OrderGate,
    creates: Batcher<CreateBatch>,
    lookups: Batcher<LookupBatch>,
    acquires: Batcher<GrantBatch>,
    /// Acquires with a mark, which wait for the disk.
    marks: Batcher<GrantBatch>,
    settles: Batcher<SettleBatch>,
    settle_batch: SettleBatch,
    releases: Batcher<ReleaseBatch>,
    /// Releases that wait for the disk.
    clears: Batcher<ReleaseBatch>,
    pipeline: Arc<Pipeline>,
    cache: ReplayCache,
    tried: Tried,
}

impl Dispatch {
    pub(crate) fn new(context: Arc<Context>, options: &PostgresOptions) -> Self {
        let pool = || context.pool.clone();
        let clock = || Arc::clone(&context.clock);
        let pace = Arc::new(Pace::default());
        let grants = |commit| GrantBatch {
            pool: pool(),
            clock: clock(),
            pace: Arc::clone(&pace),
            commit,
        };
        let settle_batch = SettleBatch {
            grants: grants(Commit::Flushed),
        };
        let release_batch = |commit| ReleaseBatch {
            grants: grants(commit),
        };
        let (pool, clock) = (pool(), clock());
        let create_batch = CreateBatch {
            pool: pool.clone(),
            clock: Arc::clone(&clock),
        };
        let lookups = LookupBatch {
            pool: pool.clone(),
            clock: Arc::clone(&clock),
        };
        Self {
            gate: OrderGate::default(),
            creates: batcher(create_batch, &pool, options),
            lookups: batcher(lookups, &pool, options),
            acquires: batcher(grants(Commit::Unflushed), &pool, options),
            marks: batcher(grants(Commit::Flushed), &pool, options),
            settles: batcher(settle_batch.clone(), &pool, options),
            settle_batch,
            releases: batcher(release_batch(Commit::Unflushed), &pool, options),
            clears: batcher(release_batch(Commit::Flushed), &pool, options),
            pipeline: Arc::new(pipeline(&context, options)),
            cache: ReplayCache::new(pool.connections()),
            tried: Tried::default(),
            context,
        }
    }

    /// The pass for an order of which nothing is accepted that is not durable.
    async fn pass(&self, target: Target) -> OrderPass {
        let pass = self.gate.enter(target.clone()).await;
        self.pipeline.drained(&target).await;
        pass
    }

    pub(crate) async fn create(&self, request: Create) -> Result<Created, StoreError> {
        if let Some(failure) = create::refusal(&request, self.context.document_bytes_max) {
            return Err(failure.refused());
        }
        let pass = self.pass(request.claim.target()).await;
        let created = self.creates.run(Some(pass), request).await?;
        if matches!(created, Created::Settled(_)) {
            self.confirm().await?;
        }
        Ok(created)
    }

    /// Returns when what was found of a key is confirmed as a commit is: it is an answer.
    async fn confirm(&self) -> Result<(), StoreError> {
        let purpose = Purpose::Commit(LockWait::Patiently);
        let connection = self.context.pool.connection(purpose).await?;
        let confirmed = confirm(&connection).await;
        confirmed.map_err(Failure::not_applied)
    }

    pub(crate) async fn lookup(&self, request: Lookup) -> Result<Known, StoreError> {
        if let Some(entry) = self.remembered(request.key_id) {
            return Ok(Known::Settled(entry));
        }
        let reading = self.cache.reading();
        let known = self.look_up(request).await;
        if let Ok(Known::Settled(entry)) = &known {
            self.confirm().await?;
            self.cache.keep(reading, entry);
        }
        known
    }

    /// Asks the database what became of a key, and tells the pipeline whether it is new.
    async fn look_up(&self, request: Lookup) -> Result<Known, StoreError> {
        let (target, key) = (request.target.clone(), request.key_id);
        let number = self.pipeline.lookup_begins(&target, key);
        let found = self.lookups.run(None, request).await;
        let new = found.as_ref().is_ok_and(|(_, new)| *new);
        self.pipeline.lookup_ends(&target, key, number, new);
        found.map(|(known, _)| known)
    }

    /// The final entry of a key, if it is remembered, and it is known that its answer is retained.
    fn remembered(&self, key: KeyId) -> Option<Box<Entry>> {
        self.cache.find(key, self.context.clock.now()?)
    }

    pub(crate) async fn acquire(&self, request: Acquire) -> Result<Acquired, StoreError> {
        if let Some(entry) = self.remembered(request.claim.key_id) {
            return Ok(replay_cache::acquired(&request.claim, entry));
        }
        let asked = self.context.clock.instant();
        let reading = self.cache.reading();
        let target = request.claim.target();
        let pass = self.pass(target.clone()).await;
        let (fence, again) = (request.fence, self.tried.before(&request));
        let acquires = match commit(&request) {
            Commit::Unflushed => &self.acquires,
            Commit::Flushed => &self.marks,
        };
        let told = acquires
            .run(
                Some(pass),
                GrantRequest {
                    request,
                    again,
                    asked,
                },
            )
            .await;
        self.tried.told(target, fence, &told);
        if let Ok(Acquired::Settled(entry)) = &told {
            self.confirm().await?;
            self.cache.keep(reading, entry);
        }
        told
    }

    pub(crate) async fn settle(&self, request: Settle) -> Result<Settled, StoreError> {
        let keeps = !request.is_final();
        let target = request.claim.target();
        let pass = self.gate.enter(target.clone()).await;
        let settled = match impossible(&request, self.context.document_bytes_max) {
            Some(reason) => {
                self.pipeline.drained(&target).await;
                self.settle_batch.give_up(&request, reason).await?
            }
            None => match self.pipeline.accept(&request).await {
                Some(accepted) => return Ok(Settled::Accepted(accepted)),
                None => self.settles.run(Some(pass), request).await?,
            },
        };
        let free = match &settled {
            Settled::Accepted(accepted) => !keeps && !takes(accepted.next.as_ref()),
            Settled::Impossible(_) => true,
            Settled::Lost(_) => false,
        };
        if free {
            self.context.freed.announce(target);
        }
        Ok(settled)
    }

    pub(crate) async fn release(&self, request: Release) -> Result<Released, StoreError> {
        self.give_up(request.into()).await
    }

    pub(crate) async fn undo(&self, request: Undo) -> Result<Released, StoreError> {
        self.give_up(request.into()).await
    }

    async fn give_up(&self, request: ReleaseRequest) -> Result<Released, StoreError> {
        let target = request.target.clone();
        let pass = self.pass(target.clone()).await;
        let releases = if must_be_flushed(&request) {
            &self.clears
        } else {
            &self.releases
        };
        let released = releases.run(Some(pass), request).await?;
        if released.held && !takes(released.next.as_ref()) {
            self.context.freed.announce(target);
        }
        Ok(released)
    }

    pub(crate) fn statistics(&self) -> Statistics {
        Statistics {
            creates: self.creates.done(),
            acquires: self.acquires.done().and(self.marks.done()),
            settles: self.settles.done(),
            folds: self.pipeline.written(),
            releases: self.releases.done().and(self.clears.done()),
        }
    }
}

/// Whether the next in line has the order now.
fn takes(next: Option<&Acquired>) -> bool {
    matches!(next, Some(Acquired::Granted(_)))
}

fn pipeline(context: &Context, options: &PostgresOptions) -> Pipeline {
    let Context { pool, clock, .. } = context;
    let probes = ProbeBatch {
        pool: pool.clone(),
        clock: Arc::clone(clock),
    };
    let writes = WriteBatch {
        pool: pool.clone(),
        clock: Arc::clone(clock),
    };
    Pipeline::new(
        batcher(probes, pool, options),
        batcher(writes, pool, options),
        Arc::clone(&context.runtime),
        Arc::clone(clock),
        options.batch_bytes,
    )
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
