//! A journal that was put back to where it was: its readers are told.

use mongodb::bson::doc;
use orderlock_core::store::{Cursor, Entries, EntriesSince};
use orderlock_core::{Caller, OrderStore as _};
use orderlock_mongodb::{MongodbOptions, MongodbStore};

use crate::world::{World, collection, hold, join, request, settle};

async fn since(store: &MongodbStore, cursor: Option<Cursor>) -> Entries {
    let request = EntriesSince {
        tenant: Caller::single().tenant,
        cursor,
        limit: 100,
    };
    store.entries_since(request).await.unwrap()
}

async fn cursor(store: &MongodbStore, from: Option<Cursor>, entries: usize) -> Cursor {
    match since(store, from).await {
        Entries::Some {
            entries: told,
            next,
        } => {
            assert_eq!(told.len(), entries);
            next
        }
        Entries::NewEpoch => panic!("nothing was restored"),
    }
}

async fn operations(store: &MongodbStore, node: &str, count: usize) {
    let session = join(store, node).await;
    for turn in 0..count {
        let held = hold(store, request(session, "o1", &format!("{node}{turn}"))).await;
        settle(store, held.settle()).await.unwrap().unwrap();
    }
}

/// Puts a backup in place that was made before the last so many entries.
async fn restore(world: &World, backup: mongodb::bson::Document, position: i64) -> MongodbStore {
    world
        .orders
        .replace_one(doc! {"_id": "o1"}, backup)
        .await
        .unwrap();
    let journal = collection(&world.place, "orders_orderlock_journal").await;
    let lost = doc! {"position": {"$gt": position}};
    assert!(journal.delete_many(lost).await.unwrap().deleted_count > 0);
    world.place.open(MongodbOptions::default()).await
}

#[tokio::test]
async fn a_reader_who_was_behind_the_backup_begins_anew() {
    let world = World::new().await;
    world.order("o1").await;
    operations(&world.store, "a", 2).await;
    let early = cursor(&world.store, None, 3).await;
    let backup = world.raw("o1").await;
    operations(&world.store, "b", 4).await;
    let late = cursor(&world.store, Some(early.clone()), 4).await;
    let store = restore(&world, backup, 3).await;
    // At once, and when the positions have been given again.
    assert_eq!(since(&store, Some(late.clone())).await, Entries::NewEpoch);
    operations(&store, "c", 6).await;
    assert_eq!(since(&store, Some(late.clone())).await, Entries::NewEpoch);
    // Who had not come so far has missed nothing, and neither has a cursor of an earlier build.
    cursor(&store, Some(early.clone()), 6).await;
    let (place, _seal) = early.0.rsplit_once('.').unwrap();
    cursor(&store, Some(Cursor(place.into())), 6).await;
    let all = cursor(&store, None, 9).await;
    assert_eq!(cursor(&store, Some(all.clone()), 0).await, all);
}

#[tokio::test]
async fn a_cursor_beyond_the_end_is_none_of_this_journal() {
    let world = World::new().await;
    world.order("o1").await;
    let here = cursor(&world.store, None, 1).await;
    let (epoch, _) = here.0.split_once('.').unwrap();
    let beyond = Cursor(format!("{epoch}.99").into());
    assert_eq!(since(&world.store, Some(beyond)).await, Entries::NewEpoch);
}
