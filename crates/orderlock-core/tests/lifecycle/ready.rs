//! When a node is ready, and what its session's end means for what it runs.

use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt as _;
use orderlock_core::{
    Answer, Answers, Denied, Ended, Lifecycle, Limits, LockedOrder, OrderStore, Outcome, Problem,
    SettledView,
};
use orderlock_testkit::faults::{Fault, Plan, Verb};

use crate::faults::{Faulty, world};
use crate::patience::elsewhere;
use crate::world::{Counter, KEEPERS, World, patient, request, settled};

/// Lets everything happen that happens without the clock.
async fn settle_down() {
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
}

fn other_node(world: &World) -> Lifecycle {
    World::node(&world.store, &world.runtime, "node-2", Limits::default())
}

/// No renewal comes through any more.
fn cut_off(store: &Faulty) {
    let failed = |plan: Plan, call| plan.at_call(Verb::Renew, call, Fault::FailBefore);
    store.plan((1..=99).fold(Plan::new(), failed));
}

#[tokio::test]
async fn a_node_is_ready_when_it_has_joined() {
    let world = World::new().await;
    let node = other_node(&world);
    assert!(!node.is_ready());
    node.start().await.unwrap();
    assert!(node.is_ready());
}

#[tokio::test]
async fn a_node_that_cannot_join_says_so() {
    let (world, store) = world().await;
    let node = other_node(&world);
    store.fail_next(Verb::Join, Fault::FailBefore);
    let denied = node.start().await;
    assert!(
        matches!(denied, Err(Denied::StoreUnavailable(_))),
        "{denied:?}"
    );
    assert!(!node.is_ready());
}

/// Were each try another session, one that arrives late would end the session that came after it.
#[tokio::test]
async fn a_join_that_was_not_answered_is_repeated_as_it_was() {
    let (world, store) = world().await;
    let node = other_node(&world);
    for lost in [Fault::FailAfter, Fault::DropAnswer] {
        store.fail_next(Verb::Join, lost);
        let denied = world.runtime.drive(node.start()).await;
        assert!(
            matches!(denied, Err(Denied::StoreUnavailable(_))),
            "{denied:?}"
        );
    }
    let begun = world.memory.sessions();
    node.start().await.unwrap();
    assert_eq!(world.memory.sessions(), begun);
    assert!(node.is_ready());
}

#[tokio::test]
async fn a_node_that_drains_is_not_ready_although_it_still_works() {
    let world = World::new().await;
    assert_eq!(world.lifecycle.in_flight(), 0);
    let (first, mut handler) = world.add_later(request("k"));
    handler.begun().await;
    let waiting = world.add(patient("l"));
    assert_eq!(world.lifecycle.in_flight(), 2);
    let lifecycle = world.lifecycle.clone();
    let mut drain = async move { lifecycle.drain(Duration::from_secs(9)).await }.boxed();
    assert!((&mut drain).now_or_never().is_none());
    assert!(!world.lifecycle.is_ready());
    assert!(matches!(waiting.await, Ended::Denied(Denied::ShuttingDown)));
    handler.go();
    settled(first.await);
    drain.await.unwrap();
    assert_eq!(world.lifecycle.in_flight(), 0);
}

/// Whoever waits for another node's lease does not hold a shutdown up.
#[tokio::test]
async fn a_drain_ends_the_wait_for_an_order_that_another_node_holds() {
    let world = World::new().await;
    let (first, mut handler) = world.add_later(request("k"));
    handler.begun().await;
    let node = other_node(&world);
    node.start().await.unwrap();
    let work = |order: LockedOrder<Counter>| async move {
        Ok::<_, String>(Outcome::Applied(Counter {
            count: order.count + 1,
        }))
    };
    let waiting = node.run(patient("l"), work);
    world.runtime.sleeping(2 * KEEPERS + 2).await;
    node.drain(Duration::from_secs(9)).await.unwrap();
    let ended = waiting.await;
    assert!(
        matches!(ended, Ended::Denied(Denied::ShuttingDown)),
        "{ended:?}"
    );
    handler.go();
    settled(first.await);
}

/// From the very end of its session on, others may have its leases.
#[tokio::test]
async fn a_node_whose_renewals_fail_is_not_ready_from_the_end_of_its_session_on() {
    let (world, store) = world().await;
    cut_off(&store);
    let session = Limits::default().session;
    let last = Duration::from_millis(1);
    settle_down().await;
    world.runtime.advance(session - last);
    assert!(world.lifecycle.is_ready());
    world.runtime.advance(last);
    assert!(!world.lifecycle.is_ready());
}

/// The node took its session for lapsed, and the store had not ended it: what runs goes on.
#[tokio::test]
async fn a_session_that_is_renewed_late_keeps_its_leases() {
    let (world, store) = world().await;
    let (first, mut handler) = world.add_later(request("k"));
    handler.begun().await;
    store.fail_next(Verb::Renew, Fault::FailBefore);
    settle_down().await;
    world.runtime.advance(Limits::default().session);
    settle_down().await;
    assert!(!world.lifecycle.is_ready());
    world.create("p").await;
    assert!(world.lifecycle.is_ready());
    handler.go();
    assert_eq!(
        settled(first.await),
        (r#"applied {"count":1}"#.into(), false)
    );
}

#[tokio::test]
async fn a_node_that_starts_again_under_its_name_frees_what_its_last_run_held() {
    let world = World::new().await;
    let (first, mut handler) = world.add_later(request("k"));
    handler.begun().await;
    let again = World::node(&world.store, &world.runtime, "node-1", Limits::default());
    again.start().await.unwrap();
    World::assert_free(&world.view().await, 1, 0);
    handler.go();
    let ended = first.await;
    assert!(matches!(ended, Ended::Lost { .. }), "{ended:?}");
}

/// Every node sees to it that the sessions of dead ones end.
#[tokio::test]
async fn a_living_node_frees_what_a_dead_one_held() {
    let (world, store) = world().await;
    let (_never, mut handler) = world.add_later(request("k"));
    handler.begun().await;
    store.sever();
    let shared: Arc<dyn OrderStore> = Arc::clone(&world.memory) as _;
    let node = World::node(&shared, &world.runtime, "node-2", Limits::default());
    let living = World {
        store: shared,
        ..elsewhere(&world, node)
    };
    let waiting = living.add(patient("l"));
    assert_eq!(
        settled(living.runtime.drive(waiting).await),
        (r#"applied {"count":1}"#.into(), false)
    );
    // A session, and a third of another until the next round.
    assert!(living.runtime.elapsed() <= Limits::default().session * 3 / 2);
    World::assert_free(&living.view().await, 2, 1);
}

#[derive(Debug)]
struct Terse;

impl Answers for Terse {
    fn answer(&self, settled: SettledView<'_>) -> Answer {
        Answer {
            status: 204,
            content_type: "text/plain".into(),
            location: None,
            version: Some(settled.version),
            body: "done".into(),
        }
    }

    fn problem(&self, problem: &Problem, _: Option<SettledView<'_>>) -> Answer {
        Answer {
            status: problem.status(),
            content_type: "text/plain".into(),
            location: None,
            version: None,
            body: "no".into(),
        }
    }
}

#[tokio::test]
async fn another_node_of_the_same_make_has_what_it_was_given_and_a_life_of_its_own() {
    let world = World::new().await;
    let limits = Limits {
        line: 7,
        ..Limits::default()
    };
    let builder = world.lifecycle.to_builder();
    let node = builder.answers(Terse).limits(limits.clone()).build();
    assert_eq!(node.limits(), &limits);
    assert_eq!(world.lifecycle.limits(), &Limits::default());
    let work = |_: LockedOrder<Counter>| async { Ok::<_, String>(Outcome::Unchanged) };
    assert_eq!(settled(node.run(request("k"), work).await).0, "done");
    // What is stored is stored, whoever renders answers now.
    assert_eq!(settled(world.add(request("k")).await).0, "done");
    world.lifecycle.drain(Duration::ZERO).await.unwrap();
    assert!(node.is_ready());
}
