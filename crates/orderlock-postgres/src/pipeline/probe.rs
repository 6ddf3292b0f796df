//! Asks about the next in line, under the lease of the one before: what it would be granted once that
//! one has settled. A probe changes nothing, and waits for no flush.

use std::sync::Arc;

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use orderlock_core::store::Acquire;
use orderlock_core::{
    Document, Fence, LeaseState, OwnedIndex, StoreError, Target, Times, Timestamp, Version,
};
use tokio_postgres::Row;
use tokio_postgres::types::Type;

use crate::batch::{Reply, Work};
use crate::pool::connection::Connection;
use crate::pool::settings::LockWait;
use crate::pool::{Pool, Purpose};
use crate::sql::clock::ObservedClock;
use crate::sql::columns::columns;
use crate::sql::error::{Failure, TransactionError};
use crate::sql::fragments::{entry_columns, requests};
use crate::sql::rows::{Columns, Id, key_hash};
use crate::sql::statement::Sql;
use crate::sql::text::text;
use crate::verbs::acquire_facts::{AcquireFacts, FACTS_BEFORE, Requester};
use crate::verbs::acquire_rows::FactRows;

columns! {
    /// Keys, and the sessions that ask for them.
    pub(crate) struct KeyRows<'a> of it: &'a Acquire {
        2 session: Id, UUID_ARRAY = it.session.into();
        3 key_hash: i64, INT8_ARRAY = key_hash(it.claim.key_id);
        4 key_id: &'a [u8], BYTEA_ARRAY = &it.claim.key_id.0[..];
    }
}

/// The facts of the next in line without the order, whose holder is known here. The key's id names the
/// order too.
pub(crate) static KEY_FACTS: Sql = Sql {
    text: text!(
        "WITH clock AS (SELECT coalesce($1, clock_timestamp()) AS now)
        SELECT clock.now,
            EXISTS (SELECT FROM sessions s WHERE s.id = r.session),
            entry.*
        FROM clock CROSS JOIN
            ",
        requests!(many: KeyRows),
        "
            LEFT JOIN LATERAL (
                SELECT k.forgotten, ",
        entry_columns!(),
        "
                FROM keys k JOIN entries e ON e.order_row = k.order_row AND e.number = k.number
                WHERE k.key_hash = r.key_hash AND e.key_id = r.key_id
                ORDER BY k.number DESC LIMIT 1
            ) entry ON true
        ORDER BY r.place"
    ),
    types: &[&[Type::TIMESTAMPTZ], KeyRows::TYPES],
};

/// Batches of probes.
#[derive(Clone, Debug)]
pub(crate) struct ProbeBatch {
    pub(crate) pool: Pool,
    pub(crate) clock: Arc<ObservedClock>,
}

/// Who is asked about.
#[derive(Debug)]
pub(crate) struct Probe {
    pub(crate) next: Acquire,
    pub(crate) order: Scope,
}

impl Probe {
    /// The grant that the order's document is told to.
    fn reader(&self) -> Option<Fence> {
        match self.order {
            Scope::Whole(fence) => Some(fence),
            Scope::None | Scope::Lock => None,
        }
    }
}

/// What is to be seen of the order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Scope {
    /// Nothing.
    None,
    /// The order without its document.
    Lock,
    /// All of it, if this grant holds it.
    Whole(Fence),
}

/// What was seen.
#[derive(Debug)]
pub(crate) struct ProbeAnswer {
    pub(crate) next: Requester,
    /// None if it was not asked for, or is not there.
    pub(crate) order: Option<SeenOrder>,
}

/// The order as it is now.
#[derive(Debug)]
pub(crate) struct SeenOrder {
    pub(crate) version: Version,
    /// Whether it is another node's turn at the order.
    pub(crate) kept: bool,
    pub(crate) lease: LeaseState,
    pub(crate) index: OwnedIndex,
    pub(crate) times: Times,
    pub(crate) document: Option<Document>,
    pub(crate) entries: u64,
}

impl Work for ProbeBatch {
    type Request = Probe;
    /// None if there is no such order.
    type Answer = Option<ProbeAnswer>;

    const REPEATS: bool = true;

    fn target(request: &Probe) -> Target {
        request.next.claim.target()
    }

    fn bytes(_: &Probe) -> usize {
        512
    }

    fn ask<'a>(
        &'a self,
        requests: &'a [Probe],
        waits: LockWait,
    ) -> BoxFuture<'a, Result<Vec<Reply<Option<ProbeAnswer>>>, TransactionError>> {
        let looked = self.look(requests, waits);
        looked
            .map(|looked| looked.map_err(TransactionError::NotApplied))
            .boxed()
    }

    fn refused<'a>(
        &'a self,
        _: &'a Probe,
        failure: Failure,
    ) -> BoxFuture<'a, Result<Option<ProbeAnswer>, StoreError>> {
        async move { Err(failure.not_applied()) }.boxed()
    }
}

impl ProbeBatch {
    async fn look(
        &self,
        requests: &[Probe],
        waits: LockWait,
    ) -> Result<Vec<Reply<Option<ProbeAnswer>>>, Failure> {
        let (keys, orders): (Vec<_>, Vec<_>) =
            requests.iter().partition(|look| look.order == Scope::None);
        let connection = self.pool.connection(Purpose::Work(waits)).await?;
        let mut keys = self.at_keys(&connection, &keys).await?.into_iter();
        let mut orders = self.at_orders(&connection, &orders).await?.into_iter();
        let told = requests.iter().map(|look| match look.order {
            Scope::None => keys.next(),
            Scope::Lock | Scope::Whole(_) => orders.next(),
        });
        Ok(told.collect())
    }

    async fn at_keys(&self, connection: &Connection, probes: &[&Probe]) -> Result<Seen, Failure> {
        if probes.is_empty() {
            return Ok(Vec::new());
        }
        let (now, believed) = (self.clock.parameter(), self.clock.believed());
        let keys = KeyRows::of(probes.iter().map(|probe| &probe.next));
        let mut parameters = keys.parameters();
        parameters.insert(0, &now);
        let rows = connection.query(&KEY_FACTS, &parameters).await?;
        let seen = probes.iter().zip(&rows);
        Ok(seen
            .map(|(look, row)| see_key(&look.next, row, believed))
            .collect())
    }

    async fn at_orders(&self, connection: &Connection, probes: &[&Probe]) -> Result<Seen, Failure> {
        if probes.is_empty() {
            return Ok(Vec::new());
        }
        let (now, believed) = (self.clock.parameter(), self.clock.believed());
        let facts = FactRows::of(probes.iter().map(|probe| (&probe.next, probe.reader())));
        let mut parameters = facts.parameters();
        parameters.insert(0, &now);
        let rows = connection.query(&FACTS_BEFORE, &parameters).await?;
        let seen = probes.iter().zip(&rows);
        Ok(seen
            .map(|(look, row)| see_order(&look.next, row, believed))
            .collect())
    }
}

/// What was seen of each.
type Seen = Vec<Result<Option<ProbeAnswer>, Failure>>;

fn see_key(
    next: &Acquire,
    row: &Row,
    believed: Option<Timestamp>,
) -> Result<Option<ProbeAnswer>, Failure> {
    let next = Requester::of(&mut Columns::of(row), next.claim.target(), believed)?;
    Ok(Some(ProbeAnswer { next, order: None }))
}

fn see_order(
    next: &Acquire,
    row: &Row,
    believed: Option<Timestamp>,
) -> Result<Option<ProbeAnswer>, Failure> {
    let Some(mut known) = AcquireFacts::of(&next.claim.target(), row, believed)? else {
        return Ok(None);
    };
    // The version, which is known already.
    known.columns.skip(1);
    let index = OwnedIndex {
        status: known.columns.next()?,
        customer: known.columns.next()?,
    };
    let times = Times {
        created: known.columns.next()?,
        updated: known.columns.next()?,
    };
    let document: Option<Vec<u8>> = known.columns.next()?;
    let order = SeenOrder {
        version: known.version,
        kept: known.kept,
        lease: known.lease,
        index,
        times,
        document: document.map(Document::trusted),
        entries: known.columns.count()?,
    };
    Ok(Some(ProbeAnswer {
        next: known.requester,
        order: Some(order),
    }))
}
