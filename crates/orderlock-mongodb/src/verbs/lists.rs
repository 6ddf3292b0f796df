//! `list` and `leases`: pages of orders, each the answer to one query.

use mongodb::action::Find;
use mongodb::bson::{Bson, Document as Fields, RawDocumentBuf, doc};
use orderlock_core::store::{Cursor, Filter, Leases, List, OrderView, Page};
use orderlock_core::{LeaseView, StoreError, Tenant};

use crate::document::fields::{FieldReader, hex};
use crate::document::order::OrderDocument;
use crate::error::Failure;
use crate::shared::Inner;
use crate::verbs::cursor;

/// The most orders on one page. Each may have megabytes.
const PAGE_MAX: usize = 200;

pub(crate) async fn list(inner: &Inner, request: &List) -> Result<Page<OrderView>, StoreError> {
    let mut all = vec![of_tenant(&request.tenant)];
    if let Some(place) = cursor::read('o', request.cursor.as_ref())? {
        all.push(after_place(place)?);
    }
    if let Some(locked) = request.filter.locked {
        all.push(held(inner, locked).await?);
    }
    let query = inner
        .calls
        .orders
        .find(with_equalities(&all, &request.filter));
    let query = query.sort(doc! {"orderlock.created": -1, "_id": -1});
    let (found, more) = page(inner, query, request.limit).await?;
    let next = found.last().filter(|_| more).map(place_in_list);
    let views = read(inner, found, |order| order.view());
    Ok(Page { items: views, next })
}

pub(crate) async fn leases(inner: &Inner, request: &Leases) -> Result<Page<LeaseView>, StoreError> {
    let taken = doc! {"$or": [
        {"locked": {"$type": "string"}},
        {"orderlock.mark.since": {"$exists": true}},
    ]};
    let mut all = vec![of_tenant(&request.tenant), taken];
    if let Some(place) = cursor::read('l', request.cursor.as_ref())? {
        all.push(doc! {"$or": beyond(&cursor::id_from_text(place)?, "$gt")});
    }
    let wanted = doc! {"locked": 1, "orderlock.lease": 1, "orderlock.mark": 1};
    let query = inner
        .calls
        .orders
        .find(doc! {"$and": all})
        .projection(wanted);
    let (found, more) = page(inner, query.sort(doc! {"_id": 1}), request.limit).await?;
    let last = found.last().and_then(|fields| fields.get("_id"));
    let next = last.filter(|_| more);
    let next = next.map(|id| cursor::write('l', &cursor::id_to_text(id)));
    let views = read(inner, found, |order| Ok(order.lease_view()));
    Ok(Page {
        items: views.into_iter().flatten().collect(),
        next,
    })
}

/// The orders of one page, as far as one answer may hold them. Says whether there are more.
async fn page(
    inner: &Inner,
    query: Find<'_, RawDocumentBuf>,
    wanted: usize,
) -> Result<(Vec<Fields>, bool), StoreError> {
    let limit = wanted.clamp(1, PAGE_MAX);
    let query = query.limit(i64::try_from(limit + 1).unwrap_or(i64::MAX));
    let mut rows = inner
        .calls
        .rows(query)
        .await
        .map_err(Failure::not_applied)?;
    let found = rows.some(1, limit).await.map_err(Failure::not_applied)?;
    let more = rows.next().await.map_err(Failure::not_applied)?.is_some();
    Ok((found, more))
}

/// What is shown of orders. One that cannot be read is passed over, and named in the log.
fn read<T>(
    inner: &Inner,
    found: Vec<Fields>,
    show: impl Fn(&OrderDocument) -> Result<T, Failure>,
) -> Vec<T> {
    let shown = found.into_iter().filter_map(|fields| {
        let id = fields.get("_id").cloned().unwrap_or_default();
        let shown = OrderDocument::read(fields).and_then(|order| show(&order));
        shown
            .inspect_err(|failure| inner.unreadable.note(&id, failure))
            .ok()
    });
    shown.collect()
}

fn place_in_list(fields: &Fields) -> Cursor {
    let kept = fields.get("orderlock").and_then(Bson::as_document);
    let created = kept.and_then(|kept| FieldReader::new("an order", kept).number("created").ok());
    let created = created.map_or_else(|| "-".into(), |created| created.to_string());
    let id = fields.get("_id").cloned().unwrap_or_default();
    cursor::write('o', &format!("{created}.{}", cursor::id_to_text(&id)))
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

/// The filter with status and customer: of the index where there is one, else of the order's own
/// fields. Each alternative names one index that finds its orders in the order of the list.
fn with_equalities(all: &[Fields], filter: &Filter) -> Fields {
    let wanted = [("status", &filter.status), ("customer", &filter.customer)];
    let wanted: Vec<_> = wanted
        .into_iter()
        .filter_map(|(name, wanted)| Some((name, wanted.as_ref()?)))
        .collect();
    if wanted.is_empty() {
        return doc! {"$and": all};
    }
    let (mut own, mut index) = (Fields::new(), Fields::new());
    for (name, wanted) in wanted {
        own.insert(name, wanted);
        index.insert(format!("orderlock.index.{name}"), wanted);
    }
    own.insert("orderlock.index", Bson::Null);
    let alternatives = [own, index].map(|mut alternative| {
        alternative.insert("$and", all);
        alternative
    });
    doc! {"$or": alternatives.to_vec()}
}

/// Orders that are held, or not: by a lease whose session is alive, or by a service that does not
/// know Orderlock.
async fn held(inner: &Inner, held: bool) -> Result<Fields, StoreError> {
    let alive = inner.sessions.all().await.map_err(Failure::not_applied)?;
    let alive = alive.iter().map(|row| hex(row.session.0).into());
    let alive: Vec<Bson> = alive.collect();
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
