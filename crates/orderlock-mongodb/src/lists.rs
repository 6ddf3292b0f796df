//! `list` and `leases`: pages of orders, each the answer to one query.

use std::sync::Arc;

use mongodb::bson::{Bson, Document as Fields, doc};
use orderlock_core::store::{Cursor, Filter, Leases, List, OrderView, Page};
use orderlock_core::{LeaseView, StoreError, Tenant};

use crate::cursor;
use crate::document::OrderDocument;
use crate::error::Failure;
use crate::fields::hex;
use crate::store::Inner;

/// The most orders on one page. Each may have megabytes.
const PAGE_MAX: usize = 200;

pub(crate) async fn list(
    inner: &Arc<Inner>,
    request: &List,
) -> Result<Page<OrderView>, StoreError> {
    let mut all = vec![of_tenant(&request.tenant)];
    if let Some(place) = cursor::read('o', request.cursor.as_ref())? {
        all.push(after_place(place)?);
    }
    all.extend(equalities(&request.filter));
    if let Some(locked) = request.filter.locked {
        all.push(held(inner, locked).await?);
    }
    let sort = doc! {"orderlock.created": -1, "_id": -1};
    let orders = page(inner, doc! {"$and": all}, sort, request.limit).await?;
    let next = next(&orders, request.limit, |order| {
        let created = match order.created() {
            Some(created) => created.as_microsecond().to_string(),
            None => "-".into(),
        };
        cursor::write('o', &format!("{created}.{}", cursor::id_to_text(&order.id)))
    });
    let items = orders.into_iter().take(limit(request.limit));
    let items = items.map(|order| order.view().map_err(Failure::not_applied));
    Ok(Page {
        items: items.collect::<Result<_, _>>()?,
        next,
    })
}

pub(crate) async fn leases(
    inner: &Arc<Inner>,
    request: &Leases,
) -> Result<Page<LeaseView>, StoreError> {
    let taken = doc! {"$or": [
        {"locked": {"$type": "string"}},
        {"orderlock.mark.since": {"$exists": true}},
    ]};
    let mut all = vec![of_tenant(&request.tenant), taken];
    if let Some(place) = cursor::read('l', request.cursor.as_ref())? {
        all.push(doc! {"$or": beyond(&cursor::id_from_text(place)?, "$gt")});
    }
    let orders = page(inner, doc! {"$and": all}, doc! {"_id": 1}, request.limit).await?;
    let next = next(&orders, request.limit, |order| {
        cursor::write('l', &cursor::id_to_text(&order.id))
    });
    let items = orders.iter().take(limit(request.limit));
    Ok(Page {
        items: items.filter_map(OrderDocument::lease_view).collect(),
        next,
    })
}

/// The orders of one page, and one more if there is one.
async fn page(
    inner: &Inner,
    filter: Fields,
    sort: Fields,
    wanted: usize,
) -> Result<Vec<OrderDocument>, StoreError> {
    let most = i64::try_from(limit(wanted) + 1).unwrap_or(i64::MAX);
    let query = inner.calls.orders.find(filter).sort(sort).limit(most);
    let found = inner.calls.all(query).await.map_err(Failure::not_applied)?;
    let orders = found.into_iter().map(OrderDocument::read);
    orders
        .collect::<Result<_, _>>()
        .map_err(Failure::not_applied)
}

fn limit(wanted: usize) -> usize {
    wanted.clamp(1, PAGE_MAX)
}

fn next(
    orders: &[OrderDocument],
    wanted: usize,
    place: impl Fn(&OrderDocument) -> Cursor,
) -> Option<Cursor> {
    let limit = limit(wanted);
    let last = orders.get(limit - 1)?;
    (orders.len() > limit).then(|| place(last))
}

/// Orders of a tenant, by their `_id`: those of the single tenant have no tenant in it. An id that
/// no order id can name is nobody's.
fn of_tenant(tenant: &Tenant) -> Fields {
    if *tenant == Tenant::single() {
        doc! {"$or": [{"_id": {"$type": "objectId"}}, {"_id": {"$regex": "^[!-~]{1,128}$"}}]}
    } else {
        // The space that ends the tenant, and the next character after it.
        let (from, to) = (format!("{tenant} "), format!("{tenant}!"));
        doc! {"_id": {"$gte": from, "$lt": to}}
    }
}

/// What stands behind a place in a list of orders, newest first.
fn after_place(place: &str) -> Result<Fields, StoreError> {
    let (created, id) = place.split_once('.').ok_or(StoreError::InvalidCursor)?;
    let id = cursor::id_from_text(id)?;
    let mut behind = Vec::new();
    let created = match created {
        "-" => Bson::Null,
        micros => {
            let micros = Bson::Int64(cursor::number(micros)?);
            behind.push(doc! {"orderlock.created": {"$lt": &micros}});
            behind.push(doc! {"orderlock.created": null});
            micros
        }
    };
    for beyond in beyond(&id, "$lt") {
        behind.push(doc! {"$and": [{"orderlock.created": &created}, beyond]});
    }
    Ok(doc! {"$or": behind})
}

/// Ids beyond one. A comparison finds values of its own type only, and texts come before
/// `ObjectId`s.
fn beyond(id: &Bson, direction: &str) -> Vec<Fields> {
    let mut beyond = vec![doc! {"_id": {direction: id}}];
    match (id, direction) {
        (Bson::ObjectId(_), "$lt") => beyond.push(doc! {"_id": {"$type": "string"}}),
        (Bson::String(_), "$gt") => beyond.push(doc! {"_id": {"$type": "objectId"}}),
        _ => {}
    }
    beyond
}

/// Status and customer: of the index where there is one, else of the order's own fields.
fn equalities(filter: &Filter) -> Vec<Fields> {
    let wanted = [("status", &filter.status), ("customer", &filter.customer)];
    let wanted = wanted
        .into_iter()
        .filter_map(|(name, wanted)| Some((name, wanted.as_ref()?)));
    wanted
        .map(|(name, wanted)| {
            let index = format!("orderlock.index.{name}");
            doc! {"$or": [
                {index: wanted},
                {"orderlock.index": null, name: wanted},
            ]}
        })
        .collect()
}

/// Orders that are held, or not: by a lease whose session is alive, or by a service that does not
/// know Orderlock.
async fn held(inner: &Arc<Inner>, held: bool) -> Result<Fields, StoreError> {
    let alive = inner
        .sessions
        .alive(inner)
        .await
        .map_err(Failure::not_applied)?;
    let alive: Vec<Bson> = alive.into_iter().map(|id| hex(id.0).into()).collect();
    Ok(if held {
        doc! {"locked": {"$type": "string"}, "$or": [
            {"orderlock.lease": null},
            {"orderlock.lease.session": {"$in": alive}},
        ]}
    } else {
        // Null and missing each have a line of their own: within an alternative, not every server
        // takes the one for the other.
        doc! {"$or": [
            {"locked": {"$type": "null"}},
            {"locked": {"$exists": false}},
            {"orderlock.lease.session": {"$exists": true, "$nin": alive}},
        ]}
    })
}
