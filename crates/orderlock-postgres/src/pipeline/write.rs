//! Writes a segment of a chain as one update: conditional on the fence, step and version of its first
//! settle, it leaves the order and the lease of the last one, and adds the entries of all of them.

use std::sync::Arc;

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use orderlock_core::store::{Loss, Settle};
use orderlock_core::{Fence, Lease, StoreError, Target, Timestamp, Version};
use tokio_postgres::Row;

use crate::batch::{Reply, Work};
use crate::pipeline::write_rows::WriteParameters;
use crate::pipeline::write_statement::WRITE;
use crate::pool::connection::Connection;
use crate::pool::settings::LockWait;
use crate::pool::{Pool, Purpose};
use crate::sql::clock::ObservedClock;
use crate::sql::error::{Failure, TransactionError};
use crate::sql::rows::{Columns, place};
use crate::verbs::confirm::confirm;
use crate::verbs::settle::is_repeat;
use crate::verbs::settle_facts::{SettleFate, settle_fates};
use crate::verbs::settle_rows::bytes;

/// Batches of segments.
#[derive(Clone, Debug)]
pub(crate) struct WriteBatch {
    pub(crate) pool: Pool,
    pub(crate) clock: Arc<ObservedClock>,
}

/// What stands in an order's row between two settles, as far as the next one is conditional on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct RowState {
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
    pub(crate) after: RowState,
    pub(crate) lease: Lease,
}

/// A piece of a chain, which is written as one row.
#[derive(Debug)]
pub(crate) struct Segment {
    pub(crate) target: Target,
    /// What must stand in the row for it to be written.
    pub(crate) before: RowState,
    /// At least one, each built on the one before.
    pub(crate) links: Arc<[Link]>,
}

/// What became of a segment. It is one row, and so one fate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Written {
    Durable {
        /// Whether it is another node's turn at the order now, as far as was told.
        kept: bool,
    },
    Lost(Loss),
    /// The database refuses the values of one of its settles.
    Refused,
}

impl Segment {
    /// The last change of the order, if any of its settles changes it.
    pub(crate) fn change(&self) -> Option<&orderlock_core::store::Change> {
        let changes = self.links.iter().rev();
        changes.filter_map(|link| link.settle.change()).next()
    }

    /// The row as the last settle leaves it.
    pub(crate) fn after(&self) -> RowState {
        self.links.last().map_or(self.before, |link| link.after)
    }

    /// The lease that the last settle hands the order over with.
    pub(crate) fn next(&self) -> Option<&Lease> {
        self.links.last().map(|link| &link.lease)
    }
}

impl Work for WriteBatch {
    type Request = Segment;
    type Answer = Written;

    /// It is written whole or not at all, and its first settle tells which.
    const REPEATS: bool = true;

    fn target(request: &Segment) -> Target {
        request.target.clone()
    }

    fn bytes(request: &Segment) -> usize {
        request.links.iter().map(|link| bytes(&link.settle)).sum()
    }

    fn ask<'a>(
        &'a self,
        requests: &'a [Segment],
        waits: LockWait,
    ) -> BoxFuture<'a, Result<Vec<Reply<Written>>, TransactionError>> {
        self.write(requests, waits).boxed()
    }

    fn refused<'a>(
        &'a self,
        _: &'a Segment,
        failure: Failure,
    ) -> BoxFuture<'a, Result<Written, StoreError>> {
        tracing::warn!(%failure, "the database refuses what was accepted");
        async move { Ok(Written::Refused) }.boxed()
    }
}

impl WriteBatch {
    async fn write(
        &self,
        segments: &[Segment],
        waits: LockWait,
    ) -> Result<Vec<Reply<Written>>, TransactionError> {
        let connection = self.pool.connection(Purpose::Commit(waits)).await;
        let connection = connection.map_err(TransactionError::NotApplied)?;
        let parameters = WriteParameters::of(segments, &self.clock);
        let written = connection
            .write(connection.form(&WRITE, segments.len()), &parameters.all())
            .await?;
        let mut told: Vec<Reply<Written>> = segments.iter().map(|_| None).collect();
        for row in &written {
            let now = written_there(row, &mut told).map_err(TransactionError::Unknown)?;
            self.clock.observe(now);
        }
        if written.len() < segments.len() {
            self.find_out(&connection, segments, &mut told)
                .await
                .map_err(TransactionError::Unknown)?;
        }
        Ok(told)
    }

    /// Finds out what became of those that were not written just now: an earlier try may have
    /// written them.
    async fn find_out(
        &self,
        connection: &Connection,
        segments: &[Segment],
        told: &mut [Reply<Written>],
    ) -> Result<(), Failure> {
        let left = segments.iter().zip(told.iter());
        let firsts: Vec<_> = left
            .filter(|(_, told)| told.is_none())
            .filter_map(|(segment, _)| segment.links.first())
            .map(|link| &link.settle)
            .collect();
        let found = settle_fates(connection, &firsts, &self.clock).await?;
        if found.iter().any(is_repeat) {
            confirm(connection).await?;
        }
        let mut found = found.into_iter();
        for told in told.iter_mut().filter(|told| told.is_none()) {
            *told = match found.next() {
                Some(Ok(SettleFate::Repeat(_))) => Some(Ok(Written::Durable { kept: false })),
                Some(Ok(SettleFate::Lost(loss))) => Some(Ok(Written::Lost(loss))),
                Some(Err(failure)) => Some(Err(failure)),
                Some(Ok(SettleFate::Again)) | None => None,
            };
        }
        Ok(())
    }
}

/// Tells a piece that it was written, and returns when.
fn written_there(row: &Row, told: &mut [Reply<Written>]) -> Result<Timestamp, Failure> {
    let mut columns = Columns::of(row);
    let told = place(told, columns.next()?)?;
    let kept = columns.next()?;
    *told = Some(Ok(Written::Durable { kept }));
    columns.next()
}
