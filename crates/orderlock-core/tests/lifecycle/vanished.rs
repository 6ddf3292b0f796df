//! Faults of the node's own: a task that vanishes, code of others that panics where none should.

use std::fmt;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use futures_util::future::BoxFuture;
use orderlock_core::{Answer, Ended, Failed, Lifecycle, LockedOrder, Outcome, Runtime, Timestamp};
use orderlock_testkit::TestRuntime;
use orderlock_testkit::faults::{Fault, Gate, Verb};
use tokio::task::AbortHandle;

use crate::faults::{Faulty, world};
use crate::patience::elsewhere;
use crate::world::{Counter, Ending, KEEPERS, PlainAnswers, World, patient, request, settled};

/// A runtime whose tasks can be made to vanish.
#[derive(Clone)]
struct Mortal {
    inner: TestRuntime,
    tasks: Arc<Mutex<Vec<AbortHandle>>>,
}

impl fmt::Debug for Mortal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Mortal")
    }
}

impl Runtime for Mortal {
    fn spawn(&self, task: BoxFuture<'static, ()>) {
        let task = tokio::spawn(task).abort_handle();
        self.tasks.lock().unwrap().push(task);
    }

    fn now(&self) -> Instant {
        self.inner.now()
    }

    fn wall(&self) -> Timestamp {
        self.inner.wall()
    }

    fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()> {
        self.inner.sleep(duration)
    }

    fn random(&self) -> u128 {
        self.inner.random()
    }
}

impl Mortal {
    fn tasks(&self) -> usize {
        self.tasks.lock().unwrap().len()
    }

    /// The task that was spawned as the n-th vanishes, wherever it stands.
    fn vanish(&self, task: usize) {
        self.tasks.lock().unwrap()[task].abort();
    }
}

/// A node whose tasks can vanish, over a store that can fail, and one that stands by it.
async fn mortal() -> (World, Faulty, Mortal, World) {
    let (other, store) = world().await;
    let mortal = Mortal {
        inner: other.runtime.clone(),
        tasks: Arc::default(),
    };
    let node = Lifecycle::builder(Arc::clone(&other.store), PlainAnswers)
        .runtime(Arc::new(mortal.clone()))
        .build();
    node.start().await.unwrap();
    (elsewhere(&other, node), store, mortal, other)
}

/// The request has its turn when the store has noticed that nobody knows the lease any more, and
/// no later.
async fn assert_next_within_a_session(world: &World, next: impl Future<Output = Ending>) {
    let begun = world.runtime.elapsed();
    let (_, replayed) = settled(world.runtime.drive(next).await);
    assert!(!replayed);
    assert!(world.runtime.elapsed() - begun <= world.lifecycle.limits().session);
    assert_eq!(world.view().await.lease, None);
    assert_eq!(world.lifecycle.in_flight(), 0);
}

#[tokio::test]
async fn a_task_that_vanishes_blocks_its_order_for_a_session_at_most() {
    let (world, _, mortal, _other) = mortal().await;
    let task = mortal.tasks();
    let (first, mut handler) = world.add_later(request("k"));
    handler.begun().await;
    let next = world.add(patient("l"));
    world.runtime.sleeping(2 * KEEPERS + 2).await;
    mortal.vanish(task);
    let ended = first.await;
    assert!(matches!(ended, Ended::Unknown), "{ended:?}");
    assert_next_within_a_session(&world, next).await;
}

#[tokio::test]
async fn so_does_one_that_was_about_to_give_its_grant_back() {
    let (world, store, mortal, _other) = mortal().await;
    let (acquiring, releasing) = (Gate::new(), Gate::new());
    store.fail_next(Verb::Acquire, Fault::DelayAfter(acquiring.clone()));
    store.fail_next(Verb::Undo, Fault::DelayBefore(releasing.clone()));
    let task = mortal.tasks();
    let gone = world.add(request("k"));
    acquiring.reached(1).await;
    drop(gone);
    acquiring.open();
    releasing.reached(1).await;
    mortal.vanish(task);
    assert_next_within_a_session(&world, world.add(patient("l"))).await;
}

#[tokio::test]
async fn so_does_one_that_was_about_to_give_back_what_its_successor_was_granted() {
    let (world, store, mortal, _other) = mortal().await;
    let task = mortal.tasks();
    let (first, mut handler) = world.add_later(request("k"));
    handler.begun().await;
    let gone = world.add(patient("gone"));
    world.runtime.sleeping(2 * KEEPERS + 2).await;
    let (settling, releasing) = (Gate::new(), Gate::new());
    store.fail_next(Verb::Settle, Fault::DelayAfter(settling.clone()));
    store.fail_next(Verb::Undo, Fault::DelayBefore(releasing.clone()));
    handler.go();
    settling.reached(1).await;
    drop(gone);
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
    settling.open();
    releasing.reached(1).await;
    mortal.vanish(task);
    let ended = first.await;
    assert!(matches!(ended, Ended::Unknown), "{ended:?}");
    assert_next_within_a_session(&world, world.add(patient("l"))).await;
    // What the first one had settled stands, and its own key tells.
    assert_eq!(world.count().await, 2);
    assert!(settled(world.add(request("k")).await).1);
}

/// A future that has returned, and panics when it is dropped.
struct Spiteful;

impl Future for Spiteful {
    type Output = Result<Outcome<Counter>, String>;

    fn poll(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Self::Output> {
        Poll::Ready(Ok(Outcome::Applied(Counter { count: 9 })))
    }
}

impl Drop for Spiteful {
    fn drop(&mut self) {
        panic!("in the drop");
    }
}

#[tokio::test]
async fn a_handler_that_panics_in_its_drop_has_failed_whatever_it_returned() {
    let world = World::new().await;
    let work = |_: LockedOrder<Counter>| Spiteful;
    let ended = world.lifecycle.run(request("k"), work).await;
    assert!(
        matches!(
            ended,
            Ended::Failed {
                failure: Failed::Panicked,
                ..
            }
        ),
        "{ended:?}"
    );
    World::assert_free(&world.view().await, 1, 0);
}

/// What a panic carries may panic as well.
struct Loaded;

impl Drop for Loaded {
    fn drop(&mut self) {
        panic!("in the drop of a panic's load");
    }
}

#[tokio::test]
async fn a_description_that_panics_leaves_the_order_free_and_the_failure_told() {
    let world = World::new().await;
    let failing = |_: LockedOrder<Counter>| async { Err::<Outcome<Counter>, _>("down".to_owned()) };
    let describe = |_: &String| -> Answer { std::panic::panic_any(Loaded) };
    let first = world
        .lifecycle
        .run_described(request("k"), failing, describe);
    let attached = world.add(patient("k"));
    let ended = first.await;
    let Ended::Failed {
        failure: Failed::Error(error),
        ..
    } = ended
    else {
        panic!("{ended:?}")
    };
    assert_eq!(error, "down");
    // Another request cannot be given the error, and is told what is certain.
    let ended: Ending = attached.await;
    assert!(
        matches!(
            ended,
            Ended::Failed {
                failure: Failed::Panicked,
                ..
            }
        ),
        "{ended:?}"
    );
    World::assert_free(&world.view().await, 1, 0);
}
