//! `release` and `undo`: a grant ends without an entry, and the next in line is asked for in the same step.

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use orderlock_core::store::{Acquire, MarkFate, Release, Released, Settle, Undo};
use orderlock_core::{Fence, OrderId, StoreError, Target, Tenant, Version};

use crate::batch::{Reply, Work};
use crate::pool::connection::Connection;
use crate::pool::settings::LockWait;
use crate::sql::columns::columns;
use crate::sql::error::{Failure, TransactionError};
use crate::sql::rows::{Columns, Id, place, signed};
use crate::sql::statement::Commit;
use crate::verbs::acquire::{GrantBatch, decide_all, or_none};
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

    /// Asked again, a release says that nothing was held, and tells nothing of the next in line.
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
        let rows = ReleaseRows::of(requests.iter().map(Ending::of));
        let let_go = rows.parameters();
        let nexts: Vec<_> = requests.iter().filter_map(next_of).collect();
        let (held, answers) = if nexts.is_empty() {
            let statements = [(&LET_GO, &let_go[..])];
            let [held] = connection.transaction(grants.commit, statements).await?;
            (held, Ok(Vec::new()))
        } else {
            let asked = grants.parameters(&nexts);
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
    let rows = ReleaseRows::of(std::iter::once(Ending {
        tenant: &request.claim.caller.tenant,
        order: &request.claim.order,
        fence: request.fence,
        mark: Fate::Stays,
        stands: Some((request.step, request.version)),
    }));
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

/// A lease that ends, where it stands at a step and a version, if these are named.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ending<'a> {
    tenant: &'a Tenant,
    order: &'a OrderId,
    fence: Fence,
    mark: Fate,
    stands: Option<(u32, Version)>,
}

impl<'a> Ending<'a> {
    fn of(request: &'a ReleaseRequest) -> Self {
        Self {
            tenant: &request.target.tenant,
            order: &request.target.order,
            fence: request.fence,
            mark: request.mark,
            stands: None,
        }
    }
}

columns! {
    /// Leases that end.
    pub(crate) struct ReleaseRows<'a> of it: Ending<'a> {
        1 tenant: &'a str, TEXT_ARRAY = it.tenant.as_str();
        2 id: &'a str, TEXT_ARRAY = it.order.as_str();
        3 fence: Id, UUID_ARRAY = it.fence.into();
        4 clears: bool, BOOL_ARRAY = it.mark == Fate::Goes;
        5 step: Option<i64>, INT8_ARRAY = Some(it.stands?.0.into());
        6 version: Option<i64>, INT8_ARRAY = Some(signed(it.stands?.1.0));
        7 undoes: bool, BOOL_ARRAY = it.mark == Fate::Before;
    }
}
