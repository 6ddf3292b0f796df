//! A chain of hand-overs as one row: the first settle's fence, step and version as the gate, the last
//! one's order and lease as what is written, and all their entries in their order.

use std::sync::Arc;

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use orderlock_core::store::{Loss, Settle};
use orderlock_core::{Fence, Lease, OwnedIndex, StoreError, Target, Timestamp, Version};
use tokio_postgres::Row;

use crate::batch::{Told, Work};
use crate::pipeline::write_rows::{FOLD, Rows};
use crate::pool::connection::Connection;
use crate::pool::settings::Waits;
use crate::pool::{For, Pool};
use crate::sql::clock::{Clock, Heard};
use crate::sql::error::{Broken, Failure};
use crate::sql::rows::{Columns, place};
use crate::verbs::confirm::confirm;
use crate::verbs::settle::is_repeat;
use crate::verbs::settle_facts::{Found, tell};
use crate::verbs::settle_rows::bytes;

/// Writes chains.
#[derive(Clone, Debug)]
pub(crate) struct Folding {
    pub(crate) pool: Pool,
    pub(crate) clock: Clock,
    pub(crate) heard: Arc<Heard>,
}

/// What stands in the order's row where a settle begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Gate {
    pub(crate) fence: Fence,
    pub(crate) step: u32,
    pub(crate) version: Version,
    /// The number of the order's last entry.
    pub(crate) entries: u64,
}

/// One settle of a chain, and the grant that it hands the order over with.
#[derive(Clone, Debug)]
pub(crate) struct Link {
    pub(crate) settle: Settle,
    /// What the retention is counted from: when it was accepted, by the later of two times if the clock
    /// has jumped.
    pub(crate) settled: Timestamp,
    /// What it leaves in the row.
    pub(crate) after: Gate,
    pub(crate) lease: Lease,
}

/// A piece of a chain.
#[derive(Debug)]
pub(crate) struct Fold {
    pub(crate) target: Target,
    pub(crate) gate: Gate,
    /// At least one, each built on the one before.
    pub(crate) links: Arc<[Link]>,
}

/// What became of a piece of a chain. It is one row, and so one fate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Folded {
    Durable {
        /// Whether it is another node's turn at the order now, as far as was told.
        kept: bool,
    },
    Lost(Loss),
    /// The database refuses the values of one of its settles.
    Refused,
}

impl Fold {
    /// The last change of the order, if any of its settles changes it.
    pub(crate) fn change(&self) -> Option<&orderlock_core::store::Change> {
        let changes = self.links.iter().rev();
        changes
            .filter_map(|link| link.settle.change.as_ref())
            .next()
    }

    pub(crate) fn index(&self) -> Option<&OwnedIndex> {
        self.change().map(|change| &change.index)
    }

    /// The settle that leaves what is written.
    pub(crate) fn last(&self) -> Option<&Link> {
        self.links.last()
    }
}

impl Work for Folding {
    type Request = Fold;
    type Answer = Folded;

    /// It is written whole or not at all, and its first settle tells which.
    const REPEATS: bool = true;

    fn target(request: &Fold) -> Target {
        request.target.clone()
    }

    fn bytes(request: &Fold) -> usize {
        request.links.iter().map(|link| bytes(&link.settle)).sum()
    }

    fn ask<'a>(
        &'a self,
        requests: &'a [Fold],
        waits: Waits,
    ) -> BoxFuture<'a, Result<Vec<Told<Folded>>, Broken>> {
        self.fold(requests, waits).boxed()
    }

    fn refused<'a>(
        &'a self,
        _: &'a Fold,
        failure: Failure,
    ) -> BoxFuture<'a, Result<Folded, StoreError>> {
        tracing::warn!(%failure, "the database refuses what was accepted");
        async move { Ok(Folded::Refused) }.boxed()
    }
}

impl Folding {
    async fn fold(&self, folds: &[Fold], waits: Waits) -> Result<Vec<Told<Folded>>, Broken> {
        let connection = self.pool.connection(For::Commit(waits)).await;
        let connection = connection.map_err(Broken::NotApplied)?;
        let rows = Rows::of(folds, &self.clock);
        let parameters = rows.parameters();
        let written = connection
            .write(connection.form(&FOLD, folds.len()), &parameters)
            .await?;
        let mut told: Vec<Told<Folded>> = folds.iter().map(|_| None).collect();
        for row in &written {
            let now = written_there(row, &mut told).map_err(Broken::Unknown)?;
            self.heard.hear(now);
        }
        if written.len() < folds.len() {
            self.find_out(&connection, folds, &mut told)
                .await
                .map_err(Broken::Unknown)?;
        }
        Ok(told)
    }

    /// Finds out what became of those that were not written just now: an earlier try may have
    /// written them.
    async fn find_out(
        &self,
        connection: &Connection,
        folds: &[Fold],
        told: &mut [Told<Folded>],
    ) -> Result<(), Failure> {
        let left = folds.iter().zip(told.iter());
        let firsts: Vec<_> = left
            .filter(|(_, told)| told.is_none())
            .filter_map(|(fold, _)| fold.links.first())
            .map(|link| &link.settle)
            .collect();
        let found = tell(connection, &firsts, &self.heard).await?;
        if found.iter().any(is_repeat) {
            confirm(connection).await?;
        }
        let mut found = found.into_iter();
        for told in told.iter_mut().filter(|told| told.is_none()) {
            *told = match found.next() {
                Some(Ok(Found::Repeat(_))) => Some(Ok(Folded::Durable { kept: false })),
                Some(Ok(Found::Lost(loss))) => Some(Ok(Folded::Lost(loss))),
                Some(Err(failure)) => Some(Err(failure)),
                Some(Ok(Found::Again)) | None => None,
            };
        }
        Ok(())
    }
}

/// Tells a piece that it was written, and returns when.
fn written_there(row: &Row, told: &mut [Told<Folded>]) -> Result<Timestamp, Failure> {
    let mut columns = Columns::of(row);
    let told = place(told, columns.next()?)?;
    let kept = columns.next()?;
    *told = Some(Ok(Folded::Durable { kept }));
    columns.next()
}
