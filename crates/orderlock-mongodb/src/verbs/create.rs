//! `create`: one insert. The order's id is the gate: of many equal requests one is written. Where
//! another id is chosen than the one that is derived from caller and key, a reservation is the gate.

use mongodb::bson::Bson;
use orderlock_core::StoreError;
use orderlock_core::store::{Create, Created};

use crate::shared::Inner;
use crate::verbs::chosen_id;
use crate::verbs::insert::{Insert, UnderId, insert, made_before};

pub(crate) async fn create(inner: &Inner, request: &Create) -> Result<Created, StoreError> {
    if request.document.size() > inner.document_bytes_max {
        return Err(StoreError::Unsupported("a document over the size limit"));
    }
    let Some(id) = inner.ids.id(&request.claim.target()) else {
        return Err(StoreError::Unsupported(
            "an order whose id is no ObjectId, in a collection that is said to have no others",
        ));
    };
    if request.derived == request.claim.order {
        under_the_derived_id(inner, request, &id).await
    } else {
        chosen_id::create(inner, request, &id).await
    }
}

async fn under_the_derived_id(
    inner: &Inner,
    request: &Create,
    id: &Bson,
) -> Result<Created, StoreError> {
    match insert(inner, request, id).await? {
        Insert::Done(record) => {
            // Looked up after the insert, so that of this and a chosen id one sees the other.
            if let Some(made) = chosen_id::made_otherwise(inner, request, id).await? {
                return Ok(made);
            }
            let receipt = record.receipt();
            inner.relay.wants(id, *record);
            Ok(Created::Inserted(receipt))
        }
        Insert::Taken(failure) => match made_before(inner, request, id).await? {
            UnderId::Ours(made) => {
                // Its node may have died before it had looked itself.
                let other = chosen_id::made_otherwise(inner, request, id).await?;
                Ok(other.unwrap_or(made))
            }
            UnderId::Anothers => Ok(Created::Exists),
            // No order of that id: another unique index of the collection stands in the way.
            UnderId::Nothing => Err(failure.not_applied()),
        },
    }
}
