//! `acquire`: one statement for a batch of requests, which grants what can be granted.
//!
//! If some were not granted, a second one tells the facts, as they are then. Their answers are decided
//! from the facts, by the one function that decides them for every store: who was granted after all
//! finds its own fence there.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use orderlock_core::store::{Acquire, Acquired};
use orderlock_core::{Recovery, StoreError, Target, Timestamp};
use tokio_postgres::Row;
use tokio_postgres::types::ToSql;

use crate::batch::retry::alone;
use crate::batch::{Reply, Work};
use crate::pool::connection::Connection;
use crate::pool::settings::LockWait;
use crate::pool::{Pool, Purpose};
use crate::sql::clock::{ObservedClock, span_to_sql};
use crate::sql::error::{Failure, TransactionError};
use crate::sql::rows::{Columns, Id, key_hash, place, signed};
use crate::sql::statement::Commit;
use crate::verbs::acquire_facts::{self, FACTS};
use crate::verbs::fairness::{Pace, WAIT};
use crate::verbs::statements::GRANT;

/// Grants leases.
#[derive(Clone, Debug)]
pub(crate) struct GrantBatch {
    pub(crate) pool: Pool,
    pub(crate) clock: Arc<ObservedClock>,
    /// How long this node's questions take.
    pub(crate) pace: Arc<Pace>,
    /// What the commit waits for: nothing, or for grants with a mark, the disk.
    pub(crate) commit: Commit,
}

/// A request for an order.
#[derive(Clone, Debug)]
pub(crate) struct GrantRequest {
    pub(crate) request: Acquire,
    /// Whether it has found the order held before: then it is written that its node waits.
    pub(crate) again: bool,
    /// When it was asked for.
    pub(crate) asked: Instant,
}

impl Work for GrantBatch {
    type Request = GrantRequest;
    type Answer = Acquired;

    /// A grant has its fence for a name: asked for again, it is the same grant.
    const REPEATS: bool = true;

    fn target(request: &GrantRequest) -> Target {
        request.request.claim.target()
    }

    fn bytes(_: &GrantRequest) -> usize {
        512
    }

    fn ask<'a>(
        &'a self,
        requests: &'a [GrantRequest],
        waits: LockWait,
    ) -> BoxFuture<'a, Result<Vec<Reply<Acquired>>, TransactionError>> {
        self.grant(requests, waits).boxed()
    }

    fn refused<'a>(
        &'a self,
        _: &'a GrantRequest,
        failure: Failure,
    ) -> BoxFuture<'a, Result<Acquired, StoreError>> {
        async move { Err(failure.not_applied()) }.boxed()
    }
}

impl GrantBatch {
    /// A connection for what waits for as much as these grants do.
    pub(crate) async fn connection(&self, waits: LockWait) -> Result<Connection, TransactionError> {
        let purpose = match self.commit {
            Commit::Flushed => Purpose::Commit(waits),
            Commit::Unflushed => Purpose::Work(waits),
        };
        let connection = self.pool.connection(purpose).await;
        connection.map_err(TransactionError::NotApplied)
    }

    async fn grant(
        &self,
        batch: &[GrantRequest],
        waits: LockWait,
    ) -> Result<Vec<Reply<Acquired>>, TransactionError> {
        let connection = self.connection(waits).await?;
        let requests: Vec<_> = batch.iter().map(|it| &it.request).collect();
        let asked = GrantRows::of(&requests, &self.clock);
        let unflushed = self.commit == Commit::Unflushed;
        let grant = asked.to_grant(&false, &unflushed);
        let sql = connection.form(&GRANT, requests.len());
        let granted = connection.write(sql, &grant).await?;
        // From here on the grants are committed, whatever is said of the others.
        let told = self.tell(&connection, &requests, &granted).await;
        let told = told.map_err(TransactionError::Unknown)?;
        self.wait(&connection, batch, &told).await;
        self.pace.took(self.so_far(batch));
        Ok(told)
    }

    /// What each request is told: what was granted, and the facts of the others.
    async fn tell(
        &self,
        connection: &Connection,
        requests: &[&Acquire],
        granted: &[Row],
    ) -> Result<Vec<Reply<Acquired>>, Failure> {
        let believed = self.clock.believed();
        let mut told = decide_all(requests, granted, &[], believed)?;
        let (mut places, mut left) = (Vec::new(), Vec::new());
        for (place, request) in requests.iter().enumerate() {
            if told[place].is_none() {
                places.push(place);
                left.push(*request);
            }
        }
        if left.is_empty() {
            return Ok(told);
        }
        let asked = GrantRows::of(&left, &self.clock);
        let facts = connection.query(&FACTS, &asked.to_tell()).await?;
        if let Some(row) = facts.first() {
            let mut columns = Columns::of(row);
            columns.skip(1);
            self.clock.observe(columns.next()?);
        }
        let answers = decide_all(&left, &[], &facts, believed)?;
        for (place, answer) in places.into_iter().zip(answers) {
            told[place] = answer;
        }
        Ok(told)
    }

    /// How long the longest of these questions has taken.
    fn so_far(&self, batch: &[GrantRequest]) -> Duration {
        let now = self.clock.instant();
        let took = batch
            .iter()
            .map(|it| now.saturating_duration_since(it.asked));
        took.max().unwrap_or_default()
    }

    /// Writes down who waits, and who has done so. Nothing but a turn hangs on it, and who still
    /// waits comes again.
    async fn wait(
        &self,
        connection: &Connection,
        batch: &[GrantRequest],
        told: &[Reply<Acquired>],
    ) {
        let waits = |told: &Reply<Acquired>| {
            matches!(told, Some(Ok(Acquired::Held(_) | Acquired::Granted(_))))
        };
        let again = batch
            .iter()
            .zip(told)
            .filter(|(it, told)| it.again && waits(told));
        let again: Vec<_> = again.map(|(it, _)| &it.request).collect();
        if again.is_empty() {
            return;
        }
        let asked = GrantRows::of(&again, &self.clock);
        let within = self.pace.within(self.so_far(batch));
        if let Err(broken) = connection.write(&WAIT, &asked.to_wait(&within)).await {
            let error = broken.into_failure();
            tracing::warn!(%error, "it is not written that this node waits for an order");
        }
    }
}

impl GrantBatch {
    /// Asks for the next in line, for one that has let go.
    pub(crate) async fn one(&self, request: &Acquire) -> Option<Acquired> {
        let grants = Self {
            commit: commit(request),
            ..self.clone()
        };
        let request = GrantRequest {
            request: request.clone(),
            again: false,
            asked: self.clock.instant(),
        };
        or_none(alone(&grants, request).await)
    }
}

/// What the next in line is told by the one that lets go. A fault of the next one's own does not
/// undo what its predecessor did: it then asks for itself, and is told.
pub(crate) fn or_none<E: fmt::Display>(told: Result<Acquired, E>) -> Option<Acquired> {
    match told {
        Ok(answer) => Some(answer),
        Err(error) => {
            tracing::warn!(%error, "an order was let go without its next in line");
            None
        }
    }
}

/// What a grant to this request waits for: a mark must survive before anything is done outside.
pub(crate) fn commit(request: &Acquire) -> Commit {
    match request.mark {
        Some(_) => Commit::Flushed,
        None => Commit::Unflushed,
    }
}

/// What the grant and the facts after it make of each request, in their order.
pub(crate) fn decide_all(
    requests: &[&Acquire],
    granted: &[Row],
    facts: &[Row],
    believed: Option<Timestamp>,
) -> Result<Vec<Reply<Acquired>>, Failure> {
    let mut told: Vec<_> = requests.iter().map(|request| (*request, None)).collect();
    for row in granted {
        let mut columns = Columns::of(row);
        let (request, told) = place(&mut told, columns.next()?)?;
        *told = acquire_facts::first_run(request, columns).transpose();
    }
    for row in facts {
        let (request, told) = place(&mut told, Columns::of(row).next()?)?;
        *told = acquire_facts::answer(request, row, believed).transpose();
    }
    Ok(told.into_iter().map(|(_, told)| told).collect())
}

/// Requests as the parameters of statements: a column for each of their parts.
#[derive(Debug)]
pub(crate) struct GrantRows<'a> {
    now: Option<Timestamp>,
    believed: Option<Timestamp>,
    tenants: Vec<&'a str>,
    orders: Vec<&'a str>,
    fences: Vec<Id>,
    sessions: Vec<Id>,
    principals: Vec<&'a str>,
    operations: Vec<&'a str>,
    key_hashes: Vec<i64>,
    key_ids: Vec<&'a [u8]>,
    fingerprints: Vec<&'a [u8]>,
    expected: Vec<Option<i64>>,
    marks: Vec<bool>,
    times: Vec<Option<i64>>,
    within: Vec<Option<i64>>,
}

impl<'a> GrantRows<'a> {
    pub(crate) fn of(requests: &[&'a Acquire], clock: &ObservedClock) -> Self {
        let all = || requests.iter().copied();
        let claims = || all().map(|request| &request.claim);
        let recoveries = || all().map(|request| request.mark);
        let resumes = |recovery| match recovery {
            Some(Recovery::Resume { times, within }) => Some((times, within)),
            Some(Recovery::Reconcile) | None => None,
        };
        Self {
            now: clock.parameter(),
            believed: clock.believed(),
            tenants: claims().map(|claim| claim.caller.tenant.as_str()).collect(),
            orders: claims().map(|claim| claim.order.as_str()).collect(),
            fences: all().map(|request| request.fence.into()).collect(),
            sessions: all().map(|request| request.session.into()).collect(),
            principals: claims()
                .map(|claim| claim.caller.principal.as_str())
                .collect(),
            operations: all().map(|request| request.operation.as_str()).collect(),
            key_hashes: claims().map(|claim| key_hash(claim.key_id)).collect(),
            key_ids: claims().map(|claim| &claim.key_id.0[..]).collect(),
            fingerprints: claims().map(|claim| &claim.fingerprint.0[..]).collect(),
            expected: all().map(|it| it.expected.map(|it| signed(it.0))).collect(),
            marks: recoveries().map(|recovery| recovery.is_some()).collect(),
            times: recoveries()
                .map(resumes)
                .map(|it| it.map(|it| it.0.into()))
                .collect(),
            within: recoveries()
                .map(resumes)
                .map(|it| it.map(|it| span_to_sql(it.1)))
                .collect(),
        }
    }

    /// The parameters of [`GRANT`]. Successors are granted only what this very transaction has let
    /// go, and leave to it what its commit waits for.
    pub(crate) fn to_grant<'b>(
        &'b self,
        successors: &'b bool,
        unflushed: &'b bool,
    ) -> [&'b (dyn ToSql + Sync); 17] {
        [
            &self.now,
            successors,
            &self.tenants,
            &self.orders,
            &self.fences,
            &self.sessions,
            &self.principals,
            &self.operations,
            &self.key_hashes,
            &self.key_ids,
            &self.fingerprints,
            &self.expected,
            &self.marks,
            &self.times,
            &self.within,
            unflushed,
            &self.believed,
        ]
    }

    /// The parameters of [`WAIT`].
    pub(crate) fn to_wait<'b>(&'b self, within: &'b i64) -> [&'b (dyn ToSql + Sync); 6] {
        [
            &self.now,
            &self.tenants,
            &self.orders,
            &self.fences,
            &self.sessions,
            within,
        ]
    }

    /// The parameters of [`FACTS`].
    pub(crate) fn to_tell(&self) -> [&(dyn ToSql + Sync); 7] {
        [
            &self.now,
            &self.tenants,
            &self.orders,
            &self.fences,
            &self.sessions,
            &self.key_hashes,
            &self.key_ids,
        ]
    }
}
