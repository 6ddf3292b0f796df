//! `settle`: one transaction for a batch, sent in one go, and one flush.
//!
//! Change, entry and unlock are one statement. Where the next in line is asked for in the same step,
//! the grant follows in the same transaction, and only on an order that was let go by it.

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use orderlock_core::store::{Accepted, Acquired, Durable, Receipt, Settle, Settled};
use orderlock_core::{StoreError, Target};
use tokio_postgres::Row;

use crate::batch::{Reply, Work};
use crate::pool::connection::Connection;
use crate::pool::settings::LockWait;
use crate::sql::error::{Failure, TransactionError};
use crate::sql::rows::{Columns, place};
use crate::sql::statement::Commit;
use crate::verbs::acquire::{GrantBatch, decide_all, or_none};
use crate::verbs::acquire_facts::FACTS;
use crate::verbs::confirm::confirm;
use crate::verbs::release::let_go_unsettled;
use crate::verbs::settle_facts::{SettleFate, settle_fates};
use crate::verbs::settle_rows::{SettleParameters, bytes};
use crate::verbs::statements::{GRANT, SETTLE};

/// Settles.
#[derive(Clone, Debug)]
pub(crate) struct SettleBatch {
    /// How the next in line is asked for where the settle itself could not do it.
    pub(crate) grants: GrantBatch,
}

/// The receipt of a settle, if it was applied, and the reply to the next in line, if there is one yet.
type Applied = Option<(Receipt, Reply<Acquired>)>;

impl Work for SettleBatch {
    type Request = Settle;
    type Answer = Settled;

    /// A settle is named by its fence and step: asked for again, it is answered as at first.
    const REPEATS: bool = true;

    fn target(request: &Settle) -> Target {
        request.claim.target()
    }

    fn bytes(request: &Settle) -> usize {
        bytes(request)
    }

    fn ask<'a>(
        &'a self,
        requests: &'a [Settle],
        waits: LockWait,
    ) -> BoxFuture<'a, Result<Vec<Reply<Settled>>, TransactionError>> {
        self.settle(requests, waits).boxed()
    }

    fn refused<'a>(
        &'a self,
        request: &'a Settle,
        failure: Failure,
    ) -> BoxFuture<'a, Result<Settled, StoreError>> {
        let reason = format!("the store refuses these values: {failure}");
        self.give_up(request, reason).boxed()
    }
}

impl SettleBatch {
    async fn settle(
        &self,
        requests: &[Settle],
        waits: LockWait,
    ) -> Result<Vec<Reply<Settled>>, TransactionError> {
        let connection = self.grants.connection(waits).await?;
        let applied = self.apply(&connection, requests).await?;
        let left: Vec<_> = requests
            .iter()
            .zip(&applied)
            .filter(|(_, applied)| applied.is_none())
            .map(|(request, _)| request)
            .collect();
        let found = match left.len() {
            0 => Vec::new(),
            // Those that were applied are found so too, when they are sent again.
            _ => settle_fates(&connection, &left, &self.grants.clock)
                .await
                .map_err(TransactionError::Unknown)?,
        };
        if found.iter().any(is_repeat) {
            confirm(&connection)
                .await
                .map_err(TransactionError::Unknown)?;
        }
        drop(connection);
        let mut found = found.into_iter();
        let mut told = Vec::with_capacity(requests.len());
        for (request, applied) in requests.iter().zip(applied) {
            told.push(match applied {
                Some((receipt, next)) => Some(Ok(self.accepted(request, receipt, next).await)),
                None => match found.next().transpose() {
                    Ok(found) => self.answer(request, found).await.map(Ok),
                    Err(failure) => Some(Err(failure)),
                },
            });
        }
        Ok(told)
    }

    /// The answer to a settle that was not applied just now; none if it is to be asked again.
    async fn answer(&self, request: &Settle, found: Option<SettleFate>) -> Option<Settled> {
        match found? {
            SettleFate::Repeat(receipt) => Some(self.accepted(request, receipt, None).await),
            SettleFate::Lost(loss) => Some(Settled::Lost(loss)),
            SettleFate::Again => None,
        }
    }

    /// Applies what can be applied, and hands over what was let go by it.
    async fn apply(
        &self,
        connection: &Connection,
        requests: &[Settle],
    ) -> Result<Vec<Applied>, TransactionError> {
        let rows = SettleParameters::of(requests, &self.grants.clock);
        let sql = connection.form(&SETTLE, requests.len());
        let settle = rows.all();
        let nexts: Vec<_> = requests.iter().filter_map(Settle::next).collect();
        if nexts.is_empty() {
            let settled = connection.write(sql, &settle).await?;
            return receipts(requests.len(), &settled).map_err(TransactionError::Unknown);
        }
        let asked = self.grants.parameters(&nexts);
        let statements = [
            (sql, &settle[..]),
            (
                connection.form(&GRANT, nexts.len()),
                &asked.to_grant(&true, &false)[..],
            ),
            (&FACTS, &asked.to_tell()[..]),
        ];
        let [settled, granted, facts] = connection.transaction(Commit::Flushed, statements).await?;
        let applied = receipts(requests.len(), &settled);
        let believed = self.grants.clock.believed();
        let answers = decide_all(&nexts, &granted, &facts, believed);
        let (mut applied, answers) = applied
            .and_then(|applied| Ok((applied, answers?)))
            .map_err(TransactionError::Unknown)?;
        let mut answers = answers.into_iter();
        for (request, applied) in requests.iter().zip(&mut applied) {
            if request.next().is_some()
                && let Some(answer) = answers.next()
                && let Some((_, told)) = applied
            {
                *told = answer;
            }
        }
        Ok(applied)
    }

    /// The answer to a settle that is there. A next in line that was not asked for in the same step,
    /// because the settle is a repeat or somebody else was faster, is asked for now.
    async fn accepted(&self, request: &Settle, receipt: Receipt, told: Reply<Acquired>) -> Settled {
        let next = match (request.next(), told) {
            (Some(_), Some(answer)) => or_none(answer),
            (Some(next), None) => self.grants.one(next).await,
            (None, _) => None,
        };
        Settled::Accepted(Accepted {
            receipt,
            durable: Durable::already(),
            next,
        })
    }

    /// Answers a settle that the store can never take: if it would be applied, its lease is
    /// released in its place.
    pub(crate) async fn give_up(
        &self,
        request: &Settle,
        reason: String,
    ) -> Result<Settled, StoreError> {
        for _ in 0..10 {
            let connection = self.grants.connection(LockWait::Patiently).await?;
            if let_go_unsettled(&connection, request).await? {
                return Ok(Settled::Impossible(reason));
            }
            let mut found = settle_fates(&connection, &[request], &self.grants.clock).await?;
            if found.iter().any(is_repeat) {
                let confirmed = confirm(&connection).await;
                confirmed.map_err(Failure::unknown)?;
            }
            drop(connection);
            let found = found.pop().transpose()?;
            if let Some(answer) = self.answer(request, found).await {
                return Ok(answer);
            }
        }
        Err(Failure::impossible("the order does not stand still").not_applied())
    }
}

/// Whether a settle was found that an earlier try has written.
pub(crate) fn is_repeat(found: &Result<SettleFate, Failure>) -> bool {
    matches!(found, Ok(SettleFate::Repeat(_)))
}

/// The receipts that a settling statement has given.
fn receipts(requests: usize, rows: &[Row]) -> Result<Vec<Applied>, Failure> {
    let mut receipts: Vec<_> = (0..requests).map(|_| None).collect();
    for row in rows {
        let mut columns = Columns::of(row);
        let receipt = place(&mut receipts, columns.next()?)?;
        let receipt_of_row = Receipt {
            number: columns.count()?,
            expires: columns.next()?,
        };
        *receipt = Some((receipt_of_row, None));
    }
    Ok(receipts)
}
