//! What the store rests on and does not own: looked at when it is opened, and again while it serves.

use std::sync::Arc;
use std::time::Duration;

use mongodb::bson::{Bson, doc};
use orderlock_core::OrderStore as _;
use orderlock_core::store::{Acquired, Sweep};
use orderlock_mongodb::{MongodbOptions, MongodbStore, OpenError};
use orderlock_testkit::TestRuntime;

use crate::place::Place;
use crate::proxy::{Fate, Proxy};
use crate::world::{World, collection};

/// What a router of shards says of itself.
fn router() -> Fate {
    Fate::Amended(doc! {"msg": "isdbgrid"})
}

async fn open_over(proxy: &Proxy) -> Result<MongodbStore, OpenError> {
    let address = Place::new().address_on(&proxy.address());
    MongodbStore::connect(&address, MongodbOptions::default()).await
}

#[tokio::test]
async fn orders_that_are_sharded_otherwise_are_refused_at_the_start() {
    let proxy = Proxy::new().await;
    let refusal = doc! {
        "ok": 0.0, "code": 61, "codeName": "ShardKeyNotFound",
        "errmsg": "Query for sharded findAndModify must contain the shard key",
    };
    proxy.meet("hello", "", router(), usize::MAX);
    proxy.meet_too(
        "findAndModify",
        "orders",
        Fate::Answered(refusal),
        usize::MAX,
    );
    let refused = open_over(&proxy).await;
    assert!(matches!(refused, Err(OpenError::ShardKey)), "{refused:?}");
    // Later routers find an order by whatever key.
    for (key, fits) in [("customer", false), ("_id", true)] {
        let sharded = doc! {"_id": "place.orders", "key": {key: "hashed"}};
        let found = doc! {
            "ok": 1.0,
            "cursor": {"id": 0_i64, "ns": "config.collections", "firstBatch": [sharded]},
        };
        proxy.meet("hello", "", router(), usize::MAX);
        proxy.meet_too("find", "collections", Fate::Answered(found), usize::MAX);
        let opened = open_over(&proxy).await;
        match opened {
            Ok(store) => {
                assert!(fits);
                assert!(store.describe().durability.contains("shard"));
            }
            Err(error) => assert!(!fits && matches!(error, OpenError::ShardKey), "{error:?}"),
        }
    }
}

#[tokio::test]
async fn a_write_without_its_shard_key_did_not_happen() {
    let proxy = Proxy::new().await;
    let world = World::by_way_of(&proxy.address(), MongodbOptions::default()).await;
    world.order("o1").await;
    let refusal = doc! {"ok": 0.0, "code": 61, "codeName": "ShardKeyNotFound", "errmsg": "no"};
    proxy.meet("findAndModify", "orders", Fate::Answered(refusal), 1);
    let refused = world.store.acquire(world.request("o1", "k1")).await;
    let error = refused.unwrap_err();
    assert!(!error.may_have_happened(), "{error:?}");
}

/// A world whose clock is moved by hand.
async fn watched() -> (World, TestRuntime) {
    let runtime = TestRuntime::new();
    let options = MongodbOptions::default().with_runtime(Arc::new(runtime.clone()));
    (World::with(options).await, runtime)
}

async fn look(world: &World, runtime: &TestRuntime) -> Option<String> {
    runtime.advance(Duration::from_secs(31));
    world.store.sweep(Sweep { limit: 1 }).await.unwrap();
    world.store.describe().trouble
}

/// As who restores a database without its indexes does.
#[tokio::test]
async fn a_unique_index_that_is_gone_is_made_again_or_told() {
    let (world, runtime) = watched().await;
    world.order("o1").await;
    world.history("o1").await;
    let journal = collection(&world.place, "orders_orderlock_journal").await;
    let mut names = journal.list_index_names().await.unwrap();
    names.retain(|name| name.ends_with("position") && !name.contains("tenant"));
    let [name] = names.try_into().unwrap();
    let unique = async || {
        let again = doc! {"position": 1, "order": "another", "number": 1};
        journal.insert_one(again).await.is_err()
    };
    assert_eq!(look(&world, &runtime).await, None);
    journal.drop_index(&name).await.unwrap();
    assert_eq!(look(&world, &runtime).await, None);
    assert!(unique().await, "it is there again");
    journal.drop_index(&name).await.unwrap();
    assert!(!unique().await);
    let trouble = look(&world, &runtime).await.expect("it cannot be made");
    assert!(trouble.contains("unique index"), "{trouble}");
    journal.delete_one(doc! {"order": "another"}).await.unwrap();
    assert_eq!(look(&world, &runtime).await, None);
}

#[tokio::test]
async fn a_journal_that_takes_nothing_is_told() {
    let runtime = TestRuntime::new();
    let options = MongodbOptions::default().with_runtime(Arc::new(runtime.clone()));
    let proxy = Proxy::new().await;
    let world = World::by_way_of(&proxy.address(), options).await;
    let refusal = doc! {"ok": 0.0, "code": 13, "codeName": "Unauthorized", "errmsg": "no"};
    let journal = "orders_orderlock_journal";
    proxy.meet("insert", journal, Fate::Answered(refusal), usize::MAX);
    world.order("o1").await;
    world.history("o1").await;
    assert_eq!(world.store.describe().trouble, None, "it may pass");
    runtime.advance(Duration::from_secs(15));
    let trouble = world.store.describe().trouble.expect("it does not");
    assert!(trouble.contains("journal"), "{trouble}");
    proxy.let_pass();
    world.history("o1").await;
    assert_eq!(world.store.describe().trouble, None);
}

/// A majority may be behind what was written last: then the order is not as it was read, for a while.
#[tokio::test]
async fn an_order_that_is_read_late_is_asked_for_again() {
    let proxy = Proxy::new().await;
    let world = World::by_way_of(&proxy.address(), MongodbOptions::default()).await;
    world.order("o1").await;
    let gone_on = doc! {"ok": 1.0, "value": Bson::Null, "lastErrorObject": {"n": 0}};
    proxy.meet("findAndModify", "orders", Fate::Answered(gone_on), 40);
    let told = world
        .store
        .acquire(world.request("o1", "k1"))
        .await
        .unwrap();
    assert!(matches!(told, Acquired::Granted(_)), "{told:?}");
}
