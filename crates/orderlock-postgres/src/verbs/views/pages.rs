//! Pages: how each is bounded in rows and in bytes, where the next one begins, and an order's
//! history. Each page is one statement, and so one snapshot.

use orderlock_core::StoreError;
use orderlock_core::store::{Cursor, Entry, History, MarkEnd, Page};
use tokio_postgres::Row;
use tokio_postgres::types::Type;

use crate::pool::Purpose;
use crate::sql::error::Failure;
use crate::sql::fragments::{entry_columns, remembered};
use crate::sql::rows::{Columns, signed, unsigned};
use crate::sql::statement::Sql;
use crate::verbs::Context;

/// The most rows on a page, whatever is asked for.
const ROWS_MAX: usize = 1_000;

/// Takes rows up to a size: from `bytes_max!` on, a page takes no more of them. The rows come from a
/// select that has a `size` for each, in the order of `position`.
macro_rules! bounded {
    ($select:expr) => {
        concat!(
            "SELECT count(*) OVER () AS found,
                sum(size) OVER (ORDER BY position ROWS UNBOUNDED PRECEDING) - size AS before, s.*
            FROM (",
            $select,
            ") s"
        )
    };
}

/// See [`bounded!`].
macro_rules! bytes_max {
    () => {
        "8388608"
    };
}

/// The columns before an entry's own in a bounded page of them: how many rows were found, the bytes
/// before, the row's size.
pub(crate) const BOUNDS: usize = 3;

pub(crate) use {bounded, bytes_max};

/// How many rows the page may have.
pub(crate) fn limit(asked: usize) -> usize {
    asked.clamp(1, ROWS_MAX)
}

/// One more than the page takes, so that it is known whether more follows.
pub(crate) fn one_more(limit: usize) -> i64 {
    signed(limit as u64 + 1)
}

/// The items of a page, and whether rows were found that are not on it.
pub(crate) fn take<T>(
    rows: &[Row],
    limit: usize,
    found: usize,
    item: impl Fn(&Row) -> Result<T, Failure>,
) -> Result<(Vec<T>, bool), Failure> {
    let rows = &rows[..rows.len().min(limit)];
    let items: Result<Vec<_>, _> = rows.iter().map(item).collect();
    Ok((items?, rows.len() < found))
}

/// A cursor is a letter for the list and the place in it.
pub(crate) fn cursor(list: char, place: i64) -> Cursor {
    Cursor(format!("{list}{place}").into())
}

/// The place that a cursor of this list names.
pub(crate) fn place(list: char, cursor: Option<&Cursor>) -> Result<Option<i64>, StoreError> {
    let Some(cursor) = cursor else {
        return Ok(None);
    };
    let place = cursor.0.strip_prefix(list).and_then(number);
    place.map(Some).ok_or(StoreError::InvalidCursor)
}

/// Digits and nothing else, as this store writes them.
pub(crate) fn number(digits: &str) -> Option<i64> {
    let all_digits = digits.bytes().all(|byte| byte.is_ascii_digit());
    digits.parse().ok().filter(|_| all_digits)
}

pub(crate) static HISTORY: Sql = Sql {
    text: concat!(
        "WITH clock AS MATERIALIZED (SELECT coalesce($1, clock_timestamp()) AS now)
        SELECT clock.now, page.*
        FROM clock JOIN orders o ON o.tenant = $2 AND o.id = $3
            LEFT JOIN LATERAL (",
        bounded!(concat!(
            "SELECT coalesce(octet_length(e.change), 0) + coalesce(octet_length(k.body), 0) AS size,
            ",
            entry_columns!(),
            " FROM entries e ",
            remembered!(),
            " WHERE e.order_row = o.row AND e.number > $4 ORDER BY e.number LIMIT $5"
        )),
        ") page ON page.before < ",
        bytes_max!(),
        " ORDER BY page.position"
    ),
    types: &[&[
        Type::TIMESTAMPTZ,
        Type::TEXT,
        Type::TEXT,
        Type::INT8,
        Type::INT8,
    ]],
};

/// A page of an order's entries, oldest first.
pub(crate) async fn history(
    context: &Context,
    request: &History,
) -> Result<Option<Page<Entry>>, StoreError> {
    let after = place('h', request.cursor.as_ref())?.unwrap_or(0);
    let (tenant, order) = (&request.target.tenant, &request.target.order);
    let limit = limit(request.limit);
    let connection = context.pool.connection(Purpose::Reading).await?;
    let mut rows = connection
        .query(
            &HISTORY,
            &[
                &context.clock.parameter(),
                &tenant.as_str(),
                &order.as_str(),
                &after,
                &one_more(limit),
            ],
        )
        .await?;
    let Some(row) = rows.first() else {
        return Ok(None);
    };
    let mut columns = Columns::of(row);
    let now = columns.next()?;
    let found = columns.next::<Option<i64>>()?.map(unsigned);
    if found.is_none() {
        rows.clear();
    }
    let found = usize::try_from(found.unwrap_or(0)).unwrap_or(usize::MAX);
    let (items, more) = take(&rows, limit, found, |row| {
        let mut columns = Columns::of(row);
        columns.skip(1 + BOUNDS);
        columns.entry(request.target.clone(), now)
    })?;
    let next = items.last().filter(|_| more);
    Ok(Some(Page {
        next: next.map(|entry| cursor('h', signed(entry.number))),
        items,
    }))
}

pub(crate) static MARK_END: Sql = Sql {
    text: concat!(
        "SELECT coalesce($1, clock_timestamp()) AS now, ",
        entry_columns!(),
        " FROM orders o
            JOIN keys k ON k.key_hash = $4 AND k.order_row = o.row
            JOIN entries e ON e.order_row = k.order_row AND e.number = k.number
        WHERE o.tenant = $2 AND o.id = $3
            AND e.attempt = $5 AND e.fence IS NULL AND e.outcome <> 'checkpoint'
        ORDER BY e.number DESC LIMIT 1"
    ),
    types: &[&[
        Type::TIMESTAMPTZ,
        Type::TEXT,
        Type::TEXT,
        Type::INT8,
        Type::INT8,
    ]],
};

/// The last entry by which an operator has ended a mark.
pub(crate) async fn mark_end(
    context: &Context,
    request: &MarkEnd,
) -> Result<Option<Entry>, StoreError> {
    let (tenant, order) = (&request.target.tenant, &request.target.order);
    let connection = context.pool.connection(Purpose::Reading).await?;
    let rows = connection
        .query(
            &MARK_END,
            &[
                &context.clock.parameter(),
                &tenant.as_str(),
                &order.as_str(),
                &request.key.cast_signed(),
                &i64::from(request.attempt),
            ],
        )
        .await?;
    let Some(row) = rows.first() else {
        return Ok(None);
    };
    let mut columns = Columns::of(row);
    let now = columns.next()?;
    let entry = columns.entry(request.target.clone(), now)?;
    Ok(Some(entry).filter(|entry| request.is_told_by(entry)))
}
