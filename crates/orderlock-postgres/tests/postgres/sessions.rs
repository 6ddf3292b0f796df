//! The end of sessions in a table of many orders, and what comes too late for one.

use std::time::Duration;

use orderlock_core::store::{Join, Loss, Renew, Renewed, Sweep};
use orderlock_core::{OrderStore as _, StoreError};
use orderlock_testkit::fixtures;

use crate::world::{World, hold, join, lost, request};

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
    // Both lapse, as far as the database's clock is concerned.
    let lapse = "UPDATE sessions SET deadline = now() - interval '1 second' WHERE node <> 'a'";
    world.hand.execute(lapse, &[]).await.unwrap();

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
    crate::world::applied(world.store.settle(alive.settle()).await.unwrap()).await;
}

#[tokio::test]
async fn a_late_duplicate_of_a_join_revives_nothing() {
    let world = World::new().await;
    world.order("o1").await;
    let held = world.hold("o1", "k1").await;
    // The session has ended, and its lease has not been cleared away yet.
    let end = "WITH gone AS (DELETE FROM sessions RETURNING id, heard, known, named)
        INSERT INTO ended (session, heard, known, named) SELECT * FROM gone";
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
