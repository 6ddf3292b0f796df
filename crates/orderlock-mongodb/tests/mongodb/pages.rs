//! Pages are bounded in bytes too.

use mongodb::bson::doc;
use orderlock_core::store::{Entries, EntriesSince, Filter, History, List};
use orderlock_core::{Caller, Document, OrderStore as _, Runtime as _, TokioRuntime};
use orderlock_mongodb::MongodbOptions;
use orderlock_testkit::fixtures::{self, ids};

use crate::world::World;

const MEGABYTE: usize = 1024 * 1024;

#[tokio::test]
async fn a_list_of_large_orders_has_more_pages() {
    let world = World::new().await;
    for number in 0..6 {
        let large = "x".repeat(3 * MEGABYTE);
        let order = doc! {"_id": format!("f{number}"), "count": number, "large": large};
        world.foreign_order(order).await;
    }
    let (mut seen, mut pages, mut cursor) = (Vec::new(), 0, None);
    loop {
        let list = List {
            tenant: Caller::single().tenant,
            filter: Filter::default(),
            limit: 200,
            cursor,
        };
        let page = world.store.list(list).await.unwrap();
        assert!(
            page.items.len() <= 3,
            "{} large orders at once",
            page.items.len()
        );
        pages += 1;
        seen.extend(page.items.iter().map(|view| view.target.order.to_string()));
        cursor = page.next;
        if cursor.is_none() {
            break;
        }
    }
    assert!(pages > 1);
    assert_eq!(seen, ["f5", "f4", "f3", "f2", "f1", "f0"]);
}

#[tokio::test]
async fn a_history_of_large_changes_has_more_pages() {
    let world = World::with(MongodbOptions::default().with_document_bytes_max(4 * MEGABYTE)).await;
    let large = |count: u64| {
        let text = serde_json::json!({"count": count, "large": "x".repeat(3 * MEGABYTE)});
        Document::encode(&text).unwrap()
    };
    let mut create = fixtures::create(fixtures::claim("o1", "c"), TokioRuntime.wall());
    create.document = large(0);
    world.store.create(create).await.unwrap();
    for count in 1..5 {
        let held = world.hold("o1", &format!("k{count}")).await;
        let mut settle = held.settle();
        fixtures::change_of(&mut settle).after = large(count);
        world.settle(settle).await.unwrap();
        world.history("o1").await;
    }
    let (mut numbers, mut cursor) = (Vec::new(), None);
    loop {
        let history = History {
            target: ids::target("o1"),
            limit: 200,
            cursor,
        };
        let page = world.store.history(history).await.unwrap().unwrap();
        assert!((1..=3).contains(&page.items.len()));
        numbers.extend(page.items.iter().map(|entry| entry.number));
        cursor = page.next;
        if cursor.is_none() {
            break;
        }
    }
    assert_eq!(numbers, [1, 2, 3, 4, 5]);
    let (mut numbers, mut cursor) = (Vec::new(), None);
    for _ in 0..10 {
        let since = EntriesSince {
            tenant: Caller::single().tenant,
            cursor,
            limit: 200,
        };
        let Entries::Some { entries, next } = world.store.entries_since(since).await.unwrap()
        else {
            panic!("nothing was restored");
        };
        assert!(
            entries.len() <= 3,
            "{} large entries at once",
            entries.len()
        );
        numbers.extend(entries.iter().map(|entry| entry.number));
        cursor = Some(next);
    }
    assert_eq!(numbers, [1, 2, 3, 4, 5]);
}
