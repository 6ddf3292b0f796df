//! Faults of the node's own: a task that vanishes, code of others that panics where none should.

use std::fmt;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use futures_util::future::BoxFuture;
use orderlock_core::{Answer, Ended, Failed, Lifecycle, LockedOrder, Outcome, Runtime, Timestamp};
use orderlock_testkit::TestRuntime;
use tokio::task::AbortHandle;

use crate::faults::driven;
use crate::patience::elsewhere;
use crate::world::{Counter, Ending, PlainAnswers, World, patient, request, settled};

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

/// The order is blocked until the store has noticed that nobody knows the lease any more, and not
/// for longer.
#[tokio::test]
async fn a_task_that_vanishes_blocks_its_order_for_a_session_at_most() {
    let world = World::new().await;
    let mortal = Mortal {
        inner: world.runtime.clone(),
        tasks: Arc::default(),
    };
    let node = Lifecycle::builder(Arc::clone(&world.store), PlainAnswers)
        .runtime(Arc::new(mortal.clone()))
        .build();
    node.start().await.unwrap();
    let before = mortal.tasks.lock().unwrap().len();
    let there = elsewhere(&world, node);
    let (first, mut handler) = there.add_later(request("k"));
    handler.begun().await;
    let waiting = there.add(patient("l"));
    there.runtime.sleeping(4).await;
    mortal.tasks.lock().unwrap()[before].abort();
    let ended = first.await;
    assert!(matches!(ended, Ended::Unknown), "{ended:?}");
    let begun = there.runtime.elapsed();
    assert_eq!(
        settled(driven(&there.runtime, waiting).await),
        (r#"applied {"count":1}"#.into(), false)
    );
    assert!(there.runtime.elapsed() - begun <= there.lifecycle.limits().session);
    World::assert_free(&there.view().await, 2, 1);
    assert_eq!(there.lifecycle.in_flight(), 0);
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
