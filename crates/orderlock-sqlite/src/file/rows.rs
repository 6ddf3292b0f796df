//! Rows and what they stand for.

use orderlock_core::store::{Entry, Position};
use orderlock_core::{
    Answer, Caller, Document, Fence, Fingerprint, KeyId, Mark, OperationName, OrderId, OutcomeKind,
    OwnedIndex, Principal, Recovery, Target, Tenant, Times, Timestamp, Version,
};
use rusqlite::types::Type;
use rusqlite::{Connection, OptionalExtension as _, Row};

use crate::file::key_index::{Indexed, Journal, journal};
use crate::file::time;

/// An order's row without its content, and the mark on it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct OrderRow {
    pub(crate) row: i64,
    pub(crate) target: Target,
    pub(crate) version: Version,
    pub(crate) mark: Option<Mark>,
}

/// An order's whole row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct WholeOrder {
    pub(crate) order: OrderRow,
    pub(crate) index: OwnedIndex,
    pub(crate) times: Times,
    pub(crate) document: Document,
}

/// Where lists have an order, beside its id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ListPlace {
    pub(crate) row: i64,
    pub(crate) created: Timestamp,
}

impl WholeOrder {
    pub(crate) fn list_place(&self) -> ListPlace {
        ListPlace {
            row: self.order.row,
            created: self.times.created,
        }
    }
}

/// An order and where its journal stands: all that a settle has to know of the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Latest {
    pub(crate) whole: WholeOrder,
    pub(crate) journal: Journal,
}

impl Latest {
    pub(crate) fn place(&self) -> Indexed<'_> {
        Indexed {
            target: &self.whole.order.target,
            row: self.whole.order.row,
            journal: &self.journal,
        }
    }
}

/// The columns of [`order_row`], of `orders o LEFT JOIN marks m`.
macro_rules! order_columns {
    () => {
        "o.row, o.tenant, o.id, o.version, \
         m.principal, m.key_id, m.fingerprint, m.operation, m.attempt, m.times, m.within, m.since "
    };
}

/// The columns of [`whole_order`], then others, and where they come from.
macro_rules! whole_orders {
    () => {
        whole_orders!("")
    };
    ($others:literal) => {
        concat!(
            order_columns!(),
            ", o.status, o.customer, o.created, o.updated, o.document ",
            $others,
            "FROM orders o LEFT JOIN marks m ON m.order_row = o.row "
        )
    };
}

/// The columns of [`entry_row`], of `entries e`, its order and its stored answer.
macro_rules! entry_columns {
    () => {
        concat!(
            entry_columns!("o.tenant, o.id", ""),
            "FROM entries e JOIN orders o ON o.row = e.order_row \
             LEFT JOIN answers a ON a.position = e.position "
        )
    };
    ($target:literal, $others:literal) => {
        concat!(
            "e.position, ",
            $target,
            ", e.number, e.version, e.operation, e.outcome, e.actor, \
             e.reason, e.at, e.attempt, e.key_id, e.fingerprint, e.fence, e.step, e.change, \
             e.expires, a.status, a.content_type, a.location, a.version, a.body ",
            $others
        )
    };
}

/// The same, then others, where the order is known: its address is the first two parameters.
macro_rules! own_entry_columns {
    ($others:literal) => {
        concat!(
            entry_columns!("?1, ?2", $others),
            "FROM entries e LEFT JOIN answers a ON a.position = e.position "
        )
    };
}

pub(crate) use {entry_columns, order_columns, own_entry_columns, whole_orders};

/// An order by its address.
pub(crate) fn find_order(
    connection: &Connection,
    target: &Target,
) -> rusqlite::Result<Option<OrderRow>> {
    connection
        .prepare_cached(concat!(
            "SELECT ",
            order_columns!(),
            "FROM orders o LEFT JOIN marks m ON m.order_row = o.row
             WHERE o.tenant = ?1 AND o.id = ?2"
        ))?
        .query_row([target.tenant.as_str(), target.order.as_str()], order_row)
        .optional()
}

/// An order with its content and where its journal stands, by its address.
pub(crate) fn find_latest(
    connection: &Connection,
    target: &Target,
) -> rusqlite::Result<Option<Latest>> {
    connection
        .prepare_cached(concat!(
            "SELECT ",
            whole_orders!(", o.number, o.newest "),
            "WHERE o.tenant = ?1 AND o.id = ?2"
        ))?
        .query_row([target.tenant.as_str(), target.order.as_str()], |row| {
            Ok(Latest {
                whole: whole_order(row)?,
                journal: journal(row, 17)?,
            })
        })
        .optional()
}

/// An order that is known to be there.
pub(crate) fn order_at(connection: &Connection, row: i64) -> rusqlite::Result<OrderRow> {
    connection
        .prepare_cached(concat!(
            "SELECT ",
            order_columns!(),
            "FROM orders o LEFT JOIN marks m ON m.order_row = o.row WHERE o.row = ?1"
        ))?
        .query_row([row], order_row)
}

/// An order that is known to be there, with its content.
pub(crate) fn whole_order_at(connection: &Connection, row: i64) -> rusqlite::Result<WholeOrder> {
    connection
        .prepare_cached(concat!("SELECT ", whole_orders!(), "WHERE o.row = ?1"))?
        .query_row([row], whole_order)
}

fn order_row(row: &Row<'_>) -> rusqlite::Result<OrderRow> {
    order_columns_of(row).map_err(|error| of_order(row, error))
}

fn order_columns_of(row: &Row<'_>) -> rusqlite::Result<OrderRow> {
    let target = target(row, 1)?;
    Ok(OrderRow {
        row: row.get(0)?,
        version: version(row.get(3)?),
        mark: mark(row, &target.tenant)?,
        target,
    })
}

pub(crate) fn whole_order(row: &Row<'_>) -> rusqlite::Result<WholeOrder> {
    whole_columns_of(row).map_err(|error| of_order(row, error))
}

fn whole_columns_of(row: &Row<'_>) -> rusqlite::Result<WholeOrder> {
    Ok(WholeOrder {
        order: order_columns_of(row)?,
        index: OwnedIndex {
            status: row.get(12)?,
            customer: row.get(13)?,
        },
        times: Times {
            created: time::from_sql(row.get(14)?),
            updated: time::from_sql(row.get(15)?),
        },
        document: Document::trusted(row.get::<_, Vec<u8>>(16)?),
    })
}

fn mark(row: &Row<'_>, tenant: &Tenant) -> rusqlite::Result<Option<Mark>> {
    let Some(principal) = row.get::<_, Option<String>>(4)? else {
        return Ok(None);
    };
    let recovery = match row.get::<_, Option<u32>>(9)? {
        None => Recovery::Reconcile,
        Some(times) => Recovery::Resume {
            times,
            within: time::span_from_sql(row.get(10)?),
        },
    };
    Ok(Some(Mark {
        caller: Caller {
            tenant: tenant.clone(),
            principal: name(4, Principal::parse(&principal))?,
        },
        key_id: KeyId(row.get(5)?),
        fingerprint: Fingerprint(row.get(6)?),
        operation: name(7, OperationName::parse(&row.get::<_, String>(7)?))?,
        attempt: row.get(8)?,
        recovery,
        since: time::from_sql(row.get(11)?),
    }))
}

/// An entry as it is read at this time: an answer past its retention is not shown, whether or not
/// it has been removed yet.
pub(crate) fn entry_row(row: &Row<'_>, now: Timestamp) -> rusqlite::Result<Entry> {
    entry_columns_of(row, now).map_err(|error| of_order(row, error))
}

fn entry_columns_of(row: &Row<'_>, now: Timestamp) -> rusqlite::Result<Entry> {
    let outcome: String = row.get(6)?;
    let outcome = OutcomeKind::parse(&outcome).ok_or_else(|| unreadable(6, "an outcome"))?;
    let expires = row.get::<_, Option<i64>>(16)?.map(time::from_sql);
    let retained = expires.is_some_and(|expires| expires > now);
    let answer = if retained { answer(row)? } else { None };
    Ok(Entry {
        position: Position(unsigned(row.get(0)?)),
        target: target(row, 1)?,
        number: unsigned(row.get(3)?),
        version: version(row.get(4)?),
        operation: name(5, OperationName::parse(&row.get::<_, String>(5)?))?,
        outcome,
        actor: name(7, Principal::parse(&row.get::<_, String>(7)?))?,
        reason: row.get(8)?,
        at: time::from_sql(row.get(9)?),
        attempt: row.get(10)?,
        key_id: KeyId(row.get(11)?),
        fingerprint: Fingerprint(row.get(12)?),
        fence: row
            .get::<_, Option<[u8; 16]>>(13)?
            .map(|bytes| Fence(u128::from_be_bytes(bytes))),
        step: row.get(14)?,
        change: row.get::<_, Option<Vec<u8>>>(15)?.map(Document::trusted),
        answer,
        expires: expires.filter(|_| outcome.is_final()),
    })
}

fn answer(row: &Row<'_>) -> rusqlite::Result<Option<Answer>> {
    let Some(status) = row.get::<_, Option<u16>>(17)? else {
        return Ok(None);
    };
    Ok(Some(Answer {
        status,
        content_type: row.get(18)?,
        location: row.get(19)?,
        version: row.get::<_, Option<i64>>(20)?.map(version),
        body: row.get::<_, Vec<u8>>(21)?.into(),
    }))
}

fn target(row: &Row<'_>, column: usize) -> rusqlite::Result<Target> {
    Ok(Target {
        tenant: name(column, Tenant::parse(&row.get::<_, String>(column)?))?,
        order: name(
            column + 1,
            OrderId::parse(&row.get::<_, String>(column + 1)?),
        )?,
    })
}

pub(crate) fn name<T>(
    column: usize,
    name: Result<T, orderlock_core::InvalidText>,
) -> rusqlite::Result<T> {
    name.map_err(|error| {
        rusqlite::Error::FromSqlConversionFailure(column, Type::Text, Box::new(error))
    })
}

/// The same error, if it is one of a row's content, with the name of the order whose row it is: the
/// second and the third column are its address. Whoever has to mend it must know which.
fn of_order(row: &Row<'_>, error: rusqlite::Error) -> rusqlite::Error {
    use rusqlite::Error as E;
    let column = match &error {
        E::FromSqlConversionFailure(column, ..) | E::IntegralValueOutOfRange(column, _) => *column,
        E::InvalidColumnType(column, ..) => *column,
        _ => return error,
    };
    let name = |at| match row.get_ref(at).and_then(|it| Ok(it.as_bytes()?)) {
        Ok(bytes) => String::from_utf8_lossy(bytes).into_owned(),
        Err(_) => "?".to_owned(),
    };
    let what = format!(
        "what is kept of the order {} of {} is damaged: {error}",
        name(2),
        name(1)
    );
    E::FromSqlConversionFailure(column, Type::Text, what.into())
}

fn unreadable(column: usize, what: &'static str) -> rusqlite::Error {
    let message = format!("not {what} that this program knows");
    rusqlite::Error::FromSqlConversionFailure(column, Type::Text, message.into())
}

/// Versions, numbers and positions count from 1 and grow by one: they stay far below 63 bits.
pub(crate) fn unsigned(number: i64) -> u64 {
    number.unsigned_abs()
}

pub(crate) fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

pub(crate) fn version(number: i64) -> Version {
    Version(unsigned(number))
}
