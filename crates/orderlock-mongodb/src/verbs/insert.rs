//! The insert of a new order, and what stands under an order's id already.

use mongodb::bson::{Bson, Document as Fields, doc};
use orderlock_core::store::{Create, Created, Entry, KeyFacts};
use orderlock_core::{StoreError, Target, Version};

use crate::database::calls::document_of;
use crate::database::reservations;
use crate::document::entry::StoredEntry;
use crate::document::fields::{hash_hex, long, micros};
use crate::document::json::{self, Doubles};
use crate::document::keys::KeyEntry;
use crate::document::order::OrderDocument;
use crate::document::plan::{index_to_fields, text_of};
use crate::error::Failure;
use crate::shared::Inner;

/// How an insert went.
pub(crate) enum Insert {
    Done(Box<StoredEntry>),
    /// Something stands in the way.
    Taken(Failure),
}

/// Inserts the order. The caller tells the relay of its entry, once the order is to stay.
pub(crate) async fn insert(
    inner: &Inner,
    request: &Create,
    id: &Bson,
) -> Result<Insert, StoreError> {
    let made = document(inner, request, id);
    let made = made.and_then(|(fields, record)| Ok((document_of(&fields)?, record)));
    let (document, record) = made.map_err(Failure::refused)?;
    let inserted = inner.calls.orders.insert_one(document);
    match inner.calls.bounded(inserted).await {
        Ok(_) => Ok(Insert::Done(Box::new(record))),
        Err(failure) if failure.is_duplicate() => Ok(Insert::Taken(failure)),
        Err(failure) => Err(match failure.constraint() {
            Some(reason) => Failure::impossible(reason).refused(),
            None => failure.of_a_write(),
        }),
    }
}

/// What stands under an id.
pub(crate) enum UnderId {
    /// The order that this key has made, and so the answer to its creation.
    Ours(Created),
    /// Another order.
    Anothers,
    Nothing,
}

/// What a creation comes to for which an order of this id may stand there already.
pub(crate) async fn made_before(
    inner: &Inner,
    request: &Create,
    id: &Bson,
) -> Result<UnderId, StoreError> {
    let found = inner.calls.order(id).await.map_err(Failure::not_applied)?;
    let Some(order) = found else {
        return Ok(UnderId::Nothing);
    };
    let made = made_in(inner, request, &order).await?;
    Ok(made.map_or(UnderId::Anothers, UnderId::Ours))
}

/// The answer to a creation whose key has made this order. None if it has not.
pub(crate) async fn made_in(
    inner: &Inner,
    request: &Create,
    order: &OrderDocument,
) -> Result<Option<Created>, StoreError> {
    let now = inner.clock.now();
    let key_id = request.claim.key_id;
    let forgets_by = inner.clock.forgets_by();
    let Some(word) = inner.calls.key(order, key_id, forgets_by).await? else {
        return Ok(None);
    };
    Ok(match KeyEntry::facts(Some(&word), now) {
        KeyFacts::Final { fingerprint, .. } if fingerprint != request.claim.fingerprint => {
            Some(Created::Reused)
        }
        KeyFacts::Final { retained: true, .. } => {
            let number = word.number;
            let record = inner.calls.entry_of_key(order, key_id, number).await?;
            Some(Created::Settled(Box::new(record.shown(now))))
        }
        KeyFacts::Final { .. } => Some(Created::Expired),
        KeyFacts::Progress { .. } | KeyFacts::New => None,
    })
}

/// The order under the id that is derived from the key.
pub(crate) fn derived(request: &Create) -> Target {
    Target {
        order: request.derived.clone(),
        ..request.claim.target()
    }
}

/// The whole document of a new order.
fn document(inner: &Inner, request: &Create, id: &Bson) -> Result<(Fields, StoredEntry), Failure> {
    let own = json::to_fields(&request.document)?;
    let now = inner.clock.times().latest;
    let mut record = StoredEntry::new(Entry::of_create(request), request.entry.retention, now);
    record.entry.number = 1;
    record.entry.version = Version::FIRST;
    let mut creation = doc! {"key": hash_hex(request.claim.key_id.0)};
    creation.extend(
        KeyEntry::of(&record)
            .map(|word| word.to_fields())
            .unwrap_or_default(),
    );
    let mut kept = doc! {
        "turn": 1_i64,
        "version": long(Version::FIRST.0),
        "number": 1_i64,
        "created": micros(request.times.created),
        "updated": micros(request.times.updated),
        "exact": 1,
        "hash": json::hash(&own),
        "creation": creation,
        "entries": {"e1": record.to_fields()?},
        // The relay of another node asks first whether the key makes this order.
        "waiting": match request.derived == request.claim.order {
            true => Bson::from(1),
            false => reservations::name(&derived(request)).into(),
        },
    };
    if !json::says_the_same(
        &json::to_document(&own, Doubles::AsTheyAre)?,
        &request.document,
    ) {
        kept.insert("text", text_of(&request.document)?);
    }
    if let Some(index) = index_to_fields(&request.index, &own) {
        kept.insert("index", index);
    }
    let mut whole = doc! {"_id": id};
    whole.extend(own);
    whole.insert("locked", Bson::Null);
    whole.insert("orderlock", kept);
    Ok((whole, record))
}
