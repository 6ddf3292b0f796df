//! What a verb decides on that has waited for a lock: never on what it saw before it waited.

use std::time::Duration;

use orderlock_core::store::{Acquired, Leave, Loss, MarkFate, Release};
use orderlock_core::{Fence, OrderStore as _, Recovery, Version};
use orderlock_testkit::fixtures::{self, ids};
use tokio_postgres::types::ToSql;

use crate::world::{World, applied, granted, hold, join, lost};

/// Every test with both forms of the statements: that for one request, and that for many, which a store
/// behind a pooler uses for one as well.
macro_rules! in_both_forms {
    ($($test:ident,)*) => {
        mod for_one {
            $(#[tokio::test]
            async fn $test() {
                super::$test(crate::world::World::waiting(Default::default()).await).await;
            })*
        }

        mod for_many {
            $(#[tokio::test]
            async fn $test() {
                let options = orderlock_postgres::PostgresOptions::default().with_pooler();
                super::$test(crate::world::World::waiting(options).await).await;
            })*
        }
    };
}

in_both_forms! {
    an_acquire_behind_another_keys_settle_gets_the_new_order,
    an_acquire_behind_its_own_keys_settle_is_told_of_it,
    an_acquire_compares_the_version_after_its_wait,
    an_acquire_behind_a_settle_that_is_taken_back_gets_the_old_order,
    an_acquire_behind_anothers_grant_is_told_who_holds,
    an_acquire_behind_a_mark_that_came_and_stayed_is_told_of_it,
    an_acquire_behind_another_run_of_its_mark_is_the_run_after_it,
    a_settle_that_waits_while_its_session_ends_is_lost,
    a_settle_that_waits_while_its_grant_is_voided_is_lost,
    a_session_ends_after_the_settle_that_it_finds_under_way,
}

/// What a settle of another node does, in the hand's transaction: it holds the order, changes it to
/// count 7, and lets it go.
async fn settles_elsewhere(world: &World, order: &str, key: &str) {
    let claim = fixtures::claim(order, key);
    let hash = i64::from_be_bytes(claim.key_id.0[..8].try_into().unwrap());
    let (key_id, fingerprint) = (&claim.key_id.0[..], &claim.fingerprint.0[..]);
    let document = fixtures::document(7);
    world.hand.batch_execute("BEGIN").await.unwrap();
    world
        .hand
        .execute(
            "UPDATE orders SET writes = writes + 1, version = 2, entries = 2,
                position = position + 1, document = $2
            WHERE id = $1",
            &[&order, &&document.as_bytes()[..]],
        )
        .await
        .unwrap();
    world
        .hand
        .execute(
            "INSERT INTO entries (order_row, number, position, version, at, attempt, step,
                key_hash, key_id, fingerprint, tenant, operation, outcome, actor, change)
            SELECT row, 2, position + 1, 2, now(), 1, 0,
                $2, $3, $4, tenant, 'change', 'applied', '-', $5
            FROM orders WHERE id = $1",
            &[
                &order,
                &hash,
                &key_id,
                &fingerprint,
                &&document.as_bytes()[..],
            ],
        )
        .await
        .unwrap();
    world
        .hand
        .execute(
            "INSERT INTO keys (key_hash, order_row, number, expires, forgotten, answer_status,
                content_type, body)
            SELECT $2, row, 2, now() + interval '1 day', now() + interval '2 days', 200,
                'text/plain', 'done'
            FROM orders WHERE id = $1",
            &[&order, &hash],
        )
        .await
        .unwrap();
}

async fn an_acquire_behind_another_keys_settle_gets_the_new_order(world: World) {
    world.order("o1").await;
    settles_elsewhere(&world, "o1", "k1").await;
    let acquire = world.acquire(world.request("o1", "k2"));
    world.blocked(1).await;
    world.commit().await;
    let grant = granted(acquire.await.unwrap().unwrap());
    assert_eq!(fixtures::count(&grant.document), 7, "the old order");
    assert_eq!(grant.version, Version(2));
}

async fn an_acquire_behind_its_own_keys_settle_is_told_of_it(world: World) {
    world.order("o1").await;
    settles_elsewhere(&world, "o1", "k1").await;
    let acquire = world.acquire(world.request("o1", "k1"));
    world.blocked(1).await;
    world.commit().await;
    match acquire.await.unwrap().unwrap() {
        Acquired::Settled(entry) => assert_eq!(&entry.answer.unwrap().body[..], b"done"),
        other => panic!("not settled but {other:?}"),
    }
}

async fn an_acquire_compares_the_version_after_its_wait(world: World) {
    for (order, expected) in [("o1", 1), ("o2", 2)] {
        world.order(order).await;
        let mut request = world.request(order, "k2");
        request.expected = Some(Version(expected));
        settles_elsewhere(&world, order, "k1").await;
        let acquire = world.acquire(request);
        // The one that expects the old version seems to fit, and waits; the other sees that it does
        // not fit, and is refused at once.
        if expected == 1 {
            world.blocked(1).await;
            world.commit().await;
        }
        let current = Version(3 - expected);
        let told = acquire.await.unwrap().unwrap();
        assert_eq!(told, Acquired::VersionMismatch { current });
        world.commit().await;
    }
}

async fn an_acquire_behind_a_settle_that_is_taken_back_gets_the_old_order(world: World) {
    world.order("o1").await;
    settles_elsewhere(&world, "o1", "k1").await;
    let acquire = world.acquire(world.request("o1", "k1"));
    world.blocked(1).await;
    world.hand.batch_execute("ROLLBACK").await.unwrap();
    let grant = granted(acquire.await.unwrap().unwrap());
    assert_eq!((grant.version, grant.attempt), (Version(1), 1));
}

async fn an_acquire_behind_anothers_grant_is_told_who_holds(world: World) {
    world.order("o1").await;
    let other = join(&world.store, "b").await;
    let fence = 0xb0_u128.to_be_bytes();
    world.hand.batch_execute("BEGIN").await.unwrap();
    let claim = fixtures::claim("o1", "k1");
    let grant = format!(
        "UPDATE orders SET writes = writes + 1, fence = '{}', session = '{}', since = now(),
            attempt = 1, steps = 0, granted = 0, principal = '-', operation = 'change', key_id = $1, fingerprint = $2",
        uuid(fence),
        uuid(other.0.to_be_bytes())
    );
    let key: [&(dyn ToSql + Sync); 2] = [&&claim.key_id.0[..], &&claim.fingerprint.0[..]];
    world.hand.execute(&grant, &key).await.unwrap();
    let acquires = ["k1", "k2"].map(|key| {
        let store = world.store.clone();
        let request = world.request("o1", key);
        async move { store.acquire(request).await.unwrap() }
    });
    let [same, another] = acquires.map(tokio::spawn);
    world.blocked(1).await;
    world.commit().await;
    let same = same.await.unwrap();
    assert!(matches!(same, Acquired::InProgress(_)), "{same:?}");
    let another = another.await.unwrap();
    assert!(matches!(another, Acquired::Held(_)), "{another:?}");
}

/// An external operation that began on another node and failed, in the hand's transaction: the order
/// is let go again, and the mark stays. Neither the fence nor the position of the last entry moved.
async fn leaves_a_mark_elsewhere(world: &World, order: &str, key: &str, attempt: i64) {
    let claim = fixtures::claim(order, key);
    world.hand.batch_execute("BEGIN").await.unwrap();
    let mark = "UPDATE orders SET writes = writes + 2, mark_attempt = $4,
            mark_since = coalesce(mark_since, now()), mark_principal = '-',
            mark_operation = 'change', mark_key_id = $2, mark_fingerprint = $3
        WHERE id = $1";
    let parts: [&(dyn ToSql + Sync); 4] = [
        &order,
        &&claim.key_id.0[..],
        &&claim.fingerprint.0[..],
        &attempt,
    ];
    world.hand.execute(mark, &parts).await.unwrap();
}

async fn an_acquire_behind_a_mark_that_came_and_stayed_is_told_of_it(world: World) {
    world.order("o1").await;
    leaves_a_mark_elsewhere(&world, "o1", "k1", 1).await;
    let acquire = world.acquire(world.request("o1", "k2"));
    world.blocked(1).await;
    world.commit().await;
    let told = acquire.await.unwrap().unwrap();
    assert!(matches!(told, Acquired::Marked(_)), "{told:?}");
    let known = "SELECT mark_attempt FROM orders WHERE id = 'o1'";
    let row = world.hand.query_one(known, &[]).await.unwrap();
    assert_eq!(row.get::<_, Option<i64>>(0), Some(1), "the mark stands");
}

async fn an_acquire_behind_another_run_of_its_mark_is_the_run_after_it(world: World) {
    world.order("o1").await;
    let mut request = world.request("o1", "k1");
    request.mark = Some(Recovery::Resume {
        times: 3,
        within: Duration::from_secs(3600),
    });
    let held = hold(&world.store, request.clone()).await;
    let keep = Release {
        target: ids::target("o1"),
        fence: held.grant.fence,
        mark: MarkFate::Keep,
        next: None,
    };
    assert!(world.store.release(keep).await.unwrap().held);
    leaves_a_mark_elsewhere(&world, "o1", "k1", 2).await;
    request.fence = Fence(2);
    let acquire = world.acquire(request);
    world.blocked(1).await;
    world.commit().await;
    assert_eq!(granted(acquire.await.unwrap().unwrap()).attempt, 3);
}

/// The session stands in another table than the order. A settle that looked at both in one
/// statement, and then waited for the order, would pass by what it saw of the session.
async fn a_settle_that_waits_while_its_session_ends_is_lost(world: World) {
    world.order("o1").await;
    let held = world.hold("o1", "k1").await;
    let end = "BEGIN; DELETE FROM sessions";
    world.hand.batch_execute(end).await.unwrap();
    let settle = world.settle(held.settle());
    world.blocked(1).await;
    world.commit().await;
    assert_eq!(lost(&settle.await.unwrap().unwrap()), Loss::NotHeld);
    assert_eq!(world.count("o1").await, 0);
}

/// The same with the order: its fence is in the row, and looked at again after the wait.
async fn a_settle_that_waits_while_its_grant_is_voided_is_lost(world: World) {
    world.order("o1").await;
    let held = world.hold("o1", "k1").await;
    let void = "BEGIN; UPDATE orders SET writes = writes + 1, fence = NULL, session = NULL";
    world.hand.batch_execute(void).await.unwrap();
    let settle = world.settle(held.settle());
    world.blocked(1).await;
    world.commit().await;
    assert_eq!(lost(&settle.await.unwrap().unwrap()), Loss::NotHeld);
    assert_eq!(world.count("o1").await, 0);
}

async fn a_session_ends_after_the_settle_that_it_finds_under_way(world: World) {
    world.order("o1").await;
    let held = world.hold("o1", "k1").await;
    // The settle has its order and its session, and waits at what it remembers of its key.
    let claim = &held.request.claim;
    let hash = i64::from_be_bytes(claim.key_id.0[..8].try_into().unwrap());
    world.hand.batch_execute("BEGIN").await.unwrap();
    let obstacle = "INSERT INTO keys (key_hash, order_row, number, expires)
        SELECT $1, row, 2, now() FROM orders";
    world.hand.execute(obstacle, &[&hash]).await.unwrap();
    let settle = world.settle(held.settle());
    world.blocked(1).await;
    let (store, session) = (world.store.clone(), world.session);
    let leave = tokio::spawn(async move { store.leave(Leave { session }).await.unwrap() });
    let waits = "SELECT FROM pg_locks waits JOIN pg_locks has USING (pid)
        WHERE NOT waits.granted AND has.relation = 'sessions'::regclass
            AND has.mode = 'RowExclusiveLock'";
    while world.hand.query(waits, &[]).await.unwrap().is_empty() {
        tokio::task::yield_now().await;
    }
    world.hand.batch_execute("ROLLBACK").await.unwrap();
    applied(settle.await.unwrap().unwrap()).await;
    assert_eq!(
        leave.await.unwrap().voided,
        0,
        "its lease had ended by the settle"
    );
    assert_eq!(world.count("o1").await, 1);
}

fn uuid(bytes: [u8; 16]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
