//! Creating an order, at most once for each key.

use std::sync::Arc;

use futures_util::future::join_all;
use orderlock_core::{Caller, Denied, Ended, IdempotencyKey, KeyStatus};

use crate::world::{Counter, World, creation, settled};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn equal_creations_make_one_order() {
    let world = Arc::new(World::new().await);
    let requests = (0..64).map(|_| {
        let world = Arc::clone(&world);
        tokio::spawn(async move {
            let order = Counter { count: 5 };
            settled(
                world
                    .lifecycle
                    .create(creation(None, "c", "body"), order)
                    .await,
            )
        })
    });
    let answers: Vec<_> = join_all(requests.collect::<Vec<_>>())
        .await
        .into_iter()
        .map(Result::unwrap)
        .collect();
    assert!(
        answers
            .iter()
            .all(|(body, _)| body == r#"created {"count":5}"#),
        "{answers:?}"
    );
    assert_eq!(answers.iter().filter(|(_, replayed)| !replayed).count(), 1);
}

#[tokio::test]
async fn a_key_creates_one_order_and_stands_for_one_body() {
    let world = World::new().await;
    let create = |order, key, body| {
        world
            .lifecycle
            .create(creation(order, key, body), Counter { count: 1 })
    };
    settled(create(None, "c", "body").await);
    let ended = create(None, "c", "other").await;
    assert!(
        matches!(ended, Ended::Denied(Denied::KeyReused)),
        "{ended:?}"
    );
    let ended = create(Some("o"), "another-key", "body").await;
    assert!(matches!(ended, Ended::Denied(Denied::Exists)), "{ended:?}");
}

#[tokio::test]
async fn the_status_of_a_key_follows_its_life() {
    let world = World::new().await;
    let order = orderlock_core::OrderId::parse("o").unwrap();
    let status = async |key: &str| {
        let key = IdempotencyKey::parse(key).unwrap();
        world
            .lifecycle
            .status(&Caller::single(), &order, &key)
            .await
            .unwrap()
    };
    assert!(matches!(status("k").await, KeyStatus::Unknown));
    let (first, mut handler) = world.add_later(crate::world::request("k"));
    handler.begun().await;
    let waiting = world.add(crate::world::patient("l"));
    world.waiting(1).await;
    assert!(matches!(status("k").await, KeyStatus::Running(Some(_))));
    assert!(matches!(status("l").await, KeyStatus::Waiting));
    handler.go();
    settled(first.await);
    settled(waiting.await);
    let KeyStatus::Settled { answer, .. } = status("k").await else {
        panic!("not settled")
    };
    assert_eq!(answer.body, r#"applied {"count":1}"#);
}
