//! `release`: a lease given up without an entry.

use orderlock_core::Recovery;
use orderlock_core::store::{Acquired, Known, Loss, MarkFate, Release, Released};

use super::world::{Ended, World, applied, granted};
use crate::fixtures::{self, ids};

const HELD: Released = Released {
    held: true,
    next: None,
};
const NOT_HELD: Released = Released {
    held: false,
    next: None,
};

pub(crate) async fn frees_the_order_without_a_trace(world: World) {
    world.order("o1").await;
    let before = world.view("o1").await;
    let node = world.join("a").await;
    let held = node.hold("o1", "k1").await;
    assert_eq!(world.release(held.release(MarkFate::Keep)).await, HELD);
    assert_eq!(world.view("o1").await, before);
    assert_eq!(world.history("o1").await.len(), 1);
    assert_eq!(world.known(&held.request.claim).await, Known::Unknown);
    assert_eq!(
        world.settle(held.settle()).await,
        Ended::Lost(Loss::NotHeld)
    );
    node.hold("o1", "k2").await;
}

pub(crate) async fn repeats_without_harm(world: World) {
    world.order("o1").await;
    let node = world.join("a").await;
    let old = node.hold("o1", "k1").await;
    assert_eq!(world.release(old.release(MarkFate::Keep)).await, HELD);
    let new = node.hold("o1", "k1").await;
    for fate in [MarkFate::Keep, MarkFate::Clear] {
        assert_eq!(world.release(old.release(fate)).await, NOT_HELD);
    }
    let nowhere = Release {
        target: ids::target("o9"),
        ..old.release(MarkFate::Keep)
    };
    assert_eq!(world.release(nowhere).await, NOT_HELD);
    applied(world.settle(new.settle()).await);
}

pub(crate) async fn hands_over_only_what_it_held(world: World) {
    world.order("o1").await;
    let node = world.join("a").await;
    let old = node.hold("o1", "k1").await;
    let next = node.request(fixtures::claim("o1", "k2"));
    let release = Release {
        next: Some(Box::new(next.clone())),
        ..old.release(MarkFate::Keep)
    };
    let released = world.release(release.clone()).await;
    assert!(released.held);
    let grant = granted(released.next.expect("the next was asked"));
    assert_eq!(grant.fence, next.fence);
    assert_eq!(world.release(release).await, NOT_HELD);
    let again = granted(world.acquire(next).await);
    assert_eq!(
        again, grant,
        "a repeated release takes nothing from the next"
    );
}

pub(crate) async fn passes_over_a_next_that_needs_no_grant(world: World) {
    world.order("o1").await;
    let node = world.join("a").await;
    let first = node.hold("o1", "k1").await;
    applied(world.settle(first.settle()).await);
    let second = node.hold("o1", "k2").await;
    let release = Release {
        next: Some(Box::new(node.request(fixtures::claim("o1", "k1")))),
        ..second.release(MarkFate::Keep)
    };
    let next = world.release(release).await.next;
    assert!(matches!(next, Some(Acquired::Settled(_))), "{next:?}");
    assert_eq!(world.view("o1").await.lease, None);
}

pub(crate) async fn keeps_the_mark_or_clears_it(world: World) {
    world.order("o1").await;
    let node = world.join("a").await;
    let held = node.mark("o1", "k1", Recovery::Reconcile).await;
    assert_eq!(world.release(held.release(MarkFate::Clear)).await, HELD);
    assert_eq!(world.view("o1").await.lease, None);
    let held = node.mark("o1", "k1", Recovery::Reconcile).await;
    assert_eq!(world.release(held.release(MarkFate::Keep)).await, HELD);
    // A word that comes late changes nothing any more.
    assert_eq!(world.release(held.release(MarkFate::Clear)).await, NOT_HELD);
    let known = world.known(&held.request.claim).await;
    assert!(matches!(known, Known::Marked(_)), "{known:?}");
    // What waits in line behind it does not get the order.
    let next = world
        .acquire(node.request(fixtures::claim("o1", "k2")))
        .await;
    assert!(matches!(next, Acquired::Marked(_)), "{next:?}");
}

pub(crate) async fn a_mark_that_stays_passes_the_next_over(world: World) {
    world.order("o1").await;
    let node = world.join("a").await;
    let held = node.mark("o1", "k1", Recovery::Reconcile).await;
    let next = node.request(fixtures::claim("o1", "k2"));
    let release = Release {
        next: Some(Box::new(next)),
        ..held.release(MarkFate::Keep)
    };
    let told = world.release(release).await.next;
    assert!(matches!(told, Some(Acquired::Marked(_))), "{told:?}");
    assert_eq!(world.leases(&super::world::single()).await.len(), 1);
}
