//! `join`, `renew`, `leave`, `sweep`: a node's sign of life, and what ends with it.

use std::time::Duration;

use orderlock_core::store::{Acquired, Broken, Join, Leave, Left, Loss, Renew, Renewed, Sweep};
use orderlock_core::{Recovery, Secret, SessionId};

use super::node::{Held, Node};
use super::world::{Ended, SESSION, World, applied, extended, single};
use crate::fixtures;

/// Longer than a session and the coarsest clock of a store.
const LAPSE: Duration = SESSION.saturating_add(Duration::from_millis(10));
const MOMENT: Duration = Duration::from_millis(10);

async fn renew(node: &Node, known: &[&Held]) -> Renewed {
    let known = known.iter().map(|held| held.grant.fence).collect();
    let request = Renew {
        session: node.session,
        known,
    };
    node.store().renew(request).await.unwrap()
}

async fn leave(node: &Node) -> Left {
    let session = node.session;
    node.store().leave(Leave { session }).await.unwrap()
}

pub(crate) async fn the_first_secret_stays(mut world: World) {
    let join = |node: &str, session, secret| Join {
        node: node.into(),
        session: SessionId(session),
        length: SESSION,
        secret: Secret::new([secret; 32]),
    };
    for (node, session, offered) in [("a", 1, 1), ("b", 2, 2), ("a", 3, 3)] {
        let joined = world.store().join(join(node, session, offered)).await;
        assert_eq!(joined.unwrap().secret, Secret::new([1; 32]), "{node}");
    }
    world.restart().await;
    let joined = world.store().join(join("c", 4, 4)).await.unwrap();
    assert_eq!(joined.secret, Secret::new([1; 32]), "after a restart");
}

pub(crate) async fn a_restarted_node_frees_its_own_leases(world: World) {
    world.order("o1").await;
    world.order("o2").await;
    let old = world.join("a").await.hold("o1", "k1").await;
    let neighbour = world.join("b").await.hold("o2", "k1").await;
    let node = world.join("a").await;
    assert_eq!(world.settle(old.settle()).await, Ended::Lost(Loss::NotHeld));
    node.hold("o1", "k2").await;
    applied(world.settle(neighbour.settle()).await);
}

pub(crate) async fn a_repeated_join_voids_nothing(world: World) {
    world.order("o1").await;
    let node = world.join("a").await;
    let held = node.hold("o1", "k1").await;
    let again = Join {
        node: "a".into(),
        session: node.session,
        length: SESSION,
        secret: fixtures::secret(),
    };
    world.store().join(again).await.unwrap();
    applied(world.settle(held.settle()).await);
}

pub(crate) async fn renewing_keeps_a_session_alive(world: World) {
    world.order("o1").await;
    let node = world.join("a").await;
    let held = node.hold("o1", "k1").await;
    for _ in 0..5 {
        world.pass(SESSION / 2);
        assert_eq!(renew(&node, &[&held]).await, extended());
        assert_eq!(world.sweep().await, 0);
    }
    applied(world.settle(held.settle()).await);
}

pub(crate) async fn renewing_voids_what_the_node_does_not_know(world: World) {
    for order in ["o1", "o2", "o3"] {
        world.order(order).await;
    }
    let node = world.join("a").await;
    world.pass(MOMENT);
    let (known, lost) = (node.hold("o1", "k1").await, node.hold("o2", "k1").await);
    world.pass(MOMENT);
    // Both are younger than the join: their acquires may still be on their way back.
    assert_eq!(renew(&node, &[&known]).await, extended());
    assert!(world.view("o2").await.lease.is_some(), "voided too early");
    world.pass(MOMENT);
    let young = node.hold("o3", "k1").await;
    world.pass(MOMENT);
    assert_eq!(renew(&node, &[&known]).await, extended());
    assert_eq!(
        world.settle(lost.settle()).await,
        Ended::Lost(Loss::NotHeld)
    );
    applied(world.settle(known.settle()).await);
    applied(world.settle(young.settle()).await);
}

pub(crate) async fn a_renewal_names_what_was_broken(world: World) {
    for order in ["o1", "o2"] {
        world.order(order).await;
    }
    let node = world.join("a").await;
    let other = world.join("b").await;
    let (held, broken) = (node.hold("o1", "k1").await, node.hold("o2", "k1").await);
    let known = [&held, &broken];
    assert_eq!(renew(&node, &known).await, extended());
    let done = world.break_lease(broken.break_it()).await;
    assert!(matches!(done, Broken::Broken(_)), "{done:?}");
    // The order is another's by then; what the node held is broken all the same.
    let next = other.hold("o2", "k2").await;
    assert_eq!(renew(&other, &[&next]).await, extended());
    let voided = vec![broken.grant.fence];
    let voided = Renewed::Extended { voided };
    assert_eq!(renew(&node, &known).await, voided);
    // The answer may have been lost, so a repeat gets it as long as it is known.
    assert_eq!(renew(&node, &known).await, voided);
    // The node has let it go, and does not name it any more.
    for _ in 0..2 {
        assert_eq!(renew(&node, &[&held]).await, extended());
    }
    applied(world.settle(held.settle()).await);
    applied(world.settle(next.settle()).await);
}

pub(crate) async fn what_is_broken_on_its_way_is_named_when_it_is_known(world: World) {
    world.order("o1").await;
    let node = world.join("a").await;
    let broken = node.hold("o1", "k1").await;
    let done = world.break_lease(broken.break_it()).await;
    assert!(matches!(done, Broken::Broken(_)), "{done:?}");
    // This renewal left before the grant had arrived.
    assert_eq!(renew(&node, &[]).await, extended());
    let voided = vec![broken.grant.fence];
    assert_eq!(renew(&node, &[&broken]).await, Renewed::Extended { voided });
}

pub(crate) async fn an_unknown_lease_keeps_its_mark(world: World) {
    world.order("o1").await;
    let node = world.join("a").await;
    world.pass(MOMENT);
    node.mark("o1", "k1", Recovery::Reconcile).await;
    for _ in 0..2 {
        world.pass(MOMENT);
        renew(&node, &[]).await;
    }
    let other = node.request(fixtures::claim("o1", "k2"));
    let answer = world.acquire(other).await;
    assert!(matches!(answer, Acquired::Marked(_)), "{answer:?}");
}

pub(crate) async fn a_session_is_not_ended_by_the_clock_alone(world: World) {
    world.order("o1").await;
    let node = world.join("a").await;
    let held = node.hold("o1", "k1").await;
    world.pass(LAPSE);
    let other = world.join("b").await;
    let request = other.request(fixtures::claim("o1", "k2"));
    let answer = world.acquire(request).await;
    assert!(matches!(answer, Acquired::Held(_)), "{answer:?}");
    // It was slow, and renewed before a sweep had ended it.
    assert_eq!(renew(&node, &[&held]).await, extended());
    assert_eq!(world.sweep().await, 0);
    applied(world.settle(held.settle()).await);
}

pub(crate) async fn a_clock_that_is_set_ends_no_session(world: World) {
    world.order("o1").await;
    let node = world.join("a").await;
    let held = node.hold("o1", "k1").await;
    let day = jiff::SignedDuration::from_hours(24);
    for ahead in [day, -day, -day] {
        world.set_clock(ahead);
        assert_eq!(world.sweep().await, 0, "no time has passed");
        assert_eq!(renew(&node, &[&held]).await, extended());
    }
    applied(world.settle(held.settle()).await);
}

pub(crate) async fn a_settle_before_the_sweep_is_good(world: World) {
    world.order("o1").await;
    let held = world.join("a").await.hold("o1", "k1").await;
    world.pass(LAPSE);
    applied(world.settle(held.settle()).await);
    assert_eq!(world.sweep().await, 0);
    assert_eq!(world.count("o1").await, 1);
}

pub(crate) async fn sweeping_ends_what_is_lapsed(world: World) {
    world.order("o1").await;
    world.order("o2").await;
    let (slow, quick) = (world.join("a").await, world.join("b").await);
    let (old, young) = (slow.hold("o1", "k1").await, quick.hold("o2", "k1").await);
    world.pass(LAPSE);
    renew(&quick, &[&young]).await;
    assert_eq!(world.sweep().await, 1);
    assert_eq!(world.settle(old.settle()).await, Ended::Lost(Loss::NotHeld));
    assert_eq!(renew(&slow, &[&old]).await, Renewed::Ended);
    applied(world.settle(young.settle()).await);
    quick.hold("o1", "k2").await;
}

pub(crate) async fn a_small_sweep_comes_to_its_end(world: World) {
    let node = world.join("a").await;
    for order in ["o1", "o2", "o3", "o4", "o5"] {
        world.order(order).await;
        node.hold(order, "k1").await;
    }
    world.pass(LAPSE);
    let mut voided = 0;
    for _ in 0..20 {
        let swept = world.store().sweep(Sweep { limit: 2 }).await.unwrap();
        assert!(swept.voided <= 2, "{swept:?}");
        voided += swept.voided;
        if !swept.more {
            break;
        }
    }
    assert_eq!(voided, 5);
    assert_eq!(world.leases(&single()).await, []);
    assert_eq!(renew(&node, &[]).await, Renewed::Ended);
}

pub(crate) async fn leaving_frees_everything_and_repeats(world: World) {
    world.order("o1").await;
    world.order("o2").await;
    let node = world.join("a").await;
    let held = node.hold("o1", "k1").await;
    node.hold("o2", "k1").await;
    assert_eq!(leave(&node).await, Left { voided: 2 });
    assert_eq!(leave(&node).await, Left { voided: 0 });
    assert_eq!(
        world.settle(held.settle()).await,
        Ended::Lost(Loss::NotHeld)
    );
    assert_eq!(renew(&node, &[]).await, Renewed::Ended);
    world.join("b").await.hold("o1", "k2").await;
}

pub(crate) async fn an_ended_session_gets_nothing_new(world: World) {
    world.order("o1").await;
    let node = world.join("a").await;
    let held = node.hold("o1", "k1").await;
    applied(world.settle(held.settle()).await);
    leave(&node).await;
    let fresh = node.request(fixtures::claim("o1", "k2"));
    assert_eq!(world.acquire(fresh).await, Acquired::SessionEnded);
    // What is settled is answered all the same.
    let settled = node.request(fixtures::claim("o1", "k1"));
    let answer = world.acquire(settled).await;
    assert!(matches!(answer, Acquired::Settled(_)), "{answer:?}");
    let unheard = fixtures::acquire(
        fixtures::claim("o1", "k3"),
        SessionId(0xdead),
        world.fence(),
    );
    assert_eq!(world.acquire(unheard).await, Acquired::SessionEnded);
    let missing = node.request(fixtures::claim("o2", "k1"));
    assert_eq!(world.acquire(missing).await, Acquired::NotFound);
}
