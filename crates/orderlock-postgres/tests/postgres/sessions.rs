//! The end of sessions in a table of many orders, and what comes too late for one.

use std::sync::Arc;
use std::time::Duration;

use orderlock_core::store::{Join, Loss, Renew, Renewed, Sweep};
use orderlock_core::{Fence, OrderStore as _, StoreError, Timestamp};
use orderlock_postgres::PostgresOptions;
use orderlock_testkit::{TestRuntime, fixtures};

use crate::world::{Held, World, applied, hold, join, lost, renew, request};

/// More orders than one look takes in.
const FILLER: &str = "
    INSERT INTO orders (writes, version, entries, position, created, updated, tenant, id, document)
    SELECT 0, 1, 0, 0, now(), now(), '-', 'filler-' || number, '{}'
    FROM generate_series(1, 40000) number";

#[tokio::test]
async fn leases_of_an_ended_session_are_cleared_away_piece_by_piece() {
    let world = World::new().await;
    world.order("first").await;
    world.hand.batch_execute(FILLER).await.unwrap();
    for order in ["second", "third", "other"] {
        world.order(order).await;
    }
    let (one, two) = (
        join(&world.store, "one").await,
        join(&world.store, "two").await,
    );
    let held = hold(&world.store, request(one, "first", "k1")).await;
    hold(&world.store, request(one, "second", "k1")).await;
    hold(&world.store, request(two, "third", "k1")).await;
    let alive = world.hold("other", "k1").await;
    let end = "WITH gone AS (DELETE FROM sessions WHERE node <> 'a' RETURNING id, heard)
        INSERT INTO ended (session, heard) SELECT * FROM gone";
    world.hand.execute(end, &[]).await.unwrap();

    let mut voided = Vec::new();
    loop {
        let swept = world.store.sweep(Sweep { limit: 1 }).await.unwrap();
        voided.push(swept.voided);
        if !swept.more {
            break;
        }
        assert!(voided.len() < 100, "a sweep never comes to its end");
    }
    assert_eq!(voided.iter().sum::<usize>(), 3, "{voided:?}");
    assert!(voided.iter().all(|voided| *voided <= 1), "{voided:?}");
    let left = "SELECT count(*) FROM orders WHERE fence IS NOT NULL OR session IS NOT NULL";
    let row = world.hand.query_one(left, &[]).await.unwrap();
    assert_eq!(row.get::<_, i64>(0), 1, "the living keeps its lease");
    let ended = world.hand.query("SELECT FROM ended", &[]).await.unwrap();
    assert!(ended.is_empty());
    let settled = world.store.settle(held.settle()).await.unwrap();
    assert_eq!(lost(&settled), Loss::NotHeld);
    applied(world.store.settle(alive.settle()).await.unwrap()).await;
}

#[tokio::test]
async fn a_late_duplicate_of_a_join_revives_nothing() {
    let world = World::new().await;
    world.order("o1").await;
    let held = world.hold("o1", "k1").await;
    // The session has ended, and its lease has not been cleared away yet.
    let end = "WITH gone AS (DELETE FROM sessions RETURNING id, heard)
        INSERT INTO ended (session, heard) SELECT * FROM gone";
    world.hand.execute(end, &[]).await.unwrap();
    let next = join(&world.store, "a").await;
    let late = Join {
        node: "a".into(),
        session: world.session,
        length: Duration::from_secs(60),
        secret: fixtures::secret(),
    };
    let error = world.store.join(late).await.unwrap_err();
    assert!(matches!(error, StoreError::NotApplied(_)), "{error:?}");
    let renew = |session| Renew {
        session,
        known: vec![held.grant.fence],
    };
    let ended = world.store.renew(renew(world.session)).await.unwrap();
    assert_eq!(ended, Renewed::Ended);
    let goes_on = world.store.renew(renew(next)).await.unwrap();
    assert_eq!(
        goes_on,
        Renewed::Extended { voided: Vec::new() },
        "it ended nothing that came after it"
    );
    let settled = world.store.settle(held.settle()).await.unwrap();
    assert_eq!(lost(&settled), Loss::NotHeld);
}

/// So many grants are renewed at once, and what differs is all that is written and looked up.
#[tokio::test]
async fn a_renewal_costs_what_has_changed_and_not_what_is_held() {
    const HELD: u128 = 65_536;
    let world = World::new().await;
    world.order("o1").await;
    let held = world.hold("o1", "k1").await;
    let mut known: Vec<_> = (0..HELD).map(Fence).collect();
    known.push(held.grant.fence);
    for round in 0..4 {
        known[0] = Fence(HELD + round);
        let session = world.session;
        let known = known.clone();
        let renewed = world.store.renew(Renew { session, known }).await.unwrap();
        let voided = Vec::new();
        assert_eq!(renewed, Renewed::Extended { voided });
    }
    // Held since before the last renewals, and named by each.
    applied(world.store.settle(held.settle()).await.unwrap()).await;
    let rows = "SELECT count(*), max(since) FROM known";
    let row = world.hand.query_one(rows, &[]).await.unwrap();
    assert_eq!(row.get::<_, i64>(0), i64::try_from(HELD).unwrap() + 1);
    let World { store, hand, .. } = world;
    // A session of the server tells what it has done when it ends, at the latest.
    drop(store);
    let look = "SELECT n_tup_ins, n_tup_del, idx_tup_fetch FROM pg_stat_all_tables
        WHERE relid = 'known'::regclass";
    let (inserted, removed, fetched) = loop {
        let row = hand.query_one(look, &[]).await.unwrap();
        let told = (
            row.get::<_, i64>(0),
            row.get::<_, i64>(1),
            row.get::<_, i64>(2),
        );
        if told.1 >= 3 {
            break told;
        }
        tokio::task::yield_now().await;
    };
    assert_eq!((inserted, removed), (i64::try_from(HELD).unwrap() + 4, 3));
    assert!(fetched < 100, "{fetched} rows were looked at");
}

#[tokio::test]
async fn a_renewal_whose_answer_was_lost_is_caught_up_with() {
    let world = World::new().await;
    world.order("o1").await;
    world.order("o2").await;
    let (one, two) = (world.hold("o1", "k1").await, world.hold("o2", "k1").await);
    let session = world.session;
    let renew = async |held: &[&Held]| {
        let known = held.iter().map(|held| held.grant.fence).collect();
        world.store.renew(Renew { session, known }).await.unwrap()
    };
    renew(&[&one, &two]).await;
    // As another one that was sent before it, and of which nothing was heard.
    let other = "UPDATE sessions SET heard = renewals, renewals = renewals + 1";
    world.hand.execute(other, &[]).await.unwrap();
    for _ in 0..2 {
        let voided = Vec::new();
        assert_eq!(renew(&[&one]).await, Renewed::Extended { voided });
    }
    applied(world.store.settle(one.settle()).await.unwrap()).await;
    let settled = world.store.settle(two.settle()).await.unwrap();
    assert_eq!(lost(&settled), Loss::NotHeld);
}

/// As after a fail-over to a server whose clock is behind: nothing of a session rests on that clock.
#[tokio::test]
async fn a_dead_nodes_orders_are_free_although_the_clock_was_set_back() {
    let runtime = TestRuntime::new();
    let options = PostgresOptions::default().with_runtime(Arc::new(runtime.clone()));
    let world = World::with(options).await;
    world.order("o1").await;
    world.hold("o1", "k1").await;
    let other = join(&world.store, "b").await;
    let an_hour_later = Timestamp::from_second(1_800_003_600).unwrap();
    runtime.set_clock(TestRuntime::START.duration_since(an_hour_later));
    runtime.advance(Duration::from_secs(59));
    renew(&world.store, other).await;
    let swept = world.store.sweep(Sweep { limit: 10 }).await.unwrap();
    assert_eq!(swept.voided, 0, "it may still be alive");
    runtime.advance(Duration::from_secs(1));
    let swept = world.store.sweep(Sweep { limit: 10 }).await.unwrap();
    assert_eq!(swept.voided, 1);
    hold(&world.store, request(other, "o1", "k2")).await;
}
