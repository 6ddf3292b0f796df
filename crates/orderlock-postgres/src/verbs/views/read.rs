//! Reads of one order, and what became of keys: one statement each, and so one snapshot.

use std::sync::Arc;

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use orderlock_core::store::{Claim, Entry, Known, Lookup, OrderView, Read};
use orderlock_core::{
    KeyId, LeaseState, LeaseView, OrderId, StoreError, Target, Tenant, Timestamp,
};
use tokio_postgres::types::Type;

use crate::batch::{Reply, Work};
use crate::pool::settings::LockWait;
use crate::pool::{Pool, Purpose};
use crate::sql::clock::ObservedClock;
use crate::sql::columns::columns;
use crate::sql::error::{Failure, TransactionError};
use crate::sql::fragments::{
    content_columns, entry_columns, held, lock_columns, order_at, requests, target_columns,
};
use crate::sql::rows::{Columns, key_hash, name};
use crate::sql::statement::Sql;
use crate::sql::text::text;
use crate::verbs::Context;

/// The columns of [`view`], of `orders o`.
macro_rules! view_columns {
    () => {
        concat!(
            target_columns!(),
            ", ",
            held!(),
            ", ",
            lock_columns!(),
            ", ",
            content_columns!()
        )
    };
}

pub(crate) use view_columns;

pub(crate) static READ: Sql = Sql {
    text: concat!(
        "SELECT ",
        view_columns!(),
        " FROM orders o WHERE o.tenant = $1 AND o.id = $2"
    ),
    types: &[&[Type::TEXT, Type::TEXT]],
};

/// A key, and where it is looked for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct LookedUp<'a> {
    tenant: &'a Tenant,
    order: &'a OrderId,
    key_id: &'a KeyId,
}

impl<'a> From<&'a Lookup> for LookedUp<'a> {
    fn from(request: &'a Lookup) -> Self {
        Self {
            tenant: &request.target.tenant,
            order: &request.target.order,
            key_id: &request.key_id,
        }
    }
}

impl<'a> From<&'a Claim> for LookedUp<'a> {
    fn from(claim: &'a Claim) -> Self {
        Self {
            tenant: &claim.caller.tenant,
            order: &claim.order,
            key_id: &claim.key_id,
        }
    }
}

columns! {
    /// The keys that are looked up.
    pub(crate) struct LookupRows<'a> of it: LookedUp<'a> {
        2 tenant: &'a str, TEXT_ARRAY = it.tenant.as_str();
        3 id: &'a str, TEXT_ARRAY = it.order.as_str();
        4 key_hash: i64, INT8_ARRAY = key_hash(*it.key_id);
        5 key_id: &'a [u8], BYTEA_ARRAY = &it.key_id.0[..];
    }
}

/// The order's lock and the newest entry of the key, for each of them, and the order that the entry is
/// of: that of a creation may have another id than the one that is derived from its key. A final
/// entry is always the key's last one.
pub(crate) static LOOKUP: Sql = Sql {
    text: text!(
        "WITH clock AS MATERIALIZED (SELECT coalesce($1, clock_timestamp()) AS now)
        SELECT clock.now, o.row IS NOT NULL, ",
        held!(),
        ", ",
        lock_columns!(),
        ", (",
        order_at!("o.id", "r.tenant", "key.order_row"),
        "), key.*
        FROM clock CROSS JOIN ",
        requests!(many: LookupRows),
        "
            LEFT JOIN orders o ON o.tenant = r.tenant AND o.id = r.id
            LEFT JOIN LATERAL (
                SELECT k.forgotten, ",
        entry_columns!(),
        ", e.order_row
                FROM keys k JOIN entries e ON e.order_row = k.order_row AND e.number = k.number
                WHERE k.key_hash = r.key_hash AND e.key_id = r.key_id
                ORDER BY k.number DESC LIMIT 1
            ) key ON true
        ORDER BY r.place"
    ),
    types: &[&[Type::TIMESTAMPTZ], LookupRows::TYPES],
};

/// One order as others see it.
pub(crate) async fn read(
    context: &Context,
    request: &Read,
) -> Result<Option<OrderView>, StoreError> {
    let Target { tenant, order } = &request.target;
    let connection = context.pool.connection(Purpose::Reading).await?;
    let rows = connection
        .query(&READ, &[&tenant.as_str(), &order.as_str()])
        .await?;
    let row = rows.first();
    Ok(row.map(|row| view(&mut Columns::of(row))).transpose()?)
}

/// `view_columns!`.
pub(crate) fn view(columns: &mut Columns<'_>) -> Result<OrderView, Failure> {
    let target = columns.target()?;
    let alive = columns.next()?;
    let lock = columns.lock(&target.tenant, alive)?;
    let content = columns.content()?;
    Ok(OrderView {
        lease: lease_view(&lock, &target),
        target,
        version: content.version,
        document: content.document,
        index: content.index,
        times: content.times,
    })
}

/// Who holds an order, or which mark is open.
pub(crate) fn lease_view(lock: &LeaseState, target: &Target) -> Option<LeaseView> {
    let held = lock.lease().map(|lease| lease.view(target));
    held.or_else(|| lock.mark().map(|mark| mark.view(target)))
}

/// Looks keys up.
#[derive(Clone, Debug)]
pub(crate) struct LookupBatch {
    pub(crate) pool: Pool,
    pub(crate) clock: Arc<ObservedClock>,
}

impl Work for LookupBatch {
    type Request = Lookup;
    /// What became of the key, and whether it has no entry.
    type Answer = (Known, bool);

    const REPEATS: bool = true;

    fn target(request: &Lookup) -> Target {
        request.target.clone()
    }

    fn bytes(_: &Lookup) -> usize {
        512
    }

    fn ask<'a>(
        &'a self,
        requests: &'a [Lookup],
        waits: LockWait,
    ) -> BoxFuture<'a, Result<Vec<Reply<(Known, bool)>>, TransactionError>> {
        let looked = self.look(requests, waits);
        looked
            .map(|looked| looked.map_err(TransactionError::NotApplied))
            .boxed()
    }

    fn refused<'a>(
        &'a self,
        _: &'a Lookup,
        failure: Failure,
    ) -> BoxFuture<'a, Result<(Known, bool), StoreError>> {
        async move { Err(failure.not_applied()) }.boxed()
    }
}

impl LookupBatch {
    async fn look(
        &self,
        requests: &[Lookup],
        waits: LockWait,
    ) -> Result<Vec<Reply<(Known, bool)>>, Failure> {
        let now = self.clock.parameter();
        let keys = LookupRows::of(requests.iter().map(LookedUp::from));
        let mut parameters = keys.parameters();
        parameters.insert(0, &now);
        let connection = self.pool.connection(Purpose::Work(waits)).await?;
        let rows = connection.query(&LOOKUP, &parameters).await?;
        if rows.len() != requests.len() {
            return Err(Failure::unreadable("a key was not looked up"));
        }
        if let Some(row) = rows.first() {
            self.clock.observe(Columns::of(row).next()?);
        }
        let believed = self.clock.believed();
        let told = requests
            .iter()
            .zip(&rows)
            .map(|(it, row)| known(it, Columns::of(row), believed));
        Ok(told.map(Some).collect())
    }
}

fn known(
    request: &Lookup,
    mut columns: Columns<'_>,
    believed: Option<Timestamp>,
) -> Result<(Known, bool), Failure> {
    let found = KeyRecord::of(&request.target, &mut columns, believed)?;
    let new = found.entry.is_none();
    if let Some(entry) = found.entry.filter(|entry| entry.outcome.is_final()) {
        let retained = entry.expires.is_some_and(|expires| expires > found.now);
        let known = match retained {
            false => Known::Expired(entry.fingerprint),
            true => Known::Settled(entry),
        };
        return Ok((known, new));
    }
    let mine = |key_id| key_id == request.key_id;
    let known = match &found.lock {
        LeaseState::Held(lease) | LeaseState::Begun(lease, _) if mine(lease.key_id) => {
            Known::Running(lease.view(&request.target))
        }
        LeaseState::Unattended(mark) if mine(mark.key_id) => Known::Marked(mark.clone().into()),
        _ => Known::Unknown,
    };
    Ok((known, new && found.there))
}

/// What a key was found to be.
pub(crate) struct KeyRecord {
    pub(crate) now: Timestamp,
    /// Whether there is an order where it was looked for.
    pub(crate) there: bool,
    lock: LeaseState,
    /// The newest entry of the key, unless the key is forgotten.
    pub(crate) entry: Option<Box<Entry>>,
}

impl KeyRecord {
    /// A row of [`LOOKUP`].
    pub(crate) fn of(
        target: &Target,
        columns: &mut Columns<'_>,
        believed: Option<Timestamp>,
    ) -> Result<Self, Failure> {
        let (now, there) = (columns.next::<Timestamp>()?, columns.next()?);
        let alive = columns.next()?;
        let lock = columns.lock(&target.tenant, alive)?;
        let id: Option<&str> = columns.next()?;
        let forgotten: Option<Timestamp> = columns.next()?;
        let earliest = believed.map_or(now, |believed| believed.min(now));
        let entry = match id {
            Some(id) if forgotten.is_none_or(|forgotten| forgotten > earliest) => {
                let target = Target {
                    tenant: target.tenant.clone(),
                    order: name(id, OrderId::parse)?,
                };
                Some(columns.entry(target, now)?.into())
            }
            _ => None,
        };
        Ok(Self {
            now,
            there,
            lock,
            entry,
        })
    }
}
