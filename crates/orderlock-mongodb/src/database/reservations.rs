//! Reservations: which order a key makes whose id was chosen. A key makes one order, whatever id it is
//! to have; where the id is derived from the key, the order's own document is the gate, and otherwise
//! this is.
//!
//! A reservation stands under the derived id and names the order. It is written first. Once the order is
//! there, the reservation is confirmed, and from then on it is changed only if the order is gone.
//!
//! An order that is there and whose key has made another is taken away by the node that has made it. Until
//! that is decided, its entry is in no journal: the relay asks here.

use std::collections::HashMap;

use mongodb::bson::{Bson, Document as Fields, doc};
use orderlock_core::{KeyId, StoreError, Target, Timestamp};

use crate::database::calls::Calls;
use crate::database::retry::{RetryBudget, busy};
use crate::document::fields::FieldReader;
use crate::document::order::OrderDocument;
use crate::document::order_id;
use crate::error::Failure;

/// A reservation as it was read.
#[derive(Debug)]
pub(crate) struct Reservation {
    pub(crate) order: Bson,
    pub(crate) confirmed: bool,
}

impl Reservation {
    fn read(fields: &Fields) -> Result<Self, Failure> {
        let reader = FieldReader::new("a reservation", fields);
        let order = reader.get("order").cloned();
        Ok(Self {
            order: order.ok_or_else(|| Failure::unreadable("`order` of a reservation"))?,
            confirmed: reader.has("confirmed"),
        })
    }
}

/// The name of a key's reservation: the derived id, and whose it is.
pub(crate) fn name(derived: &Target) -> String {
    format!("{} {}", derived.tenant, derived.order)
}

/// The reservation of this name.
pub(crate) async fn find(calls: &Calls, name: &str) -> Result<Option<Reservation>, StoreError> {
    let query = calls.reservations.find_one(doc! {"_id": name});
    let found = calls.one(query).await.map_err(Failure::not_applied)?;
    let found = found.as_ref().map(Reservation::read);
    found.transpose().map_err(Failure::not_applied)
}

/// Those of the reservations of these names that are there.
pub(crate) async fn find_all(
    calls: &Calls,
    names: &[&str],
) -> Result<HashMap<String, Reservation>, StoreError> {
    let query = calls.reservations.find(doc! {"_id": {"$in": names}});
    let found = calls.all(query).await.map_err(Failure::not_applied)?;
    let read = found.iter().map(|fields| {
        let name = FieldReader::new("a reservation", fields).text("_id")?;
        Ok((name.to_owned(), Reservation::read(fields)?))
    });
    read.collect::<Result<_, _>>().map_err(Failure::not_applied)
}

/// The order that a key has made under a chosen id, by the id that is derived from the key.
pub(crate) async fn made(calls: &Calls, derived: &Target) -> Result<Option<Target>, StoreError> {
    let found = find(calls, &name(derived)).await?;
    Ok(found.and_then(|found| order_id::target(&found.order)))
}

/// Changes a reservation, if it is still as it was read. Says whether it was.
pub(crate) async fn change(
    calls: &Calls,
    name: &str,
    was: &Reservation,
    update: Fields,
) -> Result<bool, StoreError> {
    let confirmed = was.confirmed.then_some(1);
    let filter = doc! {"_id": name, "order": &was.order, "confirmed": confirmed};
    let command = calls.reservations.find_one_and_update(filter, update);
    let changed = calls.bounded(command).await;
    Ok(changed.map_err(Failure::of_a_write)?.is_some())
}

/// A reservation that comes to nothing uses up no key.
pub(crate) async fn give_back(calls: &Calls, name: &str, id: &Bson) -> Result<(), StoreError> {
    let filter = doc! {"_id": name, "order": id, "confirmed": Bson::Null};
    let command = calls.reservations.find_one_and_delete(filter);
    let given_back = calls.bounded(command).await;
    given_back.map(drop).map_err(Failure::of_a_write)
}

/// Confirms that a key has made this order, whose id was chosen. Says whether the reservation is this
/// order's.
pub(crate) async fn confirm(calls: &Calls, name: &str, id: &Bson) -> Result<bool, StoreError> {
    let reserved = Reservation {
        order: id.clone(),
        confirmed: false,
    };
    if change(calls, name, &reserved, doc! {"$set": {"confirmed": 1}}).await? {
        return Ok(true);
    }
    let found = find(calls, name).await?;
    Ok(found.is_some_and(|found| found.order == *id && found.confirmed))
}

/// The order that a key has made under a chosen id, although this one is there under the derived id. If
/// there is none, a reservation of the key is this order's from now on.
pub(crate) async fn made_otherwise(
    calls: &Calls,
    name: &str,
    id: &Bson,
    key_id: KeyId,
    forgets_by: Timestamp,
) -> Result<Option<OrderDocument>, StoreError> {
    let mut retry = RetryBudget::new(calls);
    while retry.next().await {
        let Some(found) = find(calls, name).await? else {
            return Ok(None);
        };
        if found.order == *id {
            return Ok(None);
        }
        if found.confirmed {
            let other = calls.order(&found.order).await;
            if let Some(other) = other.map_err(Failure::not_applied)? {
                let word = calls.key(&other, key_id, forgets_by).await?;
                if word.is_some_and(|word| word.progress.is_none()) {
                    return Ok(Some(other));
                }
            }
        }
        // Not confirmed, or its order is gone.
        let ours = doc! {"$set": {"order": id, "confirmed": 1}};
        if change(calls, name, &found, ours).await? {
            return Ok(None);
        }
    }
    Err(busy())
}
