//! `acquire`: who gets the order, and what the others are told.

use orderlock_core::LeaseViewState;

use super::world::World;

pub(crate) async fn grants_a_free_order(world: World) {
    world.order("o1").await;
    let held = world.join("a").await.hold("o1", "k1").await;
    assert_eq!(held.grant.attempt, 1);
    let lease = world.view("o1").await.lease.expect("the lease is shown");
    assert_eq!(lease.state, LeaseViewState::Held);
}
