//! Several stores on one database, as several nodes have them.

use orderlock_core::OrderStore as _;
use orderlock_core::store::Acquired;
use orderlock_postgres::{PostgresOptions, PostgresStore};

use crate::world::{Held, World, applied, join, request};

const TURNS: u64 = 25;

/// Changes each of the orders so many times, in the name of one node.
async fn work(store: PostgresStore, node: String, orders: u64) {
    let session = join(&store, &node).await;
    for turn in 0..TURNS {
        for order in 0..orders {
            let request = request(session, &format!("o{order}"), &format!("{node}-{turn}"));
            let grant = loop {
                match store.acquire(request.clone()).await.unwrap() {
                    Acquired::Granted(grant) => break *grant,
                    Acquired::Held(_) => tokio::task::yield_now().await,
                    other => panic!("neither granted nor held but {other:?}"),
                }
            };
            let held = Held { request, grant };
            applied(store.settle(held.settle()).await.unwrap()).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nodes_that_race_for_the_same_orders_lose_nothing() {
    const ORDERS: u64 = 3;
    let world = World::new().await;
    for order in 0..ORDERS {
        world.order(&format!("o{order}")).await;
    }
    let mut nodes = Vec::new();
    for node in 0..2 {
        let store = world.place.open(PostgresOptions::default()).await;
        for worker in 0..4 {
            nodes.push(tokio::spawn(work(
                store.clone(),
                format!("n{node}w{worker}"),
                ORDERS,
            )));
        }
    }
    let workers = nodes.len() as u64;
    for node in nodes {
        node.await.unwrap();
    }
    for order in 0..ORDERS {
        assert_eq!(world.count(&format!("o{order}")).await, workers * TURNS);
    }
    let gaps = "SELECT FROM (
            SELECT number - lag(number, 1, 0::bigint) OVER history AS step,
                position - lag(position, 1, 0::bigint) OVER history AS way
            FROM entries WINDOW history AS (PARTITION BY order_row ORDER BY number)
        ) steps WHERE step <> 1 OR way <= 0";
    assert!(world.hand.query(gaps, &[]).await.unwrap().is_empty());
}
