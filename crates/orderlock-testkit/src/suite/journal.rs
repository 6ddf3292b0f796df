//! `entries_since`: one order of entries for every reader, with nothing left out.

use std::collections::BTreeMap;

use orderlock_core::store::{Cursor, Entry, MarkFate};
use orderlock_core::{OutcomeKind, Recovery, Version};

use super::world::{Verbs, World, applied, single};
use crate::fixtures;

/// One of each kind of entry that a settle or an operator makes, on two orders.
async fn a_busy_day(world: &World) {
    world.order("o1").await;
    world.order("o2").await;
    let node = world.join("a").await;
    let held = node.hold("o1", "k1").await;
    applied(world.settle(held.settle()).await);
    let held = node.hold("o2", "k1").await;
    applied(world.settle(held.refuse()).await);
    let held = node.hold("o1", "k2").await;
    applied(world.settle(held.checkpoint()).await);
    world.break_lease(held.break_it()).await;
    let held = node.mark("o1", "k3", Recovery::Reconcile).await;
    world.release(held.release(MarkFate::Keep)).await;
    let cleared = orderlock_core::store::Resolve {
        target: held.request.claim.target(),
        key_id: held.request.claim.key_id,
        attempt: held.grant.attempt,
        since: held.grant.now,
        decision: orderlock_core::store::Decision::RunAgain {
            retention: fixtures::RETENTION,
        },
        actor: fixtures::ids::principal("operator"),
        reason: "nothing happened".into(),
    };
    world.resolve(cleared).await;
    let held = node.hold("o1", "k2").await;
    applied(world.settle(held.settle()).await);
}

async fn in_pieces(verbs: &Verbs, limit: usize) -> Vec<Entry> {
    let (mut journal, mut cursor): (Vec<Entry>, Option<Cursor>) = (Vec::new(), None);
    loop {
        let (entries, next) = verbs.since(&single(), cursor, limit).await;
        assert!(entries.len() <= limit, "more than was asked for");
        if entries.is_empty() {
            return journal;
        }
        journal.extend(entries);
        cursor = Some(next);
        assert!(journal.len() < 1_000, "the journal has no end");
    }
}

#[track_caller]
fn assert_whole(journal: &[Entry]) {
    assert!(
        journal.is_sorted_by(|a, b| a.position < b.position),
        "positions go up"
    );
    let mut numbers: BTreeMap<_, u64> = BTreeMap::new();
    for entry in journal {
        let last = numbers.entry(entry.target.clone()).or_default();
        assert_eq!(entry.number, *last + 1, "a gap in {}", entry.target);
        *last = entry.number;
    }
}

pub(crate) async fn is_the_same_in_any_pieces(world: World) {
    a_busy_day(&world).await;
    let journal = world.journal(&single()).await;
    assert_eq!(journal.len(), 8);
    assert_whole(&journal);
    for limit in [1, 2, 3, 8, 9, usize::MAX] {
        assert_eq!(in_pieces(&world, limit).await, journal, "limit {limit}");
    }
}

pub(crate) async fn is_made_of_the_orders_histories(world: World) {
    a_busy_day(&world).await;
    let journal = world.journal(&single()).await;
    for order in ["o1", "o2"] {
        let target = fixtures::ids::target(order);
        let own: Vec<_> = journal
            .iter()
            .filter(|entry| entry.target == target)
            .cloned()
            .collect();
        assert_eq!(own, world.history(order).await);
    }
}

pub(crate) async fn folds_to_the_orders(world: World) {
    a_busy_day(&world).await;
    for order in ["o1", "o2"] {
        let mut version = Version(0);
        let mut document = None;
        for entry in world.history(order).await {
            let moved = if entry.outcome.moves_version() { 1 } else { 0 };
            assert_eq!(entry.version.0, version.0 + moved, "{:?}", entry.outcome);
            assert_eq!(entry.change.is_some(), entry.outcome.moves_version());
            version = entry.version;
            document = entry.change.or(document);
        }
        let view = world.view(order).await;
        assert_eq!((view.version, Some(view.document)), (version, document));
    }
}

pub(crate) async fn says_everything_once_to_one_who_follows(world: World) {
    let (entries, mut cursor) = world.since(&single(), None, 10).await;
    assert_eq!(entries, []);
    let mut followed = Vec::new();
    world.order("o1").await;
    let node = world.join("a").await;
    for turn in 0..5 {
        let held = node.hold("o1", &format!("k{turn}")).await;
        applied(world.settle(held.settle()).await);
        let (entries, next) = world.since(&single(), Some(cursor), 10).await;
        followed.extend(entries);
        // At the end, a reader stays where it is.
        let (none, still) = world.since(&single(), Some(next), 10).await;
        assert_eq!(none, []);
        cursor = still;
    }
    assert_eq!(followed, world.journal(&single()).await);
    assert_eq!(followed.len(), 6);
}

pub(crate) async fn skips_nothing_under_load(world: World) {
    let orders = ["o1", "o2", "o3", "o4"];
    let mut writers = Vec::new();
    for order in orders {
        let verbs = (*world).clone();
        writers.push(tokio::spawn(async move {
            verbs.order(order).await;
            let node = verbs.join(order).await;
            for turn in 0..25 {
                let held = node.hold(order, &format!("k{turn}")).await;
                applied(verbs.settle(held.settle()).await);
            }
        }));
    }
    let mut followed: Vec<Entry> = Vec::new();
    let mut cursor = None;
    while followed.len() < orders.len() * 26 {
        let (entries, next) = world.since(&single(), cursor, 7).await;
        followed.extend(entries);
        cursor = Some(next);
        tokio::task::yield_now().await;
        let idle = writers.iter().all(tokio::task::JoinHandle::is_finished);
        if idle {
            let (rest, _) = world.since(&single(), cursor.clone(), usize::MAX).await;
            followed.extend(rest);
            break;
        }
    }
    for writer in writers {
        writer.await.unwrap();
    }
    assert_whole(&followed);
    assert_eq!(followed, world.journal(&single()).await);
    assert_eq!(followed.len(), orders.len() * 26);
}

pub(crate) async fn keys_and_answers_of_an_operator_are_nobodys(world: World) {
    a_busy_day(&world).await;
    for entry in world.journal(&single()).await {
        let acts = [OutcomeKind::LeaseBroken, OutcomeKind::MarkCleared];
        assert_eq!(entry.reason.is_some(), acts.contains(&entry.outcome));
        assert_eq!(entry.answer.is_some(), entry.outcome.is_final());
        let by_a_grant = !acts.contains(&entry.outcome) && entry.outcome != OutcomeKind::Created;
        assert_eq!(entry.fence.is_some(), by_a_grant, "{:?}", entry.outcome);
    }
}
