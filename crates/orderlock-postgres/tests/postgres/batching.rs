//! Requests share round trips, and no request is at the mercy of another.

use std::time::Duration;

use orderlock_core::store::{Acquired, MarkFate, Release, Settled};
use orderlock_core::{OrderStore as _, StoreError};
use orderlock_postgres::PostgresOptions;
use orderlock_testkit::fixtures;

use crate::values::noise;
use crate::world::{Held, World, applied, granted};

const MANY: u64 = 30;

async fn hold_many(world: &World) -> Vec<Held> {
    let mut held = Vec::new();
    for number in 0..MANY {
        let order = format!("o{number:02}");
        world.order(&order).await;
        held.push(world.hold(&order, "k1").await);
    }
    held
}

#[tokio::test]
async fn what_is_asked_while_batches_are_under_way_goes_as_one() {
    let world = World::new().await;
    let held = hold_many(&world).await;
    let before = world.store.statistics().settles;
    world.seize().await;
    let mut settles = Vec::new();
    for (place, held) in held.iter().enumerate() {
        settles.push(world.settle(held.settle()));
        if place == 0 {
            // The first one leaves at once, and waits for its order. The others wait for it.
            world.blocked(1).await;
        }
    }
    world.commit().await;
    for settle in settles {
        applied(settle.await.unwrap().unwrap()).await;
    }
    let after = world.store.statistics().settles;
    assert_eq!(after.requests - before.requests, MANY);
    let batches = after.batches - before.batches;
    assert!(
        (2..=3).contains(&batches),
        "{MANY} settles in {batches} batches"
    );
}

#[tokio::test]
async fn values_that_the_database_refuses_fail_alone() {
    let world = World::new().await;
    let held = hold_many(&world).await;
    world.seize().await;
    let settles: Vec<_> = held
        .iter()
        .enumerate()
        .map(|(place, held)| {
            let mut settle = held.settle();
            if place == 17 {
                let change = fixtures::change_of(&mut settle);
                change.index.status = Some(noise());
            }
            world.settle(settle)
        })
        .collect();
    world.blocked(1).await;
    world.commit().await;
    for (place, settle) in settles.into_iter().enumerate() {
        match settle.await.unwrap().unwrap() {
            Settled::Impossible(_) => assert_eq!(place, 17),
            settled => {
                assert_ne!(place, 17, "{settled:?}");
                applied(settled).await;
            }
        }
    }
    assert_eq!(world.count("o17").await, 0);
    let next = world
        .store
        .acquire(world.request("o17", "k2"))
        .await
        .unwrap();
    assert_eq!(granted(next).attempt, 1, "the order is free");
}

#[tokio::test]
async fn verbs_on_one_order_leave_in_the_order_in_which_they_are_asked_for() {
    let world = World::new().await;
    world.order("o1").await;
    let held = world.hold("o1", "k1").await;
    world.seize().await;
    let settle = world.settle(held.settle());
    world.blocked(1).await;
    // Asked for while the settle is under way, and answered by what it leaves.
    let acquire = world.acquire(world.request("o1", "k1"));
    let next = world.acquire(world.request("o1", "k2"));
    world.commit().await;
    applied(settle.await.unwrap().unwrap()).await;
    let same = acquire.await.unwrap().unwrap();
    assert!(matches!(same, Acquired::Settled(_)), "{same:?}");
    assert_eq!(granted(next.await.unwrap().unwrap()).version.0, 2);
}

#[tokio::test]
async fn a_caller_that_goes_away_takes_nothing_back() {
    let world = World::new().await;
    world.order("o1").await;
    let held = world.hold("o1", "k1").await;
    world.seize().await;
    let settle = world.settle(held.settle());
    world.blocked(1).await;
    settle.abort();
    world.commit().await;
    let again = world.store.settle(held.settle()).await.unwrap();
    assert_eq!(applied(again).await.number, 2);
    assert_eq!(world.count("o1").await, 1);
}

/// Settles the key "damaged" of the order, with an entry that this program cannot read.
async fn damage(world: &World, order: &str) {
    let held = world.hold(order, "damaged").await;
    applied(world.store.settle(held.settle()).await.unwrap()).await;
    let damage = "UPDATE entries SET outcome = 'of another time' WHERE number = 2";
    assert_eq!(world.hand.execute(damage, &[]).await.unwrap(), 1);
}

#[tokio::test]
async fn a_row_that_cannot_be_read_fails_alone() {
    let world = World::new().await;
    world.order("o1").await;
    world.order("o2").await;
    damage(&world, "o1").await;
    let before = world.store.statistics().acquires.batches;
    let (damaged, well) = tokio::join!(
        world.store.acquire(world.request("o1", "damaged")),
        world.store.acquire(world.request("o2", "k1")),
    );
    assert!(
        matches!(damaged, Err(StoreError::Corrupt(_))),
        "{damaged:?}"
    );
    granted(well.unwrap());
    let batches = world.store.statistics().acquires.batches - before;
    assert_eq!(batches, 1, "both were asked for together");
}

#[tokio::test]
async fn nobody_suffers_for_the_next_in_line() {
    let world = World::new().await;
    world.order("o1").await;
    damage(&world, "o1").await;
    let next = || Box::new(world.request("o1", "damaged"));
    let held = world.hold("o1", "k1").await;
    let settle = fixtures::handing_over(held.settle(), *next());
    let Settled::Accepted(accepted) = world.store.settle(settle).await.unwrap() else {
        panic!("not accepted");
    };
    assert!(accepted.next.is_none(), "it asks for itself, and is told");
    let held = world.hold("o1", "k2").await;
    let release = Release {
        target: held.request.claim.target(),
        fence: held.grant.fence,
        mark: MarkFate::Keep,
        next: Some(next()),
    };
    let released = world.store.release(release).await.unwrap();
    assert!(released.held && released.next.is_none(), "{released:?}");
    assert_eq!(world.count("o1").await, 2);
}

#[tokio::test]
async fn an_order_that_somebody_keeps_locked_holds_up_no_other() {
    let options = PostgresOptions::default().with_patience(Duration::from_secs(1));
    let world = World::with(options).await;
    world.order("o1").await;
    world.order("o2").await;
    let (stuck, well) = (world.hold("o1", "k1").await, world.hold("o2", "k1").await);
    let seize = "BEGIN; SELECT FROM orders WHERE id = 'o1' FOR UPDATE";
    world.hand.batch_execute(seize).await.unwrap();
    let before = world.store.statistics().settles.batches;
    let (late, settled) = tokio::join!(
        world.store.settle(stuck.settle()),
        world.store.settle(well.settle()),
    );
    applied(settled.unwrap()).await;
    let error = late.unwrap_err();
    assert!(!error.may_have_happened(), "{error:?}");
    let batches = world.store.statistics().settles.batches - before;
    assert_eq!(batches, 1, "both were settled together");
    world.commit().await;
    applied(world.store.settle(stuck.settle()).await.unwrap()).await;
}
