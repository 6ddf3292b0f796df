//! Lists of orders, and of those that somebody holds: bounded also in how many orders are looked at.

use orderlock_core::store::{Cursor, Filter, Leases, List, OrderView, Page};
use orderlock_core::{LeaseView, StoreError};
use tokio_postgres::Row;
use tokio_postgres::types::Type;

use crate::pool::Purpose;
use crate::sql::error::Failure;
use crate::sql::fragments::{content_columns, held, lock_columns, target_columns};
use crate::sql::rows::Columns;
use crate::sql::statement::Sql;
use crate::verbs::Context;
use crate::verbs::views::pages::{bytes_max, cursor, limit, number, one_more, place, take};
use crate::verbs::views::read::{lease_view, view, view_columns};

/// How many orders are looked at for one page where no index says which are wanted: those that are held,
/// or not held, because it would have to be written by each operation; and those of a customer in a
/// status. The page then ends where the look ended, and may be empty with another one behind it.
const SCAN_MAX: i64 = 10_000;

/// A list of orders, newest first: of those that an index names by the first conditions, the ones for
/// which the second one is true. The rows that are looked at are narrow; those on the page are then
/// read whole, each where it was seen: a plan that was made for an empty table has looked each of
/// them up by a walk through all orders of the tenant. The look ends with the page; where it ended
/// before, at `$3`, is told too.
macro_rules! list {
    ($conditions:literal, $wanted:literal) => {
        Sql {
            text: concat!(
                "WITH wanted AS MATERIALIZED (
                    SELECT place, row, size FROM (
                        SELECT o.ctid AS place, o.row, octet_length(o.document) AS size, (",
                $wanted,
                ") AS wanted, o.fence IS NOT NULL AND ",
                held!(),
                " AS held
                        FROM orders o WHERE o.tenant = $1 AND o.row < $2 ",
                $conditions,
                " ORDER BY o.row DESC LIMIT $3
                    ) looked
                    WHERE wanted AND ($5 IS NULL OR held = $5) ORDER BY row DESC LIMIT $4
                ), found AS MATERIALIZED (
                    SELECT count(*) AS found FROM wanted
                ), sized AS (
                    SELECT place, sum(size) OVER (ORDER BY row DESC ROWS UNBOUNDED PRECEDING) - size
                        AS before
                    FROM wanted
                )
                SELECT found, CASE WHEN found < $4 THEN (
                        SELECT o.row FROM orders o WHERE o.tenant = $1 AND o.row < $2 ",
                $conditions,
                " ORDER BY o.row DESC OFFSET $3 - 1 LIMIT 1
                    ) END, o.row, ",
                view_columns!(),
                "
                FROM found LEFT JOIN (
                    sized s JOIN orders o ON o.ctid = s.place
                ) ON s.before < ",
                bytes_max!(),
                " ORDER BY o.row DESC"
            ),
            types: &[&[
                Type::TEXT,
                Type::INT8,
                Type::INT8,
                Type::INT8,
                Type::BOOL,
                Type::TEXT,
                Type::TEXT,
            ]],
        }
    };
}

/// A statement for each combination of filters, so that each has its index. The index of all orders
/// is for those that say `row > 0`: whoever looks for a part of them would walk through it, on a server
/// that has not analyzed the table.
pub(crate) static LIST: Sql = list!("AND o.row > 0", "true");
pub(crate) static LIST_BY_STATUS: Sql = list!("AND o.status = $6", "true");
pub(crate) static LIST_BY_CUSTOMER: Sql = list!("AND o.customer = $7", "true");
pub(crate) static LIST_BY_BOTH: Sql = list!("AND o.customer = $7", "o.status = $6");

/// A page of orders, newest first.
pub(crate) async fn list(context: &Context, request: &List) -> Result<Page<OrderView>, StoreError> {
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
    let mut texts = [status, customer].into_iter().flatten();
    if texts.any(|text| text.contains('\0')) {
        // No order has it: the database cannot keep such a text.
        return Ok(Page {
            items: Vec::new(),
            next: None,
        });
    }
    let limit = limit(request.limit);
    let most = one_more(limit);
    let by_index = locked.is_none() && !(status.is_some() && customer.is_some());
    let scan = if by_index { most } else { SCAN_MAX };
    let tenant = request.tenant.as_str();
    let connection = context.pool.connection(Purpose::Reading).await?;
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

/// Marks, the oldest first, by their own index: `$2` and `$3` say behind which the page begins.
pub(crate) static MARKS: Sql = Sql {
    text: concat!(
        "SELECT (extract(epoch FROM o.mark_since) * 1000000)::bigint, o.row, ",
        target_columns!(),
        ", ",
        held!(),
        ", ",
        lock_columns!(),
        "
        FROM orders o
        WHERE o.tenant = $1 AND o.mark_attempt IS NOT NULL AND (o.mark_since, o.row) > (
            '1970-01-01T00:00:00Z'::timestamptz + $2 * interval '1 microsecond', $3)
        ORDER BY o.mark_since, o.row LIMIT $4"
    ),
    types: &[&[Type::TEXT, Type::INT8, Type::INT8, Type::INT8]],
};

/// Orders that are held and have no mark, the newest first.
pub(crate) static LEASES: Sql = Sql {
    text: concat!(
        "WITH wanted AS MATERIALIZED (
            SELECT place FROM (
                SELECT o.ctid AS place, o.row, o.mark_attempt IS NULL AND o.fence IS NOT NULL AND ",
        held!(),
        " AS taken
                FROM orders o WHERE o.tenant = $1 AND o.row > 0 AND o.row < $2
                ORDER BY o.row DESC LIMIT $3
            ) looked
            WHERE taken ORDER BY row DESC LIMIT $4
        ), found AS MATERIALIZED (
            SELECT count(*) AS found FROM wanted
        )
        SELECT found, CASE WHEN found < $4 THEN (
                SELECT o.row FROM orders o WHERE o.tenant = $1 AND o.row > 0 AND o.row < $2
                ORDER BY o.row DESC OFFSET $3 - 1 LIMIT 1
            ) END, o.row, ",
        target_columns!(),
        ", ",
        held!(),
        ", ",
        lock_columns!(),
        "
        FROM found LEFT JOIN (
            wanted w JOIN orders o ON o.ctid = w.place
        ) ON true
        ORDER BY o.row DESC"
    ),
    types: &[&[Type::TEXT, Type::INT8, Type::INT8, Type::INT8]],
};

/// A page of marked orders, oldest mark first, and behind them of those that are held without a mark,
/// newest order first: what waits for a decision is found at once, however many orders there are.
/// Where few of many orders are held, a page may be empty and another one follow.
pub(crate) async fn leases(
    context: &Context,
    request: &Leases,
) -> Result<Page<LeaseView>, StoreError> {
    let limit = limit(request.limit);
    let (tenant, most) = (request.tenant.as_str(), one_more(limit));
    let connection = context.pool.connection(Purpose::Reading).await?;
    let before = match &request.cursor {
        Some(cursor) if cursor.0.starts_with('l') => place('l', Some(cursor))?,
        cursor => {
            let (since, row) = mark_place(cursor.as_ref())?;
            let rows = connection
                .query(&MARKS, &[&tenant, &since, &row, &most])
                .await?;
            if !rows.is_empty() {
                return Ok(marked(&rows, limit)?);
            }
            None
        }
    };
    let before = before.unwrap_or(i64::MAX);
    let rows = connection
        .query(&LEASES, &[&tenant, &before, &SCAN_MAX, &most])
        .await?;
    let looked = Looked::of(rows)?;
    let (items, more) = take(&looked.rows, limit, looked.found, |row| {
        let mut columns = Columns::of(row);
        columns.skip(LOOKED);
        let row: i64 = columns.next()?;
        Ok((row, lease(&mut columns)?))
    })?;
    let Page { items, next } = looked.page('l', items, more);
    Ok(Page {
        items: items.into_iter().flatten().collect(),
        next,
    })
}

/// A page of marks. Behind the last one come those that are held.
fn marked(rows: &[Row], limit: usize) -> Result<Page<LeaseView>, Failure> {
    let mut next = cursor('l', i64::MAX);
    let mut items = Vec::new();
    for row in rows.iter().take(limit) {
        let mut columns = Columns::of(row);
        let (since, row): (i64, i64) = (columns.next()?, columns.next()?);
        items.extend(lease(&mut columns)?);
        if rows.len() > limit {
            next = Cursor(format!("m{since}.{row}").into());
        }
    }
    let next = Some(next);
    Ok(Page { items, next })
}

/// Behind which mark a page begins.
fn mark_place(cursor: Option<&Cursor>) -> Result<(i64, i64), StoreError> {
    let Some(cursor) = cursor else {
        return Ok((0, 0));
    };
    let parts = cursor.0.strip_prefix('m').and_then(|it| it.split_once('.'));
    let parts = parts.and_then(|(since, row)| Some((number(since)?, number(row)?)));
    parts.ok_or(StoreError::InvalidCursor)
}

/// Who holds an order, or which mark is open.
fn lease(columns: &mut Columns<'_>) -> Result<Option<LeaseView>, Failure> {
    let target = columns.target()?;
    let alive = columns.next()?;
    let lock = columns.lock(&target.tenant, alive)?;
    Ok(lease_view(&lock, &target))
}
