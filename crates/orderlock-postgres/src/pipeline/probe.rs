//! A look at the next in line, under the lease of the one before: what it would be granted once that
//! one has settled. It changes nothing, and waits for no flush.

use std::sync::Arc;

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use orderlock_core::store::Acquire;
use orderlock_core::{
    Document, Fence, LeaseState, OwnedIndex, StoreError, Target, Times, Timestamp, Version,
};
use tokio_postgres::Row;
use tokio_postgres::types::{ToSql, Type};

use crate::batch::{Reply, Work};
use crate::pool::connection::Connection;
use crate::pool::settings::LockWait;
use crate::pool::{Pool, Purpose};
use crate::sql::clock::ObservedClock;
use crate::sql::error::{Failure, TransactionError};
use crate::sql::fragments::entry_columns;
use crate::sql::rows::{Columns, Id, key_hash};
use crate::sql::statement::Sql;
use crate::verbs::acquire_facts::{AcquireFacts, Requester, TYPES, facts};

/// The facts before a grant, with the number of the order's last entry: whatever checkpoint the key
/// has is one of an earlier run.
pub(crate) static LOOK: Sql = Sql {
    text: facts!(checkpoint: "true", but: "false", more: ", o.entries"),
    types: TYPES,
};

/// The same without the order: of its holder's, who is known, nothing has to be asked. The key's id
/// names the order too.
pub(crate) static LOOK_AT_KEY: Sql = Sql {
    text: concat!(
        "WITH clock AS (SELECT coalesce($1, clock_timestamp()) AS now)
        SELECT clock.now,
            EXISTS (SELECT FROM sessions s WHERE s.id = r.session),
            entry.*
        FROM clock CROSS JOIN
            unnest($2, $3, $4) WITH ORDINALITY AS r (session, key_hash, key_id, place)
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
    types: &[
        Type::TIMESTAMPTZ,
        Type::UUID_ARRAY,
        Type::INT8_ARRAY,
        Type::BYTEA_ARRAY,
    ],
};

/// Looks at the next in line.
#[derive(Clone, Debug)]
pub(crate) struct ProbeBatch {
    pub(crate) pool: Pool,
    pub(crate) clock: Arc<ObservedClock>,
}

/// Who is to be looked at.
#[derive(Debug)]
pub(crate) struct Probe {
    pub(crate) next: Acquire,
    pub(crate) order: Scope,
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
        let asked = ProbeRows::of(probes);
        let (now, believed) = (self.clock.parameter(), self.clock.believed());
        let parameters: [&(dyn ToSql + Sync); 4] =
            [&now, &asked.sessions, &asked.key_hashes, &asked.key_ids];
        let rows = connection.query(&LOOK_AT_KEY, &parameters).await?;
        let seen = probes.iter().zip(&rows);
        Ok(seen
            .map(|(look, row)| see_key(&look.next, row, believed))
            .collect())
    }

    async fn at_orders(&self, connection: &Connection, probes: &[&Probe]) -> Result<Seen, Failure> {
        if probes.is_empty() {
            return Ok(Vec::new());
        }
        let asked = ProbeRows::of(probes);
        let (now, believed) = (self.clock.parameter(), self.clock.believed());
        let parameters: [&(dyn ToSql + Sync); 7] = [
            &now,
            &asked.tenants,
            &asked.orders,
            &asked.readers,
            &asked.sessions,
            &asked.key_hashes,
            &asked.key_ids,
        ];
        let rows = connection.query(&LOOK, &parameters).await?;
        let seen = probes.iter().zip(&rows);
        Ok(seen
            .map(|(look, row)| see_order(&look.next, row, believed))
            .collect())
    }
}

/// What was seen of each.
type Seen = Vec<Result<Option<ProbeAnswer>, Failure>>;

/// Looks as the parameters of statements, a column for each of their parts.
#[derive(Debug)]
struct ProbeRows<'a> {
    tenants: Vec<&'a str>,
    orders: Vec<&'a str>,
    readers: Vec<Option<Id>>,
    sessions: Vec<Id>,
    key_hashes: Vec<i64>,
    key_ids: Vec<&'a [u8]>,
}

impl<'a> ProbeRows<'a> {
    fn of(probes: &[&'a Probe]) -> Self {
        let nexts = || probes.iter().map(|look| &look.next);
        let claims = || nexts().map(|next| &next.claim);
        let reader = |scope| match scope {
            Scope::Whole(fence) => Some(Id::from(fence)),
            Scope::None | Scope::Lock => None,
        };
        Self {
            tenants: claims().map(|it| it.caller.tenant.as_str()).collect(),
            orders: claims().map(|it| it.order.as_str()).collect(),
            readers: probes.iter().map(|look| reader(look.order)).collect(),
            sessions: nexts().map(|next| next.session.into()).collect(),
            key_hashes: claims().map(|it| key_hash(it.key_id)).collect(),
            key_ids: claims().map(|it| &it.key_id.0[..]).collect(),
        }
    }
}

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
