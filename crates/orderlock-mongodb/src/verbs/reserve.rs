//! Reservations: which order a key makes whose id was chosen. A key makes one order, whatever id it is
//! to have; where the id is derived from the key, the order's own document is the gate, and otherwise
//! this is.
//!
//! A reservation stands under the derived id and names the order. It is written first. Once the order is
//! there, the reservation is confirmed, and from then on it is changed only if the order is gone. What
//! is not confirmed may be left over by a node that died: another request under the key waits for a
//! while, and then takes the reservation for its own order. Whoever finds at the end that the
//! reservation is no longer theirs takes their own order away, which nobody has been told of.

use std::sync::Arc;

use mongodb::bson::{Bson, Document as Fields, doc};
use orderlock_core::store::{Create, Created};
use orderlock_core::{StoreError, Target};

use crate::database::retry::Pace;
use crate::document::fields::Reader;
use crate::document::order_id;
use crate::error::Failure;
use crate::store::Inner;
use crate::verbs::acquire::busy;
use crate::verbs::create::{Insert, Standing, insert, told_of};
use crate::verbs::sessions::insert_once;

/// A reservation as it was read.
struct Reservation {
    order: Bson,
    confirmed: bool,
}

/// The name of a key's reservation: the derived id, and whose it is.
fn name(derived: &Target) -> String {
    format!("{} {}", derived.tenant, derived.order)
}

fn derived(request: &Create) -> Target {
    Target {
        order: request.derived.clone(),
        ..request.claim.target()
    }
}

async fn find(inner: &Inner, name: &str) -> Result<Option<Reservation>, StoreError> {
    let query = inner.calls.reservations.find_one(doc! {"_id": name});
    let found = inner.calls.one(query).await.map_err(Failure::not_applied)?;
    let read = |fields: Fields| {
        let reader = Reader::new("a reservation", &fields);
        let order = reader.get("order").cloned();
        Ok(Reservation {
            order: order.ok_or_else(|| Failure::unreadable("`order` of a reservation"))?,
            confirmed: reader.has("confirmed"),
        })
    };
    found.map(read).transpose().map_err(Failure::not_applied)
}

/// The order that a key has made under a chosen id, by the id that is derived from the key.
pub(crate) async fn made(inner: &Inner, derived: &Target) -> Result<Option<Target>, StoreError> {
    let found = find(inner, &name(derived)).await?;
    Ok(found.and_then(|found| order_id::target(&found.order)))
}

/// Changes a reservation, if it is still as it was read. Says whether it was.
async fn change(
    inner: &Inner,
    name: &str,
    was: &Reservation,
    update: Fields,
) -> Result<bool, StoreError> {
    let confirmed = was.confirmed.then_some(1);
    let filter = doc! {"_id": name, "order": &was.order, "confirmed": confirmed};
    let command = inner.calls.reservations.find_one_and_update(filter, update);
    let changed = inner.calls.bounded(command).await;
    Ok(changed.map_err(Failure::of_a_write)?.is_some())
}

/// What an order comes to that was just made under the derived id: nothing else, unless its key has
/// made another one under a chosen id. Then this one is taken away.
pub(crate) async fn made_otherwise(
    inner: &Arc<Inner>,
    request: &Create,
    id: &Bson,
) -> Result<Option<Created>, StoreError> {
    let name = name(&derived(request));
    let mut pace = Pace::new(inner);
    while pace.next().await {
        let Some(found) = find(inner, &name).await? else {
            return Ok(None);
        };
        if found.order == *id {
            return Ok(None);
        }
        if found.confirmed
            && let Standing::Ours(told) = told_of(inner, request, &found.order).await?
        {
            take_away(inner, id).await?;
            return Ok(Some(told));
        }
        // Not confirmed, or its order is gone: it is this one's from now on.
        let ours = doc! {"$set": {"order": id, "confirmed": 1}};
        if change(inner, &name, &found, ours).await? {
            return Ok(None);
        }
    }
    Err(busy())
}

/// Makes an order under a chosen id.
pub(crate) async fn create(
    inner: &Arc<Inner>,
    request: &Create,
    id: &Bson,
) -> Result<Created, StoreError> {
    let name = name(&derived(request));
    let mut pace = Pace::new(inner);
    loop {
        let last = !pace.next().await;
        let reservation = doc! {"_id": &name, "order": id};
        insert_once(inner, &inner.calls.reservations, reservation).await?;
        let Some(found) = find(inner, &name).await? else {
            continue;
        };
        if found.order == *id {
            if let Some(created) = create_reserved(inner, request, id, &name).await? {
                return Ok(created);
            }
        } else if let Some(created) = another(inner, request, id, (&name, &found, last)).await? {
            return Ok(created);
        }
        if last {
            return Err(busy());
        }
    }
}

/// Another order is reserved for the key. None if it is not there: then this one may be reserved now.
async fn another(
    inner: &Arc<Inner>,
    request: &Create,
    id: &Bson,
    (name, found, last): (&str, &Reservation, bool),
) -> Result<Option<Created>, StoreError> {
    if let Standing::Ours(told) = told_of(inner, request, &found.order).await? {
        if !found.confirmed {
            change(inner, name, found, doc! {"$set": {"confirmed": 1}}).await?;
        }
        return Ok(Some(told));
    }
    // An order that was there is gone; one that is not there is awaited for as long as its node may
    // take to make it.
    if found.confirmed || last {
        let ours = doc! {"$set": {"order": id}, "$unset": {"confirmed": ""}};
        if change(inner, name, found, ours).await? && last {
            return create_reserved(inner, request, id, name).await;
        }
    }
    Ok(None)
}

/// Makes the order that is reserved for the key. None if it is not any more.
async fn create_reserved(
    inner: &Arc<Inner>,
    request: &Create,
    id: &Bson,
    name: &str,
) -> Result<Option<Created>, StoreError> {
    let reserved = Reservation {
        order: id.clone(),
        confirmed: false,
    };
    let confirm = || doc! {"$set": {"confirmed": 1}};
    if let Some(derived) = inner.ids.id(&derived(request))
        && let Standing::Ours(told) = told_of(inner, request, &derived).await?
    {
        // The key has made an order under its derived id.
        give_back(inner, name, id).await?;
        return Ok(Some(told));
    }
    match insert(inner, request, id).await? {
        Insert::Done(record) => {
            let ours = change(inner, name, &reserved, confirm()).await?
                || find(inner, name)
                    .await?
                    .is_some_and(|found| found.order == *id && found.confirmed);
            if !ours {
                take_away(inner, id).await?;
                return Ok(None);
            }
            let receipt = record.receipt();
            inner.relay.wants(inner, id, *record);
            Ok(Some(Created::Inserted(receipt)))
        }
        Insert::Taken(failure) => match told_of(inner, request, id).await? {
            Standing::Ours(told) => {
                change(inner, name, &reserved, confirm()).await?;
                Ok(Some(told))
            }
            Standing::Anothers => {
                give_back(inner, name, id).await?;
                Ok(Some(Created::Exists))
            }
            Standing::Nowhere => Err(failure.not_applied()),
        },
    }
}

/// A reservation that comes to nothing uses up no key.
async fn give_back(inner: &Inner, name: &str, id: &Bson) -> Result<(), StoreError> {
    let filter = doc! {"_id": name, "order": id, "confirmed": Bson::Null};
    let command = inner.calls.reservations.find_one_and_delete(filter);
    let given_back = inner.calls.bounded(command).await;
    given_back.map(drop).map_err(Failure::of_a_write)
}

/// Takes an order away that was just made and of which nobody has been told.
async fn take_away(inner: &Inner, id: &Bson) -> Result<(), StoreError> {
    let filter = doc! {"_id": id, "locked": Bson::Null, "orderlock.turn": 1_i64};
    let command = inner.calls.orders.find_one_and_delete(filter);
    let taken = inner.calls.bounded(command).await;
    if taken.map_err(Failure::of_a_write)?.is_none() {
        tracing::error!(%id, "a key has made two orders, and this one is in use already");
    }
    Ok(())
}
