//! Lists of orders, and of those that somebody holds: bounded also in how many orders are looked at.

use orderlock_core::store::{Filter, Leases, List, OrderView, Page};
use orderlock_core::{LeaseView, StoreError};
use tokio_postgres::Row;
use tokio_postgres::types::Type;

use crate::connection::Sql;
use crate::error::Failure;
use crate::fragments::{content_columns, held, lock_columns, target_columns};
use crate::pages::{bytes_max, cursor, limit, one_more, place, take};
use crate::pool::For;
use crate::read::{lease_view, view, view_columns};
use crate::rows::Columns;
use crate::store::Inner;

/// How many orders are looked at for one page of those that are held, or not held: no index says
/// which they are, because it would have to be written by each operation.
const SCAN_MAX: i64 = 131_072;

/// A list of orders, newest first. The rows that are looked at are narrow; those on the page are
/// then read whole. The look ends with the page; where it ended before, at `$3`, is told too.
macro_rules! list {
    ($conditions:literal) => {
        Sql {
            text: concat!(
                "WITH wanted AS MATERIALIZED (
                    SELECT row FROM (
                        SELECT o.row, o.fence IS NOT NULL AND ",
                held!(),
                " AS held
                        FROM orders o WHERE o.tenant = $1 AND o.row > 0 AND o.row < $2 ",
                $conditions,
                " ORDER BY o.row DESC LIMIT $3
                    ) looked
                    WHERE $5 IS NULL OR held = $5 ORDER BY row DESC LIMIT $4
                ), found AS MATERIALIZED (
                    SELECT count(*) AS found FROM wanted
                ), sized AS (
                    SELECT w.row, sum(octet_length(o.document))
                            OVER (ORDER BY w.row DESC ROWS UNBOUNDED PRECEDING)
                        - octet_length(o.document) AS before
                    FROM wanted w JOIN orders o ON o.tenant = $1 AND o.row = w.row AND o.row > 0
                )
                SELECT found, CASE WHEN found < $4 THEN (
                        SELECT o.row FROM orders o WHERE o.tenant = $1 AND o.row > 0 AND o.row < $2 ",
                $conditions,
                " ORDER BY o.row DESC OFFSET $3 - 1 LIMIT 1
                    ) END, o.row, ",
                view_columns!(),
                "
                FROM found LEFT JOIN (
                    sized s JOIN orders o ON o.tenant = $1 AND o.row = s.row AND o.row > 0
                ) ON s.before < ",
                bytes_max!(),
                " ORDER BY o.row DESC"
            ),
            types: &[
                Type::TEXT,
                Type::INT8,
                Type::INT8,
                Type::INT8,
                Type::BOOL,
                Type::TEXT,
                Type::TEXT,
            ],
        }
    };
}

/// A statement for each combination of filters, so that each has its index.
pub(crate) static LIST: Sql = list!("");
pub(crate) static LIST_BY_STATUS: Sql = list!("AND o.status = $6");
pub(crate) static LIST_BY_CUSTOMER: Sql = list!("AND o.customer = $7");
pub(crate) static LIST_BY_BOTH: Sql = list!("AND o.status = $6 AND o.customer = $7");

/// A page of orders, newest first.
pub(crate) async fn list(inner: &Inner, request: &List) -> Result<Page<OrderView>, StoreError> {
    let before = place('o', request.cursor.as_ref())?.unwrap_or(i64::MAX);
    let Filter {
        status,
        customer,
        locked,
    } = &request.filter;
    let statement = match (status, customer) {
        (None, None) => &LIST,
        (Some(_), None) => &LIST_BY_STATUS,
        (None, Some(_)) => &LIST_BY_CUSTOMER,
        (Some(_), Some(_)) => &LIST_BY_BOTH,
    };
    let limit = limit(request.limit);
    let most = one_more(limit);
    let scan = if locked.is_some() { SCAN_MAX } else { most };
    let tenant = request.tenant.as_str();
    let connection = inner.pool.connection(For::Reading).await?;
    let rows = connection
        .query(
            statement,
            &[&tenant, &before, &scan, &most, locked, status, customer],
        )
        .await?;
    let looked = Looked::of(rows)?;
    let (items, more) = take(&looked.rows, limit, looked.found, |row| {
        let mut columns = Columns::of(row);
        columns.skip(LOOKED);
        let row: i64 = columns.next()?;
        Ok((row, view(&mut columns)?))
    })?;
    Ok(looked.page('o', items, more))
}

/// The columns before an item's own in a page of rows that were looked for.
const LOOKED: usize = 2;

/// Rows that were looked for among others.
struct Looked {
    rows: Vec<Row>,
    found: usize,
    /// The last row that was looked at, if the look ended there and not at the end of the list.
    cut: Option<i64>,
}

impl Looked {
    fn of(mut rows: Vec<Row>) -> Result<Self, Failure> {
        let head = rows.first();
        let head = head.ok_or_else(|| Failure::unreadable("a page has no counts"))?;
        let mut columns = Columns::of(head);
        let (found, cut) = (columns.count()?, columns.next()?);
        let empty = columns.next::<Option<i64>>()?.is_none();
        if empty {
            rows.clear();
        }
        Ok(Self {
            rows,
            found: usize::try_from(found).unwrap_or(usize::MAX),
            cut,
        })
    }

    /// The page of items with their places.
    fn page<T>(&self, list: char, items: Vec<(i64, T)>, more: bool) -> Page<T> {
        let last = items.last().map(|(place, _)| *place);
        let next = if more { last } else { self.cut };
        Page {
            items: items.into_iter().map(|(_, item)| item).collect(),
            next: next.map(|place| cursor(list, place)),
        }
    }
}

pub(crate) static LEASES: Sql = Sql {
    text: concat!(
        "WITH wanted AS MATERIALIZED (
            SELECT row FROM (
                SELECT o.row, o.mark_attempt IS NOT NULL OR (o.fence IS NOT NULL AND ",
        held!(),
        ") AS taken
                FROM orders o WHERE o.tenant = $1 AND o.row > 0 AND o.row > $2 ORDER BY o.row LIMIT $3
            ) looked
            WHERE taken ORDER BY row LIMIT $4
        ), found AS MATERIALIZED (
            SELECT count(*) AS found FROM wanted
        )
        SELECT found, CASE WHEN found < $4 THEN (
                SELECT o.row FROM orders o WHERE o.tenant = $1 AND o.row > 0 AND o.row > $2
                ORDER BY o.row OFFSET $3 - 1 LIMIT 1
            ) END, o.row, ",
        target_columns!(),
        ", ",
        held!(),
        ", ",
        lock_columns!(),
        "
        FROM found LEFT JOIN (
            wanted w JOIN orders o ON o.tenant = $1 AND o.row = w.row AND o.row > 0
        ) ON true
        ORDER BY o.row"
    ),
    types: &[Type::TEXT, Type::INT8, Type::INT8, Type::INT8],
};

/// A page of held and marked orders, oldest order first. Where few of many orders are held, a page
/// may be empty and another one follow.
pub(crate) async fn leases(inner: &Inner, request: &Leases) -> Result<Page<LeaseView>, StoreError> {
    let after = place('l', request.cursor.as_ref())?.unwrap_or(0);
    let limit = limit(request.limit);
    let tenant = request.tenant.as_str();
    let connection = inner.pool.connection(For::Reading).await?;
    let rows = connection
        .query(&LEASES, &[&tenant, &after, &SCAN_MAX, &one_more(limit)])
        .await?;
    let looked = Looked::of(rows)?;
    let (items, more) = take(&looked.rows, limit, looked.found, |row| {
        let mut columns = Columns::of(row);
        columns.skip(LOOKED);
        let row: i64 = columns.next()?;
        let target = columns.target()?;
        let alive = columns.next()?;
        let lock = columns.lock(&target.tenant, alive)?;
        Ok((row, lease_view(&lock, &target)))
    })?;
    let Page { items, next } = looked.page('l', items, more);
    Ok(Page {
        items: items.into_iter().flatten().collect(),
        next,
    })
}
