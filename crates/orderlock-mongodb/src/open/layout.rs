//! The layout's number, and the one step from the layout of 0.1 to this one.
//!
//! Orders' documents are brought up one by one, at their next write: all that is new is additive. What
//! must not go on is a node of 0.1, which does not look at the number: it would give numbers of a
//! replaced order twice, and take marks back that were there before. So sessions have another collection
//! than theirs, theirs end, and no other can begin: to each of its questions such a node is told that it
//! has none.

use mongodb::IndexModel;
use mongodb::bson::{Document as Fields, doc};
use mongodb::options::IndexOptions;

use crate::database::calls::Calls;
use crate::document::fields::FieldReader;
use crate::error::Failure;
use crate::open::error::OpenError;

/// This program's layout.
const NUMBER: i64 = 2;

/// How often the end of the earlier sessions is tried, while nodes of 0.1 begin new ones.
const TRIES: usize = 32;

/// What stands in the place of a session of 0.1 that has just begun.
const MOVED: &str = "moved";

/// Brings the layout up.
pub(crate) async fn bring_up(calls: &Calls) -> Result<(), OpenError> {
    let meta = &calls.meta;
    let found = calls.one(meta.find_one(doc! {"_id": "layout"})).await?;
    let found = found.unwrap_or_default();
    let reader = FieldReader::new("the layout", &found);
    // The oldest layout whose programs can work beside this one.
    let oldest = reader.optional_number("oldest")?.unwrap_or(NUMBER);
    if oldest > NUMBER {
        return Err(OpenError::Layout);
    }
    if reader.has("moved") {
        return Ok(());
    }
    let number = doc! {"$max": {"number": NUMBER, "oldest": NUMBER}};
    raise(calls, number).await?;
    end_earlier_sessions(calls).await?;
    // Its place is taken by one that serves renewals too.
    let dropped = calls.orders.drop_index("orderlock_session");
    let _it_may_never_have_been_there = calls.bounded(dropped).await;
    Ok(raise(calls, doc! {"$set": {"moved": 1}}).await?)
}

async fn raise(calls: &Calls, update: Fields) -> Result<(), Failure> {
    let command = calls.meta.update_one(doc! {"_id": "layout"}, update);
    match calls.bounded(command.upsert(true)).await {
        Err(failure) if !failure.is_duplicate() => Err(failure),
        Ok(_) | Err(_) => Ok(()),
    }
}

/// Ends the sessions of nodes of 0.1. Each begins one with no renewals, of which an index then allows
/// only the one that is there.
async fn end_earlier_sessions(calls: &Calls) -> Result<(), Failure> {
    let sessions = &calls.old_sessions;
    let others = || sessions.delete_many(doc! {"_id": {"$ne": MOVED}});
    let moved = doc! {"$set": {"renewals": 0_i64, "to": calls.sessions.name()}};
    let options = IndexOptions::builder()
        .name("orderlock_moved".to_owned())
        .unique(true)
        .build();
    let index = IndexModel::builder()
        .keys(doc! {"renewals": 1})
        .options(options)
        .build();
    let mut tries = 0;
    loop {
        tries += 1;
        calls.bounded(others()).await?;
        let placed = sessions.update_one(doc! {"_id": MOVED}, moved.clone());
        calls.bounded(placed.upsert(true)).await?;
        match calls.bounded(sessions.create_index(index.clone())).await {
            Ok(_) => break,
            Err(failure) if failure.is_duplicate() && tries < TRIES => {}
            Err(failure) => return Err(failure),
        }
    }
    calls.bounded(others()).await.map(drop)
}
