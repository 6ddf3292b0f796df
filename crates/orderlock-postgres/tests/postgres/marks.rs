//! The marks of external operations, beside the grants of other nodes.

use orderlock_core::store::{Acquired, MarkFate, Read, Release};
use orderlock_core::{LeaseViewState, OrderStore as _, Recovery};
use orderlock_postgres::PostgresOptions;
use orderlock_testkit::fixtures::ids;

use crate::place::connect;
use crate::world::{World, granted, hold, join, request};

/// A batch of grants waits at its first order, and has seen the second one as it was before. Meanwhile
/// an external operation begins on the second one, at another node, and fails.
#[tokio::test]
async fn a_grant_that_waited_leaves_the_mark_that_came_meanwhile() {
    let world = World::waiting(PostgresOptions::default()).await;
    for order in ["before", "first", "second"] {
        world.order(order).await;
    }
    let other_hand = connect(&world.place.address()).await;
    let keep = |order| format!("BEGIN; SELECT FROM orders WHERE id = '{order}' FOR UPDATE");
    world.hand.batch_execute(&keep("before")).await.unwrap();
    other_hand.batch_execute(&keep("first")).await.unwrap();
    // While the first batch waits, the next two requests collect.
    let before = world.acquire(world.request("before", "k1"));
    world.blocked(1).await;
    let first = world.acquire(world.request("first", "k1"));
    let second = world.acquire(world.request("second", "k1"));
    tokio::task::yield_now().await;
    world.commit().await;
    granted(before.await.unwrap().unwrap());
    world.blocked(1).await;

    let node = world.place.open(PostgresOptions::default()).await;
    let mut external = request(join(&node, "b").await, "second", "external");
    external.mark = Some(Recovery::Reconcile);
    let held = hold(&node, external).await;
    let failed = Release {
        target: ids::target("second"),
        fence: held.grant.fence,
        mark: MarkFate::Keep,
        next: None,
    };
    assert!(node.release(failed).await.unwrap().held);

    other_hand.batch_execute("COMMIT").await.unwrap();
    granted(first.await.unwrap().unwrap());
    let told = second.await.unwrap().unwrap();
    assert!(matches!(told, Acquired::Marked(_)), "{told:?}");
    let target = ids::target("second");
    let view = node.read(Read { target }).await.unwrap().unwrap();
    let lease = view.lease.expect("its mark is open");
    assert_eq!(lease.state, LeaseViewState::Marked);
    assert_eq!(lease.key_id, Some(held.request.claim.key_id));
}
