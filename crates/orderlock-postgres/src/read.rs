//! Reads of one order, and what became of a key: one statement each, and so one snapshot.

use orderlock_core::store::{Known, Lookup, OrderView, Read};
use orderlock_core::{LeaseState, LeaseView, StoreError, Target, Timestamp};
use tokio_postgres::types::Type;

use crate::connection::Sql;
use crate::error::Failure;
use crate::fragments::{content_columns, entry_columns, held, lock_columns, target_columns};
use crate::rows::{Columns, key_hash};
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

static READ: Sql = Sql {
    text: concat!(
        "SELECT ",
        view_columns!(),
        " FROM orders o WHERE o.tenant = $1 AND o.id = $2"
    ),
    types: &[Type::TEXT, Type::TEXT],
};

/// The order's lock and the newest entry of the key. A final entry is always the key's last one.
static LOOKUP: Sql = Sql {
    text: concat!(
        "WITH clock AS MATERIALIZED (SELECT coalesce($1, clock_timestamp()) AS now)
        SELECT clock.now, ",
        held!(),
        ", ",
        lock_columns!(),
        ", key.*
        FROM clock JOIN orders o ON o.tenant = $2 AND o.id = $3
            LEFT JOIN LATERAL (
                SELECT k.forgotten, ",
        entry_columns!(),
        "
                FROM keys k JOIN entries e ON e.order_row = k.order_row AND e.number = k.number
                WHERE k.key_hash = $4 AND k.order_row = o.row AND e.key_id = $5
                ORDER BY k.number DESC LIMIT 1
            ) key ON true"
    ),
    types: &[
        Type::TIMESTAMPTZ,
        Type::TEXT,
        Type::TEXT,
        Type::INT8,
        Type::BYTEA,
    ],
};

/// One order as others see it.
pub(crate) async fn read(inner: &Inner, request: &Read) -> Result<Option<OrderView>, StoreError> {
    let Target { tenant, order } = &request.target;
    let connection = inner.pool.connection().await?;
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

/// What became of a key.
pub(crate) async fn lookup(inner: &Inner, request: &Lookup) -> Result<Known, StoreError> {
    let Target { tenant, order } = &request.target;
    let connection = inner.pool.connection().await?;
    let rows = connection
        .query(
            &LOOKUP,
            &[
                &inner.clock.parameter(),
                &tenant.as_str(),
                &order.as_str(),
                &key_hash(request.key_id),
                &&request.key_id.0[..],
            ],
        )
        .await?;
    let Some(row) = rows.first() else {
        return Ok(Known::Unknown);
    };
    Ok(known(request, Columns::of(row))?)
}

fn known(request: &Lookup, mut columns: Columns<'_>) -> Result<Known, Failure> {
    let (now, alive) = (columns.next()?, columns.next()?);
    let target = &request.target;
    let lock = columns.lock(&target.tenant, alive)?;
    if let Some(settled) = settled(target, columns, now)? {
        return Ok(settled);
    }
    let mine = |key_id| key_id == request.key_id;
    Ok(match &lock {
        LeaseState::Held(lease) | LeaseState::Begun(lease, _) if mine(lease.key_id) => {
            Known::Running(lease.view(target))
        }
        LeaseState::Unattended(mark) if mine(mark.key_id) => Known::Marked(mark.clone().into()),
        _ => Known::Unknown,
    })
}

/// What the key's newest entry says, if it is final and still known.
fn settled(
    target: &Target,
    mut columns: Columns<'_>,
    now: Timestamp,
) -> Result<Option<Known>, Failure> {
    let forgotten: Option<Timestamp> = columns.next()?;
    let entry = columns.peek::<Option<i64>>()?;
    if entry.is_none() || forgotten.is_some_and(|forgotten| forgotten <= now) {
        return Ok(None);
    }
    let entry = columns.entry(target.clone(), now)?;
    let retained = entry.expires.is_some_and(|expires| expires > now);
    Ok(match (entry.outcome.is_final(), retained) {
        (false, _) => None,
        (true, false) => Some(Known::Expired(entry.fingerprint)),
        (true, true) => Some(Known::Settled(entry.into())),
    })
}
