//! What a server never takes: a unique index of the collection, its validator, the size of a
//! document. Nothing is applied, and the order is let go.

use mongodb::bson::doc;
use orderlock_core::store::{Known, Settled};
use orderlock_core::{OrderStore as _, Runtime as _, StoreError, TokioRuntime};
use orderlock_mongodb::MongodbOptions;
use orderlock_testkit::fixtures;

use crate::proxy::{Fate, Proxy, duplicate};
use crate::world::{World, look_up};

async fn refused_by(answer: mongodb::bson::Document, word: &str) {
    let proxy = Proxy::new().await;
    let world = World::by_way_of(&proxy.address(), MongodbOptions::default()).await;
    world.order("o1").await;
    let held = world.hold("o1", "k1").await;
    proxy.meet("findAndModify", "orders", Fate::Answered(answer), 1);
    let settled = world.store.settle(held.settle()).await.unwrap();
    let Settled::Impossible(reason) = settled else {
        panic!("not impossible but {settled:?}");
    };
    assert!(reason.contains(word), "{reason}");
    assert!(!reason.contains("secret"), "it quotes the order: {reason}");
    assert_eq!(world.view("o1").await.lease, None, "the order is free");
    assert_eq!(world.count("o1").await, 0);
    let known = world.store.lookup(look_up(&held)).await.unwrap();
    assert_eq!(known, Known::Unknown);
}

#[tokio::test]
async fn a_unique_index_of_the_collection() {
    refused_by(duplicate(), "unique index").await;
}

#[tokio::test]
async fn a_validator_of_the_collection() {
    let answer = doc! {
        "ok": 0.0, "code": 121, "codeName": "DocumentValidationFailure", "errmsg": "secret",
    };
    refused_by(answer, "validator").await;
}

#[tokio::test]
async fn the_size_that_the_server_takes() {
    let answer = doc! {
        "ok": 0.0, "code": 10334, "codeName": "BSONObjectTooLarge", "errmsg": "secret",
    };
    refused_by(answer, "size limit").await;
}

#[tokio::test]
async fn a_unique_index_in_the_way_of_a_new_order() {
    let world = World::new().await;
    let unique = mongodb::options::IndexOptions::builder()
        .unique(true)
        .build();
    let index = mongodb::IndexModel::builder()
        .keys(doc! {"count": 1})
        .options(unique)
        .build();
    world.orders.create_index(index).await.unwrap();
    world.order("o1").await;
    let create = fixtures::create(fixtures::claim("o2", "c"), TokioRuntime.wall());
    let refused = world.store.create(create).await;
    assert!(
        matches!(refused, Err(StoreError::NotApplied(_))),
        "{refused:?}"
    );
}
