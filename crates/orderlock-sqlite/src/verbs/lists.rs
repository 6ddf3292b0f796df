//! Lists of orders: newest first, each page one snapshot, bounded in rows, in bytes and in rows that
//! are looked at.

use orderlock_core::store::{Cursor, Filter, List, OrderView, Page};
use orderlock_core::{OrderId, StoreError};
use rusqlite::{Connection, named_params};

use crate::file::error::Fault;
use crate::file::rows::{WholeOrder, order_columns, whole_order, whole_order_at, whole_orders};
use crate::file::time;
use crate::state::leases::HeldOrder;
use crate::verbs::pages::{BYTES_MAX, HeldRows, ROWS_MAX, SCAN_MAX};
use crate::verbs::views;

/// Where a list of orders goes on: behind the order of this time and this id.
struct Behind {
    created: i64,
    order: String,
}

impl Behind {
    /// Before the first order.
    fn nothing() -> Self {
        Self {
            created: i64::MAX,
            order: char::MAX.to_string(),
        }
    }

    fn cursor(&self) -> Cursor {
        Cursor(format!("o{}.{}", self.created, self.order).into())
    }

    fn parse(cursor: &Cursor) -> Option<Self> {
        let (created, order) = cursor.0.strip_prefix('o')?.split_once('.')?;
        let behind = Self {
            created: created.parse().ok()?,
            order: OrderId::parse(order).ok()?.as_str().to_owned(),
        };
        // Only the one way to write it is its name.
        (behind.cursor() == *cursor).then_some(behind)
    }
}

/// A page of orders, newest first by the time of creation, then by id.
pub(crate) fn list(
    connection: &Connection,
    request: &List,
    held: &HeldRows,
) -> Result<Page<OrderView>, Fault> {
    let behind = match &request.cursor {
        None => Behind::nothing(),
        Some(cursor) => Behind::parse(cursor).ok_or(Fault::Refused(StoreError::InvalidCursor))?,
    };
    let (orders, next) = match request.filter.locked {
        Some(true) => locked_orders(connection, request, held, &behind)?,
        Some(false) | None => orders(connection, request, held, &behind)?,
    };
    let view = |whole: WholeOrder| {
        let held = held.get(&whole.order.row).map(|held| &held.held);
        views::order(whole, held)
    };
    Ok(Page {
        items: orders.into_iter().map(view).collect(),
        next: next.map(|place| place.cursor()),
    })
}

/// The statement for each filter, so that each has its index. A customer has few orders beside the
/// status of all: where both are asked for, that of the customer is used, and the status looked at.
pub(crate) fn list_statement(filter: &Filter) -> &'static str {
    macro_rules! statement {
        ($conditions:literal) => {
            concat!(
                "SELECT ",
                whole_orders!(),
                "WHERE o.tenant = :tenant AND (o.created, o.id) < (:created, :id) ",
                $conditions,
                " ORDER BY o.created DESC, o.id DESC"
            )
        };
    }
    match (&filter.status, &filter.customer) {
        // The tautologies bind both parameters in every statement.
        (None, None) => statement!("AND :status IS NULL AND :customer IS NULL"),
        (Some(_), None) => statement!("AND o.status = :status AND :customer IS NULL"),
        (_, Some(_)) => {
            statement!("AND (:status IS NULL OR 1) AND o.customer = :customer")
        }
    }
}

type Orders = (Vec<WholeOrder>, Option<Behind>);

/// Looks at so many orders at most, wanted or not. A page may be empty although more follow.
fn orders(
    connection: &Connection,
    request: &List,
    held: &HeldRows,
    behind: &Behind,
) -> Result<Orders, Fault> {
    let Filter {
        status,
        customer,
        locked,
    } = &request.filter;
    let mut statement = connection.prepare_cached(list_statement(&request.filter))?;
    let mut rows = statement.query(named_params! {
        ":tenant": request.tenant.as_str(), ":created": behind.created, ":id": behind.order,
        ":status": status, ":customer": customer,
    })?;
    let mut page = Filling::new(request.limit);
    while let Some(row) = rows.next()? {
        if page.looked_at == SCAN_MAX {
            return Ok(page.left());
        }
        // Looked at before the rest of the row is read.
        let has_status = match status {
            Some(status) => row.get_ref(12)?.as_str_or_null() == Ok(Some(status)),
            None => true,
        };
        let is_wanted = has_status && (*locked != Some(false) || !held.contains_key(&row.get(0)?));
        match is_wanted {
            true if page.is_full() => return Ok(page.left()),
            true => page.take(whole_order(row)?),
            false => page.pass(row.get(14)?, row.get(2)?),
        }
    }
    Ok(page.all())
}

/// A page that is being filled, bounded in orders, in bytes, and in orders that were looked at.
struct Filling {
    orders: Vec<WholeOrder>,
    limit: usize,
    bytes: usize,
    looked_at: usize,
    last: Behind,
}

impl Filling {
    fn new(limit: usize) -> Self {
        Self {
            orders: Vec::new(),
            limit: limit.clamp(1, ROWS_MAX),
            bytes: 0,
            looked_at: 0,
            last: Behind::nothing(),
        }
    }

    fn is_full(&self) -> bool {
        self.orders.len() == self.limit || self.bytes >= BYTES_MAX
    }

    fn take(&mut self, order: WholeOrder) {
        let id = order.order.target.order.as_str().to_owned();
        self.pass(time::to_sql(order.times.created), id);
        self.bytes += order.document.size();
        self.orders.push(order);
    }

    fn pass(&mut self, created: i64, order: String) {
        self.looked_at += 1;
        self.last = Behind { created, order };
    }

    /// There are more.
    fn left(self) -> Orders {
        (self.orders, Some(self.last))
    }

    fn all(self) -> Orders {
        (self.orders, None)
    }
}

/// Held orders are few beside all orders: it goes from the leases to the rows.
fn locked_orders(
    connection: &Connection,
    request: &List,
    held: &HeldRows,
    behind: &Behind,
) -> Result<Orders, Fault> {
    let place = |held: &HeldOrder| {
        let created = time::to_sql(held.held.place.created);
        (created, held.order.as_str().to_owned())
    };
    let behind = (behind.created, behind.order.clone());
    let places = held.values().map(|held| (place(held), held.held.place.row));
    let mut places: Vec<_> = places.filter(|(place, _)| *place < behind).collect();
    places.sort_unstable_by(|one, other| other.cmp(one));
    let Filter {
        status, customer, ..
    } = &request.filter;
    let mut page = Filling::new(request.limit);
    for ((created, id), row) in places {
        if page.is_full() || page.looked_at == SCAN_MAX {
            return Ok(page.left());
        }
        let order = whole_order_at(connection, row)?;
        let fits = (status.is_none() || order.index.status == *status)
            && (customer.is_none() || order.index.customer == *customer);
        if fits {
            page.take(order);
        } else {
            page.pass(created, id);
        }
    }
    Ok(page.all())
}
