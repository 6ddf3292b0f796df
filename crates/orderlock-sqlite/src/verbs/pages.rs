//! Pages of entries and of leases: each is one snapshot, bounded in rows, in bytes and in rows that
//! are looked at.

use std::collections::HashMap;

use orderlock_core::store::{
    Cursor, Entries, EntriesSince, Entry, History, Leases as LeasesRequest, MarkEnd, Page,
};
use orderlock_core::{KeyId, LeaseView, StoreError, Tenant, Timestamp};
use rusqlite::{Connection, named_params};

use crate::file::error::Fault;
use crate::file::key_index::{find_by_key, find_journal, positions_after};
use crate::file::keys::entry_at;
use crate::file::rows::{entry_columns, entry_row, order_at, signed, unsigned};
use crate::state::leases::HeldOrder;
use crate::verbs::views;

/// The most rows on a page, whatever is asked for.
pub(crate) const ROWS_MAX: usize = 1_000;
/// From so many bytes on, a page takes no more rows.
pub(crate) const BYTES_MAX: usize = 1024 * 1024;
/// How many orders or marks are looked at for one page of a list, wanted or not, and how many
/// entries of other tenants are passed over in one piece of the journal.
pub(crate) const SCAN_MAX: usize = 4_096;

/// The tenant's live leases just before the snapshot, by the order's row. So a lease may be shown
/// that has ended with the snapshot, but none is missing beside the state that it began on.
pub(crate) type HeldRows = HashMap<i64, HeldOrder>;

/// A row with its place in the list and its size.
struct Placed<T> {
    place: i64,
    bytes: usize,
    item: T,
}

/// Takes rows up to the bounds. Says where the next page begins if a row was left.
fn fill<T>(
    rows: impl Iterator<Item = rusqlite::Result<Placed<T>>>,
    limit: usize,
) -> rusqlite::Result<(Vec<T>, Option<i64>)> {
    let limit = limit.clamp(1, ROWS_MAX);
    let (mut items, mut bytes, mut last) = (Vec::new(), 0, None);
    for row in rows {
        let row = row?;
        if items.len() == limit || bytes >= BYTES_MAX {
            return Ok((items, last));
        }
        bytes += row.bytes;
        last = Some(row.place);
        items.push(row.item);
    }
    Ok((items, None))
}

/// A cursor is a letter for the list and the place in it.
fn cursor(list: &str, place: i64) -> Cursor {
    Cursor(format!("{list}{place}").into())
}

fn place(list: &str, cursor: Option<&Cursor>) -> Result<Option<i64>, Fault> {
    let Some(cursor) = cursor else {
        return Ok(None);
    };
    let digits = cursor.0.strip_prefix(list);
    match digits.and_then(number) {
        Some(place) => Ok(Some(place)),
        None => Err(Fault::Refused(StoreError::InvalidCursor)),
    }
}

fn number(digits: &str) -> Option<i64> {
    let all_digits = digits.bytes().all(|byte| byte.is_ascii_digit());
    digits.parse().ok().filter(|_| all_digits)
}

/// A page of an order's entries, oldest first.
pub(crate) fn history(
    connection: &Connection,
    request: &History,
    now: Timestamp,
) -> Result<Option<Page<Entry>>, Fault> {
    let after = place("h", request.cursor.as_ref())?.unwrap_or(0);
    let target = &request.target;
    let Some((order, journal)) = find_journal(connection, target)? else {
        return Ok(None);
    };
    // One more than the page has room for, so that it is known whether any is left.
    let most = request.limit.clamp(1, ROWS_MAX) + 1;
    let positions = positions_after(connection, (order, &journal), unsigned(after), most)?;
    let rows = positions.into_iter().map(|position| {
        let entry = entry_at(connection, target, position, now)?;
        Ok(placed_entry(signed(entry.number), entry))
    });
    let (items, next) = fill(rows, request.limit)?;
    Ok(Some(Page {
        items,
        next: next.map(|place| cursor("h", place)),
    }))
}

/// The last entry by which an operator has ended a mark. Only entries are read whose key may be the
/// mark's.
pub(crate) fn mark_end(
    connection: &Connection,
    request: &MarkEnd,
    now: Timestamp,
) -> Result<Option<Entry>, Fault> {
    let target = &request.target;
    let Some((order, journal)) = find_journal(connection, target)? else {
        return Ok(None);
    };
    // An id that is looked up in the same place as the key's.
    let mut like = KeyId([0; 32]);
    like.0[..8].copy_from_slice(&request.key.to_be_bytes());
    let mut looked_at = 0;
    let found = find_by_key(connection, (order, &journal), like, |position| {
        looked_at += 1;
        if looked_at > SCAN_MAX {
            return Ok(Some(None));
        }
        let entry = entry_at(connection, target, position, now)?;
        Ok(request.is_told_by(&entry).then_some(Some(entry)))
    })?;
    Ok(found.flatten())
}

fn placed_entry(place: i64, entry: Entry) -> Placed<Entry> {
    let change = entry.change.as_ref().map_or(0, |change| change.size());
    let body = entry.answer.as_ref().map_or(0, |answer| answer.body.len());
    Placed {
        place,
        bytes: change + body,
        item: entry,
    }
}

/// A page of held and marked orders, oldest order first.
pub(crate) fn leases(
    connection: &Connection,
    request: &LeasesRequest,
    held: &HeldRows,
) -> Result<Page<LeaseView>, Fault> {
    let after = place("l", request.cursor.as_ref())?.unwrap_or(0);
    let limit = request.limit.clamp(1, ROWS_MAX);
    let (marks, until) = marked(connection, &request.tenant, after, limit, held)?;
    let in_reach = |row: &i64| *row > after && until.is_none_or(|until| *row <= until);
    let mut rows: Vec<i64> = held.keys().copied().filter(in_reach).collect();
    rows.extend(marks);
    rows.sort_unstable();
    let views = rows.iter().map(|row| {
        let order = order_at(connection, *row)?;
        let held = held.get(row).map(|held| &held.held);
        Ok(Placed {
            place: order.row,
            bytes: 0,
            item: views::lease(&order, held),
        })
    });
    let (items, next) = fill(views, limit)?;
    Ok(Page {
        items: items.into_iter().flatten().collect(),
        next: next.or(until).map(|place| cursor("l", place)),
    })
}

/// The rows of marks that nobody attends to: one more than fit a page. If too many of other tenants
/// had to be passed over, the row up to which they were looked for.
fn marked(
    connection: &Connection,
    tenant: &Tenant,
    after: i64,
    limit: usize,
    held: &HeldRows,
) -> Result<(Vec<i64>, Option<i64>), Fault> {
    let mut statement = connection.prepare_cached(
        "SELECT m.order_row, o.tenant = :tenant FROM marks m CROSS JOIN orders o
             ON o.row = m.order_row
         WHERE m.order_row > :after ORDER BY m.order_row",
    )?;
    let parameters = named_params! { ":after": after, ":tenant": tenant.as_str() };
    let mut rows = statement.query(parameters)?;
    let (mut found, mut looked_at) = (Vec::new(), 0);
    while let Some(row) = rows.next()? {
        let (order, own): (i64, bool) = (row.get(0)?, row.get(1)?);
        if own && !held.contains_key(&order) {
            found.push(order);
        }
        looked_at += 1;
        if found.len() > limit {
            break;
        }
        if looked_at == SCAN_MAX {
            return Ok((found, Some(order)));
        }
    }
    Ok((found, None))
}

/// A piece of the journal. Positions commit in their order, because one thread writes them, so
/// that a reader never meets a gap that is filled later.
///
/// In a file of many tenants a piece may be empty although more follows: its cursor then stands
/// further on than the one that was given.
pub(crate) fn entries_since(
    connection: &Connection,
    request: &EntriesSince,
    now: Timestamp,
) -> Result<Entries, Fault> {
    let (epoch, newest): ([u8; 16], i64) = connection
        .prepare_cached(
            "SELECT epoch, (SELECT coalesce(max(position), 0) FROM entries) FROM store",
        )?
        .query_row([], |row| Ok((row.get(0)?, row.get(1)?)))?;
    let epoch = u128::from_be_bytes(epoch);
    let after = match &request.cursor {
        None => 0,
        Some(cursor) => match journal_place(cursor) {
            None => return Err(Fault::Refused(StoreError::InvalidCursor)),
            // Behind the end too: an older copy of the file has taken its place.
            Some((of, place)) if of != epoch || place > newest => return Ok(Entries::NewEpoch),
            Some((_, place)) => place,
        },
    };
    let until = newest.min(after.saturating_add(signed(SCAN_MAX as u64)));
    let mut statement = connection.prepare_cached(concat!(
        "SELECT ",
        entry_columns!(),
        // The plus keeps the tenant's index out: the journal is read in its own order.
        "WHERE e.position > :after AND e.position <= :until AND +o.tenant = :tenant
         ORDER BY e.position"
    ))?;
    let rows = statement.query_map(
        named_params! { ":after": after, ":until": until, ":tenant": request.tenant.as_str() },
        |row| entry_row(row, now).map(|entry| placed_entry(signed(entry.position.0), entry)),
    )?;
    let (entries, next) = fill(rows, request.limit)?;
    let next = next.unwrap_or(until);
    Ok(Entries::Some {
        entries,
        next: Cursor(format!("e{epoch:032x}.{next}").into()),
    })
}

fn journal_place(cursor: &Cursor) -> Option<(u128, i64)> {
    let (epoch, place) = cursor.0.strip_prefix('e')?.split_once('.')?;
    let epoch = u128::from_str_radix(epoch, 16)
        .ok()
        .filter(|_| epoch.len() == 32)?;
    Some((epoch, number(place)?))
}
