//! Reservations: which order a key makes whose id was chosen. A key makes one order, whatever id it is
//! to have; where the id is derived from the key, the order's own document is the gate, and otherwise
//! this is.
//!
//! A reservation stands under the derived id and names the order. It is written first. Once the order is
//! there, the reservation is confirmed, and from then on it is changed only if the order is gone.

use mongodb::bson::{Bson, Document as Fields, doc};
use orderlock_core::{StoreError, Target};

use crate::database::calls::Calls;
use crate::document::fields::Reader;
use crate::document::order_id;
use crate::error::Failure;

/// A reservation as it was read.
#[derive(Debug)]
pub(crate) struct Reservation {
    pub(crate) order: Bson,
    pub(crate) confirmed: bool,
}

/// The name of a key's reservation: the derived id, and whose it is.
pub(crate) fn name(derived: &Target) -> String {
    format!("{} {}", derived.tenant, derived.order)
}

/// The reservation of this name.
pub(crate) async fn find(calls: &Calls, name: &str) -> Result<Option<Reservation>, StoreError> {
    let query = calls.reservations.find_one(doc! {"_id": name});
    let found = calls.one(query).await.map_err(Failure::not_applied)?;
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
