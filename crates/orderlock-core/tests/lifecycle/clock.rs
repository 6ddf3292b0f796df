//! The times in the journal, in the order and in answers: the store's, whatever the node's clock.

use std::sync::Arc;
use std::time::Duration;

use orderlock_core::{
    Answer, Answers, Ended, Interrupted, LockedOrder, OrderStore, Outcome, Problem, SettledView,
    Timestamp,
};
use orderlock_testkit::{MemoryStore, TestRuntime};

use crate::world::{Counter, Ending, World, request, settled};

/// The store's clock goes before the node's by this.
const AHEAD: Duration = Duration::from_secs(3600);
/// So long a handler works.
const WORK: Duration = Duration::from_secs(5);

fn store_time(worked: Duration) -> Timestamp {
    TestRuntime::START + AHEAD + worked
}

/// Answers that show when the order was made and last changed.
#[derive(Debug)]
struct Dated;

impl Answers for Dated {
    fn answer(&self, settled: SettledView<'_>) -> Answer {
        let times = settled.times;
        Answer {
            status: 200,
            content_type: "text/plain".into(),
            location: None,
            version: Some(settled.version),
            body: format!("{} {}", times.created, times.updated).into(),
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

/// A node over a store whose clock goes before its own.
async fn world() -> World {
    let clock = TestRuntime::seeded(1);
    clock.advance(AHEAD);
    world_of(clock).await
}

async fn world_of(clock: TestRuntime) -> World {
    let memory = Arc::new(MemoryStore::new(Arc::new(clock)));
    let (runtime, store) = (TestRuntime::new(), Arc::clone(&memory));
    let store: Arc<dyn OrderStore> = Arc::new(store);
    let lifecycle = orderlock_core::Lifecycle::builder(Arc::clone(&store), Dated)
        .runtime(Arc::new(runtime.clone()))
        .build();
    let world = World {
        runtime,
        store,
        memory,
        lifecycle,
    };
    world.create("o").await;
    world
}

#[tokio::test]
async fn a_change_is_dated_by_the_stores_clock() {
    let world = world().await;
    let created = world.view().await.times.created;
    let (ended, mut handler) = world.add_later(request("k"));
    handler.begun().await;
    world.runtime.advance(WORK);
    handler.go();
    let at = store_time(WORK);
    assert_eq!(settled(ended.await).0, format!("{created} {at}"));
    assert_eq!(world.entries().await[0].at, at);
    let times = world.view().await.times;
    assert_eq!((times.created, times.updated), (created, at));
}

/// Orders are made by the clock of their node, which may go before the store's.
#[tokio::test]
async fn no_change_is_dated_before_the_one_that_it_follows() {
    let clock = TestRuntime::seeded(1);
    clock.set_clock(jiff::SignedDuration::from_hours(-1));
    let world = world_of(clock).await;
    let created = world.view().await.times.created;
    for (key, worked) in [("k1", 1), ("k2", 2)] {
        let (ended, mut handler) = world.add_later(request(key));
        handler.begun().await;
        world.runtime.advance(WORK);
        handler.go();
        let at = created + WORK * worked;
        assert_eq!(settled(ended.await).0, format!("{created} {at}"));
        assert_eq!(world.entries().await.last().unwrap().at, at);
        assert_eq!(world.view().await.times.updated, at);
    }
}

#[tokio::test]
async fn what_changes_nothing_leaves_the_time_of_the_last_change() {
    let world = world().await;
    let before = world.view().await.times;
    let (runtime, store_at) = (world.runtime.clone(), store_time(WORK));
    let work = move |_: LockedOrder<Counter>| async move {
        runtime.advance(WORK);
        Ok::<_, String>(Outcome::Unchanged)
    };
    let told = settled(world.lifecycle.run(request("k"), work).await).0;
    assert_eq!(told, format!("{} {}", before.created, before.updated));
    assert_eq!(world.entries().await[0].at, store_at);
    assert_eq!(world.view().await.times, before);
}

/// A failure tells the order as the last checkpoint has left it.
#[tokio::test]
async fn a_checkpoint_is_dated_as_a_change_is() {
    let world = world().await;
    let runtime = world.runtime.clone();
    let work = move |order: LockedOrder<Counter>| async move {
        runtime.advance(WORK);
        order.checkpoint(Counter { count: 10 }).await?;
        Err::<Outcome<Counter>, _>(Interrupted::Unwritable)
    };
    let ended = world.lifecycle.run(request("k"), work).await;
    let Ended::Failed {
        partial: Some(partial),
        ..
    } = ended
    else {
        panic!("{ended:?}")
    };
    assert_eq!(partial.times.updated, store_time(WORK));
    assert_eq!(partial.times, world.view().await.times);
    assert_eq!(world.entries().await[0].at, store_time(WORK));
}

/// Whoever is denied learns since when the order is held, in the same clock's time.
#[tokio::test]
async fn a_holder_is_shown_since_its_grant() {
    let world = world().await;
    let (first, mut handler) = world.add_later(request("k"));
    handler.begun().await;
    let ended: Ending = world.add(request("l")).await;
    let Ended::Denied(orderlock_core::Denied::Locked(running)) = ended else {
        panic!("{ended:?}")
    };
    assert_eq!(running.since, Some(store_time(Duration::ZERO)));
    assert_eq!(running.attempt, 1);
    handler.go();
    settled(first.await);
}
