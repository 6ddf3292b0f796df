//! One node: a lifecycle on a runtime of its own, so that it can vanish or stand still as a process
//! does.

use std::future::Future;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::time::Duration;

use anyhow::{Context as _, Result};
use orderlock_core::{Lifecycle, Limits};
use orderlock_simulator::tally::Plain;
use tokio::runtime::{Builder, Handle, Runtime};

use crate::checkers::Watched;
use crate::clock::{Clock, NodeRuntime};
use crate::ledger::lock;
use crate::scene::Scene;

/// Futures are large where they are not optimized.
const STACK: usize = 16 * 1024 * 1024;

/// A request that leaves with its client.
struct Leaving<T>(tokio::task::JoinHandle<T>);

impl<T> Drop for Leaving<T> {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// A node's threads. They end with this, and nobody waits for them.
struct Threads(Option<Runtime>);

impl Drop for Threads {
    fn drop(&mut self) {
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}

/// One run of a node's process.
pub(crate) struct Node {
    pub(crate) place: usize,
    pub(crate) lifecycle: Lifecycle,
    /// The node's own wall clock.
    pub(crate) clock: Arc<Clock>,
    /// How many handlers run on it.
    handling: Arc<AtomicUsize>,
    /// How many rounds of its own housekeeping the store has answered.
    rounds: Arc<AtomicU64>,
    dead: Arc<AtomicBool>,
    handle: Handle,
    threads: Mutex<Option<Threads>>,
}

impl Node {
    /// Starts a node at a place, and joins.
    pub(crate) async fn start(scene: &Arc<Scene>, place: usize) -> Result<Arc<Self>> {
        let limits = scene.plan.limits(place);
        Self::start_with(scene, place, format!("node-{place}"), limits).await
    }

    pub(crate) async fn start_with(
        scene: &Arc<Scene>,
        place: usize,
        name: String,
        limits: Limits,
    ) -> Result<Arc<Self>> {
        let runtime = Builder::new_multi_thread()
            .worker_threads(1)
            .thread_name(&name)
            .thread_stack_size(STACK)
            .enable_all()
            .build()
            .context("a runtime of a node")?;
        let handle = runtime.handle().clone();
        let threads = Threads(Some(runtime));
        let of_the_store = Arc::new(NodeRuntime {
            handle: handle.clone(),
            clock: Arc::clone(scene.bed.clock()),
        });
        let opening = Arc::clone(&scene.bed).open(place, of_the_store);
        let opened = handle.spawn(opening).await;
        let store = opened??;
        let (dead, clock) = (Arc::new(AtomicBool::new(false)), Arc::new(Clock::default()));
        let of_the_node = NodeRuntime {
            handle: handle.clone(),
            clock: Arc::clone(&clock),
        };
        let rounds = Arc::default();
        let store = Watched::new(store, (scene, place), &dead, &rounds);
        let lifecycle = Lifecycle::builder(store, Plain)
            .runtime(Arc::new(of_the_node))
            .limits(limits)
            .node_name(name)
            .build();
        Ok(Arc::new(Self {
            place,
            lifecycle,
            clock,
            handling: Arc::default(),
            rounds,
            dead,
            handle,
            threads: Mutex::new(Some(threads)),
        }))
    }

    /// How many handlers run on it, each of which holds an order.
    pub(crate) fn handling(&self) -> usize {
        self.handling.load(Ordering::Acquire)
    }

    /// What counts the handlers that run.
    pub(crate) fn handlers(&self) -> Arc<AtomicUsize> {
        Arc::clone(&self.handling)
    }

    /// How many rounds of its own housekeeping the store has answered so far.
    pub(crate) fn rounds(&self) -> u64 {
        self.rounds.load(Ordering::Acquire)
    }

    pub(crate) fn is_dead(&self) -> bool {
        self.dead.load(Ordering::Acquire)
    }

    /// Does this on the node, as a request that it serves. None if the node has vanished meanwhile.
    /// Dropping it drops the request.
    pub(crate) async fn serve<T: Send + 'static>(
        &self,
        request: impl Future<Output = T> + Send + 'static,
    ) -> Option<T> {
        let mut task = Leaving(self.handle.spawn(request));
        let served = (&mut task.0).await.ok();
        served.filter(|_| !self.is_dead())
    }

    /// Ends it as `kill -9` does: nothing more is said to the store, and every task is dropped.
    pub(crate) fn kill(&self) {
        self.dead.store(true, Ordering::Release);
        drop(lock(&self.threads).take());
    }

    /// Stands still for so long.
    pub(crate) fn pause(&self, time: Duration) {
        self.handle.spawn(async move {
            // The one thread that drives all of the node waits for what nobody sends.
            let (_sender, never) = mpsc::channel::<()>();
            let _late = never.recv_timeout(time);
        });
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        self.kill();
    }
}
