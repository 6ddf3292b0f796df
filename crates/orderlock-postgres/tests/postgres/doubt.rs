//! Lost connections: what is told of a verb that was on its way.

use orderlock_core::OrderStore as _;
use orderlock_core::store::{Acquired, History, Known, Lookup, MarkFate, Release};
use orderlock_postgres::PostgresOptions;
use orderlock_testkit::fixtures::ids;

use crate::place::Place;
use crate::proxy::Proxy;
use crate::world::{Held, World, applied, granted};

/// A store that reaches its server over a way that can break. It has one connection, on which
/// every statement has been prepared.
async fn over_a_proxy() -> (World, Proxy) {
    let place = Place::new().await;
    let proxy = Proxy::new().await;
    let address = proxy.on_the_way_to(&place.address());
    let options = PostgresOptions::default().with_connections(1);
    let world = World::at(place, &address, options).await;
    world.order("o1").await;
    world.order("o2").await;
    let held = world.hold("o2", "k1").await;
    applied(world.store.settle(held.settle()).await.unwrap()).await;
    let held = world.hold("o2", "k2").await;
    world.store.release(release(&held)).await.unwrap();
    (world, proxy)
}

fn release(held: &Held) -> Release {
    Release {
        target: held.request.claim.target(),
        fence: held.grant.fence,
        mark: MarkFate::Keep,
        next: None,
    }
}

/// Waits until the hand sees this of the order.
async fn until(world: &World, condition: &str) {
    let look = format!("SELECT FROM orders WHERE id = 'o1' AND {condition}");
    while world.hand.query(&look, &[]).await.unwrap().is_empty() {
        tokio::task::yield_now().await;
    }
}

async fn entries(world: &World) -> usize {
    let request = History {
        target: ids::target("o1"),
        limit: 100,
        cursor: None,
    };
    let page = world.store.history(request).await.unwrap().unwrap();
    page.items.len()
}

#[tokio::test]
async fn a_settle_whose_acknowledgement_is_lost_is_asked_again() {
    let (world, proxy) = over_a_proxy().await;
    let held = world.hold("o1", "k1").await;
    proxy.deafen();
    let settle = world.settle(held.settle());
    until(&world, "version = 2").await;
    proxy.break_all();
    let receipt = applied(settle.await.unwrap().unwrap()).await;
    assert_eq!(receipt.number, 2);
    assert_eq!((world.count("o1").await, entries(&world).await), (1, 2));
    let again = world.store.settle(held.settle()).await.unwrap();
    assert_eq!(applied(again).await, receipt);
}

#[tokio::test]
async fn an_acquire_whose_acknowledgement_is_lost_is_the_same_grant() {
    let (world, proxy) = over_a_proxy().await;
    let request = world.request("o1", "k1");
    proxy.deafen();
    let acquire = world.acquire(request.clone());
    until(&world, "fence IS NOT NULL").await;
    proxy.break_all();
    let grant = granted(acquire.await.unwrap().unwrap());
    assert_eq!(grant.fence, request.fence);
    let again = world.store.acquire(request).await.unwrap();
    assert_eq!(granted(again), grant);
}

#[tokio::test]
async fn a_release_whose_acknowledgement_is_lost_may_have_happened() {
    let (world, proxy) = over_a_proxy().await;
    let held = world.hold("o1", "k1").await;
    let release = release(&held);
    proxy.deafen();
    let (store, asked) = (world.store.clone(), release.clone());
    let releasing = tokio::spawn(async move { store.release(asked).await });
    until(&world, "fence IS NULL").await;
    proxy.break_all();
    let error = releasing.await.unwrap().unwrap_err();
    assert!(error.may_have_happened(), "{error:?}");
    assert!(!world.store.release(release).await.unwrap().held);
}

#[tokio::test]
async fn a_session_of_the_server_that_is_ended_before_the_commit_has_done_nothing() {
    let world = World::new().await;
    world.order("o1").await;
    let held = world.hold("o1", "k1").await;
    world.seize().await;
    let settle = world.settle(held.settle());
    world.blocked(1).await;
    let end = "SELECT pg_terminate_backend(pid) FROM pg_locks
        WHERE NOT granted AND pid <> pg_backend_pid() AND pid IN (
            SELECT pid FROM pg_locks WHERE relation = 'orders'::regclass)";
    world.hand.execute(end, &[]).await.unwrap();
    let error = settle.await.unwrap().unwrap_err();
    assert!(!error.may_have_happened(), "{error:?}");
    world.commit().await;
    let lookup = Lookup {
        target: ids::target("o1"),
        key_id: held.request.claim.key_id,
    };
    let known = world.store.lookup(lookup).await.unwrap();
    assert!(matches!(known, Known::Running(_)), "{known:?}");
    let settled = world.store.settle(held.settle()).await.unwrap();
    assert_eq!(applied(settled).await.number, 2);
    let next = world
        .store
        .acquire(world.request("o1", "k2"))
        .await
        .unwrap();
    assert!(matches!(next, Acquired::Granted(_)), "{next:?}");
}
