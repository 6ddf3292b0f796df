//! Chains whose writing ends half way, by a panic or because its task is dropped, while the node goes on.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use orderlock_core::store::{Accepted, Settled};
use orderlock_core::{OrderStore as _, Runtime, Timestamp, TokioRuntime};
use orderlock_postgres::PostgresOptions;
use orderlock_testkit::fixtures;

use crate::world::{World, granted};

/// How a task is ended.
#[derive(Clone, Copy, Debug)]
enum End {
    /// It is dropped before it has begun.
    Dropped,
    /// It panics where it waits for the first time.
    Panics,
}

/// Tokio's tasks, but for one of them.
#[derive(Debug, Default)]
struct CutShort {
    /// How many tasks are begun before the one that is ended.
    end: Mutex<Option<(usize, End)>>,
}

impl CutShort {
    fn end_after(&self, tasks: usize, end: End) {
        *self.end.lock().unwrap() = Some((tasks, end));
    }

    /// The end of the task that begins now, if it is to have one.
    fn end(&self) -> Option<End> {
        let mut next = self.end.lock().unwrap();
        let (tasks, end) = (*next)?;
        *next = tasks.checked_sub(1).map(|tasks| (tasks, end));
        next.is_none().then_some(end)
    }
}

impl Runtime for CutShort {
    fn spawn(&self, mut task: BoxFuture<'static, ()>) {
        match self.end() {
            None => TokioRuntime.spawn(task),
            Some(End::Dropped) => drop(task),
            Some(End::Panics) => {
                let panics = async move {
                    let _begun = (&mut task).now_or_never();
                    panic!("the task is to end here");
                };
                TokioRuntime.spawn(panics.boxed());
            }
        }
    }

    fn now(&self) -> Instant {
        TokioRuntime.now()
    }

    fn wall(&self) -> Timestamp {
        TokioRuntime.wall()
    }

    fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()> {
        TokioRuntime.sleep(duration)
    }

    fn random(&self) -> u128 {
        TokioRuntime.random()
    }
}

/// Begins a chain of one hand-over, and ends the task that writes it.
async fn the_order_goes_on(end: End) {
    let runtime = Arc::new(CutShort::default());
    let options = PostgresOptions::default().with_runtime(Arc::clone(&runtime) as _);
    let world = World::with(options).await;
    world.order("o1").await;
    let held = world.hold("o1", "k0").await;
    // The first task asks about the next in line, the second one writes.
    runtime.end_after(1, end);
    let next = world.request("o1", "k1");
    let settle = fixtures::handing_over(held.settle(), next.clone());
    let Settled::Accepted(accepted) = world.store.settle(settle).await.unwrap() else {
        panic!("not accepted");
    };
    let Accepted { durable, next, .. } = accepted;
    granted(next.expect("the next one is asked for"));
    let on_and_on = async {
        // Nobody knows whether it was written, and everybody is told so.
        assert!(durable.await.unwrap_err().may_have_happened());
        world
            .store
            .acquire(world.request("o1", "k2"))
            .await
            .unwrap();
    };
    // What is held for ever never comes.
    let went_on = tokio::time::timeout(Duration::from_secs(30), on_and_on).await;
    went_on.expect("the order goes on without the task");
}

#[tokio::test]
async fn a_chain_whose_task_is_dropped_holds_nothing() {
    the_order_goes_on(End::Dropped).await;
}

#[tokio::test]
async fn a_chain_whose_task_panics_holds_nothing() {
    the_order_goes_on(End::Panics).await;
}
