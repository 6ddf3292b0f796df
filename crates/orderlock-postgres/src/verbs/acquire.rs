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
use orderlock_core::{StoreError, Target, Timestamp};
use tokio_postgres::Row;

use crate::batch::retry::alone;
use crate::batch::{Reply, Work};
use crate::pool::connection::Connection;
use crate::pool::settings::LockWait;
use crate::pool::{Pool, Purpose};
use crate::sql::clock::ObservedClock;
use crate::sql::error::{Failure, TransactionError};
use crate::sql::rows::{Columns, place};
use crate::sql::statement::Commit;
use crate::verbs::acquire_facts::{self, FACTS};
use crate::verbs::acquire_rows::GrantParameters;
use crate::verbs::fairness::{Pace, WAIT, WaitRows};
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

    /// These requests as the parameters of statements.
    pub(crate) fn parameters<'a>(&self, requests: &[&'a Acquire]) -> GrantParameters<'a> {
        GrantParameters::of(requests, &self.clock)
    }

    async fn grant(
        &self,
        batch: &[GrantRequest],
        waits: LockWait,
    ) -> Result<Vec<Reply<Acquired>>, TransactionError> {
        let connection = self.connection(waits).await?;
        let requests: Vec<_> = batch.iter().map(|it| &it.request).collect();
        let asked = self.parameters(&requests);
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

    /// The reply to each request: what was granted, and for the others what the facts say.
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
        let asked = self.parameters(&left);
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
        let now = self.clock.parameter();
        let waits = WaitRows::of(again.iter().copied());
        let within = self.pace.within(self.so_far(batch));
        let mut parameters = waits.parameters();
        parameters.insert(0, &now);
        parameters.push(&within);
        if let Err(error) = connection.write(&WAIT, &parameters).await {
            let error = error.into_failure();
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

/// The answer to the next in line, for the one that lets go. An error of the next one's own does not
/// undo what its predecessor did: it then asks for itself, and gets the error.
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
