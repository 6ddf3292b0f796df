//! Many nodes on one database: who may end whose session, and what becomes of its leases.

use std::sync::Arc;
use std::time::Duration;

use orderlock_core::store::{Acquired, Leave, Loss, Renew, Renewed, Sweep, Swept};
use orderlock_core::{OrderStore as _, SessionId};
use orderlock_mongodb::{MongodbOptions, MongodbStore};
use orderlock_testkit::TestRuntime;

use crate::world::{SESSION, World, collection, hold, join, request, settle};

/// Another node's store, on a clock of its own.
async fn another(world: &World) -> (MongodbStore, TestRuntime) {
    let runtime = TestRuntime::new();
    let options = MongodbOptions::default().with_runtime(Arc::new(runtime.clone()));
    (world.place.open(options).await, runtime)
}

async fn sweep(store: &MongodbStore) -> Swept {
    store.sweep(Sweep { limit: 100 }).await.unwrap()
}

async fn renew(store: &MongodbStore, session: SessionId) -> Renewed {
    let known = Vec::new();
    store.renew(Renew { session, known }).await.unwrap()
}

#[tokio::test]
async fn a_session_is_ended_by_who_has_seen_it_stand_still_for_its_length() {
    let world = World::new().await;
    world.order("o1").await;
    let held = world.hold("o1", "k1").await;
    let (other, runtime) = another(&world).await;
    // However late its clock is: it has only now begun to watch.
    runtime.advance(SESSION * 10);
    assert_eq!(sweep(&other).await.voided, 0);
    runtime.advance(SESSION - Duration::from_millis(1));
    assert_eq!(sweep(&other).await.voided, 0);
    runtime.advance(Duration::from_millis(1));
    assert_eq!(sweep(&other).await.voided, 1);
    assert_eq!(world.settle(held.settle()).await, Err(Loss::NotHeld));
    assert_eq!(renew(&world.store, world.session).await, Renewed::Ended);
}

#[tokio::test]
async fn a_renewal_that_another_node_makes_keeps_the_session() {
    let world = World::new().await;
    world.order("o1").await;
    let held = world.hold("o1", "k1").await;
    let (other, runtime) = another(&world).await;
    for _ in 0..5 {
        assert_eq!(sweep(&other).await.voided, 0);
        runtime.advance(SESSION - Duration::from_millis(1));
        assert_ne!(renew(&world.store, world.session).await, Renewed::Ended);
    }
    // The first renewals have voided what the node did not name; it had named nothing.
    assert_eq!(world.settle(held.settle()).await, Err(Loss::NotHeld));
}

#[tokio::test]
async fn a_lease_of_an_ended_session_counts_as_free_whenever_it_was_written() {
    let world = World::new().await;
    world.order("o1").await;
    let held = world.hold("o1", "k1").await;
    // The session is gone, and whoever ended it died before it had voided the lease.
    let sessions = collection(&world.place, "orders_orderlock_nodes").await;
    sessions.delete_many(mongodb::bson::doc! {}).await.unwrap();
    let (other, _) = another(&world).await;
    let session = join(&other, "b").await;
    let next = hold(&other, request(session, "o1", "k2")).await;
    assert_eq!(world.settle(held.settle()).await, Err(Loss::NotHeld));
    assert!(settle(&other, next.settle()).await.unwrap().is_ok());
}

#[tokio::test]
async fn a_sweep_voids_what_a_dead_sweeper_left() {
    let world = World::new().await;
    for order in ["o1", "o2", "o3"] {
        world.order(order).await;
        world.hold(order, "k1").await;
    }
    let sessions = collection(&world.place, "orders_orderlock_nodes").await;
    sessions.delete_many(mongodb::bson::doc! {}).await.unwrap();
    let (other, _) = another(&world).await;
    let first = other.sweep(Sweep { limit: 2 }).await.unwrap();
    let voided = 2;
    assert_eq!(first, Swept { voided, more: true });
    let (voided, more) = (1, false);
    assert_eq!(sweep(&other).await, Swept { voided, more });
}

#[tokio::test]
async fn an_ended_session_undoes_its_grant() {
    let world = World::new().await;
    world.order("o1").await;
    // Another node ends the session; this one has not heard of it.
    let (other, _) = another(&world).await;
    let session = world.session;
    other.leave(Leave { session }).await.unwrap();
    let answer = world
        .store
        .acquire(world.request("o1", "k1"))
        .await
        .unwrap();
    assert_eq!(answer, Acquired::SessionEnded);
    assert_eq!(world.view("o1").await.lease, None, "the grant was undone");
}

#[tokio::test]
async fn a_settle_by_a_node_that_was_restarted_in_between_needs_no_memory() {
    let world = World::new().await;
    world.order("o1").await;
    let held = world.hold("o1", "k1").await;
    // The same session, by a store that has never seen the grant.
    let (other, _) = another(&world).await;
    let receipt = settle(&other, held.settle()).await.unwrap().unwrap();
    assert_eq!(receipt.number, 2);
    // And its repeat, by the store that has.
    assert_eq!(world.settle(held.settle()).await, Ok(receipt));
    assert_eq!(world.count("o1").await, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nodes_that_want_the_same_orders_lose_nothing() {
    const TURNS: usize = 25;
    let world = World::new().await;
    world.order("o1").await;
    world.order("o2").await;
    let mut nodes = Vec::new();
    for node in 0..3 {
        let (store, _) = another(&world).await;
        let session = join(&store, &format!("node{node}")).await;
        nodes.push(tokio::spawn(async move {
            for turn in 0..TURNS {
                for order in ["o1", "o2"] {
                    run(&store, session, order, &format!("n{node}t{turn}")).await;
                }
            }
        }));
    }
    for node in nodes {
        node.await.unwrap();
    }
    for order in ["o1", "o2"] {
        assert_eq!(world.count(order).await, 3 * TURNS as u64);
        let history = world.history(order).await;
        assert_eq!(history.len(), 3 * TURNS + 1);
        let whole = (1..)
            .zip(&history)
            .all(|(number, entry)| entry.number == number);
        assert!(whole, "numbers without gap");
    }
    println!("three nodes made {} changes of two orders", 6 * TURNS);
}

/// Asks until the order is granted, and settles.
async fn run(store: &MongodbStore, session: SessionId, order: &str, key: &str) {
    for _ in 0..100_000 {
        let request = request(session, order, key);
        match store.acquire(request.clone()).await.unwrap() {
            Acquired::Granted(grant) => {
                let grant = *grant;
                let held = crate::world::Held { request, grant };
                assert!(settle(store, held.settle()).await.unwrap().is_ok());
                return;
            }
            Acquired::Held(_) => tokio::task::yield_now().await,
            other => panic!("neither granted nor held but {other:?}"),
        }
    }
    panic!("the order never becomes free");
}
