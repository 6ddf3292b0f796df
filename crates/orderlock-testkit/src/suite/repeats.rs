//! Lost acknowledgements: a verb that is called again, because its answer was lost, gives the same
//! answer, or does no harm.

use futures_util::FutureExt as _;
use orderlock_core::store::{Broken, Created, MarkFate, Renew, Resolve, Resolved};
use orderlock_core::{Recovery, Runtime as _};

use super::world::{World, applied, extended, granted, handed};
use crate::fixtures::{self, ids};

pub(crate) async fn of_a_create(world: World) {
    let request = fixtures::create(fixtures::claim("o1", "k1"), world.runtime.wall());
    // The first answer is lost; the second must be the stored one, with the same receipt in it.
    let Created::Inserted(receipt) = world.create(request.clone()).await else {
        panic!("the store was empty");
    };
    for _ in 0..2 {
        let Created::Settled(entry) = world.create(request.clone()).await else {
            panic!("the key is settled");
        };
        assert_eq!(entry.number, receipt.number);
        assert_eq!(entry.expires, Some(receipt.expires));
        assert_eq!(entry.answer.as_ref(), Some(&request.answer));
    }
}

pub(crate) async fn of_an_acquire(world: World) {
    world.order("o1").await;
    let node = world.join("a").await;
    for recovery in [None, Some(Recovery::Reconcile)] {
        let mut request = node.request(fixtures::claim("o1", "k1"));
        request.mark = recovery;
        let first = granted(world.acquire(request.clone()).await);
        for _ in 0..2 {
            assert_eq!(granted(world.acquire(request.clone()).await), first);
        }
        let held = super::node::Held {
            request,
            grant: first,
        };
        assert!(world.release(held.release(MarkFate::Clear)).await.held);
    }
    assert_eq!(world.view("o1").await.lease, None);
}

pub(crate) async fn of_a_settle(mut world: World) {
    world.order("o1").await;
    let node = world.join("a").await;
    let first = node.hold("o1", "k1").await;
    let receipt = applied(world.settle(first.settle()).await);
    assert_eq!(applied(world.settle(first.settle()).await), receipt);
    // Also when the order has gone on, and time has passed, and the store was restarted.
    let second = node.hold("o1", "k2").await;
    assert_eq!(applied(world.settle(first.settle()).await), receipt);
    applied(world.settle(second.settle()).await);
    world.pass(std::time::Duration::from_secs(60));
    assert_eq!(applied(world.settle(first.settle()).await), receipt);
    world.restart().await;
    assert_eq!(applied(world.settle(first.settle()).await), receipt);
    assert_eq!(world.count("o1").await, 2);
    assert_eq!(world.history("o1").await.len(), 3);
}

pub(crate) async fn of_a_refusal(world: World) {
    world.order("o1").await;
    let held = world.join("a").await.hold("o1", "k1").await;
    let receipt = applied(world.settle(held.refuse()).await);
    assert_eq!(applied(world.settle(held.refuse()).await), receipt);
    assert_eq!(world.history("o1").await.len(), 2);
}

pub(crate) async fn of_a_settle_with_a_mark(world: World) {
    world.order("o1").await;
    let node = world.join("a").await;
    let first = node.mark("o1", "k1", Recovery::Reconcile).await;
    let receipt = applied(world.settle(first.settle()).await);
    // Another operation has begun outside: the repeat must not end its mark.
    let second = node.mark("o1", "k2", Recovery::Reconcile).await;
    assert_eq!(applied(world.settle(first.settle()).await), receipt);
    world.release(second.release(MarkFate::Keep)).await;
    assert_eq!(applied(world.settle(first.settle()).await), receipt);
    let mark = world.view("o1").await.lease.expect("its mark stands");
    assert_eq!(mark.key_id, Some(second.request.claim.key_id));
}

pub(crate) async fn of_a_hand_over(world: World) {
    world.order("o1").await;
    let node = world.join("a").await;
    let held = node.hold("o1", "k1").await;
    let next = node.request(fixtures::claim("o1", "k2"));
    let settle = fixtures::handing_over(held.settle(), next.clone());
    let first = world.settle(settle.clone()).await;
    assert_eq!(world.settle(settle).await, first);
    let grant = granted(handed(first));
    assert_eq!(granted(world.acquire(next).await), grant);
}

pub(crate) async fn of_a_renewal(world: World) {
    world.order("o1").await;
    let node = world.join("a").await;
    let held = node.hold("o1", "k1").await;
    let request = Renew {
        session: node.session,
        known: vec![held.grant.fence],
    };
    for _ in 0..3 {
        let renewed = world.store().renew(request.clone()).await.unwrap();
        assert_eq!(renewed, extended());
    }
    applied(world.settle(held.settle()).await);
}

pub(crate) async fn of_an_operators_acts(world: World) {
    world.order("o1").await;
    let node = world.join("a").await;
    let held = node.mark("o1", "k1", Recovery::Reconcile).await;
    let broken = world.break_lease(held.break_it()).await;
    assert!(matches!(broken, Broken::Broken(_)), "{broken:?}");
    let again = world.break_lease(held.break_it()).await;
    assert_eq!(again, Broken::NotFound);
    let resolve = Resolve {
        target: held.request.claim.target(),
        key_id: held.request.claim.key_id,
        attempt: held.grant.attempt,
        since: held.grant.now,
        decision: orderlock_core::store::Decision::RunAgain {
            retention: fixtures::RETENTION,
        },
        actor: ids::principal("operator"),
        reason: "nothing happened".into(),
    };
    let resolved = world.resolve(resolve.clone()).await;
    assert!(matches!(resolved, Resolved::Resolved(_)), "{resolved:?}");
    assert_eq!(world.resolve(resolve).await, Resolved::NotMarked);
    assert_eq!(world.history("o1").await.len(), 3, "one entry for each act");
}

pub(crate) async fn of_verbs_whose_caller_went_away(world: World) {
    // Each verb is polled once and dropped: it may have happened or not, but never in part.
    let create = fixtures::create(fixtures::claim("o1", "k0"), world.runtime.wall());
    let _ = world.create(create.clone()).now_or_never();
    let created = world.create(create).await;
    assert!(
        matches!(created, Created::Inserted(_) | Created::Settled(_)),
        "{created:?}"
    );
    let node = world.join("a").await;
    for turn in 1..=20 {
        let request = node.request(fixtures::claim("o1", &format!("k{turn}")));
        let _ = world.acquire(request.clone()).now_or_never();
        let held = node.hold_by(request).await;
        let _ = world.settle(held.settle()).now_or_never();
        applied(world.settle(held.settle()).await);
        assert_eq!(world.count("o1").await, turn);
        let unused = node.hold("o1", "unused").await;
        let _ = world.release(unused.release(MarkFate::Keep)).now_or_never();
        world.release(unused.release(MarkFate::Keep)).await;
    }
    assert_eq!(world.history("o1").await.len(), 21);
    assert_eq!(world.view("o1").await.lease, None);
}
