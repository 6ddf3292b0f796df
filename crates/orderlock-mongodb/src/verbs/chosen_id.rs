//! `create` under another id than the one that is derived from caller and key: which order the key makes
//! is decided by its reservation.
//!
//! What is not confirmed may be left over by a node that died: another request under the key waits for a
//! while, and then takes the reservation for its own order. Whoever finds at the end that the
//! reservation is no longer theirs takes their own order away, whose creation was answered to nobody.

use mongodb::bson::{Bson, doc};
use orderlock_core::StoreError;
use orderlock_core::store::{Create, Created};

use crate::database::reservations::{self, Reservation, change, confirm, find, give_back, name};
use crate::database::retry::{RetryBudget, busy};
use crate::document::update::REVISION;
use crate::error::Failure;
use crate::shared::Inner;
use crate::verbs::insert::{Insert, UnderId, derived, insert, made_before, made_in};

/// What an order comes to that was just made under the derived id: nothing else, unless its key has
/// made another one under a chosen id. Then this one is taken away.
pub(crate) async fn made_otherwise(
    inner: &Inner,
    request: &Create,
    id: &Bson,
) -> Result<Option<Created>, StoreError> {
    let (name, key_id) = (name(&derived(request)), request.claim.key_id);
    let forgets_by = inner.clock.forgets_by();
    let other = reservations::made_otherwise(&inner.calls, &name, id, key_id, forgets_by).await?;
    let Some(other) = other else {
        return Ok(None);
    };
    match made_in(inner, request, &other).await? {
        Some(made) => {
            take_away(inner, id).await?;
            Ok(Some(made))
        }
        None => Err(busy()),
    }
}

/// Makes an order under a chosen id.
pub(crate) async fn create(
    inner: &Inner,
    request: &Create,
    id: &Bson,
) -> Result<Created, StoreError> {
    let name = name(&derived(request));
    let mut retry = RetryBudget::new(&inner.calls);
    loop {
        let last = !retry.next().await;
        let reservation = doc! {"_id": &name, "order": id};
        let reservations = &inner.calls.reservations;
        inner.calls.insert_once(reservations, &reservation).await?;
        let found = find(&inner.calls, &name).await?;
        if found.as_ref().is_some_and(|found| found.order == *id) {
            if let Some(created) = create_reserved(inner, request, id, &name).await? {
                return Ok(created);
            }
        } else if let Some(found) = found
            && let Some(created) = another(inner, request, id, (&name, &found, last)).await?
        {
            return Ok(created);
        }
        if last {
            return Err(busy());
        }
    }
}

/// Another order is reserved for the key. None if it is not there: then this one may be reserved now.
async fn another(
    inner: &Inner,
    request: &Create,
    id: &Bson,
    (name, found, last): (&str, &Reservation, bool),
) -> Result<Option<Created>, StoreError> {
    if let UnderId::Ours(made) = made_before(inner, request, &found.order).await? {
        if !found.confirmed {
            change(&inner.calls, name, found, doc! {"$set": {"confirmed": 1}}).await?;
        }
        return Ok(Some(made));
    }
    // An order that was there is gone; one that is not there is awaited for as long as its node may
    // take to make it.
    if found.confirmed || last {
        let ours = doc! {"$set": {"order": id}, "$unset": {"confirmed": ""}};
        if change(&inner.calls, name, found, ours).await? && last {
            return create_reserved(inner, request, id, name).await;
        }
    }
    Ok(None)
}

/// Makes the order that is reserved for the key. None if it is not any more.
async fn create_reserved(
    inner: &Inner,
    request: &Create,
    id: &Bson,
    name: &str,
) -> Result<Option<Created>, StoreError> {
    if let Some(derived) = inner.ids.id(&derived(request))
        && let UnderId::Ours(made) = made_before(inner, request, &derived).await?
    {
        // The key has made an order under its derived id.
        give_back(&inner.calls, name, id).await?;
        return Ok(Some(made));
    }
    match insert(inner, request, id).await? {
        Insert::Done(record) => {
            if !confirm(&inner.calls, name, id).await? {
                take_away(inner, id).await?;
                return Ok(None);
            }
            let receipt = record.receipt();
            inner.relay.wants(id, *record);
            Ok(Some(Created::Inserted(receipt)))
        }
        Insert::Taken(failure) => match made_before(inner, request, id).await? {
            UnderId::Ours(made) => {
                confirm(&inner.calls, name, id).await?;
                Ok(Some(made))
            }
            UnderId::Anothers => {
                give_back(&inner.calls, name, id).await?;
                Ok(Some(Created::Exists))
            }
            UnderId::Nothing => Err(failure.not_applied()),
        },
    }
}

/// Takes an order away that was just made, and whose creation was answered to nobody.
async fn take_away(inner: &Inner, id: &Bson) -> Result<(), StoreError> {
    let filter = doc! {"_id": id, "locked": Bson::Null, REVISION: 1_i64};
    let command = inner.calls.orders.find_one_and_delete(filter);
    let taken = inner.calls.bounded(command).await;
    if taken.map_err(Failure::of_a_write)?.is_none() {
        tracing::error!(%id, "a key has made two orders, and this one is in use already");
    }
    Ok(())
}
