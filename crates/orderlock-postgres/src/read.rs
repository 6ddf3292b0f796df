//! Reads of one order, and what became of keys: one statement each, and so one snapshot.

use std::sync::Arc;

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use orderlock_core::store::{Known, Lookup, OrderView, Read};
use orderlock_core::{LeaseState, LeaseView, StoreError, Target, Timestamp};
use tokio_postgres::types::Type;

use crate::batch::{Told, Work};
use crate::clock::{Clock, Heard};
use crate::connection::Sql;
use crate::error::{Broken, Failure};
use crate::fragments::{content_columns, entry_columns, held, lock_columns, target_columns};
use crate::pool::{For, Pool};
use crate::rows::{Columns, key_hash};
use crate::settings::Waits;
use crate::store::Inner;

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
    types: &[Type::TEXT, Type::TEXT],
};

/// The order's lock and the newest entry of the key, for each of them. A final entry is always the
/// key's last one.
pub(crate) static LOOKUP: Sql = Sql {
    text: concat!(
        "WITH clock AS MATERIALIZED (SELECT coalesce($1, clock_timestamp()) AS now)
        SELECT clock.now, o.row IS NOT NULL, ",
        held!(),
        ", ",
        lock_columns!(),
        ", key.*
        FROM clock CROSS JOIN unnest($2, $3, $4, $5) WITH ORDINALITY
                AS r (tenant, id, key_hash, key_id, place)
            LEFT JOIN orders o ON o.tenant = r.tenant AND o.id = r.id
            LEFT JOIN LATERAL (
                SELECT k.forgotten, ",
        entry_columns!(),
        "
                FROM keys k JOIN entries e ON e.order_row = k.order_row AND e.number = k.number
                WHERE k.key_hash = r.key_hash AND k.order_row = o.row AND e.key_id = r.key_id
                ORDER BY k.number DESC LIMIT 1
            ) key ON true
        ORDER BY r.place"
    ),
    types: &[
        Type::TIMESTAMPTZ,
        Type::TEXT_ARRAY,
        Type::TEXT_ARRAY,
        Type::INT8_ARRAY,
        Type::BYTEA_ARRAY,
    ],
};

/// One order as others see it.
pub(crate) async fn read(inner: &Inner, request: &Read) -> Result<Option<OrderView>, StoreError> {
    let Target { tenant, order } = &request.target;
    let connection = inner.pool.connection(For::Reading).await?;
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
pub(crate) struct Lookups {
    pub(crate) pool: Pool,
    pub(crate) clock: Clock,
    pub(crate) heard: Arc<Heard>,
}

impl Work for Lookups {
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
        waits: Waits,
    ) -> BoxFuture<'a, Result<Vec<Told<(Known, bool)>>, Broken>> {
        let looked = self.look(requests, waits);
        looked
            .map(|looked| looked.map_err(Broken::NotApplied))
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

impl Lookups {
    async fn look(
        &self,
        requests: &[Lookup],
        waits: Waits,
    ) -> Result<Vec<Told<(Known, bool)>>, Failure> {
        let all = || requests.iter();
        let now = self.clock.parameter();
        let tenants: Vec<_> = all().map(|it| it.target.tenant.as_str()).collect();
        let orders: Vec<_> = all().map(|it| it.target.order.as_str()).collect();
        let key_hashes: Vec<_> = all().map(|it| key_hash(it.key_id)).collect();
        let key_ids: Vec<_> = all().map(|it| &it.key_id.0[..]).collect();
        let connection = self.pool.connection(For::Work(waits)).await?;
        let rows = connection
            .query(&LOOKUP, &[&now, &tenants, &orders, &key_hashes, &key_ids])
            .await?;
        if rows.len() != requests.len() {
            return Err(Failure::unreadable("a key was not looked up"));
        }
        if let Some(row) = rows.first() {
            self.heard.hear(Columns::of(row).next()?);
        }
        let told = all()
            .zip(&rows)
            .map(|(it, row)| known(it, Columns::of(row)));
        Ok(told.map(Some).collect())
    }
}

fn known(request: &Lookup, mut columns: Columns<'_>) -> Result<(Known, bool), Failure> {
    let (now, there) = (columns.next()?, columns.next::<bool>()?);
    if !there {
        return Ok((Known::Unknown, false));
    }
    let alive = columns.next()?;
    let target = &request.target;
    let lock = columns.lock(&target.tenant, alive)?;
    let (settled, new) = entry(target, columns, now)?;
    if let Some(settled) = settled {
        return Ok((settled, new));
    }
    let mine = |key_id| key_id == request.key_id;
    let known = match &lock {
        LeaseState::Held(lease) | LeaseState::Begun(lease, _) if mine(lease.key_id) => {
            Known::Running(lease.view(target))
        }
        LeaseState::Unattended(mark) if mine(mark.key_id) => Known::Marked(mark.clone().into()),
        _ => Known::Unknown,
    };
    Ok((known, new))
}

/// What the key's newest entry says, if it is final and still known; and whether there is no entry.
fn entry(
    target: &Target,
    mut columns: Columns<'_>,
    now: Timestamp,
) -> Result<(Option<Known>, bool), Failure> {
    let forgotten: Option<Timestamp> = columns.next()?;
    let number = columns.peek::<Option<i64>>()?;
    if number.is_none() || forgotten.is_some_and(|forgotten| forgotten <= now) {
        return Ok((None, true));
    }
    let entry = columns.entry(target.clone(), now)?;
    let retained = entry.expires.is_some_and(|expires| expires > now);
    let settled = match (entry.outcome.is_final(), retained) {
        (false, _) => None,
        (true, false) => Some(Known::Expired(entry.fingerprint)),
        (true, true) => Some(Known::Settled(entry.into())),
    };
    Ok((settled, false))
}
