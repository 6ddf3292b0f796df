//! Tenants and callers: what is another's is not there, for every verb that reads.

use orderlock_core::store::{
    Acquired, BreakLease, Broken, Decision, Filter, History, Known, List, Lookup, Loss, MarkFate,
    Release, Resolve, Resolved, Settle,
};
use orderlock_core::{Caller, Recovery, Target};

use super::node::{Held, Node};
use super::world::{Ended, World, applied};
use crate::fixtures::{self, ids};

fn ours() -> Caller {
    ids::caller("ours", "ann")
}

fn theirs() -> Caller {
    ids::caller("theirs", "ann")
}

/// Our order o1, held; we are the same principal of the same name in both tenants.
async fn held(world: &World) -> (Node, Held) {
    world
        .order_of(fixtures::claim_by(&ours(), "o1", "create"))
        .await;
    let node = world.join("a").await;
    let request = node.request(fixtures::claim_by(&ours(), "o1", "k1"));
    let held = node.hold_by(request).await;
    (node, held)
}

fn their_target() -> Target {
    theirs().target(&ids::order("o1"))
}

pub(crate) async fn another_tenants_order_is_not_there(world: World) {
    let (node, held) = held(&world).await;
    assert_eq!(world.read(their_target()).await, None);
    let history = History {
        target: their_target(),
        limit: 10,
        cursor: None,
    };
    assert_eq!(world.store().history(history).await.unwrap(), None);
    let list = List {
        tenant: theirs().tenant,
        filter: Filter::default(),
        limit: 10,
        cursor: None,
    };
    assert_eq!(world.store().list(list).await.unwrap().items, []);
    assert_eq!(world.leases(&theirs().tenant).await, []);
    assert_eq!(world.journal(&theirs().tenant).await, []);
    let asked = node.request(fixtures::claim_by(&theirs(), "o1", "k1"));
    assert_eq!(world.acquire(asked).await, Acquired::NotFound);
    // Even with our key's id, which only the installation can compute.
    let lookup = Lookup {
        target: their_target(),
        key_id: held.request.claim.key_id,
    };
    assert_eq!(world.store().lookup(lookup).await.unwrap(), Known::Unknown);
}

pub(crate) async fn another_tenant_changes_nothing(world: World) {
    let (_, held) = held(&world).await;
    let broken = BreakLease {
        tenant: theirs().tenant,
        ..held.break_it()
    };
    assert_eq!(world.break_lease(broken).await, Broken::NotFound);
    let release = Release {
        target: their_target(),
        ..held.release(MarkFate::Clear)
    };
    assert!(!world.release(release).await.held);
    let settle = Settle {
        claim: fixtures::claim_by(&theirs(), "o1", "k1"),
        ..held.settle()
    };
    assert_eq!(world.settle(settle).await, Ended::Lost(Loss::NotHeld));
    applied(world.settle(held.settle()).await);
}

pub(crate) async fn another_tenant_resolves_nothing(world: World) {
    world
        .order_of(fixtures::claim_by(&ours(), "o1", "create"))
        .await;
    let node = world.join("a").await;
    let mut request = node.request(fixtures::claim_by(&ours(), "o1", "k1"));
    request.mark = Some(Recovery::Reconcile);
    let held = node.hold_by(request).await;
    world.release(held.release(MarkFate::Keep)).await;
    let resolve = |target| Resolve {
        target,
        key_id: held.request.claim.key_id,
        attempt: held.grant.attempt,
        since: held.grant.now,
        decision: Decision::RunAgain {
            retention: fixtures::RETENTION,
        },
        actor: ids::principal("operator"),
        reason: "nothing happened".into(),
    };
    let theirs = world.resolve(resolve(their_target())).await;
    assert_eq!(theirs, Resolved::NotMarked);
    let ours = world.resolve(resolve(held.request.claim.target())).await;
    assert!(matches!(ours, Resolved::Resolved(_)), "{ours:?}");
}

pub(crate) async fn the_same_id_is_an_order_in_each(world: World) {
    let (node, held) = held(&world).await;
    world
        .order_of(fixtures::claim_by(&theirs(), "o1", "create"))
        .await;
    applied(world.settle(held.settle()).await);
    let request = node.request(fixtures::claim_by(&theirs(), "o1", "k1"));
    let other = node.hold_by(request).await;
    assert_eq!(fixtures::count(&other.grant.document), 0);
    assert_eq!(other.grant.version.0, 1);
    for caller in [ours(), theirs()] {
        let list = List {
            tenant: caller.tenant.clone(),
            filter: Filter::default(),
            limit: 10,
            cursor: None,
        };
        let page = world.store().list(list).await.unwrap();
        assert_eq!(page.items.len(), 1);
        assert_eq!(page.items[0].target.tenant, caller.tenant);
        for entry in world.journal(&caller.tenant).await {
            assert_eq!(entry.target.tenant, caller.tenant);
        }
    }
    assert_eq!(world.journal(&ours().tenant).await.len(), 2);
    assert_eq!(world.journal(&theirs().tenant).await.len(), 1);
}
