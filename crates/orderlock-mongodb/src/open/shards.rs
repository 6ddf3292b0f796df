//! Sharded collections: each write names an order by its `_id`, and rests on there being one of it. Both
//! are so only if `_id` is the shard key.

use mongodb::bson::{RawDocumentBuf, doc};

use crate::database::calls::Calls;
use crate::document::update::Update;
use crate::open::error::OpenError;

/// The `_id` of no order.
const NOBODY: &str = "orderlock: nobody's";

/// Looks whether the orders are sharded by their `_id`, if they are sharded.
pub(crate) async fn look(calls: &Calls) -> Result<(), OpenError> {
    let update = Update::default().into_fields();
    if let Err(failure) = calls.touch(doc! {"_id": NOBODY}, update).await {
        return Err(match failure.misses_the_shard_key() {
            true => OpenError::ShardKey,
            false => failure.into(),
        });
    }
    // Later servers find an order all the same. Not every user may read what the shards know.
    let config = calls.orders.client().database("config");
    let sharded = config.collection::<RawDocumentBuf>("collections");
    let query = sharded.find_one(doc! {"_id": calls.orders.namespace().to_string()});
    let found = calls.one(query).await.ok().flatten();
    let key = found
        .as_ref()
        .and_then(|found| found.get_document("key").ok());
    match key {
        Some(key) if !key.keys().eq(["_id"]) => Err(OpenError::ShardKey),
        _ => Ok(()),
    }
}
