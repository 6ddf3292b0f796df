//! Stored answers that are asked for again, and from where they come.

use std::sync::Arc;
use std::time::Duration;

use orderlock_core::store::{Acquired, Entry, Known, Lookup};
use orderlock_core::{Fingerprint, OrderStore as _};
use orderlock_postgres::{PostgresOptions, PostgresStore};
use orderlock_testkit::TestRuntime;

use crate::cluster::Cluster;
use crate::place::{Place, connect};
use crate::proxy::Proxy;
use crate::world::{World, applied, create, hold, join, request};

/// A world behind a proxy, with a settled key, `k1`.
async fn settled(options: PostgresOptions) -> (World, Proxy) {
    let place = Place::new().await;
    let proxy = Proxy::new().await;
    let address = proxy.on_the_way_to(&place.address());
    let world = World::at(place, &address, options.with_connections(1)).await;
    world.order("o1").await;
    let held = world.hold("o1", "k1").await;
    applied(world.store.settle(held.settle()).await.unwrap()).await;
    (world, proxy)
}

async fn replay(world: &World) -> Acquired {
    let request = world.request("o1", "k1");
    world.store.acquire(request).await.unwrap()
}

async fn entry(world: &World) -> Box<Entry> {
    match replay(world).await {
        Acquired::Settled(entry) => entry,
        other => panic!("not settled but {other:?}"),
    }
}

fn lookup(world: &World) -> Lookup {
    let claim = world.request("o1", "k1").claim;
    Lookup {
        target: claim.target(),
        key_id: claim.key_id,
    }
}

#[tokio::test]
async fn an_answer_that_was_read_once_is_not_read_again() {
    let (world, proxy) = settled(PostgresOptions::default()).await;
    let first = entry(&world).await;
    let before = proxy.turns();
    assert_eq!(entry(&world).await, first);
    let known = world.store.lookup(lookup(&world)).await.unwrap();
    assert_eq!(known, Known::Settled(first));
    let mut other = world.request("o1", "k1");
    other.claim.fingerprint = Fingerprint([7; 32]);
    let reused = world.store.acquire(other).await.unwrap();
    assert_eq!(reused, Acquired::Reused);
    assert_eq!(proxy.turns(), before, "the database was asked");
}

#[tokio::test]
async fn a_remembered_answer_ends_with_its_retention() {
    let runtime = TestRuntime::new();
    let options = PostgresOptions::default().with_runtime(Arc::new(runtime.clone()));
    let (world, _) = settled(options).await;
    let first = entry(&world).await;
    let expires = first.expires.unwrap();
    let left = expires.duration_since(TestRuntime::START).unsigned_abs();
    runtime.advance(left - Duration::from_secs(1));
    assert_eq!(entry(&world).await, first);
    runtime.advance(Duration::from_secs(1));
    assert_eq!(replay(&world).await, Acquired::Expired);
}

/// Waits until the store has a connection again.
async fn connected(store: &PostgresStore) {
    while store.lag().await.is_err() {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_new_connection_to_the_same_server_keeps_the_memory() {
    let (world, proxy) = settled(PostgresOptions::default()).await;
    let first = entry(&world).await;
    proxy.break_all();
    connected(&world.store).await;
    let before = proxy.turns();
    assert_eq!(entry(&world).await, first);
    assert_eq!(proxy.turns(), before, "the database was asked");
}

#[tokio::test]
async fn a_server_that_was_started_anew_empties_the_memory() {
    let cluster = Cluster::new(&[]);
    let address = cluster.address("postgres");
    let store = PostgresStore::open(&address, PostgresOptions::default());
    let store = store.await.unwrap();
    let session = join(&store, "a").await;
    create(&store, "o1").await;
    let asked = || request(session, "o1", "k1");
    let held = hold(&store, asked()).await;
    applied(store.settle(held.settle()).await.unwrap()).await;
    let replayed = store.acquire(asked()).await.unwrap();
    assert!(matches!(replayed, Acquired::Settled(_)), "{replayed:?}");
    // As on a server that a fail-over has left without it, or that was restored.
    let lose = "DELETE FROM keys WHERE number = 2; DELETE FROM entries WHERE number = 2";
    let hand = connect(&address).await;
    hand.batch_execute(lose).await.unwrap();
    assert_eq!(store.acquire(asked()).await.unwrap(), replayed);
    cluster.crash();
    cluster.start();
    connected(&store).await;
    let claim = asked().claim;
    let lookup = Lookup {
        target: claim.target(),
        key_id: claim.key_id,
    };
    assert_eq!(store.lookup(lookup).await.unwrap(), Known::Unknown);
}
