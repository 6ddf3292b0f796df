//! Orders that go from one request to the next before the database has written it.

use orderlock_core::OrderStore as _;
use orderlock_core::StoreError;
use orderlock_core::store::{
    Accepted, Acquired, Durable, Fate, History, Known, Leave, Lookup, Loss, MarkFate, Read,
    Release, Settled,
};
use orderlock_postgres::PostgresOptions;
use orderlock_testkit::fixtures::{self, ids};

use crate::place::Place;
use crate::proxy::Proxy;
use crate::world::{Held, World, applied, granted, hold, join, request};

/// Settles, and hands the order to this key; the next holder, and what becomes of the settle.
async fn hand_over(world: &World, held: &Held, key: &str) -> (Held, Accepted) {
    let request = world.request("o1", key);
    let settle = fixtures::handing_over(held.settle(), request.clone());
    let Settled::Accepted(mut accepted) = world.store.settle(settle).await.unwrap() else {
        panic!("not accepted");
    };
    let grant = granted(accepted.next.take().expect("the next one is asked for"));
    (Held { request, grant }, accepted)
}

/// A chain of so many hand-overs, none of which is written.
async fn unwritten(world: &World, length: u64) -> (Held, Vec<Accepted>) {
    let mut held = world.hold("o1", "k0").await;
    world.seize().await;
    let mut chain = Vec::new();
    for link in 1..=length {
        let (next, accepted) = hand_over(world, &held, &format!("k{link}")).await;
        assert!(!accepted.durable.is_already());
        assert_eq!(accepted.receipt.number, link + 1);
        assert_eq!(fixtures::count(&next.grant.document), link);
        chain.push(accepted);
        held = next;
    }
    (held, chain)
}

async fn fates(chain: Vec<Accepted>) -> Vec<Result<Fate, StoreError>> {
    let mut fates = Vec::new();
    for accepted in chain {
        fates.push(accepted.durable.await);
    }
    fates
}

#[tokio::test]
async fn a_chain_is_accepted_at_once_and_written_in_few_pieces() {
    let world = World::new().await;
    world.order("o1").await;
    let (last, chain) = unwritten(&world, 20).await;
    let receipts: Vec<_> = chain.iter().map(|accepted| accepted.receipt).collect();
    world.commit().await;
    for fate in fates(chain).await {
        assert_eq!(fate.unwrap(), Fate::Durable);
    }
    let folds = world.store.statistics().folds;
    assert!(folds.batches <= 3, "20 settles in {folds:?}");
    let request = History {
        target: ids::target("o1"),
        limit: 100,
        cursor: None,
    };
    let history = world.store.history(request).await.unwrap().unwrap().items;
    assert_eq!(history.len(), 21);
    for (entry, receipt) in history[1..].iter().zip(receipts) {
        assert_eq!(entry.number, receipt.number);
        assert_eq!(entry.version.0, receipt.number);
        assert_eq!(entry.expires, Some(receipt.expires));
    }
    let again = world.store.acquire(last.request.clone()).await.unwrap();
    assert_eq!(granted(again), last.grant, "the same grant as in the chain");
    applied(world.store.settle(last.settle()).await.unwrap()).await;
    assert_eq!(world.count("o1").await, 21);
}

#[tokio::test]
async fn what_is_built_on_a_lost_settle_is_lost() {
    let world = World::new().await;
    world.order("o1").await;
    let (last, chain) = unwritten(&world, 3).await;
    let void = "UPDATE orders SET writes = writes + 1, fence = NULL, session = NULL";
    world.hand.batch_execute(void).await.unwrap();
    world.commit().await;
    for fate in fates(chain).await {
        assert_eq!(fate.unwrap(), Fate::Lost(Loss::NotHeld));
    }
    let late = world.store.settle(last.settle()).await.unwrap();
    assert!(matches!(late, Settled::Lost(Loss::NotHeld)), "{late:?}");
    assert_eq!(world.count("o1").await, 0);
    granted(
        world
            .store
            .acquire(world.request("o1", "k9"))
            .await
            .unwrap(),
    );
}

#[tokio::test]
async fn others_are_told_of_durable_holders_alone() {
    let world = World::new().await;
    world.order("o1").await;
    let first = world.hold("o1", "k0").await;
    world.seize().await;
    let (second, accepted) = hand_over(&world, &first, "k1").await;
    let target = ids::target("o1");
    let view = world.store.read(Read { target }).await.unwrap().unwrap();
    assert_eq!(view.version.0, 1);
    let lease = view.lease.unwrap();
    assert_eq!(lease.id.grant().unwrap().0, first.grant.fence);
    let known = world.store.lookup(lookup(&first)).await.unwrap();
    assert!(matches!(known, Known::Running(_)), "{known:?}");
    // Whoever asks for the order here waits until it is known who has it.
    let asks = world.acquire(world.request("o1", "k2"));
    world.blocked(1).await;
    world.commit().await;
    assert_eq!(accepted.durable.await.unwrap(), Fate::Durable);
    match asks.await.unwrap().unwrap() {
        Acquired::Held(lease) => assert_eq!(lease.id.grant().unwrap().0, second.grant.fence),
        other => panic!("not held but {other:?}"),
    }
}

fn lookup(held: &Held) -> Lookup {
    Lookup {
        target: held.request.claim.target(),
        key_id: held.request.claim.key_id,
    }
}

#[tokio::test]
async fn a_key_of_the_chain_is_answered_once_it_is_durable() {
    let world = World::new().await;
    world.order("o1").await;
    let (last, chain) = unwritten(&world, 2).await;
    let settle = fixtures::handing_over(last.settle(), world.request("o1", "k1"));
    let settle = world.settle(settle);
    world.blocked(1).await;
    world.commit().await;
    for fate in fates(chain).await {
        assert_eq!(fate.unwrap(), Fate::Durable);
    }
    let Settled::Accepted(accepted) = settle.await.unwrap().unwrap() else {
        panic!("not accepted");
    };
    match accepted.next.unwrap() {
        Acquired::Settled(entry) => assert_eq!(entry.number, 3),
        other => panic!("not settled but {other:?}"),
    }
}

#[tokio::test]
async fn a_holder_of_the_chain_may_give_up() {
    let world = World::new().await;
    world.order("o1").await;
    let (last, chain) = unwritten(&world, 2).await;
    let release = Release {
        target: ids::target("o1"),
        fence: last.grant.fence,
        mark: MarkFate::Keep,
        next: None,
    };
    let store = world.store.clone();
    let releasing = tokio::spawn(async move { store.release(release).await.unwrap() });
    world.blocked(1).await;
    world.commit().await;
    assert!(releasing.await.unwrap().held);
    assert_eq!(fates(chain).await.len(), 2);
    let next = world
        .store
        .acquire(world.request("o1", "k9"))
        .await
        .unwrap();
    assert_eq!(fixtures::count(&granted(next).document), 2);
}

#[tokio::test]
async fn accepting_costs_one_round_trip() {
    let place = Place::new().await;
    let proxy = Proxy::new().await;
    let address = proxy.on_the_way_to(&place.address());
    let world = World::at(place, &address, PostgresOptions::default()).await;
    world.order("o1").await;
    let (mut held, chain) = unwritten(&world, 2).await;
    // The write of the first one is under way, and has said all that it has to say.
    world.blocked(1).await;
    for link in 3..6 {
        let before = proxy.turns();
        let (next, accepted) = hand_over(&world, &held, &format!("k{link}")).await;
        assert_eq!(proxy.turns() - before, 1);
        drop::<Durable>(accepted.durable);
        held = next;
    }
    world.commit().await;
    for fate in fates(chain).await {
        assert_eq!(fate.unwrap(), Fate::Durable);
    }
}

#[tokio::test]
async fn a_chain_outlives_a_lost_connection() {
    let place = Place::new().await;
    let proxy = Proxy::new().await;
    let address = proxy.on_the_way_to(&place.address());
    let world = World::at(place, &address, PostgresOptions::default()).await;
    world.order("o1").await;
    let (_, chain) = unwritten(&world, 5).await;
    world.blocked(1).await;
    proxy.break_all();
    world.commit().await;
    for fate in fates(chain).await {
        assert_eq!(fate.unwrap(), Fate::Durable);
    }
    assert_eq!(world.count("o1").await, 5);
}

#[tokio::test]
async fn nobody_knows_of_what_is_built_on_a_settle_that_nobody_knows_of() {
    let place = Place::new().await;
    let proxy = Proxy::new().await;
    let address = proxy.on_the_way_to(&place.address());
    let world = World::at(place, &address, PostgresOptions::default()).await;
    world.order("o1").await;
    let (_, chain) = unwritten(&world, 3).await;
    world.blocked(1).await;
    proxy.close();
    for fate in fates(chain).await {
        assert!(fate.unwrap_err().may_have_happened());
    }
    world.commit().await;
    proxy.open();
    // The fold may be carried out or not, whole in any case.
    let count = world.count("o1").await;
    assert!([0, 1, 2, 3].contains(&count), "{count}");
}

/// A world behind a proxy, whose order has a chain of which nothing is under way.
async fn with_a_chain() -> (World, Proxy, Held) {
    let place = Place::new().await;
    let proxy = Proxy::new().await;
    let address = proxy.on_the_way_to(&place.address());
    let world = World::at(place, &address, PostgresOptions::default()).await;
    world.order("o1").await;
    let held = world.hold("o1", "k0").await;
    let (held, accepted) = hand_over(&world, &held, "k1").await;
    assert_eq!(accepted.durable.await.unwrap(), Fate::Durable);
    (world, proxy, held)
}

fn key(order: &str, key: &str) -> Lookup {
    let claim = fixtures::claim(order, key);
    Lookup {
        target: claim.target(),
        key_id: claim.key_id,
    }
}

#[tokio::test]
async fn a_key_that_was_looked_up_during_a_chain_is_not_asked_for_again() {
    let (world, proxy, mut held) = with_a_chain().await;
    for next in ["k2", "k3"] {
        let known = world.store.lookup(key("o1", next)).await.unwrap();
        assert_eq!(known, Known::Unknown);
    }
    world.seize().await;
    let mut chain = Vec::new();
    for next in ["k2", "k3"] {
        let before = proxy.turns();
        let (next, accepted) = hand_over(&world, &held, next).await;
        chain.push(accepted);
        held = next;
        // The write of the first one leaves by itself.
        assert!(proxy.turns() - before <= 1, "nothing was asked");
    }
    world.commit().await;
    for fate in fates(chain).await {
        assert_eq!(fate.unwrap(), Fate::Durable);
    }
    assert_eq!(world.count("o1").await, 3);
    applied(world.store.settle(held.settle()).await.unwrap()).await;
    assert_eq!(world.count("o1").await, 4);
}

#[tokio::test]
async fn a_key_that_the_chain_has_settled_is_not_new_any_more() {
    let (world, _, held) = with_a_chain().await;
    world.store.lookup(key("o1", "k2")).await.unwrap();
    let (second, accepted) = hand_over(&world, &held, "k2").await;
    assert_eq!(accepted.durable.await.unwrap(), Fate::Durable);
    let (third, accepted) = hand_over(&world, &second, "k3").await;
    assert_eq!(accepted.durable.await.unwrap(), Fate::Durable);
    let settle = fixtures::handing_over(third.settle(), world.request("o1", "k2"));
    let Settled::Accepted(accepted) = world.store.settle(settle).await.unwrap() else {
        panic!("not accepted");
    };
    match accepted.next.unwrap() {
        Acquired::Settled(entry) => assert_eq!(entry.number, 4),
        other => panic!("not settled but {other:?}"),
    }
}

#[tokio::test]
async fn what_was_looked_up_before_the_order_was_lost_does_not_count() {
    let (world, _, held) = with_a_chain().await;
    world.store.lookup(key("o1", "k2")).await.unwrap();
    // Another node takes the order away, settles the key, and lets go.
    let void = "UPDATE orders SET writes = writes + 1, fence = NULL, session = NULL";
    world.hand.batch_execute(void).await.unwrap();
    let other = world.place.open(PostgresOptions::default()).await;
    let session = join(&other, "b").await;
    let elsewhere = hold(&other, request(session, "o1", "k2")).await;
    applied(other.settle(elsewhere.settle()).await.unwrap()).await;
    let settle = fixtures::handing_over(held.settle(), world.request("o1", "k2"));
    match world.store.settle(settle).await.unwrap() {
        Settled::Accepted(accepted) => {
            let fate = accepted.durable.await.unwrap();
            assert_eq!(fate, Fate::Lost(Loss::NotHeld));
        }
        Settled::Lost(loss) => assert_eq!(loss, Loss::NotHeld),
        other => panic!("neither accepted nor lost but {other:?}"),
    }
    assert_eq!(world.count("o1").await, 2);
}

#[tokio::test]
async fn a_new_session_is_looked_at() {
    let (world, _, held) = with_a_chain().await;
    world.store.lookup(key("o1", "k2")).await.unwrap();
    let session = join(&world.store, "another").await;
    world.store.leave(Leave { session }).await.unwrap();
    let settle = fixtures::handing_over(held.settle(), request(session, "o1", "k2"));
    let Settled::Accepted(accepted) = world.store.settle(settle).await.unwrap() else {
        panic!("not accepted");
    };
    assert_eq!(accepted.next, Some(Acquired::SessionEnded));
}
