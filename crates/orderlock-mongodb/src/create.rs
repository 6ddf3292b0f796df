//! `create`: one insert. The order's id is the gate: of many equal requests one is written.

use std::sync::Arc;

use mongodb::bson::{Bson, Document as Fields, doc};
use orderlock_core::store::{Create, Created, KeyFacts, Receipt};
use orderlock_core::{StoreError, Version};

use crate::acquire::word;
use crate::entry::Record;
use crate::error::Failure;
use crate::facts::Word;
use crate::fields::{hash_hex, long, micros};
use crate::grant::record;
use crate::json;
use crate::settle_plan::{index_to_fields, text_of};
use crate::store::Inner;

pub(crate) async fn create(inner: &Arc<Inner>, request: &Create) -> Result<Created, StoreError> {
    if request.document.size() > inner.info.document_bytes_max {
        return Err(StoreError::Unsupported("a document over the size limit"));
    }
    let Some(id) = inner.ids.id(&request.claim.target()) else {
        return Err(StoreError::Unsupported(
            "an order whose id is no ObjectId, in a collection that is said to have no others",
        ));
    };
    let (fields, receipt) = document(inner, request, &id).map_err(Failure::not_applied)?;
    let inserted = inner
        .calls
        .bounded(inner.calls.orders.insert_one(fields))
        .await;
    match inserted {
        Ok(_) => {
            inner.relay.wants(inner, &id);
            Ok(Created::Inserted(receipt))
        }
        Err(failure) if failure.is_duplicate() => stands(inner, request, &id, failure).await,
        Err(failure) if failure.constraint().is_some() => Err(failure.not_applied()),
        Err(failure) => Err(failure.of_a_write()),
    }
}

/// The whole document of a new order.
fn document(inner: &Inner, request: &Create, id: &Bson) -> Result<(Fields, Receipt), Failure> {
    let own = json::to_fields(&request.document)?;
    let now = inner.clock.now();
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
    if !json::says_the_same(&json::to_document(&own)?, &request.document) {
        kept.insert("text", text_of(&request.document)?);
    }
    if let Some(index) = index_to_fields(&request.index, &own) {
        kept.insert("index", index);
    }
    let mut whole = doc! {"_id": id};
    whole.extend(own);
    whole.insert("locked", Bson::Null);
    whole.insert("orderlock", kept);
    Ok((whole, record.receipt()))
}

/// Something stands there already: the same key's answer, or another order.
async fn stands(
    inner: &Arc<Inner>,
    request: &Create,
    id: &Bson,
    failure: Failure,
) -> Result<Created, StoreError> {
    let found = inner.calls.order(id).await.map_err(Failure::not_applied)?;
    // No order of that id: another unique index of the collection stands in the way.
    let Some(order) = found else {
        return Err(failure.not_applied());
    };
    let now = inner.clock.now();
    let word = word(inner, &order, request.claim.key_id, now).await?;
    let Some(word) = word else {
        return Ok(Created::Exists);
    };
    Ok(match Word::facts(Some(&word), now) {
        KeyFacts::Final { fingerprint, .. } if fingerprint != request.claim.fingerprint => {
            Created::Reused
        }
        KeyFacts::Final { retained: true, .. } => {
            let record = record(inner, &order, word.number).await?;
            Created::Settled(Box::new(record.shown(now)))
        }
        KeyFacts::Final { .. } => Created::Expired,
        KeyFacts::Progress { .. } | KeyFacts::New => Created::Exists,
    })
}
