//! Keeps connections whose last statement was not answered in time, above all commits that wait for a
//! standby, until the server has answered.
//!
//! A process of the server's that waits so does not notice that its client has gone. So a connection
//! in doubt is kept, and with it its place among the store's connections, until the server has
//! answered: what is not known to have ended is never added to by a repeat.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use deadpool::managed::Object;
use tokio::runtime::Handle;

use crate::pool::client::PooledClient;
use crate::pool::health::Backend;
use crate::pool::{Manager, Share};

/// Connections that nobody waits for any more.
#[derive(Debug, Default)]
pub(crate) struct Parked {
    /// How many of them may be in a commit.
    commits: AtomicUsize,
    /// How many connections there are, parked or not.
    alive: AtomicUsize,
    /// Processes whose connection broke: they may still be at work.
    left_behind: Mutex<Vec<Backend>>,
}

impl Parked {
    /// How many commits have not been answered in time, and still are not.
    pub(crate) fn commits(&self) -> usize {
        self.commits.load(Ordering::Acquire)
    }

    /// Counts a connection, for as long as this value lives.
    pub(crate) fn alive(self: &Arc<Self>) -> Alive {
        self.alive.fetch_add(1, Ordering::AcqRel);
        Alive(Arc::clone(self))
    }

    /// How many processes the server has for this store, as far as is known.
    pub(crate) fn processes(&self) -> usize {
        self.alive.load(Ordering::Acquire) + self.lock().len()
    }

    pub(crate) fn left_behind(&self) -> Vec<Backend> {
        self.lock().clone()
    }

    /// Forgets those that have ended, of those that were asked for.
    pub(crate) fn ended(&self, asked: &[Backend], still_there: &[i32]) {
        self.lock()
            .retain(|left| !asked.contains(left) || still_there.contains(&left.pid));
    }

    /// Keeps a connection in doubt until the server has answered all that was sent over it.
    pub(crate) fn keep(self: &Arc<Self>, object: Object<Manager>, share: Share, commits: bool) {
        // Without a runtime the whole program ends.
        let Ok(runtime) = Handle::try_current() else {
            return;
        };
        let commit = commits.then(|| Commit::new(self));
        let parked = Arc::clone(self);
        runtime.spawn(async move {
            // Answered behind everything that was sent before.
            let answered = object.client.simple_query("").await.is_ok();
            if !answered && let Some(backend) = object.backend {
                parked.lock().push(backend);
            }
            drop::<PooledClient>(Object::take(object));
            drop((share, commit));
        });
    }

    /// Each change is one step, so that a panic elsewhere leaves it whole.
    fn lock(&self) -> MutexGuard<'_, Vec<Backend>> {
        self.left_behind
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

/// A connection that is counted.
#[derive(Debug)]
pub(crate) struct Alive(Arc<Parked>);

impl Drop for Alive {
    fn drop(&mut self) {
        self.0.alive.fetch_sub(1, Ordering::AcqRel);
    }
}

/// A commit that is not answered yet.
struct Commit(Arc<Parked>);

impl Commit {
    fn new(parked: &Arc<Parked>) -> Self {
        parked.commits.fetch_add(1, Ordering::AcqRel);
        Self(Arc::clone(parked))
    }
}

impl Drop for Commit {
    fn drop(&mut self) {
        self.0.commits.fetch_sub(1, Ordering::AcqRel);
    }
}
