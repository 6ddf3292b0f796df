//! `release` and `undo`: a grant ends without an entry, and the next in line is asked for in the same step.

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use orderlock_core::store::{Acquire, MarkFate, Release, Released, Settle, Undo};
use orderlock_core::{Fence, StoreError, Target};
use tokio_postgres::types::ToSql;

use crate::batch::{Reply, Work};
use crate::pool::connection::Connection;
use crate::pool::settings::LockWait;
use crate::sql::error::{Failure, TransactionError};
use crate::sql::rows::{Columns, Id, place, signed};
use crate::sql::statement::Commit;
use crate::verbs::acquire::{GrantBatch, GrantRows, decide_all, or_none};
use crate::verbs::acquire_facts::FACTS;
use crate::verbs::statements::{GRANT, LET_GO};

/// Releases leases.
#[derive(Clone, Debug)]
pub(crate) struct ReleaseBatch {
    pub(crate) grants: GrantBatch,
}

/// A grant that is given up.
#[derive(Clone, Debug)]
pub(crate) struct ReleaseRequest {
    pub(crate) target: Target,
    pub(crate) fence: Fence,
    pub(crate) mark: Fate,
    pub(crate) next: Option<Box<Acquire>>,
}

/// What becomes of its mark.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    Stays,
    Goes,
    /// It is as it was before the grant, as long as that has settled nothing.
    Before,
}

impl From<Release> for ReleaseRequest {
    fn from(request: Release) -> Self {
        Self {
            target: request.target,
            fence: request.fence,
            mark: match request.mark {
                MarkFate::Keep => Fate::Stays,
                MarkFate::Clear => Fate::Goes,
            },
            next: request.next,
        }
    }
}

impl From<Undo> for ReleaseRequest {
    fn from(request: Undo) -> Self {
        Self {
            target: request.target,
            fence: request.fence,
            mark: Fate::Before,
            next: request.next,
        }
    }
}

/// Whether a release must survive power loss before it is answered: because it ends a mark, or
/// hands over to an operation that begins with one.
pub(crate) fn must_be_flushed(request: &ReleaseRequest) -> bool {
    let marks = request
        .next
        .as_ref()
        .is_some_and(|next| next.mark.is_some());
    request.mark != Fate::Stays || marks
}

impl Work for ReleaseBatch {
    type Request = ReleaseRequest;
    type Answer = Released;

    /// GrantRows again, a release says that nothing was held, and tells nothing of the next in line.
    const REPEATS: bool = false;

    fn target(request: &ReleaseRequest) -> Target {
        request.target.clone()
    }

    fn bytes(_: &ReleaseRequest) -> usize {
        512
    }

    fn ask<'a>(
        &'a self,
        requests: &'a [ReleaseRequest],
        waits: LockWait,
    ) -> BoxFuture<'a, Result<Vec<Reply<Released>>, TransactionError>> {
        self.release(requests, waits).boxed()
    }

    fn refused<'a>(
        &'a self,
        _: &'a ReleaseRequest,
        failure: Failure,
    ) -> BoxFuture<'a, Result<Released, StoreError>> {
        async move { Err(failure.not_applied()) }.boxed()
    }
}

impl ReleaseBatch {
    async fn release(
        &self,
        requests: &[ReleaseRequest],
        waits: LockWait,
    ) -> Result<Vec<Reply<Released>>, TransactionError> {
        let grants = &self.grants;
        let connection = grants.connection(waits).await?;
        let rows = Rows::of(requests);
        let let_go = rows.parameters();
        let nexts: Vec<_> = requests.iter().filter_map(next_of).collect();
        let (held, answers) = if nexts.is_empty() {
            let statements = [(&LET_GO, &let_go[..])];
            let [held] = connection.transaction(grants.commit, statements).await?;
            (held, Ok(Vec::new()))
        } else {
            let asked = GrantRows::of(&nexts, &grants.clock);
            let statements = [
                (&LET_GO, &let_go[..]),
                (
                    connection.form(&GRANT, nexts.len()),
                    &asked.to_grant(&true, &false)[..],
                ),
                (&FACTS, &asked.to_tell()[..]),
            ];
            let [held, granted, facts] = connection.transaction(grants.commit, statements).await?;
            let believed = grants.clock.believed();
            (held, decide_all(&nexts, &granted, &facts, believed))
        };
        drop(connection);
        let mut answers = answers.map_err(TransactionError::Unknown)?.into_iter();
        let mut released: Vec<_> = requests.iter().map(|_| false).collect();
        for row in &held {
            let number = Columns::of(row).next().map_err(TransactionError::Unknown)?;
            *place(&mut released, number).map_err(TransactionError::Unknown)? = true;
        }
        let mut told = Vec::with_capacity(requests.len());
        for (request, held) in requests.iter().zip(released) {
            let told_of_next = next_of(request).and_then(|_| answers.next());
            let next = match (next_of(request).filter(|_| held), told_of_next.flatten()) {
                (Some(_), Some(answer)) => or_none(answer),
                // Somebody else was faster.
                (Some(next), None) => grants.one(next).await,
                (None, _) => None,
            };
            told.push(Some(Ok(Released { held, next })));
        }
        Ok(told)
    }
}

/// Releases the lease of a settle that can never be applied, if it would be applied otherwise.
pub(crate) async fn let_go_unsettled(
    connection: &Connection,
    request: &Settle,
) -> Result<bool, StoreError> {
    let rows = Rows {
        tenants: vec![request.claim.caller.tenant.as_str()],
        orders: vec![request.claim.order.as_str()],
        fences: vec![request.fence.into()],
        clears: vec![false],
        undoes: vec![false],
        steps: vec![Some(request.step.into())],
        versions: vec![Some(signed(request.version.0))],
    };
    let let_go = rows.parameters();
    let statements = [(&LET_GO, &let_go[..])];
    let [held] = connection
        .transaction(Commit::Unflushed, statements)
        .await?;
    Ok(!held.is_empty())
}

fn next_of(request: &ReleaseRequest) -> Option<&Acquire> {
    request.next.as_deref()
}

/// A batch of releases, a column for each of their parts.
#[derive(Debug)]
struct Rows<'a> {
    tenants: Vec<&'a str>,
    orders: Vec<&'a str>,
    fences: Vec<Id>,
    clears: Vec<bool>,
    undoes: Vec<bool>,
    steps: Vec<Option<i64>>,
    versions: Vec<Option<i64>>,
}

impl<'a> Rows<'a> {
    fn of(requests: &'a [ReleaseRequest]) -> Self {
        let all = || requests.iter();
        Self {
            tenants: all().map(|it| it.target.tenant.as_str()).collect(),
            orders: all().map(|it| it.target.order.as_str()).collect(),
            fences: all().map(|it| it.fence.into()).collect(),
            clears: all().map(|it| it.mark == Fate::Goes).collect(),
            undoes: all().map(|it| it.mark == Fate::Before).collect(),
            steps: all().map(|_| None).collect(),
            versions: all().map(|_| None).collect(),
        }
    }

    fn parameters(&self) -> [&(dyn ToSql + Sync); 7] {
        [
            &self.tenants,
            &self.orders,
            &self.fences,
            &self.clears,
            &self.steps,
            &self.versions,
            &self.undoes,
        ]
    }
}
