//! Retention and tombstones: how long a key is answered, and how long it is known.

use std::time::Duration;

use jiff::SignedDuration;
use orderlock_core::store::{Acquired, Expire, Known, Retention};

use super::node::{Held, Node};
use super::world::{World, applied, single};
use crate::fixtures::{self, RETENTION};

const MOMENT: Duration = Duration::from_millis(10);

async fn settled(world: &World) -> (Node, Held) {
    world.order("o1").await;
    let node = world.join("a").await;
    let held = node.hold("o1", "k1").await;
    applied(world.settle(held.settle()).await);
    (node, held)
}

/// The node's session has lapsed with the time that passed, but no sweep has ended it.
async fn retry(node: &Node) -> Acquired {
    node.acquire(node.request(fixtures::claim("o1", "k1")))
        .await
}

pub(crate) async fn an_answer_is_kept_for_its_time(world: World) {
    let (node, held) = settled(&world).await;
    world.pass(RETENTION.answer.checked_sub(MOMENT).unwrap());
    world.expire().await;
    let Acquired::Settled(entry) = retry(&node).await else {
        panic!("its time is not over");
    };
    assert_eq!(entry.answer, held.settle().answer().cloned());
    // A replay does not extend it.
    world.pass(MOMENT);
    assert_eq!(retry(&node).await, Acquired::Expired);
}

pub(crate) async fn past_its_time_it_counts_as_expired_at_once(world: World) {
    let (node, held) = settled(&world).await;
    world.pass(RETENTION.answer);
    for expired in [false, true] {
        assert_eq!(retry(&node).await, Acquired::Expired);
        let known = world.known(&held.request.claim).await;
        assert_eq!(known, Known::Expired(held.request.claim.fingerprint));
        let reused = fixtures::asking(fixtures::claim("o1", "k1"), r#"{"other": 1}"#);
        assert_eq!(node.acquire(node.request(reused)).await, Acquired::Reused);
        if !expired {
            // The creation's answer is as old.
            assert_eq!(world.expire().await.0, 2);
        }
    }
    assert_eq!(world.expire().await, (0, 0));
}

pub(crate) async fn the_record_outlives_its_answer(world: World) {
    let (_, held) = settled(&world).await;
    let before = world.history("o1").await;
    world.pass(RETENTION.answer);
    world.expire().await;
    world.pass(RETENTION.tombstone);
    world.expire().await;
    let mut after = world.history("o1").await;
    assert!(after.iter().all(|entry| entry.answer.is_none()));
    for (entry, was) in after.iter_mut().zip(&before) {
        entry.answer.clone_from(&was.answer);
        entry.expires = was.expires;
    }
    assert_eq!(after, before);
    assert_eq!(after[1].key_id, held.request.claim.key_id);
}

pub(crate) async fn after_its_tombstone_a_key_is_unknown(world: World) {
    let (node, held) = settled(&world).await;
    world.pass(RETENTION.tombstone.checked_sub(MOMENT).unwrap());
    world.expire().await;
    assert_eq!(retry(&node).await, Acquired::Expired);
    world.pass(MOMENT);
    let (_, tombstones) = world.expire().await;
    assert!(tombstones <= 1, "the creation's tombstone is the order");
    assert_eq!(world.known(&held.request.claim).await, Known::Unknown);
    let again = node.hold("o1", "k1").await;
    assert_eq!(again.grant.attempt, 1);
    applied(world.settle(again.settle()).await);
    assert_eq!(world.count("o1").await, 2);
    // The key now has its new answer.
    let Acquired::Settled(entry) = retry(&node).await else {
        panic!("it was settled just now");
    };
    assert_eq!(entry.answer, again.settle().answer().cloned());
    assert_eq!(world.expire().await, (0, 0));
}

pub(crate) async fn each_settle_brings_its_own_time(world: World) {
    world.order("o1").await;
    let node = world.join("a").await;
    for (key, hours) in [("k1", 1), ("k2", 2)] {
        let held = node.hold("o1", key).await;
        let mut request = held.settle();
        request.entry.retention = Retention {
            answer: Duration::from_secs(hours * 3600),
            ..RETENTION
        };
        let receipt = applied(world.settle(request).await);
        let hours = Duration::from_secs(hours * 3600);
        assert_eq!(receipt.expires, held.grant.now + hours);
    }
    world.pass(Duration::from_secs(3600));
    assert_eq!(retry(&node).await, Acquired::Expired);
    let known = world.known(&fixtures::claim("o1", "k2")).await;
    assert!(matches!(known, Known::Settled(_)), "{known:?}");
}

pub(crate) async fn ends_in_small_batches(world: World) {
    world.order("o1").await;
    let node = world.join("a").await;
    for turn in 0..6 {
        let held = node.hold("o1", &format!("k{turn}")).await;
        applied(world.settle(held.settle()).await);
    }
    world.pass(RETENTION.answer);
    assert_eq!(in_batches(&world).await, (7, 0));
    assert_eq!(world.journal(&single()).await.len(), 7);
}

/// Answers and tombstones that are due at once: neither waits for the other to be done.
pub(crate) async fn tombstones_do_not_wait_for_answers(world: World) {
    world.order("o1").await;
    let node = world.join("a").await;
    for turn in 0..6 {
        let held = node.hold("o1", &format!("k{turn}")).await;
        applied(world.settle(held.settle()).await);
    }
    world.pass(RETENTION.tombstone);
    let first = world.store().expire(Expire { limit: 2 }).await.unwrap();
    assert_eq!(first.answers, 2, "{first:?}");
    assert!(first.more);
    let (answers, tombstones) = in_batches(&world).await;
    assert_eq!(answers, 5);
    // Where tombstones take room of their own, as many have ended.
    if first.tombstones + tombstones > 0 {
        assert_eq!((first.tombstones, tombstones), (2, 4));
    }
    assert_eq!(world.expire().await, (0, 0));
}

pub(crate) async fn says_how_far_behind_it_is(world: World) {
    world.order("o1").await;
    let node = world.join("a").await;
    let held = node.hold("o1", "k1").await;
    applied(world.settle(held.settle()).await);
    let expire = async || world.store().expire(Expire { limit: 1 }).await.unwrap();
    assert_eq!(expire().await.behind, Duration::ZERO);
    let late = Duration::from_secs(60);
    world.pass(RETENTION.answer + late);
    let expired = expire().await;
    assert_eq!((expired.answers, expired.more), (1, true));
    assert!(expired.behind >= late, "one answer is left: {expired:?}");
    in_batches(&world).await;
    assert_eq!(expire().await.behind, Duration::ZERO);
}

/// Expires two at a time; says how many answers and tombstones.
async fn in_batches(world: &World) -> (usize, usize) {
    let (mut answers, mut tombstones) = (0, 0);
    for _ in 0..20 {
        let expired = world.store().expire(Expire { limit: 2 }).await.unwrap();
        assert!(
            expired.answers <= 2 && expired.tombstones <= 2,
            "{expired:?}"
        );
        answers += expired.answers;
        tombstones += expired.tombstones;
        if !expired.more {
            return (answers, tombstones);
        }
    }
    panic!("expire never comes to its end");
}

/// Longer than any tombstone.
const FAR: SignedDuration = SignedDuration::from_hours(31 * 24);
/// How long a new time must hold.
const HOLD: Duration = Duration::from_secs(3600);

/// Forgetting cannot be undone: the clock's word alone is not enough for it.
pub(crate) async fn a_clock_that_is_ahead_for_a_moment_ends_nothing(world: World) {
    let (node, held) = settled(&world).await;
    for _ in 0..2 {
        world.set_clock(FAR);
        assert_eq!(world.expire().await, (0, 0));
        assert_eq!(retry(&node).await, Acquired::Expired, "its key is known");
        world.pass(HOLD - MOMENT);
        assert_eq!(world.expire().await, (0, 0));
        world.set_clock(-FAR);
        assert_eq!(world.expire().await, (0, 0));
        let Acquired::Settled(entry) = retry(&node).await else {
            panic!("the key is forgotten, and its time was not over");
        };
        assert_eq!(entry.answer, held.settle().answer().cloned());
    }
}

pub(crate) async fn a_new_time_is_believed_when_it_has_held(world: World) {
    let (node, held) = settled(&world).await;
    world.set_clock(FAR);
    assert_eq!(world.expire().await, (0, 0));
    world.pass(HOLD - MOMENT);
    assert_eq!(world.expire().await, (0, 0));
    world.pass(MOMENT);
    assert_eq!(world.expire().await.0, 2);
    assert_eq!(world.known(&held.request.claim).await, Known::Unknown);
    let again = node.hold("o1", "k1").await;
    applied(world.settle(again.settle()).await);
}

pub(crate) async fn a_clock_that_is_ahead_at_the_start_ends_nothing(mut world: World) {
    let (_, held) = settled(&world).await;
    let claim = &held.request.claim;
    world.set_clock(FAR);
    world.restart().await;
    assert_eq!(world.expire().await, (0, 0));
    assert_eq!(
        world.known(claim).await,
        Known::Expired(claim.fingerprint),
        "its key is known"
    );
    world.set_clock(-FAR);
    assert_eq!(world.expire().await, (0, 0));
    let known = world.known(claim).await;
    assert!(matches!(known, Known::Settled(_)), "{known:?}");
    // One that is right is believed after an hour.
    world.pass(RETENTION.answer);
    world.restart().await;
    assert_eq!(world.known(claim).await, Known::Expired(claim.fingerprint));
    world.expire().await;
    world.pass(HOLD);
    world.expire().await;
    assert_eq!(world.expire().await, (0, 0));
    let history = world.history("o1").await;
    assert!(history.iter().all(|entry| entry.answer.is_none()));
}

pub(crate) async fn what_is_settled_while_the_clock_is_behind_is_kept(world: World) {
    world.order("o1").await;
    let node = world.join("a").await;
    world.set_clock(-FAR);
    let held = node.hold("o1", "k1").await;
    applied(world.settle(held.settle()).await);
    world.set_clock(FAR);
    assert_eq!(world.expire().await, (0, 0));
    world.pass(HOLD);
    assert_eq!(world.expire().await, (0, 0));
    let Acquired::Settled(entry) = retry(&node).await else {
        panic!("it was settled an hour ago");
    };
    assert_eq!(entry.answer, held.settle().answer().cloned());
}
