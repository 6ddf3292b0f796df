//! What an operation costs, and what it leaves behind in the tables.

use orderlock_core::OrderStore as _;
use orderlock_core::store::{Acquired, Fate, Settled};
use orderlock_postgres::PostgresOptions;
use orderlock_testkit::fixtures;

use crate::place::Place;
use crate::proxy::Proxy;
use crate::world::{World, applied, granted};

#[tokio::test]
async fn an_acquire_and_a_settle_are_a_round_trip_each() {
    let place = Place::new().await;
    let proxy = Proxy::new().await;
    let address = proxy.on_the_way_to(&place.address());
    // One connection, which has its statements prepared after the first round.
    let options = PostgresOptions::default().with_connections(1);
    let world = World::at(place, &address, options).await;
    world.order("o1").await;
    for round in 0..3 {
        let before = proxy.turns();
        let held = world.hold("o1", &format!("k{round}")).await;
        let acquired = proxy.turns();
        let next = world.request("o1", &format!("n{round}"));
        let settle = fixtures::handing_over(held.settle(), next.clone());
        let Settled::Accepted(accepted) = world.store.settle(settle).await.unwrap() else {
            panic!("not accepted");
        };
        let grant = granted(accepted.next.unwrap());
        assert_eq!(accepted.durable.await.unwrap(), Fate::Durable);
        let handed = proxy.turns();
        let held = crate::world::Held {
            request: next,
            grant,
        };
        applied(world.store.settle(held.settle()).await.unwrap()).await;
        let settled = proxy.turns();
        let replay = world
            .store
            .acquire(world.request("o1", &format!("k{round}")));
        assert!(matches!(replay.await.unwrap(), Acquired::Settled(_)));
        if round > 0 {
            let trips = [
                acquired - before,
                handed - acquired,
                settled - handed,
                proxy.turns() - settled,
            ];
            // A hand-over is a look at the next one, and the write that nobody waits for. A request
            // that is granted nothing is told why by a second statement.
            // An answer that was found goes out once it is confirmed as a commit is.
            assert_eq!(trips, [1, 2, 1, 3], "acquire, hand-over, settle, replay");
        }
    }
}

/// The first node prepares its statements while the tables are empty, and the server plans them for
/// such tables until it has analyzed them. An order has to be found by its id all the same, and not by
/// a walk through all orders of its tenant.
#[tokio::test]
async fn an_order_is_found_by_its_id_before_anything_was_analyzed() {
    const ORDERS: i64 = 40;
    let world = World::new().await;
    for number in 0..ORDERS {
        let order = format!("o{number}");
        world.order(&order).await;
        let held = world.hold(&order, "k").await;
        applied(world.store.settle(held.settle()).await.unwrap()).await;
        world.count(&order).await;
    }
    // What a session has counted is told when it ends.
    let World {
        place, store, hand, ..
    } = world;
    drop(store);
    // A look whether a new order's key is there already is a scan that reads no entry.
    let scans = async |index: &str| -> (i64, i64) {
        let counted = "SELECT idx_scan, idx_tup_read FROM pg_stat_user_indexes
            WHERE schemaname = $1 AND indexrelname = $2";
        let row = hand.query_one(counted, &[&place.schema(), &index]).await;
        let row = row.unwrap();
        (row.get(0), row.get(1))
    };
    let others = ["orders_by_row", "orders_by_derived", "orders_by_mark"];
    loop {
        let mut all = scans("orders_pkey").await.0;
        for index in others {
            all += scans(index).await.0;
        }
        if all >= 3 * ORDERS {
            break;
        }
        tokio::task::yield_now().await;
    }
    for index in others {
        let read = scans(index).await.1;
        assert_eq!(read, 0, "{index}: walks through all orders of the tenant");
    }
}

#[tokio::test]
async fn updates_stay_on_their_page() {
    let world = World::new().await;
    world.order("o1").await;
    for round in 0..50 {
        let held = world.hold("o1", &format!("k{round}")).await;
        applied(world.store.settle(held.settle()).await.unwrap()).await;
    }
    let World { store, hand, .. } = world;
    // A session of the server tells what it has done when it ends, at the latest.
    drop(store);
    let look = "SELECT n_tup_upd, n_tup_hot_upd FROM pg_stat_all_tables
        WHERE relid = 'orders'::regclass";
    let (all, hot) = loop {
        let row = hand.query_one(look, &[]).await.unwrap();
        let (all, hot) = (row.get::<_, i64>(0), row.get::<_, i64>(1));
        if all >= 100 {
            break (all, hot);
        }
        tokio::task::yield_now().await;
    };
    println!("{hot} of {all} updates touched no index");
    assert!(hot > 0);
}
