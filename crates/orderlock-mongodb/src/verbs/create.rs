//! `create`: one insert. The order's id is the gate: of many equal requests one is written. Where
//! another id is chosen than the one that is derived from caller and key, a reservation is the gate.

use std::sync::Arc;

use mongodb::bson::{Bson, Document as Fields, doc};
use orderlock_core::store::{Create, Created, KeyFacts};
use orderlock_core::{StoreError, Version};

use crate::database::calls::document_of;
use crate::document::entry::Record;
use crate::document::fields::{hash_hex, long, micros};
use crate::document::json::{self, Doubles};
use crate::document::keys::Word;
use crate::document::plan::{index_to_fields, text_of};
use crate::error::Failure;
use crate::store::Inner;
use crate::verbs::acquire::word;
use crate::verbs::grant::record;
use crate::verbs::reserve;

pub(crate) async fn create(inner: &Arc<Inner>, request: &Create) -> Result<Created, StoreError> {
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
        reserve::create(inner, request, &id).await
    }
}

async fn under_the_derived_id(
    inner: &Arc<Inner>,
    request: &Create,
    id: &Bson,
) -> Result<Created, StoreError> {
    match insert(inner, request, id).await? {
        Insert::Done(record) => {
            // Looked up after the insert, so that of this and a chosen id one sees the other.
            if let Some(made) = reserve::made_otherwise(inner, request, id).await? {
                return Ok(made);
            }
            let receipt = record.receipt();
            inner.relay.wants(inner, id, *record);
            Ok(Created::Inserted(receipt))
        }
        Insert::Taken(failure) => match told_of(inner, request, id).await? {
            Standing::Ours(told) => {
                // Its node may have died before it had looked itself.
                let other = reserve::made_otherwise(inner, request, id).await?;
                Ok(other.unwrap_or(told))
            }
            Standing::Anothers => Ok(Created::Exists),
            // No order of that id: another unique index of the collection stands in the way.
            Standing::Nowhere => Err(failure.not_applied()),
        },
    }
}

/// How an insert went.
pub(crate) enum Insert {
    Done(Box<Record>),
    /// Something stands in the way.
    Taken(Failure),
}

/// Inserts the order. What is to be moved of it, the relay is told by whoever asks.
pub(crate) async fn insert(
    inner: &Arc<Inner>,
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
pub(crate) enum Standing {
    /// The order that this key has made, and so the answer to its creation.
    Ours(Created),
    /// Another order.
    Anothers,
    Nowhere,
}

/// What a creation comes to for which an order of this id may stand there already.
pub(crate) async fn told_of(
    inner: &Arc<Inner>,
    request: &Create,
    id: &Bson,
) -> Result<Standing, StoreError> {
    let found = inner.calls.order(id).await.map_err(Failure::not_applied)?;
    let Some(order) = found else {
        return Ok(Standing::Nowhere);
    };
    let now = inner.clock.now();
    let key_id = request.claim.key_id;
    let Some(word) = word(inner, &order, key_id).await? else {
        return Ok(Standing::Anothers);
    };
    Ok(match Word::facts(Some(&word), now) {
        KeyFacts::Final { fingerprint, .. } if fingerprint != request.claim.fingerprint => {
            Standing::Ours(Created::Reused)
        }
        KeyFacts::Final { retained: true, .. } => {
            let record = record(inner, &order, key_id, word.number).await?;
            Standing::Ours(Created::Settled(Box::new(record.shown(now))))
        }
        KeyFacts::Final { .. } => Standing::Ours(Created::Expired),
        KeyFacts::Progress { .. } | KeyFacts::New => Standing::Anothers,
    })
}

/// The whole document of a new order.
fn document(inner: &Inner, request: &Create, id: &Bson) -> Result<(Fields, Record), Failure> {
    let own = json::to_fields(&request.document)?;
    let now = inner.times().latest;
    let mut record = Record::of_claim(&request.claim, request.entry.clone(), now);
    record.entry.number = 1;
    record.entry.version = Version::FIRST;
    record.entry.change = Some(request.document.clone());
    let mut creation = doc! {"key": hash_hex(request.claim.key_id.0)};
    creation.extend(
        Word::of(&record)
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
        "waiting": 1,
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
